// Several greedy packings: the first answer to a packing problem.
#ifndef PLIM_PASSES_MEMORY_PACK_PORTFOLIO_H
#define PLIM_PASSES_MEMORY_PACK_PORTFOLIO_H

#include "passes/memory/pack_problem.h"

// A packing of one problem, in grid steps.
typedef struct {
    uint64_t *offset; // by part
    uint64_t height;
    const char *how;
    int64_t work; // steps spent on it so far
    int try_count;
    PackTry tried[PACK_TRIES_MAX]; // heights in grid steps
} Packing;

// Tries one order after the other until the height is enough or the work is spent; the first order
// always runs.
void pack_portfolio(const PackProblem *p, uint64_t enough, int64_t work, Packing *out, Arena *a);
// Notes that a way was tried, and takes its offsets where they are lower.
void packing_offer(Packing *packing, const PackProblem *p, const char *name, uint64_t height,
                   const uint64_t *offset);

#endif
