// The index space of a scalar kernel: which axes it walks, and where each operand's axes lie in it.
#ifndef PLIM_PASSES_LOWER_SPACE_H
#define PLIM_PASSES_LOWER_SPACE_H

#include "ir/op.h"

// The shape whose axes the node's kernel walks, in order.
const Type *node_space(const Node *n);
// The axis of the space that axis `axis` of an operand follows (inputs first, then results), or -1:
// the operand does not follow the space (taken by source).
int node_space_axis(const Node *n, int operand, int axis);

// A reduce over leading axes (COLUMNS) or trailing ones (ROWS). The inner axes are walked as one.
typedef struct {
    KernelAxis axis;
    int outer_count, inner_count;
    int outer[RANK_MAX], inner[RANK_MAX]; // axes of the operand
} ReduceForm;
ReduceForm reduce_form(const Node *n);
// The axis order of a copy that can be walked so.
void reduce_copy_order(const ReduceForm *form, int *order);

#endif
