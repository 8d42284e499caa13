// Rungs: computed once, tried one by one.
//
// To try a rung is to copy the entries that have a choice, write its schedules into the copies and
// run the rest of the pipeline on them, in memory of their own. What that comes to is exactly what
// the compilation itself will come to, since passes are deterministic and entries are planned each
// by itself. The entries without a choice are planned along the first time.
#include "passes/retain/retain_ladder.h"

#include "ir/check.h"
#include "passes/pipeline.h"
#include "passes/retain/retain_apply.h"
#include "runtime/plan_uses.h"

#include <string.h>

enum { PASSES_MAX = 16 };

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
static void find_graphs(RetainVariant *v, const RetainLadder *l, PassCtx *cx) {
    v->graph = arena_array(cx->scratch, RetainGraph *, v->m->entry_count + 1);
    v->frontier = arena_array(cx->scratch, RetainFrontier, v->m->entry_count + 1);
    for (int e = 0; e < v->m->entry_count; e++) {
        v->graph[e] = retain_build(v->m, v->m->entry[e], cx->options, l->rates, cx->scratch);
        if (!v->graph[e])
            continue;
        RetainPoint *once = arena_new(cx->scratch, RetainPoint);
        *once = retain_once(&v->graph[e]->problem, cx->scratch);
        v->frontier[e] = (RetainFrontier){.count = 1, .point = once};
    }
}

static void find_frontiers(RetainVariant *v, PassCtx *cx) {
    const RetainOptions options = {.far = !cx->options->far        ? 0
                                          : cx->options->far_bytes ? (int64_t)cx->options->far_bytes
                                                                   : INT64_MAX};
    for (int e = 0; e < v->m->entry_count; e++) {
        if (!v->graph[e])
            continue;
        v->frontier[e] = retain_frontier(&v->graph[e]->problem, &options, cx->scratch);
        cx->degraded += v->frontier[e].degraded;
        // A schedule that is not allowed would be our mistake, and found out late.
        for (int i = 0; i < v->frontier[e].count; i++)
            CHECK(!retain_check(&v->graph[e]->problem, &v->frontier[e].point[i].schedule,
                                cx->scratch));
    }
}

const RetainPoint *retain_rung_point(const RetainLadder *l, const RetainRung *r, int entry) {
    const RetainFrontier *f = &l->variant[r->variant].frontier[entry];
    return &f->point[r->point < f->count ? r->point : f->count - 1];
}

static int longest_frontier(const RetainVariant *v) {
    int longest = 0;
    for (int e = 0; e < v->m->entry_count; e++)
        if (v->graph[e] && v->frontier[e].count > longest)
            longest = v->frontier[e].count;
    return longest;
}

static int64_t time_of(const RetainLadder *l, const RetainRung *r) {
    const RetainVariant *v = &l->variant[r->variant];
    int64_t time = 0;
    for (int e = 0; e < v->m->entry_count; e++)
        if (v->graph[e])
            time += retain_rung_point(l, r, e)->cost.time;
    return time;
}

static bool stands_before(const RetainRung *a, const RetainRung *b) {
    if (a->time != b->time)
        return a->time < b->time;
    return a->variant != b->variant ? a->variant < b->variant : a->point < b->point;
}

static void add_rung(RetainLadder *l, RetainRung r) {
    r.time = time_of(l, &r);
    if (l->rung_count == l->rung_room) {
        const int room = 2 * l->rung_room + 32;
        l->rung = arena_grow(l->a, l->rung, (size_t)l->rung_room, (size_t)room, sizeof *l->rung);
        l->rung_room = room;
    }
    int at = l->rung_count++;
    for (; at > 0 && stands_before(&r, &l->rung[at - 1]); at--)
        l->rung[at] = l->rung[at - 1];
    l->rung[at] = r;
}

// The module as it came and, where states may move, with more and more of them in far memory.
static void find_variants(RetainLadder *l, const Module *m, PassCtx *cx) {
    l->variant = arena_array(cx->scratch, RetainVariant, FAR_STATES_COUNT);
    l->variant[l->variant_count++] = (RetainVariant){.m = m, .far = FAR_STATES_NONE};
    for (FarStates far = FAR_STATES_NONE + 1; cx->options->far && far < FAR_STATES_COUNT; far++) {
        Module *copy = module_copy(m, cx->scratch);
        PassCtx inner = *cx;
        inner.remarks = (Remarks){0}; // only what is taken is told of
        const FarStatesOptions options = {.which = far};
        if (far_states_apply(copy, &options, &inner) == PASS_CHANGED)
            l->variant[l->variant_count++] = (RetainVariant){.m = copy, .far = far};
    }
}

RetainLadder *retain_ladder(const Module *m, PassCtx *cx) {
    RetainLadder *l = arena_new(cx->scratch, RetainLadder);
    l->a = cx->scratch;
    l->rates = rates_of(cx->options, cx->scratch);
    find_variants(l, m, cx);
    for (int i = 0; i < l->variant_count; i++) {
        find_graphs(&l->variant[i], l, cx);
        // Without anything to choose inside its entries a variant is one rung, where there are
        // others.
        if (longest_frontier(&l->variant[i]) > 0 || l->variant_count > 1)
            add_rung(l, (RetainRung){.variant = i});
    }
    return l;
}

void retain_ladder_solve(RetainLadder *l, int variant, PassCtx *cx) {
    RetainVariant *v = &l->variant[variant];
    if (v->solved)
        return;
    find_frontiers(v, cx);
    v->solved = true;
    for (int k = 1; k < longest_frontier(v); k++)
        add_rung(l, (RetainRung){.variant = variant, .point = k});
}

// The first point of a frontier runs every task once and moves nothing: the graph as it is.
static bool is_whole(const RetainGraph *rg, const RetainPoint *p) {
    for (int i = 0; i < p->schedule.count; i++)
        if (p->schedule.step[i].kind != RETAIN_RUN)
            return false;
    return p->schedule.count == rg->problem.task_count;
}

static bool apply_point(const RetainLadder *l, const RetainRung *r, int entry, Graph *g,
                        Arena *scratch) {
    const RetainGraph *rg = l->variant[r->variant].graph[entry];
    const RetainPoint *p = retain_rung_point(l, r, entry);
    if (is_whole(rg, p))
        return false;
    retain_apply(g, rg, &p->schedule, scratch);
    return true;
}

// Copies of the entries that are to be tried, as the rung has them.
static Module *module_of_rung(const RetainLadder *l, const RetainRung *r, bool all, Arena *a) {
    const RetainVariant *v = &l->variant[r->variant];
    Module *m = arena_new(a, Module);
    *m = *v->m;
    m->entry = arena_array(a, Graph *, v->m->entry_count + 1);
    m->entry_count = 0;
    for (int e = 0; e < v->m->entry_count; e++) {
        if (!v->graph[e] && !all)
            continue;
        Graph *g = graph_copy(v->m->entry[e], a);
        if (v->graph[e])
            apply_point(l, r, e, g, a);
        m->entry[m->entry_count++] = g;
    }
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

// Where the arenas end; the entries without a choice count for all rungs of the variant.
static void measure(RetainVariant *v, const Plan *p, RetainTrial *out) {
    for (uint32_t i = 0; i < p->space_count; i++) {
        out->bytes[p->space[i].kind] = p->space[i].bytes;
        out->load[p->space[i].kind] = p->space[i].load;
    }
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        const PlanBuffer *b = &p->buffer[i];
        const PlanSpaceKind kind = p->space[b->space].kind;
        const uint64_t end = b->offset + plan_buffer_padded(b);
        if (b->entry == UINT32_MAX && kind == SPACE_DEVICE && b->bytes && end > out->state)
            out->state = end;
        if (out->whole && b->entry != UINT32_MAX && !v->tried && !v->graph[b->entry] &&
            end > v->fixed[kind])
            v->fixed[kind] = end;
    }
    v->tried = v->tried || out->whole;
    for (int k = 0; k < SPACE_COUNT; k++)
        if (v->fixed[k] > out->bytes[k])
            out->bytes[k] = v->fixed[k];
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

bool retain_try(RetainLadder *l, const RetainRung *r, RetainTrialKind kind, PassCtx *cx,
                RetainTrial *out) {
    RetainVariant *v = &l->variant[r->variant];
    *out = (RetainTrial){.arena = arena_create(), .memory = plan_memory_new()};
    // Whether it fits is for the walk to say; nothing is written anywhere.
    PassOptions options = *cx->options;
    options.trial = true;
    if (kind == RETAIN_NO_LIMITS)
        options.budget = options.far_bytes = 0;
    options.dump_mip = NULL;
    PassCtx inner = {.arena = out->arena,
                     .scratch = arena_create(),
                     .diag = diag_create(out->arena),
                     .options = &options,
                     .plan_memory = out->memory};
    const char *name[PASSES_MAX];
    const int count = list_passes(name);
    bool good = out->memory != NULL;
    if (good) {
        Module *m = module_of_rung(l, r, !v->tried, out->arena);
        good = pipeline_run(m, &inner, name, count, NULL, NULL);
    } else {
        diag_error(cx->diag, (Loc){0}, 856, "out of memory");
    }
    arena_release(inner.scratch);
    if (!good) {
        pass_on_errors(inner.diag, cx->diag);
        retain_trial_release(out);
        return false;
    }
    out->plan = inner.plan;
    out->whole = is_whole_trial(&options, out->plan);
    measure(v, out->plan, out);
    return true;
}

void retain_trial_release(RetainTrial *t) {
    plan_memory_release(t->memory);
    if (t->arena)
        arena_release(t->arena);
    *t = (RetainTrial){0};
}

PassResult retain_take(const RetainLadder *l, const RetainRung *r, Module *m, PassCtx *cx) {
    // The same changes give the same ids, which the frontiers go by.
    const FarStatesOptions options = {.which = l->variant[r->variant].far};
    PassResult result = far_states_apply(m, &options, cx);
    for (int e = 0; e < m->entry_count; e++)
        if (l->variant[r->variant].graph[e] && apply_point(l, r, e, m->entry[e], cx->scratch))
            result = PASS_CHANGED;
    return result;
}
