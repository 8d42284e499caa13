// Matrix products through a library, one tile at a time.
//
// The library is opened when a plan names it, never linked, so that a program without products
// needs none and a missing library is a sentence. Everything that can fail is done before the first
// step.
#ifndef PLIM_RUNTIME_PRODUCT_H
#define PLIM_RUNTIME_PRODUCT_H

#include "runtime/plan.h"

typedef struct ProductTable ProductTable;

// Prepares every product of the plan. PLIM_MACHINE where the library is missing or wants more
// workspace than the plan states. An empty table where the plan has no library product. The plan
// must outlive the table.
PlimStatus product_table_new(const Plan *p, ProductTable **out, PlimError *error);
void product_table_release(ProductTable *t); // NULL is allowed

// The Plan.product row of a kernel, or UINT32_MAX.
uint32_t product_of_kernel(const ProductTable *t, uint32_t kernel);

// Computes tiles [begin, end) of a product row; operand is {a, b, c}; workspace is this worker's.
// False where the library failed. Any thread.
bool product_run(const ProductTable *t, uint32_t row, void *const *operand, int64_t begin,
                 int64_t end, void *workspace);

#endif
