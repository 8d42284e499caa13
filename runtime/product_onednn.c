// Products by oneDNN's matmul (C API 2.6), opened at run time.
//
// A tile has at most four shapes (inner, last row, last column, corner): one primitive each, made
// before the first step with the scratchpad in the caller's hands. oneDNN was built with OpenMP,
// whose threads we never want: each of our workers asks for a team of one before its first product.
// It chooses its code by the machine, and other instructions sum in another order: so it is held to
// the instruction sets the plan was made for, and a plan gives the same numbers on every machine
// that has them.
#include "runtime/product_library.h"

#include "runtime/error.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Without oneDNN's headers the runtime still links; a plan that needs it is told so at start.
#ifndef PLIM_HAVE_ONEDNN

static PlimStatus open_library(const char *isa, void **library, PlimError *error) {
    (void)isa, (void)library;
    return error_set(
        error, PLIM_MACHINE,
        "this program needs oneDNN, but its runtime was built without it (package libdnnl-dev)");
}

const ProductLibraryOps product_onednn = {.open = open_library};

#else

#include <dlfcn.h>
#include <oneapi/dnnl/dnnl.h>

// The functions used, found by name: name, as in dnnl.h.
#define DNNL_FUNCTIONS(F)                                                                          \
    F(dnnl_set_max_cpu_isa)                                                                        \
    F(dnnl_get_effective_cpu_isa)                                                                  \
    F(dnnl_engine_create)                                                                          \
    F(dnnl_engine_destroy)                                                                         \
    F(dnnl_stream_create)                                                                          \
    F(dnnl_stream_destroy)                                                                         \
    F(dnnl_memory_desc_init_by_strides)                                                            \
    F(dnnl_memory_desc_get_size)                                                                   \
    F(dnnl_matmul_desc_init)                                                                       \
    F(dnnl_primitive_attr_create)                                                                  \
    F(dnnl_primitive_attr_destroy)                                                                 \
    F(dnnl_primitive_attr_set_scratchpad_mode)                                                     \
    F(dnnl_primitive_attr_set_post_ops)                                                            \
    F(dnnl_post_ops_create)                                                                        \
    F(dnnl_post_ops_destroy)                                                                       \
    F(dnnl_post_ops_append_sum)                                                                    \
    F(dnnl_primitive_desc_create)                                                                  \
    F(dnnl_primitive_desc_destroy)                                                                 \
    F(dnnl_primitive_desc_query_md)                                                                \
    F(dnnl_primitive_create)                                                                       \
    F(dnnl_primitive_destroy)                                                                      \
    F(dnnl_primitive_execute)                                                                      \
    F(dnnl_memory_create)                                                                          \
    F(dnnl_memory_destroy)

typedef struct {
    void *handle;
    void (*omp_set_num_threads)(int); // NULL where oneDNN was built without OpenMP
#define F(name) __typeof__(name) *name;
    DNNL_FUNCTIONS(F)
#undef F
    dnnl_engine_t engine;
    dnnl_stream_t stream;
} Onednn;

// One tile shape: rows x columns.
typedef struct {
    int64_t rows, columns; // rows 0: not made
    // Tiles of A [rows, k], B [k, columns] and C [rows, columns].
    dnnl_memory_desc_t a, b, c, scratchpad;
    dnnl_primitive_t primitive; // shared by all workers: executing does not change it
} TileShape;

typedef struct {
    TileShape shape[4];     // bit 0: last column, bit 1: last row
    int64_t tile_m, tile_n; // at most m and n
} Prepared;

// Also for a library that start_library could not finish.
static void close_library(void *library) {
    Onednn *d = library;
    if (d->stream)
        d->dnnl_stream_destroy(d->stream);
    if (d->engine)
        d->dnnl_engine_destroy(d->engine);
    dlclose(d->handle);
    free(d);
}

// ISO C has no conversion from object to function pointers; POSIX promises that this one works.
static bool find_functions(Onednn *d) {
#define F(name)                                                                                    \
    *(void **)(&d->name) = dlsym(d->handle, #name);                                                \
    if (!d->name)                                                                                  \
        return false;
    DNNL_FUNCTIONS(F)
#undef F
    *(void **)(&d->omp_set_num_threads) = dlsym(d->handle, "omp_set_num_threads");
    return true;
}

// The most oneDNN may use. Its products want AVX-512; of what is beyond that only bf16 matters.
static dnnl_cpu_isa_t allowed_isa(const char *isa) {
    return strstr(isa, "avx512bf16") ? dnnl_cpu_isa_avx512_core_bf16 : dnnl_cpu_isa_avx512_core;
}

// The library takes a limit only as the first call of a process; later it must have the same one.
static bool limit_isa(const Onednn *d, const char *isa) {
    const dnnl_cpu_isa_t allowed = allowed_isa(isa);
    return d->dnnl_set_max_cpu_isa(allowed) == dnnl_success ||
           d->dnnl_get_effective_cpu_isa() == allowed;
}

// What it made before failing is close_library's to free.
static PlimStatus start_library(Onednn *d, const char *isa, PlimError *error) {
    const bool found = find_functions(d);
    if (found && !limit_isa(d, isa))
        return error_set(error, PLIM_MACHINE,
                         "oneDNN is in use with other instruction sets than this plan's; run one "
                         "plan a process");
    if (!found || d->dnnl_engine_create(&d->engine, dnnl_cpu, 0) != dnnl_success ||
        d->dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags) != dnnl_success)
        return error_set(error, PLIM_MACHINE, "libdnnl.so.2 was found but can't be used");
    return PLIM_OK;
}

static PlimStatus open_library(const char *isa, void **library, PlimError *error) {
    // RTLD_LOCAL: its OpenMP and other symbols must not meet the program's own.
    void *handle = dlopen("libdnnl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return error_set(
            error, PLIM_MACHINE,
            "this program needs oneDNN (libdnnl.so.2, Debian's package libdnnl2), which was not "
            "found; install it, or compile with --target cpu, which needs no library");
    Onednn *d = calloc(1, sizeof *d);
    if (!d) {
        dlclose(handle);
        return error_set(error, PLIM_NO_MEMORY, "out of memory");
    }
    d->handle = handle;
    const PlimStatus status = start_library(d, isa, error);
    if (status != PLIM_OK) {
        close_library(d);
        return status;
    }
    *library = d;
    return PLIM_OK;
}

static dnnl_data_type_t data_type(PlanDType t) {
    return t == PLAN_BF16 ? dnnl_bf16 : dnnl_f32;
}

// A rows x columns matrix with strides in elements.
static bool describe(const Onednn *d, dnnl_memory_desc_t *out, int64_t rows, int64_t columns,
                     PlanDType type, const int64_t stride[2]) {
    const dnnl_dims_t dims = {rows, columns};
    const dnnl_dims_t strides = {stride[0], stride[1]};
    return d->dnnl_memory_desc_init_by_strides(out, 2, dims, data_type(type), strides) ==
           dnnl_success;
}

// The attributes of every product: our scratchpad, and c += where it accumulates.
static bool make_attributes(const Onednn *d, const PlanProduct *p, dnnl_primitive_attr_t *out) {
    if (d->dnnl_primitive_attr_create(out) != dnnl_success)
        return false;
    bool ok =
        d->dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user) == dnnl_success;
    if (ok && p->accumulate) {
        dnnl_post_ops_t after;
        ok = d->dnnl_post_ops_create(&after) == dnnl_success;
        if (ok) {
            ok = d->dnnl_post_ops_append_sum(after, 1.0F) == dnnl_success &&
                 d->dnnl_primitive_attr_set_post_ops(*out, after) == dnnl_success;
            d->dnnl_post_ops_destroy(after);
        }
    }
    // On success the caller destroys them.
    if (!ok)
        d->dnnl_primitive_attr_destroy(*out);
    return ok;
}

// Sets descriptors, scratchpad and primitive of one tile shape, whose rows and columns are set.
static bool make_shape(const Onednn *d, const PlanProduct *p, TileShape *s) {
    dnnl_matmul_desc_t matmul;
    dnnl_primitive_attr_t attributes;
    if (!describe(d, &s->a, s->rows, p->k, p->a, p->a_stride + 2) ||
        !describe(d, &s->b, p->k, s->columns, p->b, p->b_stride + 2) ||
        !describe(d, &s->c, s->rows, s->columns, p->c, p->c_stride + 2) ||
        d->dnnl_matmul_desc_init(&matmul, &s->a, &s->b, NULL, &s->c) != dnnl_success ||
        !make_attributes(d, p, &attributes))
        return false;
    dnnl_primitive_desc_t desc = NULL;
    bool ok =
        d->dnnl_primitive_desc_create(&desc, &matmul, attributes, d->engine, NULL) == dnnl_success;
    // The primitive's description keeps its own copy.
    d->dnnl_primitive_attr_destroy(attributes);
    if (!ok)
        return false;
    s->scratchpad = *d->dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    ok = d->dnnl_primitive_create(&s->primitive, desc) == dnnl_success;
    d->dnnl_primitive_desc_destroy(desc);
    return ok;
}

// Shapes that were not made have no primitive.
static void release(void *library, void *prepared) {
    const Onednn *d = library;
    Prepared *p = prepared;
    for (int i = 0; i < 4; i++)
        if (p->shape[i].primitive)
            d->dnnl_primitive_destroy(p->shape[i].primitive);
    free(p);
}

// As in Prepared.shape: a tile that is not full is the last of its row or column.
static int shape_index(const Prepared *p, int64_t rows, int64_t columns) {
    return (rows != p->tile_m) * 2 + (columns != p->tile_n);
}

// Frees what prepare had made, and says why.
static PlimStatus refuse(Onednn *d, Prepared *out, PlimError *error, const PlanProduct *p,
                         const char *why) {
    release(d, out);
    return error_set(
        error, PLIM_MACHINE,
        "oneDNN can't compute a product of %lld x %lld x %lld as planned: %s; compile again on "
        "this machine, or with --target cpu",
        (long long)p->m, (long long)p->n, (long long)p->k, why);
}

static PlimStatus prepare(void *library, const PlanProduct *p, size_t workspace, void **out,
                          PlimError *error) {
    Onednn *d = library;
    Prepared *made = calloc(1, sizeof *made);
    if (!made)
        return error_set(error, PLIM_NO_MEMORY, "out of memory");
    made->tile_m = p->tile_m < p->m ? p->tile_m : p->m;
    made->tile_n = p->tile_n < p->n ? p->tile_n : p->n;
    // Of full tiles and of the last ones; 0 where the last is full, too.
    const int64_t rows[2] = {made->tile_m, p->m % made->tile_m};
    const int64_t columns[2] = {made->tile_n, p->n % made->tile_n};
    for (int i = 0; i < 4; i++) {
        TileShape *s = &made->shape[i];
        s->rows = rows[i >> 1];
        s->columns = columns[i & 1];
        if (s->rows == 0 || s->columns == 0)
            continue; // No such edge.
        if (!make_shape(d, p, s))
            return refuse(d, made, error, p, "the library has no code for it");
        // Another version of oneDNN may want more than the compiler's had asked for.
        if (d->dnnl_memory_desc_get_size(&s->scratchpad) > workspace)
            return refuse(d, made, error, p, "it wants more workspace than the plan has");
    }
    *out = made;
    return PLIM_OK;
}

// One tile on the calling worker: at are the addresses of its A, B and C.
static bool run(void *library, const void *prepared, const ProductTile *tile, void *const at[3],
                void *workspace) {
    const Onednn *d = library;
    if (d->omp_set_num_threads)
        d->omp_set_num_threads(1); // A per-thread setting, and a cheap call.
    const Prepared *p = prepared;
    const TileShape *s = &p->shape[shape_index(p, tile->rows, tile->columns)];
    const dnnl_memory_desc_t *desc[4] = {&s->a, &s->b, &s->c, &s->scratchpad};
    void *const address[4] = {at[0], at[1], at[2], workspace};
    const int name[4] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD};
    // Memory objects only wrap addresses; making them costs little next to a tile.
    dnnl_exec_arg_t argument[4];
    int made = 0;
    bool ok = true;
    // made counts those to destroy.
    for (; made < 4 && ok; made += ok) {
        argument[made].arg = name[made];
        ok = d->dnnl_memory_create(&argument[made].memory, desc[made], d->engine, address[made]) ==
             dnnl_success;
    }
    ok = ok && d->dnnl_primitive_execute(s->primitive, d->stream, 4, argument) == dnnl_success;
    for (int i = 0; i < made; i++)
        d->dnnl_memory_destroy(argument[i].memory);
    return ok;
}

const ProductLibraryOps product_onednn = {.open = open_library,
                                          .close = close_library,
                                          .prepare = prepare,
                                          .release = release,
                                          .run = run};

#endif
