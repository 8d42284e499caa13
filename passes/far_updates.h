// Updates of far states, slice by slice.
#ifndef PLIM_PASSES_FAR_UPDATES_H
#define PLIM_PASSES_FAR_UPDATES_H

#include "passes/far_entry.h"

// Whether n is an update that reads far state, or a gradient that is never whole, and is read by
// commits alone. n's inputs are as they were: it was not kept.
bool far_update_is_sliced(const FarEntry *far, const Node *n);
// What n, if it is an update that could run in slices, is given as the gradient of its weight, before
// it is scaled; else NULL.
const Value *far_update_gradient(const FarEntry *far, const Node *n);
// Whether updates stand among the backward pass.
bool far_updates_are_fused(const FarEntry *far);
// Builds the update in slices; concats of what they give replace n's results. Those for far states
// are far. far_update_is_sliced(far, n).
void far_update_build(FarEntry *far, const Node *n);

#endif
