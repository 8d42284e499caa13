// Layouts of others: items sorted by size or by how long they live, each put into the smallest gap
// that has room for it.
#ifndef PLIM_TESTS_BENCH_BEST_FIT_H
#define PLIM_TESTS_BENCH_BEST_FIT_H

#include "passes/memory/pack.h"

typedef enum {
    BEST_FIT_SIZE, // larger first: TFLite's greedy by size (arXiv 2001.03288), XLA's spatial order
    BEST_FIT_TIME  // longer first: XLA's temporal order
} BestFitRule;

// Sets every offset; returns the height.
uint64_t best_fit(PackItem *item, int count, BestFitRule rule, Arena *scratch);

#endif
