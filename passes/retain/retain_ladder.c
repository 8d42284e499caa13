// Rungs: computed once, tried one by one.
//
// To try a rung is to copy its entry, write its schedule into the copy and run the rest of the
// pipeline on a module of this entry alone, in memory of its own. What that comes to is what the
// compilation itself will come to, since passes are deterministic, entries are planned each by
// itself, and all states are there whichever entry wants them.
#include "passes/retain/retain_ladder.h"

#include "ir/check.h"
#include "passes/pipeline.h"
#include "passes/retain/retain_apply.h"
#include "passes/storage.h"
#include "runtime/plan_uses.h"

#include <string.h>

// FLOOR_SLACK: the part by which the solver may have said too much.
enum { PASSES_MAX = 16, FLOOR_SLACK = 16 };

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

// Graphs, and of their frontiers the first points.
static void find_entries(RetainVariant *v, const RetainLadder *l, PassCtx *cx) {
    v->entry = arena_array(l->a, RetainEntry, v->m->entry_count + 1);
    for (int i = 0; i < v->m->entry_count; i++) {
        RetainEntry *e = &v->entry[i];
        RetainPoint *once = arena_new(l->a, RetainPoint);
        e->graph = retain_build(v->m, v->m->entry[i], cx->options, l->rates, l->a);
        if (e->graph)
            *once = retain_once(&e->graph->problem, l->a);
        e->frontier = (RetainFrontier){.count = 1, .point = once};
        e->rung = arena_array(l->a, RetainRung, 1);
        e->solved = !e->graph;
    }
}

// Bytes of far memory that is left beside what the entry has there anyway.
static int64_t far_room(const RetainEntry *e, const PassOptions *o) {
    if (!o->far || (o->far_bytes && e->far_load >= o->far_bytes))
        return 0;
    return o->far_bytes ? (int64_t)(o->far_bytes - e->far_load) : INT64_MAX;
}

void retain_ladder_solve(RetainLadder *l, RetainEntry *e, PassCtx *cx) {
    if (e->solved)
        return;
    const RetainProblem *p = &e->graph->problem;
    const RetainOptions options = {.far = far_room(e, cx->options)};
    const RetainRung first = e->rung[0];
    e->frontier = retain_frontier(p, &options, l->a);
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

// With more and more states in far memory. Where little is missing, little should move: what goes
// and comes back each step is what a step takes longer. Weights come twice or three times a step,
// and what waits or comes in tiles is there for models that have no other way.
static const FarStatesOptions far_variant[] = {
    {.which = FAR_STATES_OPTIMIZER, .eighths = 1},
    {.which = FAR_STATES_OPTIMIZER, .eighths = 2},
    {.which = FAR_STATES_OPTIMIZER, .eighths = 4},
    {.which = FAR_STATES_OPTIMIZER, .eighths = 6},
    {.which = FAR_STATES_OPTIMIZER},
    {.which = FAR_STATES_ALL, .eighths = 4},
    {.which = FAR_STATES_ALL},
    {.which = FAR_STATES_GRADIENTS},
    {.which = FAR_STATES_TILED},
};
enum { FAR_VARIANTS = sizeof far_variant / sizeof far_variant[0] };

// The module as it came and, where states may move, those.
static void find_variants(RetainLadder *l, const Module *m, PassCtx *cx) {
    l->variant = arena_array(l->a, RetainVariant, FAR_VARIANTS + 1);
    l->variant[l->variant_count++] = (RetainVariant){.m = m};
    for (int i = 0; cx->options->far && i < FAR_VARIANTS; i++) {
        Module *copy = module_copy(m, l->a);
        PassCtx inner = *cx;
        inner.remarks = (Remarks){0}; // only what is taken is told of
        if (far_states_apply(copy, &far_variant[i], &inner) == PASS_CHANGED &&
            !is_too_far(copy, cx->options))
            l->variant[l->variant_count++] = (RetainVariant){.m = copy, .far = far_variant[i]};
    }
}

RetainLadder *retain_ladder(const Module *m, PassCtx *cx) {
    RetainLadder *l = arena_new(cx->scratch, RetainLadder);
    l->a = cx->scratch;
    l->rates = rates_of(cx->options, l->a);
    find_variants(l, m, cx);
    bool any = l->variant_count > 1;
    for (int i = 0; i < l->variant_count; i++) {
        find_entries(&l->variant[i], l, cx);
        for (int e = 0; e < m->entry_count; e++)
            any = any || l->variant[i].entry[e].graph;
    }
    l->variant_count = any ? l->variant_count : 0;
    return l;
}

uint64_t retain_floor(const RetainEntry *e, int point) {
    const int64_t bytes = e->frontier.point[point].cost.bytes + e->offset;
    return point > 0 && bytes > 0 ? (uint64_t)(bytes - bytes / FLOOR_SLACK) : 0;
}

// The first point of a frontier runs every task once and moves nothing: the graph as it is.
static bool is_whole(const RetainGraph *rg, const RetainPoint *p) {
    for (int i = 0; i < p->schedule.count; i++)
        if (p->schedule.step[i].kind != RETAIN_RUN)
            return false;
    return p->schedule.count == rg->problem.task_count;
}

static bool apply_point(const RetainEntry *e, int point, Graph *g, Arena *scratch) {
    if (!e->graph || is_whole(e->graph, &e->frontier.point[point]))
        return false;
    retain_apply(g, e->graph, &e->frontier.point[point].schedule, scratch);
    return true;
}

// A copy of the rung's entry, alone with the states.
static Module *module_of_rung(const RetainLadder *l, RetainSpot s, Arena *a) {
    const RetainVariant *v = &l->variant[s.variant];
    Module *m = arena_new(a, Module);
    *m = *v->m;
    m->entry = arena_array(a, Graph *, 1);
    m->entry_count = 1;
    m->entry[0] = graph_copy(v->m->entry[s.entry], a);
    apply_point(&v->entry[s.entry], s.point, m->entry[0], a);
    return m;
}

// The passes behind this one.
static int list_passes(const char *name[PASSES_MAX]) {
    int count = 0;
    bool behind = false;
    for (int i = 0; i < pass_count(); i++) {
        if (behind) {
            CHECK(count < PASSES_MAX);
            name[count++] = pass_at(i)->name;
        }
        behind = behind || strcmp(pass_at(i)->name, "retain") == 0;
    }
    return count;
}

static void pass_on_errors(const Diag *from, Diag *to) {
    for (int i = 0; i < diag_item_count(from); i++) {
        const DiagItem *item = diag_item(from, i);
        if (item->level == DIAG_ERROR)
            diag_error(to, item->loc, item->code, "%s", item->message);
        else if (item->level == DIAG_NOTE)
            diag_note(to, item->loc, "%s", item->message);
        if (item->level == DIAG_ERROR && item->help)
            diag_help(to, "%s", item->help);
    }
}

static bool is_whole_trial(const PassOptions *options, const Plan *p) {
    for (uint32_t i = 0; i < p->space_count; i++) {
        const uint64_t limit =
            p->space[i].kind == SPACE_DEVICE ? options->budget : options->far_bytes;
        if (limit && p->space[i].load > limit)
            return false;
    }
    return true;
}

// What the plan comes to; where the load is above a limit its arenas were not packed.
static void measure(const Plan *p, const PassOptions *options, RetainEntry *e, int point) {
    RetainRung *r = &e->rung[point];
    uint64_t load[SPACE_COUNT] = {0};
    r->tried = is_whole_trial(options, p);
    for (uint32_t i = 0; i < p->space_count; i++) {
        const PlanSpace *s = &p->space[i];
        r->bytes[s->kind] = r->tried ? s->bytes : s->load;
        load[s->kind] = s->load;
    }
    if (point == 0) {
        // Loads, as they are the same whatever the limits.
        e->offset = (int64_t)load[SPACE_DEVICE] - e->frontier.point[0].cost.bytes;
        e->far_load = load[SPACE_HOST] + load[SPACE_DISK];
    }
    const uint64_t floor = retain_floor(e, point);
    if (r->bytes[SPACE_DEVICE] < floor)
        r->bytes[SPACE_DEVICE] = floor;
}

// Where the states of the device end.
static uint64_t state_bytes(const Plan *p) {
    uint64_t most = 0;
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        const PlanBuffer *b = &p->buffer[i];
        const uint64_t end = b->offset + plan_buffer_padded(b);
        if (b->entry == UINT32_MAX && p->space[b->space].kind == SPACE_DEVICE && b->bytes &&
            end > most)
            most = end;
    }
    return most;
}

bool retain_try(RetainLadder *l, RetainSpot s, RetainTrialKind kind, PassCtx *cx,
                RetainTrial *out) {
    RetainTrial t = {.arena = arena_create(), .memory = plan_memory_new()};
    // Whether it fits is for the walk to say; nothing is written anywhere.
    PassOptions options = *cx->options;
    options.trial = true;
    if (kind == RETAIN_NO_LIMITS)
        options.budget = options.far_bytes = 0;
    options.dump_mip = NULL;
    PassCtx inner = {.arena = t.arena,
                     .scratch = arena_create(),
                     .diag = diag_create(t.arena),
                     .options = &options,
                     .plan_memory = t.memory};
    const char *name[PASSES_MAX];
    const int count = list_passes(name);
    bool good = t.memory != NULL;
    if (good)
        good = pipeline_run(module_of_rung(l, s, t.arena), &inner, name, count, NULL, NULL);
    else
        diag_error(cx->diag, (Loc){0}, 856, "out of memory");
    arena_release(inner.scratch);
    if (good) {
        measure(inner.plan, &options, &l->variant[s.variant].entry[s.entry], s.point);
        t.plan = inner.plan;
        t.state = state_bytes(t.plan);
    } else {
        pass_on_errors(inner.diag, cx->diag);
    }
    if (good && out)
        *out = t;
    else
        retain_trial_release(&t);
    return good;
}

void retain_trial_release(RetainTrial *t) {
    plan_memory_release(t->memory);
    if (t->arena)
        arena_release(t->arena);
    *t = (RetainTrial){0};
}

PassResult retain_take(const RetainLadder *l, int variant, Module *m, PassCtx *cx) {
    // The same changes give the same ids, which the frontiers go by.
    const RetainVariant *v = &l->variant[variant];
    PassResult result = far_states_apply(m, &v->far, cx);
    for (int e = 0; e < m->entry_count; e++)
        if (apply_point(&v->entry[e], v->entry[e].at, m->entry[e], cx->scratch))
            result = PASS_CHANGED;
    return result;
}
