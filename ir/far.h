// Far memory in graphs: which values are in it. A GPU's far memory is its host's, a CPU's a file.
//
// A value is far where `offload` made it, where it is a `state` node of a far state, where it is a
// sum that `accumulate` keeps there (far = 1), or where it is the reshape, slice, split or concat
// of far values. An update (sgd, momentum, adamw) whose operands are all far, but for constants, is
// computed where they are, by the processor whose memory that is, and leaves its results there. All
// others are in the device's memory.
#ifndef PLIM_IR_FAR_H
#define PLIM_IR_FAR_H

#include "ir/module.h"

// Of a value in a graph that graph_verify accepts. Cost: the views between it and what it looks at.
bool value_is_far(const Module *m, const Value *v);
// An `accumulate` whose sum is in far memory: it comes in, is added to, and goes out again.
bool node_sums_far(const Node *n);
// Operators whose results are far where their operands are.
bool node_keeps_far(const Node *n);
// Those of them that compute.
bool node_works_far(const Node *n);
// Whether a view of dense operands gives (slice, split) or fills (concat) one range of bytes an
// operand or result; true of all other operators.
bool node_is_one_range(const Node *n);

#endif
