// Which library computes which product; the shapes of tiles. The libraries themselves are behind
// ProductLibraryOps (product_onednn.c, product_openblas.c).
//
// A product's work is cut into batch x rows x columns tiles of fixed size, the last of each row and
// column smaller: the same tiles whatever the number of workers, each computed by one library call
// on one thread. So results do not depend on the number of threads, and the library's own threads
// are never used.
#include "runtime/product.h"

#include "runtime/error.h"
#include "runtime/product_library.h"

#include <stdio.h>
#include <stdlib.h>

struct ProductTable {
    const Plan *plan;
    uint32_t *of_kernel;                  // by kernel index: product row or UINT32_MAX
    const ProductLibraryOps **ops;        // by product row
    void **prepared;                      // by product row: the library's own object
    void *library[PRODUCT_LIBRARY_COUNT]; // by PlanProduct.library; NULL until a product needs it
};

// By PlanProduct.library.
static const ProductLibraryOps *const library_table[PRODUCT_LIBRARY_COUNT] = {
    [PRODUCT_LIBRARY_ONEDNN] = &product_onednn, [PRODUCT_LIBRARY_OPENBLAS] = &product_openblas};

// Opens the row's library where it is the first to need it.
static PlimStatus prepare_row(ProductTable *t, uint32_t row, PlimError *error) {
    const PlanProduct *p = &t->plan->product[row];
    const ProductLibraryOps *ops =
        p->library < PRODUCT_LIBRARY_COUNT ? library_table[p->library] : NULL;
    if (!ops) {
        return error_set(error, PLIM_BAD_PLAN, "damaged plan: product %u names no library", row);
    }
    if (!t->library[p->library]) {
        const PlimStatus status =
            // isa: what the library may use, where it can be told.
            ops->open(t->plan->isa ? t->plan->isa : "", &t->library[p->library], error);
        if (status != PLIM_OK)
            return status;
    }
    t->ops[row] = ops;
    t->of_kernel[p->kernel] = row;
    return ops->prepare(t->library[p->library], p, (size_t)t->plan->kernel[p->kernel].workspace,
                        &t->prepared[row], error);
}

PlimStatus product_table_new(const Plan *p, ProductTable **out, PlimError *error) {
    ProductTable *t = calloc(1, sizeof *t);
    // One more below: calloc of nothing may give NULL.
    const size_t rows = p->product_count;
    if (t) {
        t->plan = p;
        t->of_kernel = malloc(((size_t)p->kernel_count + 1) * sizeof *t->of_kernel);
        t->ops = calloc(rows + 1, sizeof *t->ops);
        t->prepared = calloc(rows + 1, sizeof *t->prepared);
    }
    if (!t || !t->of_kernel || !t->ops || !t->prepared) {
        product_table_release(t);
        return error_set(error, PLIM_NO_MEMORY, "out of memory");
    }
    for (uint32_t i = 0; i < p->kernel_count; i++)
        t->of_kernel[i] = UINT32_MAX;
    for (uint32_t i = 0; i < p->product_count; i++) {
        const PlimStatus status = prepare_row(t, i, error);
        if (status != PLIM_OK) {
            product_table_release(t);
            return status;
        }
    }
    *out = t;
    return PLIM_OK;
}

void product_table_release(ProductTable *t) {
    if (!t)
        return;
    for (uint32_t i = 0; t->prepared && i < t->plan->product_count; i++)
        // Rows behind the one that failed were never made.
        if (t->prepared[i])
            t->ops[i]->release(t->library[t->plan->product[i].library], t->prepared[i]);
    for (uint32_t i = 1; i < PRODUCT_LIBRARY_COUNT; i++)
        if (t->library[i])
            library_table[i]->close(t->library[i]);
    free(t->prepared);
    free(t->ops);
    free(t->of_kernel);
    free(t);
}

uint32_t product_of_kernel(const ProductTable *t, uint32_t kernel) {
    return t->of_kernel[kernel];
}

ProductTile product_tile(const PlanProduct *p, int64_t tile) {
    // Tiles along a row of C and down its columns, the last ones smaller.
    const int64_t across = (p->n + p->tile_n - 1) / p->tile_n;
    const int64_t down = (p->m + p->tile_m - 1) / p->tile_m;
    const int64_t batch = tile / (across * down);
    ProductTile out = {
        .batch = {batch / p->batch[1], batch % p->batch[1]},
        .m = tile / across % down * p->tile_m,
        .n = tile % across * p->tile_n,
    };
    // What is left of C at the lower and right edge.
    out.rows = p->m - out.m < p->tile_m ? p->m - out.m : p->tile_m;
    out.columns = p->n - out.n < p->tile_n ? p->n - out.n : p->tile_n;
    return out;
}

void product_tile_operands(const PlanProduct *p, const ProductTile *tile, void *const *operand,
                           void *at[3]) {
    // Element of A [b, m, k], B [b, k, n] and C [b, m, n] at the tile's corner; the depth k is
    // never cut.
    const int64_t first[3] = {
        tile->batch[0] * p->a_stride[0] + tile->batch[1] * p->a_stride[1] +
            tile->m * p->a_stride[2],
        tile->batch[0] * p->b_stride[0] + tile->batch[1] * p->b_stride[1] +
            tile->n * p->b_stride[3],
        tile->batch[0] * p->c_stride[0] + tile->batch[1] * p->c_stride[1] +
            tile->m * p->c_stride[2] + tile->n * p->c_stride[3],
    };
    const PlanDType dtype[3] = {p->a, p->b, p->c};
    for (int i = 0; i < 3; i++)
        at[i] = (char *)operand[i] + first[i] * (int64_t)plan_dtype_bytes(dtype[i]);
}

bool product_run(const ProductTable *t, uint32_t row, void *const *operand, int64_t begin,
                 int64_t end, void *workspace) {
    const PlanProduct *p = &t->plan->product[row];
    for (int64_t i = begin; i < end; i++) {
        const ProductTile tile = product_tile(p, i);
        void *at[3];
        product_tile_operands(p, &tile, operand, at);
        if (!t->ops[row]->run(t->library[p->library], t->prepared[row], &tile, at, workspace))
            return false;
    }
    return true;
}
