// Rungs: the module as it came and with states far away, a frontier for each entry of each, solved
// once the first rung, which is the fastest, is known not to do.
#include "passes/retain/retain_ladder.h"

#include "ir/check.h"
#include "ir/fork_join.h"
#include "passes/memory/memory_known.h"
#include "passes/retain/retain_apply.h"
#include "passes/retain/retain_bound.h"
#include "passes/retain/retain_index.h"
#include "passes/storage.h"

#include <string.h>

// FLOOR_SLACK: the part by which the solver may have said too much.
// VARIANTS_MORE: made at a time.
enum { FLOOR_SLACK = 16, VARIANTS_MORE = 2 };

// With more and more states in far memory. Where little is missing, little should move: what goes
// and comes back each step is what a step takes longer. Weights come twice or three times a step,
// and what waits or comes in tiles is there for models that have no other way.
static const FarStatesOptions far_variant[] = {
    {.which = FAR_STATES_SCATTERED},
    {.which = FAR_STATES_OPTIMIZER, .sixteenths = 1},
    {.which = FAR_STATES_OPTIMIZER, .sixteenths = 2},
    {.which = FAR_STATES_OPTIMIZER, .sixteenths = 3},
    {.which = FAR_STATES_OPTIMIZER, .sixteenths = 4},
    {.which = FAR_STATES_OPTIMIZER, .sixteenths = 6},
    {.which = FAR_STATES_OPTIMIZER, .sixteenths = 8},
    {.which = FAR_STATES_OPTIMIZER, .sixteenths = 10},
    {.which = FAR_STATES_OPTIMIZER, .sixteenths = 12},
    {.which = FAR_STATES_OPTIMIZER, .sixteenths = 14},
    {.which = FAR_STATES_OPTIMIZER},
    {.which = FAR_STATES_ALL, .sixteenths = 8},
    {.which = FAR_STATES_ALL},
    {.which = FAR_STATES_GRADIENTS},
    {.which = FAR_STATES_TILED},
};
enum { FAR_VARIANTS = sizeof far_variant / sizeof far_variant[0] };

// The rates asked for, or those assumed of the target.
static const Rates *rates_of(const PassOptions *options, Arena *a) {
    if (options->rates)
        return options->rates;
    Rates *r = arena_new(a, Rates);
    const int workers = options->gpu.count > 0 ? 1 : options->workers ? options->workers : WORKERS;
    rates_assume(options->target ? options->target : "cpu", options->isa ? options->isa : "",
                 (uint32_t)workers, r);
    return r;
}

// One variant being opened: side by side with others, in memory of its own.
typedef struct {
    RetainVariant *v;
    Arena *a;
    const RetainLadder *l;
    const PassOptions *options;
    uint64_t limit;
} Opening;

// Graphs, and of their frontiers the first points.
static void open_variant(void *openings, int index) {
    const Opening *o = &((const Opening *)openings)[index];
    const Module *m = o->v->m;
    if (o->limit && retain_bound_variant(o->v, o->options->far) > o->limit)
        return;
    RetainEntry *entry = arena_array(o->a, RetainEntry, m->entry_count + 1);
    for (int i = 0; i < m->entry_count; i++) {
        RetainEntry *e = &entry[i];
        RetainPoint *once = arena_new(o->a, RetainPoint);
        e->graph = retain_build(m, m->entry[i], o->options, o->l->rates, o->a);
        if (e->graph)
            *once = retain_once(&e->graph->problem, o->a);
        e->frontier = (RetainFrontier){.count = 1, .point = once};
        e->rung = arena_array(o->a, RetainRung, 1);
        e->solved = !e->graph;
    }
    o->v->entry = entry;
}

// Bytes of far memory that is left beside what the entry has there anyway.
static int64_t far_room(const RetainEntry *e, const PassOptions *o) {
    if (!o->far || (o->far_bytes && e->far_load >= o->far_bytes))
        return 0;
    return o->far_bytes ? (int64_t)(o->far_bytes - e->far_load) : INT64_MAX;
}

void retain_ladder_solve_ahead(RetainEntry *e, const PassOptions *options, Arena *a) {
    if (e->solved || e->ahead || options->far_bytes)
        return;
    RetainFrontier *ahead = arena_new(a, RetainFrontier);
    const RetainOptions o = {.far = far_room(e, options)};
    *ahead = retain_frontier(&e->graph->problem, &o, a);
    e->ahead = ahead;
}

void retain_ladder_solve(RetainLadder *l, RetainEntry *e, PassCtx *cx) {
    if (e->solved)
        return;
    const RetainProblem *p = &e->graph->problem;
    const RetainOptions options = {.far = far_room(e, cx->options)};
    const RetainRung first = e->rung[0];
    e->frontier = e->ahead ? *e->ahead : retain_frontier(p, &options, l->a);
    e->solved = true;
    cx->degraded += e->frontier.degraded;
    // A schedule that is not allowed would be our mistake, and found out late.
    for (int i = 0; i < e->frontier.count; i++)
        CHECK(!retain_check(p, &e->frontier.point[i].schedule, l->a));
    e->rung = arena_array(l->a, RetainRung, e->frontier.count);
    e->rung[0] = first;
}

// Far states alone that are more than far memory may hold.
static bool is_too_far(const Module *m, const PassOptions *o) {
    uint64_t bytes = 0;
    for (int i = 0; i < m->state_count; i++)
        if (m->state[i]->far)
            bytes += storage_padded(type_bytes(&m->state[i]->type));
    return o->far_bytes && bytes > o->far_bytes;
}

static bool is_same_far(const RetainVariant *v, FarStates which, const Module *m) {
    bool same = v->far.which == which;
    for (int i = 0; i < m->state_count; i++)
        same = same && v->m->state[i]->far == m->state[i]->far;
    return same;
}

// A copy of the module with states far away, made side by side with others.
typedef struct {
    const Module *m;
    const FarStatesOptions *far;
    PassCtx cx; // in memory of its own; only what is taken is told of in remarks
    Module *copy;
    PassResult result;
} FarCopy;

static void make_copy(void *copies, int index) {
    FarCopy *c = &((FarCopy *)copies)[index];
    c->copy = module_copy(c->m, c->cx.arena);
    c->result = far_states_apply(c->copy, c->far, &c->cx);
}

// The next kinds of variants, so many at most: those that differ from the one before.
static void make_variants(RetainLadder *l, int count, const PassCtx *cx) {
    const Module *m = l->variant[0].m;
    FarCopy copy[FAR_VARIANTS];
    count = count < l->kinds - l->made ? count : l->kinds - l->made;
    for (int i = 0; i < count; i++) {
        Arena *a = arena_within(l->a);
        copy[i] = (FarCopy){.m = m, .far = &far_variant[l->made + i]};
        copy[i].cx =
            (PassCtx){.arena = a, .scratch = a, .diag = diag_create(a), .options = cx->options};
    }
    fork_join(count, make_copy, copy);
    for (int i = 0; i < count; i++)
        if (copy[i].result == PASS_CHANGED &&
            !is_same_far(&l->variant[l->variant_count - 1], copy[i].far->which, copy[i].copy) &&
            !is_too_far(copy[i].copy, cx->options))
            l->variant[l->variant_count++] =
                (RetainVariant){.m = copy[i].copy, .far = *copy[i].far};
    l->made += count;
}

void retain_ladder_open(RetainLadder *l, uint64_t limit, const PassCtx *cx) {
    Opening opening[FAR_VARIANTS + 1];
    int count = 0;
    if (!limit)
        make_variants(l, l->kinds, cx);
    for (int i = 0; i < l->variant_count; i++)
        if (!l->variant[i].entry)
            opening[count++] = (Opening){&l->variant[i], arena_within(l->a), l, cx->options, limit};
    fork_join(count, open_variant, opening);
}

// What tasks of the micro-batches, or of all, take in any variant: in all of them they are those of
// the same operators, and a 64th is left for what may be fused otherwise. *apart: copies of the
// update come behind.
static int64_t run_time(const RetainVariant *v, bool *apart) {
    int64_t sum = 0;
    *apart = true;
    for (int e = 0; e < v->m->entry_count; e++) {
        const RetainProblem *p = v->entry[e].graph ? &v->entry[e].graph->problem : NULL;
        const int end = p ? p->barrier ? p->barrier : p->task_count : 0;
        *apart = *apart && (!p || p->barrier);
        for (int t = 0; t < end; t++)
            if (!(p->task[t].flags & (RETAIN_OUT | RETAIN_IN)))
                sum += retain_time(p, t);
    }
    return sum - sum / 64;
}

// A file is written by nobody but copies; a host computes some states where they are.
static int64_t copy_time(const RetainLadder *l, int kind, const PassCtx *cx) {
    if (l->copied[kind] >= 0 || cx->options->gpu.count > 0)
        return l->copied[kind] > 0 ? l->copied[kind] : 0;
    Arena *a = arena_create();
    const size_t bytes = far_states_bytes(l->variant[0].m, &far_variant[kind], a);
    const uint64_t time = rates_bytes_time(l->rates, RATE_OUT, (double)bytes);
    arena_release(a);
    return l->copied[kind] = time < INT64_MAX / 4 ? (int64_t)time : INT64_MAX / 4;
}

int64_t retain_ladder_rest(const RetainLadder *l, const PassCtx *cx) {
    int open = 0;
    while (open < l->variant_count && !l->variant[open].entry)
        open++;
    bool apart = false;
    const int64_t run = open < l->variant_count ? run_time(&l->variant[open], &apart) : 0;
    int64_t least = INT64_MAX;
    for (int k = l->made; k < l->kinds; k++) {
        const int64_t copied = copy_time(l, k, cx);
        const int64_t time = apart ? run + copied : run > copied ? run : copied;
        least = time < least ? time : least;
    }
    return least;
}

bool retain_ladder_grow(RetainLadder *l, int64_t time, const PassCtx *cx) {
    if (l->made == l->kinds || (time < INT64_MAX && retain_ladder_rest(l, cx) > time))
        return false;
    make_variants(l, VARIANTS_MORE, cx);
    retain_ladder_open(l, cx->options->budget, cx);
    return true;
}

// How many kinds there are: without far memory those that have nothing there.
static int count_kinds(const PassOptions *o) {
    int count = 0;
    while (count < FAR_VARIANTS && (o->far || far_variant[count].which <= FAR_STATES_SCATTERED))
        count++;
    return count;
}

RetainLadder *retain_ladder(const Module *m, PassCtx *cx) {
    RetainLadder *l = arena_new(cx->scratch, RetainLadder);
    l->a = cx->scratch;
    l->rates = rates_of(cx->options, l->a);
    l->kinds = count_kinds(cx->options);
    l->copied = arena_array(l->a, int64_t, FAR_VARIANTS);
    memset(l->copied, -1, sizeof *l->copied * FAR_VARIANTS);
    l->variant = arena_array(l->a, RetainVariant, FAR_VARIANTS + 1);
    l->variant[l->variant_count++] = (RetainVariant){.m = m};
    bool any = false;
    for (int e = 0; e < m->entry_count; e++)
        any = any || retain_has_choice(m->entry[e]);
    const uint64_t budget = cx->options->frontier ? 0 : cx->options->budget;
    if (!any || !budget)
        make_variants(l, l->kinds, cx);
    l->variant_count = any || l->variant_count > 1 ? l->variant_count : 0;
    retain_ladder_open(l, budget, cx);
    return l;
}

// What solver_bytes are most likely to come to, and less.
static uint64_t floor_of(const RetainEntry *e, int64_t solver_bytes) {
    const int64_t bytes = solver_bytes + e->offset;
    return bytes > 0 ? (uint64_t)(bytes - bytes / FLOOR_SLACK) : 0;
}

uint64_t retain_floor(const RetainEntry *e, int point) {
    return point > 0 ? floor_of(e, e->frontier.point[point].cost.bytes) : 0;
}

uint64_t retain_floor_of_all(const RetainEntry *e, const PassOptions *options) {
    if (!e->graph)
        return UINT64_MAX;
    return floor_of(e, retain_least(&e->graph->problem, far_room(e, options) > 0));
}

bool retain_is_needed(const RetainVariant *v, const RetainEntry *e, const PassOptions *options) {
    if (e->solved || !options->budget)
        return false;
    const int64_t states = (int64_t)storage_state_bytes(v->m);
    const int64_t first = e->frontier.point[0].cost.bytes + states;
    const int64_t least = retain_least(&e->graph->problem, far_room(e, options) > 0) + states;
    return (uint64_t)(first - first / FLOOR_SLACK) > options->budget &&
           (uint64_t)(least - least / FLOOR_SLACK) <= options->budget;
}

// The first point of a frontier runs every task once and moves nothing: the graph as it is.
static bool is_whole(const RetainGraph *rg, const RetainPoint *p) {
    for (int i = 0; i < p->schedule.count; i++)
        if (p->schedule.step[i].kind != RETAIN_RUN)
            return false;
    return p->schedule.count == rg->problem.task_count;
}

bool retain_ladder_apply(const RetainEntry *e, int point, Graph *g, Arena *scratch) {
    if (!e->graph || is_whole(e->graph, &e->frontier.point[point]))
        return false;
    retain_apply(g, e->graph, &e->frontier.point[point].schedule, scratch);
    return true;
}

PassResult retain_take(const RetainLadder *l, int variant, Module *m, PassCtx *cx) {
    // The same changes give the same ids, which the frontiers go by.
    const RetainVariant *v = &l->variant[variant];
    PassResult result = far_states_apply(m, &v->far, cx);
    cx->known = memory_known_copy(l->known, NULL, cx->known, cx->arena);
    for (int e = 0; e < m->entry_count; e++)
        if (retain_ladder_apply(&v->entry[e], v->entry[e].at, m->entry[e], cx->scratch))
            result = PASS_CHANGED;
    return result;
}
