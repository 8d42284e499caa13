// Under a budget: what to keep for the backward pass, what to compute again, what to move away.
//
// Of the variants of the module that are worth having (retain_ladder.h) the one is taken whose
// predicted time is least, each of its entries with its fastest rung whose final arenas fit. A rung
// is judged by the rest of the pipeline on a copy, so in-place results, workspaces and what packing
// loses are all seen. The walk looks at the variant that may be the fastest, as far as is known,
// and at an entry of it whose rung was not tried: that fits, or the entry moves on to its next one.
// Rungs whose floor lies above the budget are passed over: what the solver says they need, at the
// offset that the first rung of the row has from its final load, less a 16th. A floor depends on no
// budget either, and a rung counts as needing its floor at least. So a larger budget lets every
// rung through that a smaller one does, and more memory never gives a slower plan.
//
// Where none fits, that is P0801: with the least that rungs within the limit of far memory reach, a
// bound that no plan goes below, and what is live at the peak. Entries without a backward pass have
// one rung. Without --budget, --far or --frontier nothing is done.
//
// Variants with more and more in far memory are made as long as one may be faster than the fastest
// known: what is certain is what the operators of their micro-batches take, and, behind those, the
// copies of the optimizer's states.
//
// An entry is solved only once its first rung is found not to do. A rung whose load is above the
// budget is not packed, and one that a little packing makes fit is packed no further: neither
// changes what is taken. Where none fits, those that may need least are tried again in full.
//
// On exit: nodes stand in the order of the schedule; every value has the bits it had. Cost: the
// solver, and for every rung tried the rest of the pipeline: mostly two or three an entry.
#include "passes/pass.h"

#include "ir/fork_join.h"
#include "passes/retain/retain_bound.h"
#include "passes/retain/retain_report.h"
#include "passes/retain/retain_trial.h"

#include <string.h>

// NEXT_MAX: rungs that are tried at a time, at most. NEXT_TOLD: the same where all are told of, and
// the first of them may make the others needless.
enum { NEXT_MAX = 4, NEXT_TOLD = 2 };

typedef struct {
    PassCtx *cx;
    RetainLadder *l;
} RetainWalk;

// The least that was found, and which rung stands in the way of less; bytes is UINT64_MAX where
// there is none.
typedef struct {
    uint64_t bytes;
    RetainSpot spot;
} RetainLeast;

static bool is_far_enough(const PassCtx *cx, const RetainRung *r) {
    const uint64_t far = cx->options->far_bytes;
    return !far || (r->bytes[SPACE_HOST] <= far && r->bytes[SPACE_DISK] <= far);
}

static bool fits(const PassCtx *cx, const RetainRung *r) {
    const uint64_t budget = cx->options->budget;
    return r->tried && (!budget || r->bytes[SPACE_DEVICE] <= budget) && is_far_enough(cx, r);
}

// Of the variants made so far the one that takes least time with every entry at the fastest rung
// that may do; -1: none is left that may do.
static int find_fastest_made(const RetainLadder *l, int64_t *fastest) {
    int64_t least = INT64_MAX;
    int best = -1;
    for (int i = 0; i < l->variant_count; i++) {
        const RetainVariant *v = &l->variant[i];
        int64_t time = v->entry ? 0 : INT64_MAX;
        for (int e = 0; e < v->m->entry_count && time < INT64_MAX; e++) {
            const RetainEntry *x = &v->entry[e];
            time =
                x->at < x->frontier.count ? time + x->frontier.point[x->at].cost.time : INT64_MAX;
        }
        if (time < least) {
            least = time;
            best = i;
        }
    }
    *fastest = least;
    return best;
}

// The same of all that there can be.
static int find_fastest(const RetainWalk *w) {
    int64_t time;
    int best;
    do
        best = find_fastest_made(w->l, &time);
    while (retain_ladder_grow(w->l, time, w->cx));
    return best;
}

// The first entry of the variant whose rung is not known to fit, -1: all fit.
static int find_open(const RetainWalk *w, const RetainVariant *v) {
    for (int e = 0; e < v->m->entry_count; e++)
        if (!fits(w->cx, &v->entry[e].rung[v->entry[e].at]))
            return e;
    return -1;
}

// Whether it is worth a trial under these limits.
static bool is_open(const PassCtx *cx, const RetainEntry *e, int point, RetainLimits limits) {
    const RetainRung *r = &e->rung[point];
    const uint64_t floor = retain_floor(e, point), known = r->bytes[SPACE_DEVICE];
    return !r->tried && is_far_enough(cx, r) &&
           (!limits.device || (floor <= limits.device && known <= limits.device));
}

static RetainLimits limits_of(const RetainWalk *w) {
    return (RetainLimits){TRIAL_FITS, w->cx->options->budget, w->cx->options->far_bytes};
}

// The first rungs of a variant's entries, and beside them an entry that most likely has to be
// solved.
typedef struct {
    const RetainWalk *w;
    int count;
    const RetainSpot *spot;
    RetainEntry *solve; // NULL: none
    Arena *a;           // for it
    bool good;
} FirstTrials;

static void try_or_solve(void *trials, int index) {
    FirstTrials *t = trials;
    if (index == 0)
        t->good = retain_try_side_by_side(t->w->l, t->spot, t->count, limits_of(t->w), t->w->cx);
    else
        retain_ladder_solve_ahead(t->solve, t->w->cx->options, t->a);
}

// All of them have to do, or their entries need another one, before the variant is taken.
static bool try_firsts(const RetainWalk *w, int variant) {
    const RetainVariant *v = &w->l->variant[variant];
    FirstTrials t = {.w = w};
    RetainSpot *spot = arena_array(w->cx->scratch, RetainSpot, v->m->entry_count + 1);
    for (int e = 0; e < v->m->entry_count; e++) {
        if (v->entry[e].at > 0 || !is_open(w->cx, &v->entry[e], 0, limits_of(w)))
            continue;
        spot[t.count++] = (RetainSpot){variant, e, 0};
        if (!t.solve && retain_is_needed(v, &v->entry[e], w->cx->options))
            t.solve = &v->entry[e];
    }
    t.spot = spot;
    t.a = t.solve ? arena_within(w->l->a) : NULL;
    fork_join(t.solve ? 2 : 1, try_or_solve, &t);
    return t.good;
}

// Tries the entry's rung, unless it can't do, and beside it those behind it that may come next.
static bool try_next(const RetainWalk *w, int variant, int entry) {
    const RetainEntry *e = &w->l->variant[variant].entry[entry];
    const RetainLimits limits = limits_of(w);
    const int width = fork_join_width() < NEXT_MAX ? fork_join_width() : NEXT_MAX;
    RetainSpot spot[NEXT_MAX];
    int count = 0;
    if (!is_open(w->cx, e, e->at, limits))
        return true;
    if (e->at == 0)
        return try_firsts(w, variant);
    for (int k = e->at; k < e->frontier.count && count < width; k++)
        if (is_open(w->cx, e, k, limits))
            spot[count++] = (RetainSpot){variant, entry, k};
    return retain_try_side_by_side(w->l, spot, count, limits, w->cx);
}

// The variant that is taken, with its entries at their rungs, into *taken; -1: none fits. False
// after diagnostics.
static bool walk(const RetainWalk *w, int *taken) {
    const uint64_t budget = w->cx->options->budget;
    while ((*taken = find_fastest(w)) >= 0) {
        RetainVariant *v = &w->l->variant[*taken];
        const int entry = find_open(w, v);
        if (entry < 0)
            return true;
        RetainEntry *e = &v->entry[entry];
        if (!try_next(w, *taken, entry))
            return false;
        if (fits(w->cx, &e->rung[e->at]))
            continue;
        if (e->solved || !budget || retain_floor_of_all(e, w->cx->options) <= budget)
            retain_ladder_solve(w->l, e, w->cx);
        e->at++;
    }
    return true;
}

// The entry's rung where it needs fewer bytes than what was found.
static void take_lower(const RetainWalk *w, RetainSpot spot, RetainLeast *least) {
    const RetainRung *r = &w->l->variant[spot.variant].entry[spot.entry].rung[spot.point];
    if (r->tried && is_far_enough(w->cx, r) && r->bytes[SPACE_DEVICE] < least->bytes)
        *least = (RetainLeast){.bytes = r->bytes[SPACE_DEVICE], .spot = spot};
}

// Tries those of the entry's rungs from *last down to 1, some at a time, that may need less than
// both; the next *last.
static bool try_lower(const RetainWalk *w, RetainSpot last, uint64_t below, int *next) {
    const RetainEntry *e = &w->l->variant[last.variant].entry[last.entry];
    const RetainLimits limits = {.kind = TRIAL_LEAST, .device = below < UINT64_MAX ? below - 1 : 0};
    const int width = fork_join_width() < NEXT_MAX ? fork_join_width() : NEXT_MAX;
    RetainSpot spot[NEXT_MAX];
    int count = 0;
    for (*next = last.point; *next > 0 && count < width; --*next)
        if (is_open(w->cx, e, *next, limits))
            spot[count++] = (RetainSpot){last.variant, last.entry, *next};
    return retain_try_side_by_side(w->l, spot, count, limits, w->cx);
}

// The first rung of a row, where it may need less than both.
static bool try_first(const RetainWalk *w, RetainSpot first, uint64_t below, RetainLeast *least) {
    const RetainEntry *e = &w->l->variant[first.variant].entry[first.entry];
    const RetainLimits none = {.kind = TRIAL_LEAST};
    if (is_open(w->cx, e, 0, none) && e->rung[0].bytes[SPACE_DEVICE] < below &&
        !retain_try(w->l, first, none, w->cx, NULL))
        return false;
    take_lower(w, first, least);
    return true;
}

// The least of one entry: most likely that of its last rungs. It may be missed where no more than
// enough is needed, or nothing below the best.
static bool least_of_entry(const RetainWalk *w, RetainSpot first, uint64_t enough, uint64_t best,
                           RetainLeast *out) {
    RetainEntry *e = &w->l->variant[first.variant].entry[first.entry];
    const RetainLimits load_only = {.kind = TRIAL_LEAST, .device = 1};
    *out = (RetainLeast){.bytes = UINT64_MAX};
    // What others count as needing goes by the load of the first.
    if (!e->rung[0].bytes[SPACE_DEVICE] && !retain_try(w->l, first, load_only, w->cx, NULL))
        return false;
    if ((e->rung[0].bytes[SPACE_DEVICE] <= enough || !e->graph) && !try_first(w, first, best, out))
        return false;
    if (out->bytes > enough && retain_floor_of_all(e, w->cx->options) < best)
        retain_ladder_solve(w->l, e, w->cx);
    for (int k = e->frontier.count - 1, next; k > 0 && out->bytes > enough; k = next) {
        RetainSpot spot = {first.variant, first.entry, k};
        if (!try_lower(w, spot, out->bytes < best ? out->bytes : best, &next))
            return false;
        for (; spot.point > next && out->bytes > enough; spot.point--)
            take_lower(w, spot, out);
    }
    return out->bytes <= enough || try_first(w, first, out->bytes < best ? out->bytes : best, out);
}

// The entry that needs most decides what a variant needs; that in which no rung did, most likely.
static bool least_of_variant(const RetainWalk *w, int variant, RetainLeast *best) {
    RetainVariant *v = &w->l->variant[variant];
    RetainLeast most = {0};
    int first = 0;
    if (retain_bound_variant(v, w->cx->options->far) > best->bytes)
        return true; // proved: no plan of it needs less
    for (int e = 0; e < v->m->entry_count; e++)
        if (v->entry[e].at == v->entry[e].frontier.count)
            first = e;
    for (int i = 0; i < v->m->entry_count && most.bytes < best->bytes; i++) {
        RetainLeast least;
        const RetainSpot spot = {variant, (first + i) % v->m->entry_count, 0};
        if (!least_of_entry(w, spot, most.bytes, best->bytes, &least))
            return false;
        most = least.bytes > most.bytes ? least : most;
    }
    *best = most.bytes < best->bytes ? most : *best;
    return true;
}

// None fits: P0801 with the least that does. Where no rung at all is within the limit of far
// memory, layout will say that of the module as it is. False after diagnostics.
static bool report_least(const RetainWalk *w) {
    RetainLeast least = {.bytes = UINT64_MAX};
    RetainTrial t;
    retain_ladder_open(w->l, 0, w->cx);
    for (int i = w->l->variant_count - 1; i >= 0; i--)
        if (!least_of_variant(w, i, &least))
            return false;
    if (least.bytes == UINT64_MAX)
        return true;
    if (!retain_try(w->l, least.spot, (RetainLimits){.kind = TRIAL_LEAST}, w->cx, &t))
        return false;
    retain_report_budget(w->cx, &t, least.bytes, retain_bound(w->l, w->cx->options->far));
    retain_trial_release(&t);
    return false;
}

// One line a rung, for who wants to see what there is to choose from.
static void tell_rung(const RetainWalk *w, RetainSpot s) {
    const RetainVariant *v = &w->l->variant[s.variant];
    const RetainEntry *e = &v->entry[s.entry];
    const uint64_t *bytes = e->rung[s.point].bytes;
    const RetainPoint *p = &e->frontier.point[s.point];
    const RetainCounts n = retain_count(&e->graph->problem, &p->schedule, w->cx->scratch);
    remark_add(
        w->cx, "frontier", v->m->entry[s.entry]->name,
        "%14llu bytes %12.3f ms %5d kept %5d computed again %5d moved %5d cut %14llu bytes far",
        (unsigned long long)bytes[SPACE_DEVICE], 1e-9 * (double)p->cost.time, n.kept, n.again,
        n.moved, n.cut, (unsigned long long)(bytes[SPACE_HOST] + bytes[SPACE_DISK]));
}

// The rungs of all variants in one order of time; NULL after diagnostics.
static RetainSpot *list_rungs(const RetainWalk *w, int entry, int *count) {
    const RetainLimits none = {.kind = TRIAL_LEAST};
    RetainSpot *next = arena_array(w->cx->scratch, RetainSpot, w->l->variant_count + 1);
    int room = 0;
    for (int i = 0; i < w->l->variant_count; i++)
        next[i] = (RetainSpot){i, entry, 0};
    if (!retain_try_side_by_side(w->l, next, w->l->variant_count, none, w->cx))
        return NULL;
    for (int i = 0; i < w->l->variant_count; i++) {
        RetainEntry *e = &w->l->variant[i].entry[entry];
        retain_ladder_solve(w->l, e, w->cx);
        room += e->frontier.count;
    }
    RetainSpot *spot = arena_array(w->cx->scratch, RetainSpot, room);
    for (*count = 0; *count < room; ++*count) {
        int64_t least = INT64_MAX;
        int best = 0;
        for (int i = 0; i < w->l->variant_count; i++) {
            const RetainFrontier *f = &w->l->variant[i].entry[entry].frontier;
            if (next[i].point < f->count && f->point[next[i].point].cost.time < least) {
                least = f->point[next[i].point].cost.time;
                best = i;
            }
        }
        spot[*count] = next[best];
        next[best].point++;
    }
    return spot;
}

// Tells of all rungs of an entry that need less than those that are as fast. False after
// diagnostics.
static bool tell_entry(const RetainWalk *w, int entry) {
    int count;
    RetainSpot *spot = list_rungs(w, entry, &count);
    uint64_t least = 0; // so far, 0: none
    for (int i = 0, next; spot && i < count; i = next) {
        const RetainLimits limits = {.kind = TRIAL_LEAST, .device = least ? least - 1 : 0};
        RetainSpot open[NEXT_TOLD];
        int open_count = 0;
        for (next = i; next < count && open_count < NEXT_TOLD; next++)
            if (is_open(w->cx, &w->l->variant[spot[next].variant].entry[entry], spot[next].point,
                        limits))
                open[open_count++] = spot[next];
        if (!retain_try_side_by_side(w->l, open, open_count, limits, w->cx))
            return false;
        for (int k = i; k < next; k++) {
            const RetainRung *r = &w->l->variant[spot[k].variant].entry[entry].rung[spot[k].point];
            if (!r->tried || (least && r->bytes[SPACE_DEVICE] >= least))
                continue;
            tell_rung(w, spot[k]);
            if (is_far_enough(w->cx, r))
                least = r->bytes[SPACE_DEVICE];
        }
    }
    return spot != NULL;
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
    const RetainWalk w = {.cx = cx, .l = retain_ladder(m, cx)};
    if (w.l->variant_count == 0)
        return PASS_SAME;
    for (int e = 0; e < m->entry_count && cx->options->frontier; e++)
        if (w.l->variant[0].entry[e].graph && !tell_entry(&w, e))
            return PASS_FAILED;
    int taken;
    if (!walk(&w, &taken))
        return PASS_FAILED;
    if (taken < 0)
        return report_least(&w) ? PASS_SAME : PASS_FAILED;
    retain_report_values(cx, w.l, taken);
    const PassResult result = retain_take(w.l, taken, m, cx);
    retain_report_states(cx, w.l, taken);
    cx->fitted = result == PASS_CHANGED;
    return result;
}
