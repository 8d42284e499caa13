// From a packing to a lower one, down to the lowest where that can be found.
#ifndef PLIM_PASSES_MEMORY_PACK_LOWER_H
#define PLIM_PASSES_MEMORY_PACK_LOWER_H

#include "passes/memory/pack_portfolio.h"

// Searches until the height is enough, nothing lower is possible, or packing->work reaches work.
// Returns the proved lower bound of the height, at least bound, in grid steps.
uint64_t pack_lower(const PackProblem *p, uint64_t bound, uint64_t enough, int64_t work,
                    Packing *packing, Arena *a);
// Whether the problem is small enough for that.
bool pack_lower_fits(const PackProblem *p);

#endif
