// Rungs tried one by one, or some at a time.
//
// To try a rung is to copy its entry, write its schedule into the copy and run the rest of the
// pipeline on a module of this entry alone, in memory of its own. What that comes to is what the
// compilation itself will come to, since passes are deterministic, entries are planned each by
// itself, and all states are there whichever entry wants them.
//
// The order alone tells what a rung needs at least: the load that the search ended with. All but
// the first rung of a row count as needing that much, whatever the plan comes to (which is less
// only where the problem of ordering counts too much), so a trial may end there, and a limit lets
// the same rungs through however far a trial went. With integer programs (--effort 2) an order may
// become better still: then plans are judged alone.
#include "passes/retain/retain_trial.h"

#include "ir/check.h"
#include "ir/fork_join.h"
#include "passes/memory/memory_known.h"
#include "passes/pipeline.h"
#include "runtime/plan_uses.h"

#include <string.h>

enum { PASSES_MAX = 16 };

// A copy of the rung's entry, alone with the states.
static Module *module_of_rung(const RetainLadder *l, RetainSpot s, Arena *a) {
    const RetainVariant *v = &l->variant[s.variant];
    Module *m = arena_new(a, Module);
    *m = *v->m;
    m->entry = arena_array(a, Graph *, 1);
    m->entry_count = 1;
    m->entry[0] = graph_copy(v->m->entry[s.entry], a);
    retain_ladder_apply(&v->entry[s.entry], s.point, m->entry[0], a);
    return m;
}

// The passes behind this one, up to that which knows the bytes.
static int list_passes(const char *name[PASSES_MAX]) {
    int count = 0;
    bool behind = false;
    for (int i = 0; i < pass_count() && (!count || strcmp(name[count - 1], "layout") != 0); i++) {
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

// One rung being tried: nothing else is written while others are, too.
typedef struct {
    const RetainLadder *l;
    RetainSpot spot;
    PassOptions options;
    PassCtx cx;
    const MemoryKnown *known; // before it began
    RetainTrial t;            // its plan: NULL where the order was enough to tell
    bool good;
} Attempt;

// Bytes of the device that orders may need, 0: it is not for them to say. What the first rung has
// in far memory matters where that is limited.
static uint64_t limit_of_order(RetainSpot s, RetainLimits limits, const PassOptions *options) {
    const bool whole = s.point == 0 && options->far_bytes;
    return whole || options->effort > 1 ? 0 : limits.device;
}

static void start(Attempt *a) {
    a->t = (RetainTrial){.arena = arena_create(), .memory = plan_memory_new()};
    a->cx = (PassCtx){.options = &a->options,
                      .arena = a->t.arena,
                      .scratch = arena_create(),
                      .diag = diag_create(a->t.arena),
                      .plan_memory = a->t.memory,
                      .known = a->known};
}

static void drop(Attempt *a) {
    arena_release(a->cx.scratch);
    retain_trial_release(&a->t);
}

// Everything an attempt needs that isn't its own is only read.
static void begin(Attempt *a, const RetainLadder *l, RetainSpot s, RetainLimits limits,
                  const PassOptions *options) {
    *a = (Attempt){.l = l, .spot = s, .options = *options, .known = l->known};
    // Whether it fits is for the walk to say; nothing is written anywhere.
    a->options.trial = limits.kind;
    a->options.budget = limits.device;
    a->options.far_bytes = limits.far;
    a->options.order_limit = limit_of_order(s, limits, options);
    // The first rung is the plan that there is without a budget.
    a->options.order_plain = limits.kind == TRIAL_FITS && s.point > 0;
    a->options.dump_mip = NULL;
    start(a);
}

// The passes behind pass retain up to order, then the others where it may fit.
static void run_passes(Attempt *a) {
    if (!a->t.memory) {
        diag_error(a->cx.diag, (Loc){0}, 856, "out of memory");
        return;
    }
    const char *name[PASSES_MAX];
    const int count = list_passes(name);
    int first = 0;
    while (strcmp(name[first++], "order") != 0)
        CHECK(first < count);
    Module *m = module_of_rung(a->l, a->spot, a->t.arena);
    a->good = pipeline_run(m, &a->cx, name, first, NULL, NULL);
    const uint64_t limit = a->options.order_limit;
    if (a->good && (!limit || a->cx.order_load <= limit))
        a->good = pipeline_run(m, &a->cx, name + first, count - first, NULL, NULL);
}

// Bytes that the space may have; 0: any.
static uint64_t limit_of(const PassOptions *options, const PlanSpace *s) {
    return s->kind == SPACE_DEVICE ? options->budget : options->far_bytes;
}

static bool keeps_limits(const PassOptions *options, const Plan *p) {
    for (uint32_t i = 0; i < p->space_count; i++) {
        const uint64_t limit = limit_of(options, &p->space[i]);
        if (limit && p->space[i].bytes > limit)
            return false;
    }
    return true;
}

// An order that was searched for may do where a plain one doesn't.
static void attempt(void *attempts, int index) {
    Attempt *a = &((Attempt *)attempts)[index];
    run_passes(a);
    if (!a->good || !a->cx.order_plain || keeps_limits(&a->options, a->cx.plan))
        return;
    a->options.order_plain = false;
    drop(a);
    start(a);
    run_passes(a);
}

static bool is_whole_trial(const PassOptions *options, const Plan *p) {
    for (uint32_t i = 0; p && i < p->space_count; i++) {
        const uint64_t limit = limit_of(options, &p->space[i]);
        if (limit && p->space[i].load > limit)
            return false;
    }
    return p != NULL;
}

// What the plan comes to; where the load is above a limit its arenas were not packed.
static void measure(const Attempt *a, RetainEntry *e) {
    const Plan *p = a->cx.plan;
    const int point = a->spot.point;
    RetainRung *r = &e->rung[point];
    uint64_t load[SPACE_COUNT] = {0};
    r->tried = is_whole_trial(&a->options, p);
    for (uint32_t i = 0; p && i < p->space_count; i++) {
        const PlanSpace *s = &p->space[i];
        r->bytes[s->kind] = r->tried ? s->bytes : s->load;
        load[s->kind] = s->load;
    }
    if (point == 0) {
        // The same whatever the limits.
        e->offset = (int64_t)a->cx.order_least - e->frontier.point[0].cost.bytes;
        if (!p)
            r->bytes[SPACE_DEVICE] = a->cx.order_load;
        e->far_load = load[SPACE_HOST] + load[SPACE_DISK];
        return;
    }
    uint64_t floor = retain_floor(e, point);
    if (a->options.effort <= 1 && a->cx.order_load > floor)
        floor = a->cx.order_load;
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

// Fills in the rung where the attempt went well. out as in retain_try.
static bool end(RetainLadder *l, Attempt *a, PassCtx *cx, RetainTrial *out) {
    arena_release(a->cx.scratch);
    a->t.plan = a->cx.plan;
    if (a->good)
        measure(a, &l->variant[a->spot.variant].entry[a->spot.entry]);
    else
        pass_on_errors(a->cx.diag, cx->diag);
    if (a->t.plan)
        l->known = memory_known_copy(a->cx.known, a->known, l->known, l->a);
    if (a->good && out) {
        a->t.state = state_bytes(a->t.plan);
        *out = a->t;
    } else {
        retain_trial_release(&a->t);
    }
    return a->good;
}

bool retain_try(RetainLadder *l, RetainSpot s, RetainLimits limits, PassCtx *cx, RetainTrial *out) {
    Attempt a;
    begin(&a, l, s, limits, cx->options);
    attempt(&a, 0);
    return end(l, &a, cx, out);
}

bool retain_try_side_by_side(RetainLadder *l, const RetainSpot *s, int count, RetainLimits limits,
                             PassCtx *cx) {
    Arena *arena = arena_create();
    Attempt *a = arena_array(arena, Attempt, count);
    bool good = true;
    for (int i = 0; i < count; i++)
        begin(&a[i], l, s[i], limits, cx->options);
    fork_join(count, attempt, a);
    for (int i = 0; i < count; i++)
        good = end(l, &a[i], cx, NULL) && good;
    arena_release(arena);
    return good;
}

void retain_trial_release(RetainTrial *t) {
    plan_memory_release(t->memory);
    if (t->arena)
        arena_release(t->arena);
    *t = (RetainTrial){0};
}
