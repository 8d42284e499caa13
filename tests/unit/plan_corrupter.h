// What the kinds of corruption share: plan_corrupt.h is for those who use them.
#ifndef PLIM_TESTS_PLAN_CORRUPTER_H
#define PLIM_TESTS_PLAN_CORRUPTER_H

#include "plan_corrupt.h"

typedef struct {
    Plan *p;
    uint64_t random;
} Corrupter;

uint64_t corrupter_next(Corrupter *c);
uint32_t corrupter_below(Corrupter *c, uint32_t limit); // 0 to limit - 1

typedef bool (*InstrTest)(const Plan *p, const PlanInstr *instr);
// A random instruction that passes the test, and its segment. NULL where there is none.
PlanInstr *corrupter_pick(Corrupter *c, InstrTest test, PlanSegment **segment);

// Kinds of their own files. As all of them, they change one thing; false where nothing was changed.
bool corrupt_launch(Corrupter *c);
bool corrupt_map(Corrupter *c);
bool corrupt_joint(Corrupter *c);
bool corrupt_sum(Corrupter *c); // and signs the plan anew

#endif
