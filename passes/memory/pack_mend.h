// From a packing to a lower one by packing what sticks out again.
#ifndef PLIM_PASSES_MEMORY_PACK_MEND_H
#define PLIM_PASSES_MEMORY_PACK_MEND_H

#include "passes/memory/pack_portfolio.h"

// Lowers the packing until its height is enough or about that many steps are spent on it.
void pack_mend(const PackProblem *p, uint64_t enough, int64_t work, Packing *packing, Arena *a);

#endif
