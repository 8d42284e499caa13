// What a rung comes to: through the rest of the pipeline, as a plan for its entry alone.
#ifndef PLIM_PASSES_RETAIN_RETAIN_TRIAL_H
#define PLIM_PASSES_RETAIN_RETAIN_TRIAL_H

#include "passes/retain/retain_ladder.h"

// Above a limit a rung counts as not tried as soon as that is known. TRIAL_FITS: below it is packed
// no further than it takes to tell, so its bytes are some that will do; TRIAL_LEAST: they are what
// they would be without a limit.
typedef struct {
    TrialKind kind;
    uint64_t device, far; // bytes, 0: no limit
} RetainLimits;

typedef struct {
    uint64_t state; // of the device's: persistent bytes
    Plan *plan;     // goes with memory
    PlanMemory *memory;
    Arena *arena;
} RetainTrial;

// Fills in the rung. out: the plan, which is the caller's to release; NULL where nobody looks at
// it. False after diagnostics: then there is nothing to release.
bool retain_try(RetainLadder *l, RetainSpot s, RetainLimits limits, PassCtx *cx, RetainTrial *out);
void retain_trial_release(RetainTrial *t);

// Fills in some rungs, none of them the first of its row unless all are: side by side, which
// changes none of them.
bool retain_try_side_by_side(RetainLadder *l, const RetainSpot *s, int count, RetainLimits limits,
                             PassCtx *cx);

#endif
