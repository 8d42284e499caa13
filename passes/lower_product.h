// An einsum as a batched matrix product.
#ifndef PLIM_PASSES_LOWER_PRODUCT_H
#define PLIM_PASSES_LOWER_PRODUCT_H

#include "ir/op.h"
#include "passes/place.h"

typedef struct {
    ProductKernel kernel; // shape and strides; library, tiles and workspace are product_choose's
    bool swapped;         // operand 0 is the einsum's second operand
} ProductForm;

// Index of the first factor among the node's inputs: 0, or 1 where a base comes first.
int product_first_input(const Node *n);
// False where the letters of a class can't be walked as one with these strides.
bool product_form(const Node *n, const Place *a, const Place *b, const Place *c, ProductForm *out);
// Whether an einsum_add that is marked `row` has a summand that a GPU's library can add as one: it
// walks with c along n, dense, and stands still along m, of one matrix.
bool product_takes_row(const Node *n, const ProductForm *form, const Place *summand,
                       const Place *c);
// What must be copied for product_form to hold: bit 0 a, bit 1 b, bit 2 c; the fewest bytes.
unsigned product_copies(const Node *n, const Place *a, const Place *b, const Place *c);
// The axis order of such a copy: operand 0 a, 1 b, 2 c.
void product_copy_order(const Node *n, int operand, int *order);

// What products may be computed by.
typedef struct {
    bool onednn, openblas, bf16;
    bool cublaslt; // then no other
} ProductLibraries;
// Chooses library, tiles and workspace.
void product_choose(ProductKernel *p, ProductLibraries have);

#endif
