// Which buffers and instructions of two plans are the same, by name.
#ifndef PLIM_TOOLS_PLAN_MATCH_H
#define PLIM_TOOLS_PLAN_MATCH_H

#include "runtime/plan_uses.h"

// What has no counterpart has UINT32_MAX.
typedef struct {
    uint32_t *buffer_before; // by buffer of the plan after: its number before
    uint32_t *buffer_after;  // by buffer of the plan before: its number after
    // By entry of the plan after and position: the position before, in the entry of that name.
    uint32_t **step_before;
    uint32_t **step_after; // by entry of the plan before and position: UINT32_MAX or any number
    uint32_t kernel_new;   // kernels after whose code was not there before
    uint32_t kernel_gone;  // the other way round
    bool *kernel_is_new;   // by kernel after
} PlanMatch;

// Things of one name in one entry are paired in the order they stand in. Everything lies in pm;
// NULL when there is no memory. n log n.
PlanMatch *plan_match_new(const PlanUses *before, const PlanUses *after, PlanMemory *pm);

// The path by which a buffer is grouped: its scope, or its name, "h.0.mlp.c_fc.weight".
const char *plan_buffer_path(const PlanBuffer *b);

#endif
