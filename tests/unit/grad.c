// grad in texts: first and second derivatives against finite differences of the evaluated entries,
// before passes and after.
#include "frontend/frontend.h"
#include "ir/evaluate.h"
#include "passes/pipeline.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { X, V, LABEL, INPUTS };

typedef struct {
    Arena *a;
    PassCtx cx;
    Module *m;
    Tensor input[INPUTS];
    Tensor *state;
} Bench;

// f, a scalar of x; its gradient; and that of the gradient along v.
static const char *const entries =
    "  entry value(x: f32[3, 4], v: f32[3, 4], i: i32[3]) { return f(x, i) }\n"
    "  entry first(x: f32[3, 4], v: f32[3, 4], i: i32[3]) { return grad(f(x, i), x) }\n"
    "  entry second(x: f32[3, 4], v: f32[3, 4], i: i32[3]) {\n"
    "    return grad(sum(grad(f(x, i), x) * v), x)\n"
    "  }\n}\n";

// What f's body may be: one for each gradient operator that has a rule, and some of all sorts.
static const char *const bodies[] = {
    "return sum(tanh(x) * sigmoid(x))",
    "return sum(x * x * x)",
    "return mean(silu(x) * x)",
    "return sum(gelu(x @ w))",
    "return sum(gelu_erf(x @ w))",
    "return cross_entropy(x @ w, i)",
    "return cross_entropy(tanh(x @ w) @ w, i)",
    "y = softmax(x @ w); return sum(y * y)",
    "t = x[i]; return sum(t * t * t)",
    "return sum(exp(-x * x) / (1 + x * x)) + sum(relu(x) * x)",
    "y = conv(arrange(x, \"s d -> 1 1 s d\"), arrange(w, \"a b -> 1 1 a b\"), stride = (1, 2), "
    "padding = 1)\n    return sum(y * y * y)",
    "z = arrange(x, \"s (g d) -> 1 g s d\", g = 2)\n"
    "    y = conv(z, arrange(x, \"s (g d) -> g 1 s d\", g = 2), padding = 1, groups = 2)\n"
    "    return sum(y * y)",
    "return sum(sqrt(1 + x * x)) + sum(log(2 + sin(x)))",
    "a, b = split(x, 2, axis = 1); return sum(concat(a * b, b * b, axis = 1) * x)",
    "q = arrange(x, \"s (h e) -> 1 h s e\", h = 2); y = einsum(q, q, \"b h s e, b h t e -> b h s "
    "t\")\n"
    "    return sum(softmax(y) * y)",
};

static void bench_open(Bench *t, const char *body) {
    *t = (Bench){.a = arena_create()};
    t->cx = (PassCtx){.arena = t->a, .scratch = arena_create(), .diag = diag_create(t->a)};
    const char *text = arena_format(
        t->a, "model m() {\n  w = param [4, 4]\n  fn f(x, i) { %s }\n%s", body, entries);
    FrontendInput in = {
        .file = "t.plim", .text = text, .bytes = strlen(text), .library_only = true};
    FrontendFiles files = {0};
    t->m = frontend_module(t->a, t->cx.diag, &in, &files);
    if (!t->m)
        diag_print(t->cx.diag, stderr, false);
    cr_assert_not_null(t->m, "%s", body);
    cr_assert(module_verify(t->m, t->cx.diag));
    const int64_t dim[2] = {3, 4};
    uint64_t random = 88172645463325252u;
    t->input[X] = tensor_create(t->a, type_make(DT_F32, 2, dim));
    t->input[V] = tensor_create(t->a, type_make(DT_F32, 2, dim));
    t->input[LABEL] = tensor_create(t->a, type_make(DT_I32, 1, dim));
    t->state = arena_array(t->a, Tensor, 1);
    t->state[0] = tensor_create(t->a, t->m->state[0]->type);
    Tensor *const filled[] = {&t->input[X], &t->input[V], &t->state[0]};
    for (int k = 0; k < 3; k++)
        for (int64_t i = 0; i < type_count(&filled[k]->type); i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            filled[k]->at[i] = (double)(random >> 33) / 1e9 - 1;
        }
    for (int i = 0; i < 3; i++)
        t->input[LABEL].at[i] = (i * 2 + 1) % 3;
}

static void bench_close(Bench *t) {
    arena_release(t->cx.scratch);
    arena_release(t->a);
}

// The entry's one result.
static Tensor run(Bench *t, const char *name) {
    const EvalCtx cx = {.arena = t->a, .exact = true};
    EvalInput in = {.argument = t->input, .state = t->state};
    Tensor out;
    graph_evaluate(t->m, module_find_entry(t->m, name), &in, &out, &cx);
    return out;
}

static double dot(const Tensor *x, const Tensor *y) {
    double sum = 0;
    for (int64_t i = 0; i < type_count(&x->type); i++)
        sum += x->at[i] * (y ? y->at[i] : 1);
    return sum;
}

// The gradient entry against differences of what it is the gradient of: along V, or alone.
static void check_slopes(Bench *t, const char *body, const char *gradient, const char *of) {
    const Tensor got = run(t, gradient);
    const Tensor *along = strcmp(of, "first") == 0 ? &t->input[V] : NULL;
    for (int64_t i = 0; i < type_count(&got.type); i++) {
        const double at = t->input[X].at[i], h = 1e-5;
        t->input[X].at[i] = at + h;
        const Tensor above = run(t, of);
        t->input[X].at[i] = at - h;
        const Tensor below = run(t, of);
        t->input[X].at[i] = at;
        const double slope = (dot(&above, along) - dot(&below, along)) / (2 * h);
        cr_assert(fabs(got.at[i] - slope) <= 1e-6 * (1 + fabs(slope)), "%s: %s[%d] is %g, slope %g",
                  body, gradient, (int)i, got.at[i], slope);
    }
}

Test(grad, first_and_second_derivatives_are_slopes) {
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        Bench t;
        bench_open(&t, bodies[i]);
        check_slopes(&t, bodies[i], "first", "value");
        check_slopes(&t, bodies[i], "second", "first");
        bench_close(&t);
    }
}

// Simplified they are the same numbers; computed in bf16 they still have types that fit.
Test(grad, passes_keep_derivatives) {
    static const char *const passes[][3] = {{"simplify"}, {"simplify", "precision", "simplify"}};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        for (int p = 0; p < 2; p++) {
            Bench t;
            bench_open(&t, bodies[i]);
            const PassOptions options = {.precision = "bf16"};
            t.cx.options = &options;
            const Tensor want = run(&t, "second");
            cr_assert(pipeline_run(t.m, &t.cx, passes[p], p ? 3 : 1, NULL, NULL));
            cr_assert(module_verify(t.m, t.cx.diag), "%s", bodies[i]);
            t.state[0].type = t.m->state[0]->type; // bf16, where all read it so
            const Tensor got = run(&t, "second");
            for (int64_t k = 0; k < type_count(&got.type); k++)
                cr_assert(fabs(got.at[k] - want.at[k]) <= 1e-5 * (1 + fabs(want.at[k])),
                          "%s: %g, then %g", bodies[i], want.at[k], got.at[k]);
            bench_close(&t);
        }
}

// Each of a loop's gradients feeds the next: ten steps downhill are ten times the same arithmetic.
Test(grad, feeds_the_next_of_a_loop) {
    Bench t;
    bench_open(&t, "for k in 0 .. 3 { x = x - 0.1 * grad(sum(x * x * x), x) }; return sum(x * x)");
    const Tensor got = run(&t, "value");
    double want = 0;
    for (int i = 0; i < 12; i++) {
        double x = t.input[X].at[i];
        for (int k = 0; k < 3; k++)
            x -= 0.1 * 3 * x * x;
        want += x * x;
    }
    cr_assert_float_eq(got.at[0], want, 1e-9);
    check_slopes(&t, "loop", "first", "value");
    bench_close(&t);
}

// --- texts that train: a few steps through the evaluator ---

typedef struct {
    Arena *a;
    PassCtx cx;
    Module *m;
    Tensor *state;
} Training;

// Elaborates, makes first values, and expands what trains.
static void training_open(Training *t, const char *text) {
    *t = (Training){.a = arena_create()};
    t->cx = (PassCtx){.arena = t->a, .scratch = arena_create(), .diag = diag_create(t->a)};
    FrontendInput in = {
        .file = "t.plim", .text = text, .bytes = strlen(text), .library_only = true};
    FrontendFiles files = {0};
    t->m = frontend_module(t->a, t->cx.diag, &in, &files);
    if (!t->m)
        diag_print(t->cx.diag, stderr, false);
    cr_assert_not_null(t->m);
    const char *const passes[] = {"simplify", "precision", "autodiff", "optimize", "tidy"};
    cr_assert(pipeline_run(t->m, &t->cx, passes, 5, NULL, NULL));
    t->state = arena_array(t->a, Tensor, t->m->state_count + 1);
    for (int i = 0; i < t->m->state_count; i++)
        t->state[i] = tensor_create(t->a, t->m->state[i]->type);
}

static void training_close(Training *t) {
    arena_release(t->cx.scratch);
    arena_release(t->a);
}

// One run of the entry; arguments are the same in every step. The first result, or 0.
static double step(Training *t, const char *entry, int64_t number) {
    const Graph *g = module_find_entry(t->m, entry);
    const EvalCtx cx = {.arena = t->a, .seed = 3, .step = number, .steps = 10};
    EvalInput in = {.state = t->state};
    in.argument = arena_array(t->a, Tensor, g->input_count * g->repeat + 1);
    for (int i = 0; i < g->input_count * g->repeat; i++) {
        const Input *input = &g->input[i / g->repeat];
        Tensor *a = &in.argument[i];
        *a = tensor_create(t->a, input->value->type);
        for (int64_t k = 0; k < type_count(&a->type); k++)
            a->at[k] = input->source == FROM_STEP   ? (double)number
                       : input->source == FROM_SEED ? 3
                       : a->type.dtype == DT_I32    ? (double)(k % 3)
                                                    : sin(1.0 + (double)(k * 7 + i));
    }
    Tensor *result = arena_array(t->a, Tensor, g->result_count + 1);
    graph_evaluate(t->m, g, &in, result, &cx);
    return g->result_count ? result[0].at[0] : 0;
}

static double *state_at(Training *t, const char *name) {
    const State *s = module_find_state(t->m, name);
    cr_assert_not_null(s, "%s", name);
    return t->state[s->id].at;
}

// The copy starts where the net does, follows it one step behind, and the net learns.
Test(grad, attack_and_teacher) {
    Training t;
    training_open(&t, "use nn\n"
                      "model pgd(eps = 0.03) {\n"
                      "  net: nn.linear(_, 3)\n  ema: copy(net)\n"
                      "  entry train(x: f32[6, 4] from data, y: i32[6] from labels) {\n"
                      "    d = uniform([6, 4], -eps, eps)\n"
                      "    for i in 0 .. 10 {\n"
                      "      d = clamp(d + eps / 4 * sign(grad(cross_entropy(net(x + d), y), d)), "
                      "-eps, eps)\n    }\n"
                      "    loss = cross_entropy(net(x + stop(d)), y)\n"
                      "    minimize loss { optimizer = sgd(0.5, momentum = 0.9) }\n"
                      "    ema <- mix(ema, net, 0.25)\n    return loss\n  }\n}\n");
    step(&t, "init", 0);
    double *net = state_at(&t, "net.weight"), *ema = state_at(&t, "ema.weight");
    for (int i = 0; i < 12; i++)
        cr_assert_eq(ema[i], net[i]);
    double first = 0, last = 0;
    for (int n = 0; n < 8; n++) {
        const double was = net[5], teacher = ema[5];
        last = step(&t, "train", n);
        first = n ? first : last;
        cr_assert_float_eq(ema[5], teacher + 0.25 * (was - teacher), 1e-6);
        cr_assert(net[5] != was);
    }
    cr_assert_lt(last, 0.9 * first);
    training_close(&t);
}

static const char adversaries[] =
    "fn gen(z) { w = param [4] ~ normal(1); return z * w }\n"
    "fn disc(x) { v = param [4] ~ normal(1); return mean(tanh(x * v)) }\n"
    "model gan() {\n  G: gen(_)\n  D: disc(_)\n"
    "  entry both(x: f32[3, 4] from data, z: f32[3, 4] from noise) {\n"
    "    minimize D(stop(G(z))) - D(x) { optimizer = sgd(0.5); only = \"D\" }\n"
    "    minimize -D(G(z)) { optimizer = adamw(0.1); only = \"G.**\"; clip = global_norm(1) }\n"
    "  }\n"
    "  entry second(x: f32[3, 4] from data, z: f32[3, 4] from noise) {\n"
    "    minimize -D(G(z)) { optimizer = adamw(0.1); only = \"G.**\"; clip = global_norm(1) }\n"
    "  }\n}\n";

// Both minimizes of an entry see the parameters as they were at its start: the second one's update
// is what it would be alone.
Test(grad, two_minimizes_are_simultaneous) {
    double w[2][4], v[2][4];
    for (int alone = 0; alone < 2; alone++) {
        Training t;
        training_open(&t, adversaries);
        step(&t, "init", 0);
        const double before = state_at(&t, "G.w")[0];
        step(&t, alone ? "second" : "both", 0);
        memcpy(w[alone], state_at(&t, "G.w"), sizeof w[0]);
        memcpy(v[alone], state_at(&t, "D.v"), sizeof v[0]);
        cr_assert(w[alone][0] != before);
        training_close(&t);
    }
    cr_assert_arr_eq(w[0], w[1], sizeof w[0]);
    cr_assert(v[0][0] != v[1][0]);
}

// With a zero factor the first step's loss is the base's; the frozen base never changes.
Test(grad, low_rank_factors_learn_over_a_frozen_base) {
    Training t;
    training_open(&t, "use nn\n"
                      "fn lora(base, x: [b, n], rank) {\n  y = base(x)\n"
                      "  a = param [rank, n] ~ kaiming\n  c = param [y.dim(-1), rank] ~ zeros\n"
                      "  return y + einsum(x, a, c, \"b n, r n, m r -> b m\")\n}\n"
                      "model tune() {\n  net: nn.linear(_, 3)\n"
                      "  at \"net\" { frozen = true; store = bf16 }\n"
                      "  at \"net\" { wrap = lora(_, _, 2) }\n"
                      "  at \"net.{a,c}\" { frozen = false }\n"
                      "  entry train(x: f32[6, 4] from data, y: i32[6] from labels) {\n"
                      "    loss = cross_entropy(net(x), y)\n"
                      "    minimize loss { optimizer = adamw(0.1) }\n    return loss\n  }\n}\n");
    step(&t, "init", 0);
    double base[12];
    memcpy(base, state_at(&t, "net.weight"), sizeof base);
    cr_assert_eq(module_find_state(t.m, "net.weight")->type.dtype, DT_BF16);
    const double first = step(&t, "train", 0);
    double last = first;
    for (int n = 1; n < 10; n++)
        last = step(&t, "train", n);
    cr_assert_lt(last, 0.8 * first);
    cr_assert_arr_eq(base, state_at(&t, "net.weight"), sizeof base);
    training_close(&t);
}

// The last part's value is what state keeps; every part reads what the step before left.
Test(grad, accumulation_keeps_the_last_part) {
    Training t;
    training_open(&t,
                  "model m(batch = 4) {\n  w = param [2]\n  seen = state f32[] ~ 1\n"
                  "  entry train(x: f32[batch, 2] from data) {\n"
                  "    seen <- 2 * seen + stop(sum(x))\n"
                  "    minimize mean(x * w) { optimizer = sgd(0.1); accumulate = 2 }\n  }\n}\n");
    step(&t, "init", 0);
    step(&t, "train", 0);
    double sum = 0;
    for (int k = 0; k < 4; k++)
        sum += sin(1.0 + (double)(k * 7 + 1));
    cr_assert_float_eq(state_at(&t, "seen")[0], 2 + sum, 1e-5);
    training_close(&t);
}
