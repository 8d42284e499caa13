// Under a budget: what to keep for the backward pass, what to compute again, what to move away.
//
// On a ladder of rungs, of rising time, that depends on no budget (retain_ladder.h), the first one
// is taken whose final arenas fit. Each is judged by the rest of the pipeline on a copy, so
// in-place results, workspaces and what packing loses are all seen. A larger budget lets every rung
// through that a smaller one does, so more memory never gives a slower plan.
//
// Where none fits, that is P0801: with the least that a rung reached, a bound that no plan goes
// below, and what is live at the peak. Entries without a backward pass have no choice; they are
// only checked. Without --budget or --far nothing is done.
//
// On exit: nodes stand in the order of the schedule; every value has the bits it had. Cost: the
// solver, and for every rung tried the rest of the pipeline.
#include "passes/pass.h"

#include "passes/retain/retain_bound.h"
#include "passes/retain/retain_report.h"

static bool fits(const PassCtx *cx, const RetainTrial *t) {
    const uint64_t budget = cx->options->budget, far = cx->options->far_bytes;
    return (!budget || t->bytes[SPACE_DEVICE] <= budget) &&
           (!far || (t->bytes[SPACE_HOST] <= far && t->bytes[SPACE_DISK] <= far));
}

// One line a rung, for who wants to see what there is to choose from.
static void tell_rung(PassCtx *cx, const RetainLadder *l, const RetainRung *r,
                      const RetainTrial *t) {
    const RetainVariant *v = &l->variant[r->variant];
    for (int e = 0; e < v->m->entry_count; e++) {
        if (!v->graph[e])
            continue;
        const RetainCounts n =
            retain_count(&v->graph[e]->problem, &retain_rung_point(l, r, e)->schedule, cx->scratch);
        remark_add(cx, "frontier", v->m->entry[e]->name,
                   "%llu bytes, %.3f ms predicted: of values the backward pass reads %d kept, %d "
                   "computed again, %d moved, %llu bytes far",
                   (unsigned long long)t->bytes[SPACE_DEVICE],
                   1e-9 * (double)retain_rung_point(l, r, e)->cost.time, n.kept, n.again, n.moved,
                   (unsigned long long)(t->bytes[SPACE_HOST] + t->bytes[SPACE_DISK]));
    }
}

// The first rung that fits, NULL where none does; then *least is the one that needs fewest bytes.
// False after diagnostics.
static bool walk(PassCtx *cx, RetainLadder *l, const RetainRung **taken, RetainTrial *least) {
    *taken = NULL;
    for (int i = 0; i < l->rung_count; i++) {
        RetainTrial t;
        if (*taken && !cx->options->frontier)
            break;
        if (!retain_try(l, &l->rung[i], cx, &t))
            return false;
        if (cx->options->frontier)
            tell_rung(cx, l, &l->rung[i], &t);
        if (!*taken && fits(cx, &t))
            *taken = &l->rung[i];
        if (!least->plan || t.bytes[SPACE_DEVICE] < least->bytes[SPACE_DEVICE]) {
            retain_trial_release(least);
            *least = t;
        } else {
            retain_trial_release(&t);
        }
    }
    return true;
}

PassResult pass_retain(Module *m, PassCtx *cx) {
    if (!cx->options->budget && !cx->options->far && !cx->options->frontier)
        return PASS_SAME;
    RetainLadder *l = retain_ladder(m, cx);
    if (l->rung_count == 0)
        return PASS_SAME;
    const RetainRung *taken;
    RetainTrial least = {0};
    PassResult result = PASS_FAILED;
    const bool walked = walk(cx, l, &taken, &least);
    if (taken) {
        retain_report_values(cx, l, taken);
        result = retain_take(l, taken, m, cx);
    } else if (walked) {
        retain_report_budget(cx, &least, retain_bound(l, cx));
    }
    retain_trial_release(&least);
    return result;
}
