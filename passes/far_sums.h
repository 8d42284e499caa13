// Sums over micro-batches that live in far memory, as whole gradients or in pieces.
#ifndef PLIM_PASSES_FAR_SUMS_H
#define PLIM_PASSES_FAR_SUMS_H

#include "passes/far_operands.h"

// Marks sums of at least so many bytes that updates in slices read. After weights that are met in
// tiles are chosen.
void far_sums_find(FarEntry *far, size_t least);
// Builds what is added to sums from n's results: where n stands, so that nothing waits for it. n is
// kept, or its results are made where they are read.
void far_sums_add(FarEntry *far, const Node *n);
// Whether n, a sum or what a norm makes of one, is built here in n's place. It is then.
bool far_sum_build(FarEntry *far, const Node *n);
// Operands of n that are such sums become whole copies in the device's memory.
void far_sums_fetch_inputs(FarEntry *far, Node *n);
// Whether v is such a sum.
bool far_sum_is(const FarEntry *far, const Value *v);
// That part of the sum, in the device's memory. far_sum_is(far, v).
Value *far_sum_slice(OperandCut *c, Value *v, const int64_t *start, const int64_t *stop);

#endif
