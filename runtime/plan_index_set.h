// A set of small integers with fast neighbours: a bitmap with summaries, 64 to 1, above it.
#ifndef PLIM_RUNTIME_PLAN_INDEX_SET_H
#define PLIM_RUNTIME_PLAN_INDEX_SET_H

#include "runtime/plan.h"

enum { INDEX_SET_LEVELS = 6 };

typedef struct {
    uint64_t *bits[INDEX_SET_LEVELS]; // [0] the members; [i + 1] which words of [i] are not 0
    uint32_t levels;
    uint32_t limit; // members are below it
} IndexSet;

// An empty set. False when there is no memory.
bool index_set_init(IndexSet *s, uint32_t limit, PlanMemory *pm);
// member < limit, here and below.
void index_set_add(IndexSet *s, uint32_t member);
void index_set_remove(IndexSet *s, uint32_t member);
bool index_set_has(const IndexSet *s, uint32_t member);
// The next member above, the last member below; UINT32_MAX where there is none.
uint32_t index_set_above(const IndexSet *s, uint32_t member);
uint32_t index_set_below(const IndexSet *s, uint32_t member);

#endif
