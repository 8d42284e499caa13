// A small plan with one of everything: two streams and events, a repeated segment with accumulators
// and an input by slot, work in place, views, states, workspace, a product, fills and copies, two
// entries.
#ifndef PLIM_TESTS_PLAN_SAMPLE_H
#define PLIM_TESTS_PLAN_SAMPLE_H

#include "runtime/plan.h"

// Gives a plan live ranges from its accesses, places by first fit, loads and signatures. False
// without memory or when plan_sign refuses.
bool plan_complete(Plan *p);
// The sample (sample.plan), completed. NULL where anything fails.
Plan *plan_sample(PlanMemory *pm);
// The same computation with a space beside the device's, on three streams as moves have them:
// states, and an activation, that are copied out and in again (far.plan). For a GPU.
Plan *plan_sample_far(PlanMemory *pm);
// Moves to disk and back in which every wait is needed (moves.plan). For the CPU.
Plan *plan_sample_moves(PlanMemory *pm);
// Another such file, completed.
Plan *plan_sample_file(PlanMemory *pm, const char *path);
// The same with collectives of one rank (ranks.plan).
Plan *plan_sample_ranks(PlanMemory *pm);
// The same with results of one kernel, and of two, that lie row between row (rows.plan).
Plan *plan_sample_rows(PlanMemory *pm);
// The sample's binary form, for the caller to free. NULL where anything fails.
uint8_t *plan_sample_bytes(size_t *size);
// Makes the digest at the end right again after a change of the bytes.
void plan_set_digest(uint8_t *bytes, size_t size);
// A chain of count instructions, each reading the two values before and a state: for timing.
Plan *plan_chain(PlanMemory *pm, uint32_t count);

#endif
