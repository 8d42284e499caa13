// Schedules of a chain of blocks for every memory: which way each block takes, and which parts of
// the chain run again from what goes into them.
#ifndef PLIM_PASSES_RETAIN_RETAIN_TREE_H
#define PLIM_PASSES_RETAIN_RETAIN_TREE_H

#include "passes/retain/retain_block.h"
#include "passes/retain/retain_front.h"

typedef struct RetainTree RetainTree;

// What a second of copies costs where the dynamic program chooses; what it really costs is
// measured.
typedef enum {
    RETAIN_STAY,  // nothing moves
    RETAIN_SHARE, // nothing up to a block's fair share of the tasks' time, itself beyond it
    RETAIN_PRICE  // a price, from nothing at the first block to twice the one told at the last
} RetainCopies;

typedef enum {
    RETAIN_OF_WAYS, // values of blocks that run once
    RETAIN_OF_PARTS // and what goes into parts of the chain that run again
} RetainMoves;

typedef struct {
    RetainCopies copies;
    RetainMoves what;
    double price; // of RETAIN_PRICE, seconds a second
    int movers;   // the first so many blocks may move values; 0: all
} RetainTerms;

// Solves what doesn't depend on terms: everything that runs again. Everything lives in a.
RetainTree *retain_tree(const RetainChain *c, const RetainBlock *block, Arena *a);
// Adds about `rungs` schedules to the front.
void retain_tree_add(RetainTree *x, RetainTerms terms, int rungs, RetainFront *front);

#endif
