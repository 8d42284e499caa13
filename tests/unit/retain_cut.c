// Values in parts, in graphs: however the parts of a value are kept, moved and computed again, the
// entry computes the same bits, and what follows makes a plan of it.
#include "ir/evaluate.h"
#include "passes/pipeline.h"
#include "passes/retain/retain_apply.h"
#include "passes/retain/retain_index.h"

#include <criterion/criterion.h>
#include <string.h>

// A norm whose weight is as long as there are rows, a bias seen through a broadcast, a table of
// cosines that every example shares, a product, and a result that is transposed.
static const char *const text =
    "graph @train(%a: f32[256,1,256], %w: f32[256], %cos: f32[1,128], %p: f32[256,2]) -> "
    "(f32[256,1,256], f32[256,2]) {\n"
    "  %y: f32[256,1,256], %mean: f32[256,1], %rstd: f32[256,1] = layernorm %a, %w, %w "
    "{eps = 1e-05}\n"
    "  %d: f32[256,1,2] = einsum %y, %p {spec = \"btk,kn->btn\"}\n"
    "  %e: f32[256,1,256] = einsum %d, %p {spec = \"btn,kn->btk\"}\n"
    "  %r: f32[256,1,256] = rotary %e, %cos, %cos {inverse = 0}\n"
    "  %f: f32[256,1,2] = einsum %r, %p {spec = \"btk,kn->btn\"}\n"
    "  %g: f32[256,1,256] = einsum %f, %p {spec = \"btn,kn->btk\"}\n"
    "  %wide: f32[256,1,256] = broadcast %w {axes = [2], shape = [256,1,256]}\n"
    "  %s: f32[256,1,256] = add %g, %wide\n"
    "  %t: f32[256,1,256] = exp %s\n"
    "  %h: f32[256,1,2] = einsum %t, %p {spec = \"btk,kn->btn\"}\n"
    "  %dh: f32[256,1,2] = mul %h, %h backward\n"
    "  %dt: f32[256,1,256] = einsum %dh, %p {spec = \"btn,kn->btk\"} backward\n"
    "  %ds: f32[256,1,256] = mul %dt, %t backward\n"
    "  %dr: f32[256,1,256] = mul %ds, %r backward\n"
    "  %dp: f32[256,2] = einsum %dr, %f {spec = \"btk,btn->kn\"} backward\n"
    "  %de: f32[256,1,256] = mul %dr, %e backward\n"
    "  %dy: f32[256,1,256] = mul %de, %y backward\n"
    "  return %dy, %dp\n"
    "}\n";

typedef struct {
    Arena *a;
    PassOptions options;
    PassCtx cx;
    Module *m;
    RetainGraph *rg;
    RetainIndex *x;
} Bench;

static void bench_open(Bench *t) {
    *t = (Bench){.a = arena_create(), .options = {.far = true}};
    t->cx = (PassCtx){.arena = t->a, .scratch = arena_create(), .diag = diag_create(t->a)};
    t->cx.options = &t->options;
    t->m = module_parse(t->a, t->cx.diag, "t.graph", text, strlen(text));
    if (!t->m)
        diag_print(t->cx.diag, stderr, false);
    cr_assert_not_null(t->m);
    Rates rates;
    rates_assume("cpu", "", 2, &rates);
    t->rg = retain_build(t->m, t->m->entry[0], &t->options, &rates, t->a);
    t->x = retain_index(&t->rg->problem, t->a);
}

static void bench_close(Bench *t) {
    arena_release(t->cx.scratch);
    arena_release(t->a);
}

static const Tensor *run(const Bench *t, const Graph *g) {
    const EvalCtx cx = {.arena = t->a};
    EvalInput in = {.argument = arena_array(t->a, Tensor, g->input_count)};
    for (int i = 0; i < g->input_count; i++) {
        in.argument[i] = tensor_create(t->a, g->input[i].value->type);
        for (int64_t k = 0; k < type_count(&in.argument[i].type); k++)
            in.argument[i].at[k] = dtype_round(DT_F32, (double)((k * 37 + i) % 101) / 400 - 0.1);
    }
    Tensor *result = arena_array(t->a, Tensor, g->result_count);
    graph_evaluate(t->m, g, &in, result, &cx);
    return result;
}

// Every task once; v stored in parts behind its maker, fetched before its first later reader.
static RetainSchedule cut(const Bench *t, int v, int near, int again) {
    const RetainProblem *p = &t->rg->problem;
    RetainSchedule s = {0};
    RetainStep *step = arena_array(t->a, RetainStep, p->task_count + 2);
    for (int i = 0; i < p->task_count; i++) {
        if (i == t->x->first_backward[v])
            step[s.count++] = (RetainStep){.kind = RETAIN_FETCH, .what = v};
        step[s.count++] = (RetainStep){.kind = RETAIN_RUN, .what = i};
        if (i == p->value[v].maker)
            step[s.count++] =
                (RetainStep){.kind = RETAIN_STORE, .what = v, .near = near, .again = again};
    }
    s.step = step;
    return s;
}

static bool is_named(const RetainValue *v, const char *name) {
    const Value *owner = v->owner;
    return owner->name && strcmp(owner->name, name) == 0;
}

// The cut entry computes what the whole one does, and the passes behind make a plan of it, which
// they verify.
static void check_cut(Bench *t, int v, int near, int again, const Tensor *want) {
    const RetainProblem *p = &t->rg->problem;
    const RetainSchedule s = cut(t, v, near, again);
    const char *wrong = retain_check(p, &s, t->a);
    cr_assert_null(wrong, "%s", wrong);
    Module m = *t->m;
    Graph *g = graph_copy(t->m->entry[0], t->a);
    m.entry = &g;
    retain_apply(g, t->rg, &s, t->cx.scratch);
    const bool good = graph_verify(&m, g, t->cx.diag);
    if (!good)
        diag_print(t->cx.diag, stderr, false);
    cr_assert(good, "value %d in %d and %d: %s", v, near, again, module_text(&m, t->a, 0));
    const Tensor *got = run(t, g);
    for (int i = 0; i < g->result_count; i++)
        cr_assert(memcmp(got[i].at, want[i].at,
                         (size_t)type_count(&got[i].type) * sizeof *got[i].at) == 0,
                  "value %d in %d and %d: result %d differs", v, near, again, i);
    static const char *const pass[] = {"fuse", "order", "lower", "schedule", "layout"};
    t->cx.plan = NULL;
    cr_assert(pipeline_run(&m, &t->cx, pass, 5, NULL, NULL), "no plan for value %d", v);
}

Test(retain_cut, parts_have_the_bits_of_the_whole) {
    Bench t;
    bench_open(&t);
    const RetainProblem *p = &t.rg->problem;
    const Tensor *want = run(&t, t.m->entry[0]);
    int cuts = 0, rows = 0;
    for (int v = 0; v < p->value_count; v++) {
        if (!p->value[v].parts || t.x->first_backward[v] == p->task_count)
            continue;
        cr_assert_eq(p->value[v].parts, 4);
        const bool again = retain_rows(p, v);
        // Products are a library's; what rotary reads for a row no index map says.
        cr_assert_neq(again, is_named(&p->value[v], "e") || is_named(&p->value[v], "r"), "value %d",
                      v);
        rows += again;
        for (int near = 0; near < 4; near++)
            for (int made = 0; made <= (again ? 3 : 0) && near + made <= 4; made++, cuts++)
                if (near + made)
                    check_cut(&t, v, near, made, want);
    }
    cr_assert_geq(cuts, 20, "%d", cuts);
    cr_assert_geq(rows, 2, "%d", rows);
    bench_close(&t);
}
