// Reverse-mode differentiation inside one graph: what autodiff and the language's grad share.
#ifndef PLIM_IR_REVERSE_H
#define PLIM_IR_REVERSE_H

#include "ir/build.h"

// Where to differentiate.
typedef struct {
    Graph *g;
    Diag *diag;
    Arena *scratch;    // for tables by value id: may be reset after the call
    Node *const *node; // the nodes to go back through, operands before users; all of them in g
    int node_count;
    Phase phase;       // of the nodes that are made
    int operators_max; // of g: the walk stops beyond; 0: no limit
} Reverse;

typedef enum {
    REVERSE_DONE,
    REVERSE_FAILED, // after P0550: an operator in between has no gradient rule
    REVERSE_LIMIT   // g has more than operators_max nodes; nothing was said
} ReverseResult;

// Appends to g the gradients of seed * (the sum of y's elements). out[i] gets that of x[i], in
// x[i]'s type, or NULL where y does not depend on x[i] smoothly: through floats, not behind stop or
// sign. loc is where the first gradient is said to come from.
ReverseResult reverse_gradients(const Reverse *r, Loc loc, Value *y, double seed, Value *const *x,
                                int count, Value **out);

#endif
