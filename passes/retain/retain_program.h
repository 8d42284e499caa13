// The integer program of one block: what to keep, make again and move within a row of memory.
#ifndef PLIM_PASSES_RETAIN_RETAIN_PROGRAM_H
#define PLIM_PASSES_RETAIN_RETAIN_PROGRAM_H

#include "passes/retain/retain_closure.h"

// Adds the best ways for a ladder of memories to the blocks told, which have some already. Returns
// how many programs failed.
int retain_programs(const RetainChain *c, RetainWays options, const int *which, int count,
                    RetainBlock *block, Arena *a);

// Picoseconds of copies each way that the block has time for: its part of the tasks' time by what
// it could move.
int64_t retain_copies_out(const RetainChain *c, int block);
int64_t retain_copies_in(const RetainChain *c, int block);

#endif
