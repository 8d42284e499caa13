// A head: the projection to classes, its bias if it has one, its cross entropy, and their gradients
// where the entry has them.
#ifndef PLIM_PASSES_HEAD_H
#define PLIM_PASSES_HEAD_H

#include "passes/pass.h"
#include "passes/rewrite.h"

enum { HEAD_SPEC_MAX = 3 * RANK_MAX + 8 };

typedef struct {
    Node *product;        // einsum(x [rows..., inner...], w) -> logits [rows..., classes]
    Node *entropy;        // cross_entropy(logits, target)
    Node *grad;           // cross_entropy_grad of it, or NULL
    const Value *dlogits; // its result as dx and dw read it; NULL where there is neither
    Node *dx, *dw;        // einsum or, for dw, einsum_add; NULL where nobody wants them
    Node *dbias;          // reduce_sum of the gradient over all rows, or NULL
    Value *x, *w;
    Value *bias;    // [classes], added to the product in every row, or NULL
    DType sum;      // type of product + bias, valid with bias
    Value *dw_base; // what dw is added to, or NULL
    int64_t rows, classes;
    int row_rank;         // leading axes of x that are rows
    int inner_rank;       // axes summed by the product
    int w_axis[RANK_MAX]; // by axis of w: which inner axis it is, or -1 for the classes
} Head;

// What finding heads reads: the graph as it is when users and uses were counted.
typedef struct {
    const Graph *g;
    const Users *users;
    const int *uses;
    Node *const *node;
    int node_count;
    uint32_t value_limit;
    Arena *scratch;
} HeadFinder;

// The head around a cross_entropy, if nobody outside of it reads what it would not hold.
bool head_find(const HeadFinder *f, Node *entropy, Head *out);

// The products over flattened rows: (x, w) -> logits, (dlogits, w) -> dx, (dlogits, x) -> dw.
typedef enum { HEAD_LOGITS, HEAD_DX, HEAD_DW } HeadProduct;
void head_spec(const Head *h, HeadProduct product, char spec[HEAD_SPEC_MAX]);

#endif
