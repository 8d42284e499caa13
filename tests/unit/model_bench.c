#include "tests/unit/model_bench.h"

#include "frontend/frontend.h"
#include "passes/pipeline.h"

#include <criterion/criterion.h>
#include <string.h>

void bench_open(Bench *t) {
    *t = (Bench){.a = arena_create()};
    t->cx = (PassCtx){.arena = t->a, .scratch = arena_create(), .diag = diag_create(t->a)};
    t->cx.options = &t->options;
    rates_assume("cpu:x86-64-v3", "avx2,fma", 8, &t->rates);
}

void bench_close(Bench *t) {
    arena_release(t->cx.scratch);
    arena_release(t->a);
}

void bench_expect(Bench *t, bool good, const char *what) {
    if (!good)
        diag_print(t->cx.diag, stderr, false);
    cr_assert(good, "%s", what);
}

Module *bench_elaborate(Bench *t, const char *text) {
    FrontendInput in = {
        .file = "t.plim", .text = text, .bytes = strlen(text), .library_only = true};
    FrontendFiles files = {0};
    Module *m = frontend_module(t->a, t->cx.diag, &in, &files);
    bench_expect(t, m != NULL, "the model is wrong");
    return m;
}

Module *bench_module(Bench *t, const char *text) {
    static const char *const pass[] = {"simplify", "precision", "autodiff", "optimize", "tidy",
                                       "chunk",    "bound",     "legalize", "recompute"};
    Module *m = bench_elaborate(t, text);
    bench_expect(t, pipeline_run(m, &t->cx, pass, sizeof pass / sizeof pass[0], NULL, NULL),
                 "passes failed");
    return m;
}

void bench_run(Bench *t, const Module *m, const char *entry, int step, Tensor *state,
               Tensor *result) {
    const Graph *g = module_find_entry(m, entry);
    const EvalCtx cx = {.arena = t->a, .seed = 3, .step = step, .steps = BENCH_STEPS};
    EvalInput in = {.state = state};
    in.argument = arena_array(t->a, Tensor, (size_t)g->input_count * (size_t)g->repeat + 1);
    for (int i = 0; i < g->input_count; i++)
        for (int r = 0; r < g->repeat; r++) {
            const Input *input = &g->input[i];
            Tensor *x = &in.argument[i * g->repeat + r];
            *x = tensor_create(t->a, input->value->type);
            for (int64_t k = 0; k < type_count(&x->type); k++)
                x->at[k] = input->source == FROM_DATA    ? (double)((k * 7 + r * 5 + step) % 24)
                           : input->source == FROM_KNOB  ? input->fallback
                           : input->source == FROM_STEP  ? step
                           : input->source == FROM_STEPS ? BENCH_STEPS
                                                         : 3;
        }
    graph_evaluate(m, g, &in, result, &cx);
}

Tensor *bench_train(Bench *t, const Module *m, double *loss) {
    Tensor *state = arena_array(t->a, Tensor, (size_t)m->state_count + 1);
    for (int i = 0; i < m->state_count; i++)
        state[i] = tensor_create(t->a, m->state[i]->type);
    Tensor result[4];
    bench_run(t, m, "init", 0, state, result);
    for (int step = 0; step < BENCH_STEPS; step++) {
        bench_run(t, m, "train", step, state, result);
        loss[step] = result[0].at[0];
    }
    return state;
}

void bench_expect_states(const Module *m, const Tensor *x, const Tensor *y, const char *what) {
    for (int i = 0; i < m->state_count; i++)
        cr_assert(memcmp(x[i].at, y[i].at, (size_t)type_count(&x[i].type) * sizeof *x[i].at) == 0,
                  "%s: state %s differs", what, m->state[i]->name);
}
