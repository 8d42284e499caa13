// One packing from one order: every part as low as it can lie above what came before.
#ifndef PLIM_PASSES_MEMORY_PACK_GREEDY_H
#define PLIM_PASSES_MEMORY_PACK_GREEDY_H

#include "passes/memory/pack_problem.h"

typedef struct PackGreedy PackGreedy;

PackGreedy *pack_greedy_create(const PackProblem *p, Arena *a);
// Packs in that order of parts; offset[part] in grid steps. Fixed parts go first, whatever the
// order says. Returns the height.
uint64_t pack_greedy_run(PackGreedy *g, const int32_t *order, uint64_t *offset);
// Steps spent by all runs so far.
int64_t pack_greedy_work(const PackGreedy *g);

#endif
