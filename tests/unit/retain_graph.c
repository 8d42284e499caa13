// From graphs to problems and back: a problem says of its graph what is seen by hand, a schedule
// written into a graph changes no bit, and bounds are below the least there is, which on tiny
// problems is found by looking at everything.
#include "passes/retain/retain_apply.h"
#include "passes/retain/retain_bound.h"
#include "passes/retain/retain_cut.h"
#include "passes/retain/retain_index.h"
#include "passes/retain/retain_trial.h"

#include "tests/unit/model_bench.h"
#include "tests/unit/random_draw.h"
#include "tests/unit/retain_sample.h"

#include <criterion/criterion.h>
#include <string.h>

static Module *module_of_text(Bench *t, const char *text) {
    Module *m = module_parse(t->a, t->cx.diag, "t.graph", text, strlen(text));
    bench_expect(t, m != NULL, "the graph is wrong");
    return m;
}

// --- problems of graphs ---

// %e and %g are one kernel, of which %g is stored; %k is written over %j, which dies there.
static const char chain[] = "graph @train(%a: f32[64,32], %w: f32[32,32]) -> (f32[64,32]) {\n"
                            "  %b: f32[64,32] = einsum %a, %w {spec = \"mk,kn->mn\"}\n"
                            "  %e: f32[64,32] = exp %b\n"
                            "  %g: f32[64,32] = add %e, %b\n"
                            "  %h: f32[64,32] = einsum %g, %w {spec = \"mk,kn->mn\"}\n"
                            "  %i: f32[64,32] = mul %h, %g backward\n"
                            "  %j: f32[64,32] = einsum %i, %w {spec = \"mk,nk->mn\"} backward\n"
                            "  %k: f32[64,32] = mul %j, %b backward\n"
                            "  return %k\n"
                            "}\n";

static const RetainTask *maker_of(const RetainGraph *rg, const Graph *g, const char *name) {
    for (int i = 0; i < g->node_count; i++)
        for (int r = 0; r < g->node[i]->result_count; r++) {
            const Value *v = &g->node[i]->result[r];
            const int value = v->name && strcmp(v->name, name) == 0 ? rg->value_of[v->id] : -1;
            if (value >= 0)
                return &rg->problem.task[rg->problem.value[value].maker];
        }
    return NULL;
}

Test(retain_graph, a_problem_is_what_its_graph_is) {
    Bench t;
    bench_open(&t);
    const Module *m = module_of_text(&t, chain);
    const Graph *g = m->entry[0];
    const RetainGraph *rg = retain_build(m, g, &t.options, &t.rates, t.a);
    const RetainProblem *p = &rg->problem;
    cr_assert_eq(p->forward_count, 3);
    cr_assert_eq(p->task_count, 6);
    cr_assert_null(maker_of(rg, g, "e"), "a value inside a kernel is none of the problem");
    for (int i = 0; i < p->task_count; i++) {
        cr_assert_eq(p->task[i].flags, i < 3 ? 0u : (unsigned)RETAIN_ONCE);
        cr_assert_gt(p->task[i].time, 0);
    }
    cr_assert_eq(rg->nodes[1].count, 2);
    cr_assert_eq(maker_of(rg, g, "g"), &p->task[1]);
    cr_assert_eq(p->task[1].operand_count, 1);
    cr_assert_eq(maker_of(rg, g, "h"), &p->task[2]);
    // %j and %k are one value, which is the result.
    cr_assert_eq(maker_of(rg, g, "k"), maker_of(rg, g, "j"));
    cr_assert_eq(p->value_count, 5);
    int kept = 0;
    for (int v = 0; v < p->value_count; v++) {
        cr_assert_eq(p->value[v].bytes, 64 * 32 * 4);
        cr_assert(!p->value[v].out && !p->value[v].in, "nothing was allowed to move");
        kept += p->value[v].kept;
    }
    cr_assert_eq(kept, 1);
    bench_close(&t);
}

Test(retain_graph, there_is_nothing_to_choose_without_a_backward_pass) {
    Bench t;
    bench_open(&t);
    const Module *m = module_of_text(&t, "graph @f(%a: f32[4]) -> (f32[4]) {\n"
                                         "  %b: f32[4] = exp %a\n"
                                         "  return %b\n"
                                         "}\n");
    cr_assert_null(retain_build(m, m->entry[0], &t.options, &t.rates, t.a));
    bench_close(&t);
}

// --- schedules written into graphs ---

// Dropout draws, attention runs once, views look at copies, a norm has several results.
static const char *const model_text =
    "use nn\n"
    "model m(batch = 4, context = 4, vocab = 24, width = 8) {\n"
    "  wte = param [vocab, width] ~ normal(0.3)\n"
    "  entry train(text: i32[batch, context + 1] from data, lr: f32 = 0.1) {\n"
    "    x = dropout(wte[text[.., 0 .. -1]], 0.2)\n"
    "    for i in 0 .. 2 {\n"
    "      x = x + h.{i}: nn.mlp(ln.{i}: nn.layernorm(x, 1e-5), 16)\n"
    "      q = arrange(x, \"b s (h e) -> b h s e\", h = 2)\n"
    "      x = x + arrange(attend(q, q, q, causal = true), \"b h s e -> b s (h e)\")\n"
    "    }\n"
    "    loss = cross_entropy(einsum(x, wte, \"b s d, v d -> b s v\"), text[.., 1 ..])\n"
    "    minimize loss { %s }\n"
    "    return loss\n"
    "  }\n"
    "}\n";

static const char *const minimizes[] = {
    "optimizer = sgd(lr)", "optimizer = adamw(lr); update = fused",
    "optimizer = adamw(lr); precision = bf16; accumulate = 2; clip = global_norm(0.5)"};

static Module *module_of_model(Bench *t, const char *minimize) {
    return bench_module(t, arena_format(t->a, model_text, minimize));
}

static void expect_same(Bench *t, const Module *plain, const Module *other, const char *what) {
    double a[BENCH_STEPS], b[BENCH_STEPS];
    const Tensor *x = bench_train(t, plain, a), *y = bench_train(t, other, b);
    cr_assert(memcmp(a, b, sizeof a) == 0, "%s: losses differ", what);
    bench_expect_states(plain, x, y, what);
}

// Every value may move, and be cut, however small it is.
static RetainGraph *all_movable(const RetainGraph *rg, Arena *a) {
    RetainGraph *out = arena_new(a, RetainGraph);
    RetainValue *value = arena_array(a, RetainValue, rg->problem.value_count + 1);
    for (int v = 0; v < rg->problem.value_count; v++) {
        value[v] = rg->problem.value[v];
        // A fused update's scalars stand among the forward's nodes.
        const bool forward = value[v].maker < rg->problem.forward_count && value[v].bytes > 0 &&
                             ((const Value *)value[v].owner)->def->phase == PHASE_FORWARD;
        value[v].out = value[v].in = forward ? 1000 : 0;
        const Value *owner = value[v].owner;
        value[v].parts = forward ? retain_cut(&owner->type, 0).parts : 0;
    }
    *out = *rg;
    out->problem.value = value;
    return out;
}

// Tasks in order; between them, from the backward pass on, any that may run again, and moves.
static RetainSchedule random_schedule(const RetainProblem *p, uint64_t seed, Arena *a) {
    RetainStep *step = arena_array(a, RetainStep, 8 * p->task_count + 8);
    bool *made = arena_array(a, bool, p->value_count + 1);
    bool *far = arena_array(a, bool, p->value_count + 1);
    RetainSchedule s = {.step = step};
    for (int next = 0; next < p->task_count; next++) {
        for (int tries = (int)draw(&seed, 4); tries > 0; tries--) {
            const int t = (int)draw(&seed, (uint32_t)p->forward_count);
            const int v = (int)draw(&seed, (uint32_t)p->value_count);
            if (next >= p->forward_count && !(p->task[t].flags & RETAIN_ONCE))
                step[s.count++] = (RetainStep){.kind = RETAIN_RUN, .what = t};
            if (made[v] && p->value[v].out && !far[v])
                step[s.count++] = (RetainStep){
                    .kind = RETAIN_STORE,
                    .what = v,
                    .near = p->value[v].parts ? (int)draw(&seed, (uint32_t)p->value[v].parts) : 0};
            else if (far[v] && next >= p->forward_count)
                step[s.count++] = (RetainStep){.kind = RETAIN_FETCH, .what = v};
            far[v] = far[v] || (made[v] && p->value[v].out);
        }
        step[s.count++] = (RetainStep){.kind = RETAIN_RUN, .what = next};
        for (int i = 0; i < p->task[next].result_count; i++)
            made[p->task[next].result[i]] = true;
    }
    return s;
}

static int count_op(const Graph *g, Op op) {
    int count = 0;
    for (int i = 0; i < g->node_count; i++)
        count += g->node[i]->op == op;
    return count;
}

static Module *applied(Bench *t, const Module *m, const RetainGraph *rg, const RetainSchedule *s) {
    const char *wrong = retain_check(&rg->problem, s, t->a);
    cr_assert_null(wrong, "%s", wrong);
    Module *out = module_copy(m, t->a);
    for (int e = 0; e < out->entry_count; e++)
        if (strcmp(out->entry[e]->name, "train") == 0)
            retain_apply(out->entry[e], rg, s, t->a);
    if (!module_verify(out, t->cx.diag))
        fprintf(stderr, "%s\n", module_text(out, t->a, 0));
    bench_expect(t, module_verify(out, t->cx.diag), "what a schedule leaves is wrong");
    return out;
}

Test(retain_graph, schedules_change_no_bit) {
    enum { SCHEDULES = SLOW ? 2 : 8 };
    int again = 0, moved = 0;
    for (size_t i = 0; i < sizeof minimizes / sizeof minimizes[0]; i++) {
        Bench t;
        bench_open(&t);
        const Module *m = module_of_model(&t, minimizes[i]);
        const Graph *g = module_find_entry(m, "train");
        const RetainGraph *built = retain_build(m, g, &t.options, &t.rates, t.a);
        const RetainGraph *rg = all_movable(built, t.a);
        for (uint64_t seed = 0; seed < SCHEDULES; seed++) {
            const RetainSchedule s = random_schedule(&rg->problem, seed * 97 + i, t.a);
            const Module *other = applied(&t, m, rg, &s);
            const Graph *changed = module_find_entry(other, "train");
            again += count_op(changed, OP_EINSUM) - count_op(g, OP_EINSUM);
            moved += count_op(changed, OP_FETCH);
            expect_same(&t, m, other, minimizes[i]);
        }
        // And those that are meant.
        const RetainOptions options = {.far = INT64_MAX, .rungs = 4};
        const RetainFrontier f = retain_frontier(&rg->problem, &options, t.a);
        for (int k = 0; k < f.count; k += SLOW ? f.count / 2 + 1 : 2)
            expect_same(&t, m, applied(&t, m, rg, &f.point[k].schedule), minimizes[i]);
        bench_close(&t);
    }
    cr_assert(again > 0 && moved > 0, "schedules did nothing");
}

// --- bounds ---

enum { VALUES = 11, TASKS = 10 };

typedef struct {
    const RetainProblem *p;
    int64_t most; // bytes that may be live
    bool *seen;   // by state: tasks that have run for the first time, and values that are there
    int *stack, count;
} Search;

static void reach(Search *s, int next, int there) {
    const int state = next << VALUES | there;
    if (s->seen[state])
        return;
    s->seen[state] = true;
    s->stack[s->count++] = state;
}

static void run_task(Search *s, int task, int next, int there) {
    const RetainTask *t = &s->p->task[task];
    int64_t bytes = t->transient;
    for (int i = 0; i < t->operand_count; i++)
        if (!(there >> t->operand[i] & 1))
            return;
    for (int i = 0; i < t->result_count; i++)
        there |= 1 << t->result[i];
    for (int v = 0; v < s->p->value_count; v++)
        bytes += there >> v & 1 ? retain_bytes(s->p, v) : 0;
    if (bytes <= s->most)
        reach(s, next, there);
}

// Whether any schedule without moves needs no more than so many bytes: all are looked at.
static bool can_do(const RetainProblem *p, int64_t most, Arena *a) {
    const int states = (TASKS + 1) << VALUES;
    Search s = {.p = p,
                .most = most,
                .seen = arena_array(a, bool, states),
                .stack = arena_array(a, int, states)};
    int there = 0, kept = 0;
    for (int v = 0; v < p->value_count; v++) {
        there |= p->value[v].maker < 0 ? 1 << v : 0;
        kept |= p->value[v].kept ? 1 << v : 0;
    }
    reach(&s, 0, there);
    while (s.count > 0) {
        const int state = s.stack[--s.count];
        const int next = state >> VALUES, now = state & ((1 << VALUES) - 1);
        if (next == p->task_count && (now & kept) == kept)
            return true;
        if (next < p->task_count)
            run_task(&s, next, next + 1, now);
        for (int t = 0; t < next; t++)
            if (!(p->task[t].flags & RETAIN_ONCE))
                run_task(&s, t, next, now);
        for (int v = 0; v < p->value_count; v++)
            if (now >> v & 1 && p->value[v].maker >= 0)
                reach(&s, next, now & ~(1 << v));
    }
    return false;
}

static int64_t least_of_all(const RetainProblem *p, int64_t enough) {
    Arena *a = arena_create();
    cr_assert(p->task_count <= TASKS && p->value_count <= VALUES);
    int64_t low = 0, high = enough;
    cr_assert(can_do(p, high, a), "what was found is not there");
    while (low < high) {
        arena_reset(a);
        const int64_t middle = low + (high - low) / 2;
        if (can_do(p, middle, a))
            high = middle;
        else
            low = middle + 1;
    }
    arena_release(a);
    return high;
}

Test(retain_graph, bounds_of_problems_are_below_the_least) {
    int tight = 0;
    const int problems = SLOW ? 6 : 40;
    for (int seed = 0; seed < problems; seed++) {
        Arena *a = arena_create();
        const RetainProblem *p =
            retain_sample_random(a, (uint64_t)seed + 100, 3 + seed % 4, 2 + seed % 3, 0);
        const RetainOptions options = {0};
        const RetainFrontier f = retain_frontier(p, &options, a);
        const int64_t found = f.point[f.count - 1].cost.bytes, least = least_of_all(p, found);
        cr_assert_leq(f.bound, least, "problem %d", seed);
        tight += least == found;
        arena_release(a);
    }
    // Problems as small as these are solved exactly.
    cr_assert_eq(tight, problems);
}

// Padded to what a buffer takes; a plan has its arguments beside that.
Test(retain_graph, the_bound_of_a_graph_is_below_the_least) {
    Bench t;
    bench_open(&t);
    const Module *m = module_of_text(&t, chain);
    t.options.frontier = true;
    RetainLadder *l = retain_ladder(m, &t.cx);
    RetainEntry *e = &l->variant[0].entry[0];
    uint64_t found = UINT64_MAX;
    for (int k = 0; k < e->frontier.count; k++) {
        const RetainSpot spot = {.point = k};
        cr_assert(retain_try(l, spot, (RetainLimits){.kind = TRIAL_LEAST}, &t.cx, NULL));
        cr_assert(e->rung[k].tried);
        found = e->rung[k].bytes[SPACE_DEVICE] < found ? e->rung[k].bytes[SPACE_DEVICE] : found;
        retain_ladder_solve(l, e, &t.cx);
    }
    const uint64_t bound = retain_bound(l, false);
    const RetainFrontier *f = &e->frontier;
    const int64_t least = least_of_all(&e->graph->problem, f->point[f->count - 1].cost.bytes);
    cr_assert(bound > 0 && bound <= (uint64_t)least, "%llu and %lld", (unsigned long long)bound,
              (long long)least);
    cr_assert_leq(bound, found);
    bench_close(&t);
}
