// What a product library must offer to product.c.
#ifndef PLIM_RUNTIME_PRODUCT_LIBRARY_H
#define PLIM_RUNTIME_PRODUCT_LIBRARY_H

#include "runtime/plan.h"

// Values of PlanProduct.library.
enum { PRODUCT_LIBRARY_ONEDNN = 1, PRODUCT_LIBRARY_OPENBLAS = 2, PRODUCT_LIBRARY_COUNT = 3 };

// One tile: first row and column, and how many.
typedef struct {
    int64_t batch[2];
    int64_t m, n, rows, columns;
} ProductTile;

typedef struct {
    // Opens the library, held to the plan's instruction sets (Plan.isa) where it would choose by
    // machine. PLIM_MACHINE with a sentence where it is missing or can't be held to them.
    PlimStatus (*open)(const char *isa, void **library, PlimError *error);
    void (*close)(void *library);
    // Everything one product needs; workspace is what the plan grants a worker, in bytes. *out is
    // released by release. PLIM_MACHINE where the library can't compute it so.
    PlimStatus (*prepare)(void *library, const PlanProduct *p, size_t workspace, void **out,
                          PlimError *error);
    void (*release)(void *library, void *prepared);
    // at: addresses of the tile's part of a, b and c.
    bool (*run)(void *library, const void *prepared, const ProductTile *tile, void *const at[3],
                void *workspace);
} ProductLibraryOps;

extern const ProductLibraryOps product_onednn;
extern const ProductLibraryOps product_openblas;

// Tile number tile of a product, in the order of PlanKernel.tiles: batch, then rows, then columns.
ProductTile product_tile(const PlanProduct *p, int64_t tile);
// Where the tile begins in a, b and c, whose base addresses are operand[0..2].
void product_tile_operands(const PlanProduct *p, const ProductTile *tile, void *const *operand,
                           void *at[3]);

#endif
