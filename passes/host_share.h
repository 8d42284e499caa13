// How much of the updates of far state a GPU's host computes.
#ifndef PLIM_PASSES_HOST_SHARE_H
#define PLIM_PASSES_HOST_SHARE_H

#include "passes/pass.h"

// Every so many slices of the update the host should compute one, so that it takes no longer than
// the copies of the others. 1: all of them; 0: none, where there is no host. slice: bytes of the
// largest tensor in one slice.
int host_share(const PassCtx *cx, const Node *update, size_t slice);

#endif
