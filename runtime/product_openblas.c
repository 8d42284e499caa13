// Products by OpenBLAS's sgemm, opened at run time: for machines without oneDNN. f32 only.
//
// A tile is one call on the calling worker's thread: OpenBLAS's own threads are switched off, and
// sgemm may then be called from many threads at once. Strides that BLAS has no words for (neither
// axis contiguous) are refused before the first step.
#include "runtime/product_library.h"

#include "runtime/error.h"
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

// Values of cblas.h, which is not needed to compile.
enum { CBLAS_ROW_MAJOR = 101, CBLAS_NO_TRANS = 111, CBLAS_TRANS = 112 };

// C [m, n] = alpha x A [m, k] x B [k, n] + beta x C; leading dimensions in elements.
typedef void SgemmFn(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                     const float *a, int lda, const float *b, int ldb, float beta, float *c,
                     int ldc);

typedef struct {
    void *handle;
    SgemmFn *sgemm;
    void (*set_threads)(int);
} Openblas;

typedef struct {
    int trans_a, trans_b, lda, ldb, ldc, k;
    float beta; // 1: add to C, 0: overwrite it
} Prepared;

// handle is open, whatever else was found.
static void close_library(void *library) {
    Openblas *o = library;
    dlclose(o->handle);
    free(o);
}

// OpenBLAS can't be held to instruction sets: it chooses its kernels as it is loaded.
static PlimStatus open_library(const char *isa, void **library, PlimError *error) {
    (void)isa;
    void *handle = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    Openblas *o = handle ? calloc(1, sizeof *o) : NULL;
    if (!o) {
        if (handle)
            dlclose(handle);
        return error_set(
            error, PLIM_MACHINE,
            "this program needs OpenBLAS (libopenblas.so.0, Debian's package libopenblas0), which "
            "was not found; install it, or compile with --target cpu, which needs no library");
    }
    o->handle = handle;
    // POSIX promises the conversion to a function pointer that ISO C does not have.
    *(void **)(&o->sgemm) = dlsym(handle, "cblas_sgemm");
    *(void **)(&o->set_threads) = dlsym(handle, "openblas_set_num_threads");
    if (!o->sgemm || !o->set_threads) {
        close_library(o);
        return error_set(error, PLIM_MACHINE, "libopenblas.so.0 was found but can't be used");
    }
    o->set_threads(1);
    *library = o;
    return PLIM_OK;
}

// A matrix given by its strides as BLAS wants it: transposed or not, and its leading dimension.
static bool as_blas(const int64_t stride[2], int64_t rows, int64_t columns, int *trans,
                    int *leading) {
    // Rows are contiguous, or columns are; an axis of size 1 has any stride.
    const bool plain = stride[1] == 1 || columns == 1;
    if (!plain && stride[0] != 1 && rows != 1)
        return false;
    // Elements of one contiguous line: the least leading dimension BLAS accepts.
    const int64_t across = plain ? columns : rows;
    int64_t lead = plain ? stride[0] : stride[1];
    if (lead < across)
        lead = across; // A single row: any leading dimension is right.
    if (lead > INT_MAX)
        return false;
    *trans = plain ? CBLAS_NO_TRANS : CBLAS_TRANS;
    *leading = (int)lead;
    return true;
}

static PlimStatus prepare(void *library, const PlanProduct *p, size_t workspace, void **out,
                          PlimError *error) {
    (void)library;
    // OpenBLAS allocates its own, outside the plan's memory.
    (void)workspace;
    Prepared *made = calloc(1, sizeof *made);
    if (!made)
        return error_set(error, PLIM_NO_MEMORY, "out of memory");
    int trans_c;
    // A tile's rows and columns, and the depth, go through int.
    const int64_t rows = p->m < p->tile_m ? p->m : p->tile_m;
    const int64_t columns = p->n < p->tile_n ? p->n : p->tile_n;
    if (p->a != PLAN_F32 || p->b != PLAN_F32 || p->c != PLAN_F32 || p->k > INT_MAX ||
        rows > INT_MAX || columns > INT_MAX ||
        !as_blas(p->a_stride + 2, p->m, p->k, &made->trans_a, &made->lda) ||
        !as_blas(p->b_stride + 2, p->k, p->n, &made->trans_b, &made->ldb) ||
        // The last two strides are row and column; C can't be transposed.
        !as_blas(p->c_stride + 2, p->m, p->n, &trans_c, &made->ldc) || trans_c != CBLAS_NO_TRANS) {
        free(made);
        return error_set(
            error, PLIM_MACHINE,
            "OpenBLAS can't compute a product of %lld x %lld x %lld as planned; compile again "
            "with --target cpu",
            (long long)p->m, (long long)p->n, (long long)p->k);
    }
    made->k = (int)p->k;
    made->beta = p->accumulate ? 1.0F : 0.0F;
    *out = made;
    return PLIM_OK;
}

static void release(void *library, void *prepared) {
    (void)library;
    free(prepared);
}

static bool run(void *library, const void *prepared, const ProductTile *tile, void *const at[3],
                void *workspace) {
    (void)workspace;
    const Openblas *o = library;
    const Prepared *p = prepared;
    o->sgemm(CBLAS_ROW_MAJOR, p->trans_a, p->trans_b, (int)tile->rows, (int)tile->columns, p->k,
             1.0F, at[0], p->lda, at[1], p->ldb, p->beta, at[2], p->ldc);
    return true;
}

const ProductLibraryOps product_openblas = {.open = open_library,
                                            .close = close_library,
                                            .prepare = prepare,
                                            .release = release,
                                            .run = run};
