// What the pass retain has to say.
#ifndef PLIM_PASSES_RETAIN_RETAIN_REPORT_H
#define PLIM_PASSES_RETAIN_RETAIN_REPORT_H

#include "passes/retain/retain_trial.h"

// P0801: no rung fits. least: the trial of the rung that stands in the way of fewer bytes; bound:
// no plan needs fewer.
bool retain_report_budget(PassCtx *cx, const RetainTrial *least, uint64_t bytes, uint64_t bound);

// Of the forward values that the backward pass reads.
typedef struct {
    int kept, again, moved, cut; // cut: into parts that differ
} RetainCounts;
RetainCounts retain_count(const RetainProblem *p, const RetainSchedule *s, Arena *scratch);

// What became of each forward value of notable size that the backward pass wants, and the price of
// the alternatives, for the variant that was taken.
void retain_report_values(PassCtx *cx, const RetainLadder *l, int variant);
// Where states may be far: what each choice of them comes to, as far as it was looked at.
void retain_report_states(PassCtx *cx, const RetainLadder *l, int variant);

#endif
