// What PyTorch's eager mode would reserve for a graph: its tensors, one operator after another,
// through the model of its caching allocator.
#ifndef PLIM_TESTS_BENCH_EAGER_RUN_H
#define PLIM_TESTS_BENCH_EAGER_RUN_H

#include "ir/module.h"
#include "tests/bench/caching_allocator.h"

typedef enum {
    EAGER_STEP_ONLY, // what a step allocates
    EAGER_WITH_STATE // parameters and optimizer state in the same allocator
} EagerScope;

// Runs three steps of the entry, which must be as passes before chunking and fusing leave it:
// operators of the model, gradients and updates, one micro-batch. Everything is in a.
CachingStats eager_run(const Module *m, const Graph *g, EagerScope scope, Arena *a);

#endif
