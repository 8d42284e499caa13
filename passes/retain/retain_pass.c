// Under a budget: what to keep for the backward pass, what to compute again, what to move away.
//
// On a ladder of rungs, of rising time, that depends on no budget (retain_ladder.h), the first one
// is taken whose final arenas fit. Each is judged by the rest of the pipeline on a copy, so
// in-place results, workspaces and what packing loses are all seen. Rungs whose floor lies above
// the budget are passed over: what the solver says they need, at the offset that the first rung of
// the variant has from its final load, less a 16th. A floor depends on no budget either, and a
// rung counts as needing its floor at least. So a larger budget lets every rung through that a
// smaller one does, and more memory never gives a slower plan.
//
// Where none fits, that is P0801: with the least that a rung reached, a bound that no plan goes
// below, and what is live at the peak. Entries without a backward pass have no choice; they are
// only checked. Without --budget, --far or --frontier nothing is done.
//
// A variant is solved only once its first rung is found not to do. A rung whose load is above the
// budget is not packed, and one that a little packing makes fit is packed no further: neither
// changes what is taken. Where none fits, those that may need least are tried again in full.
//
// On exit: nodes stand in the order of the schedule; every value has the bits it had. Cost: the
// solver, and for every rung tried the rest of the pipeline: mostly two or three.
#include "passes/pass.h"

#include "passes/retain/retain_bound.h"
#include "passes/retain/retain_report.h"

#include <string.h>

enum { FLOOR_SLACK = 16 };

typedef struct {
    PassCtx *cx;
    RetainLadder *l;
    int taken;         // the first rung that fits, -1: none so far
    RetainTrial least; // of those tried: the one that needs fewest bytes of the device
} Walk;

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
        const RetainPoint *p = retain_rung_point(l, r, e);
        const RetainCounts n = retain_count(&v->graph[e]->problem, &p->schedule, cx->scratch);
        remark_add(cx, "frontier", v->m->entry[e]->name,
                   "%14llu bytes %12.3f ms %5d kept %5d computed again %5d moved %14llu bytes far",
                   (unsigned long long)t->bytes[SPACE_DEVICE], 1e-9 * (double)p->cost.time, n.kept,
                   n.again, n.moved,
                   (unsigned long long)(t->bytes[SPACE_HOST] + t->bytes[SPACE_DISK]));
    }
}

// What the solver says of the rung's entries: the one that needs most.
static int64_t solver_bytes(const RetainLadder *l, const RetainRung *r) {
    const RetainVariant *v = &l->variant[r->variant];
    int64_t most = 0;
    for (int e = 0; e < v->m->entry_count; e++)
        if (v->graph[e] && retain_rung_point(l, r, e)->cost.bytes > most)
            most = retain_rung_point(l, r, e)->cost.bytes;
    return most;
}

// Tries a rung and remembers what it came to. False after diagnostics.
static bool try_rung(Walk *w, int rung, RetainTrialKind kind, uint64_t floor) {
    RetainRung *r = &w->l->rung[rung];
    RetainTrial t;
    if (!retain_try(w->l, r, kind, w->cx, &t))
        return false;
    r->tried = t.whole;
    memcpy(r->least, t.load, sizeof r->least);
    if (r->point == 0)
        w->l->variant[r->variant].offset = (int64_t)t.load[SPACE_DEVICE] - solver_bytes(w->l, r);
    if (w->cx->options->frontier)
        tell_rung(w->cx, w->l, r, &t);
    if (t.bytes[SPACE_DEVICE] < floor)
        t.bytes[SPACE_DEVICE] = floor;
    if (w->taken < 0 && t.whole && fits(w->cx, &t))
        w->taken = rung;
    if (!t.whole) {
        retain_trial_release(&t);
    } else if (!w->least.plan || t.bytes[SPACE_DEVICE] < w->least.bytes[SPACE_DEVICE]) {
        retain_trial_release(&w->least);
        w->least = t;
    } else {
        retain_trial_release(&t);
    }
    return true;
}

// Bytes that the rung counts as needing at least, from the first rung of its variant, which was
// tried.
static uint64_t floor_of(const Walk *w, const RetainRung *r) {
    const int64_t bytes = solver_bytes(w->l, r) + w->l->variant[r->variant].offset;
    return r->point > 0 && bytes > 0 ? (uint64_t)(bytes - bytes / FLOOR_SLACK) : 0;
}

// The first rung of a variant is tried before its others, so their floors are known. False after
// diagnostics.
static bool walk(Walk *w) {
    RetainLadder *l = w->l;
    const uint64_t budget = w->cx->options->budget;
    const bool all = w->cx->options->frontier;
    const RetainTrialKind kind = all ? RETAIN_NO_LIMITS : RETAIN_LIMITS;
    for (int i = 0; i < l->rung_count && (w->taken < 0 || all); i++) {
        const uint64_t floor = floor_of(w, &l->rung[i]);
        if ((all || !budget || floor <= budget) && !try_rung(w, i, kind, floor))
            return false;
        if (w->taken < 0 || all)
            retain_ladder_solve(l, l->rung[i].variant, w->cx);
    }
    // None fits: which needs least? The last ones, most likely.
    for (int i = l->rung_count - 1; i >= 0 && w->taken < 0; i--) {
        const RetainRung *r = &l->rung[i];
        const uint64_t floor = floor_of(w, r), load = r->least[SPACE_DEVICE];
        const uint64_t needs = floor > load ? floor : load;
        if (!r->tried && (!w->least.plan || needs < w->least.bytes[SPACE_DEVICE]) &&
            !try_rung(w, i, RETAIN_NO_LIMITS, floor))
            return false;
    }
    return true;
}

// A GPU moves to its host's memory, a CPU to a file.
static bool check_far(PassCtx *cx) {
    const char *asked = cx->options->far_kind;
    const bool gpu = cx->options->gpu.count > 0;
    const char *has = gpu ? "host" : "disk";
    if (!cx->options->far || !asked || strcmp(asked, has) == 0)
        return true;
    diag_error(cx->diag, (Loc){0}, 808, "a %s's far memory is %s, not %s", gpu ? "GPU" : "CPU", has,
               asked);
    diag_help(cx->diag, "say --far %s", has);
    return false;
}

PassResult pass_retain(Module *m, PassCtx *cx) {
    if (!check_far(cx))
        return PASS_FAILED;
    if (!cx->options->budget && !cx->options->far && !cx->options->frontier)
        return PASS_SAME;
    Walk w = {.cx = cx, .l = retain_ladder(m, cx), .taken = -1};
    if (w.l->rung_count == 0)
        return PASS_SAME;
    PassResult result = PASS_FAILED;
    const bool walked = walk(&w);
    if (w.taken >= 0) {
        const RetainRung *taken = &w.l->rung[w.taken];
        retain_report_values(cx, w.l, taken);
        result = retain_take(w.l, taken, m, cx);
    } else if (walked) {
        retain_report_budget(cx, &w.least, retain_bound(w.l, cx));
    }
    retain_trial_release(&w.least);
    return result;
}
