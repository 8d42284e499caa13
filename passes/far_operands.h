// The part of an operand that belongs to a slice of the node that reads it.
#ifndef PLIM_PASSES_FAR_OPERANDS_H
#define PLIM_PASSES_FAR_OPERANDS_H

#include "passes/far_entry.h"

typedef struct {
    FarEntry *far;
    const Node *n; // what is cut: an update, or what makes a gradient
    Builder b;     // of nodes that stand for n
} OperandCut;

// That part of v, an operand of c->n or of what makes one, in the device's memory. v as it is, but
// near, where it has another shape than c->n: a scalar.
Value *operand_slice(OperandCut *c, Value *v, const int64_t *start, const int64_t *stop);
// Rows start[0] to stop[0] of what maker makes, from what the whole would have been made of.
// tile_maker(maker), or a cast of what such a node makes.
Value *operand_make_rows(OperandCut *c, const Node *maker, const int64_t *start,
                         const int64_t *stop);
// What a scaled or widened gradient is made from; v itself where it is neither.
const Value *operand_unscaled(const FarEntry *far, const Value *v);
// Whether n adds to its first input, of the result's shape.
bool operand_has_summand(const Node *n);

#endif
