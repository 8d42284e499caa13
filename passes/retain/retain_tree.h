// Schedules of a chain of blocks for every memory: which way each block takes, and which parts of
// the chain run again from what goes into them.
#ifndef PLIM_PASSES_RETAIN_RETAIN_TREE_H
#define PLIM_PASSES_RETAIN_RETAIN_TREE_H

#include "passes/retain/retain_block.h"
#include "passes/retain/retain_front.h"

// Adds about `rungs` schedules to the front; far: with ways that move values too.
void retain_tree(const RetainChain *c, const RetainBlock *block, bool far, int rungs,
                 RetainFront *front);

#endif
