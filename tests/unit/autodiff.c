// Training steps from random models: gradients against finite differences of the whole graph, and
// every optional pass on or off against each other. Gradients are read off a plain sgd step with lr
// = 1.
#include "ir/build.h"
#include "ir/evaluate.h"
#include "passes/pipeline.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

typedef struct {
    Arena *arena;
    PassCtx cx;
    PassOptions options;
    Module *m;
    Graph *g;
    uint64_t random;
} Bench;

static void bench_open(Bench *t, uint64_t seed) {
    *t = (Bench){.arena = arena_create(), .random = seed * 2654435761u + 12345};
    t->cx.arena = t->arena;
    t->cx.scratch = arena_create();
    t->cx.diag = diag_create(t->arena);
    t->cx.options = &t->options;
    t->m = module_create(t->arena, "test");
}

static void bench_close(Bench *t) {
    arena_release(t->cx.scratch);
    arena_release(t->arena);
}

static uint32_t draw(Bench *t, uint32_t below) {
    t->random = t->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(t->random >> 33) % below;
}

static double draw_real(Bench *t) {
    return (double)draw(t, 20001) / 10000.0 - 1.0;
}

static void show(Bench *t) {
    diag_print(t->cx.diag, stderr, false);
    fprintf(stderr, "%s\n", module_text(t->m, t->arena, 0));
}

static void run_passes(Bench *t, const char *list) {
    const char *name[16];
    char *text = arena_text(t->arena, list);
    int count = 0;
    for (char *at = strtok(text, ","); at; at = strtok(NULL, ","))
        name[count++] = at;
    const bool done = pipeline_run(t->m, &t->cx, name, count, NULL, NULL);
    if (!done)
        show(t);
    cr_assert(done, "passes %s failed", list);
}

// The entry's first result; states are changed by its commits. Arguments and states are by seed.
static double run_entry(Bench *t, const Graph *g, Tensor *state) {
    const EvalCtx cx = {.arena = t->arena, .exact = true, .seed = 1, .step = 2, .steps = 9};
    EvalInput in = {.state = state};
    in.argument = arena_array(t->arena, Tensor, (size_t)g->input_count * (size_t)g->repeat + 1);
    uint64_t keep = t->random;
    t->random = 77;
    for (int i = 0; i < g->input_count; i++)
        for (int r = 0; r < g->repeat; r++) {
            Tensor *a = &in.argument[i * g->repeat + r];
            *a = tensor_create(t->arena, g->input[i].value->type);
            for (int64_t k = 0; k < type_count(&a->type); k++)
                a->at[k] = a->type.dtype == DT_I32 ? (double)draw(t, 3) : draw_real(t);
            if (g->input[i].source == FROM_STEP)
                a->at[0] = 2;
            if (g->input[i].source == FROM_KNOB)
                a->at[0] = g->input[i].fallback;
        }
    t->random = keep;
    Tensor *result = arena_array(t->arena, Tensor, (size_t)g->result_count + 1);
    graph_evaluate(t->m, g, &in, result, &cx);
    return g->result_count ? result[0].at[0] : 0;
}

static Tensor *new_states(Bench *t, uint64_t seed) {
    Tensor *state = arena_array(t->arena, Tensor, (size_t)t->m->state_count + 1);
    uint64_t keep = t->random;
    t->random = seed;
    for (int i = 0; i < t->m->state_count; i++) {
        state[i] = tensor_create(t->arena, t->m->state[i]->type);
        for (int64_t k = 0; k < type_count(&state[i].type); k++)
            state[i].at[k] = t->m->state[i]->kind == STATE_OPTIMIZER ? 0 : draw_real(t);
    }
    t->random = keep;
    return state;
}

// A random differentiable model: rows x 4 activations, a few parameters, a scalar loss.
enum { ROWS = 6, WIDTH = 4, PARAMS = 3 };

static Value *read_state(Builder *b, const State *s) {
    const Attr attr = attr_text("name", s->name);
    return &graph_add_typed(b->g, OP_STATE, NULL, 0, &attr, 1, &s->type, 1, b->origin)->result[0];
}

static Value *random_layer(Bench *t, Builder *b, Value *x, Value *const *w) {
    static const Op unary[] = {OP_TANH, OP_SIGMOID, OP_GELU, OP_SILU, OP_NEG, OP_GELU_ERF, OP_SIN};
    Value *y = x;
    switch (draw(t, 9)) {
    case 0:
    case 1:
        return build_unary(b, unary[draw(t, sizeof unary / sizeof unary[0])], x);
    case 2:
    case 3:
        return build_einsum(b, x, w[draw(t, 2)], draw(t, 2) ? "rk,kn->rn" : "rk,nk->rn");
    case 4: // a residual
        y = build_unary(b, OP_TANH, build_einsum(b, x, w[draw(t, 2)], "rk,kn->rn"));
        return build_binary(b, OP_ADD, x, y);
    case 5:
        y = build_broadcast_like(b, w[2], x);
        return build_binary(b, draw(t, 2) ? OP_MUL : OP_SUB, x, y);
    case 6:
        return build_unary(b, OP_SOFTMAX, x);
    case 7: { // halves swapped
        Value *half[2] = {build_slice(b, x, 1, WIDTH / 2, WIDTH),
                          build_slice(b, x, 1, 0, WIDTH / 2)};
        return build_concat(b, half, 2, 1);
    }
    default: { // rows scaled by their own mean square
        Value *mean = build_reduce_sum(b, build_binary(b, OP_MUL, x, x), (const int[]){1}, 1);
        Value *scale = build_broadcast(b, build_scale(b, mean, 0.25), &x->type, (const int[]){0});
        return build_binary(b, OP_MUL, x, scale);
    }
    }
}

static void random_model(Bench *t, const char *optimizer, int repeat, bool clip,
                         const char *update) {
    const int64_t square[2] = {WIDTH, WIDTH}, row[1] = {WIDTH}, data[2] = {ROWS, WIDTH};
    const Type type[PARAMS] = {type_make(DT_F32, 2, square), type_make(DT_F32, 2, square),
                               type_make(DT_F32, 1, row)};
    static const char *const name[PARAMS] = {"a", "b", "c"};
    t->g = graph_create(t->arena, "train");
    t->g->repeat = repeat;
    Builder b = {.g = t->g, .origin = {.scope = ""}};
    const Type x_type = type_make(DT_F32, 2, data);
    Node *n = graph_add_typed(t->g, OP_INPUT, NULL, 0, NULL, 0, &x_type, 1, b.origin);
    graph_add_input(t->g, &n->result[0], FROM_DATA)->loader = "data";
    Value *x = &n->result[0];
    Value *in[2 + PARAMS];
    for (int i = 0; i < PARAMS; i++)
        in[2 + i] = read_state(&b, module_add_state(t->m, name[i], type[i], STATE_PARAM, (Loc){0}));
    const int layers = 3 + (int)draw(t, 6);
    for (int i = 0; i < layers; i++)
        x = random_layer(t, &b, x, in + 2);
    // Every parameter takes part.
    for (int i = 0; i < 2; i++)
        x = build_einsum(&b, x, in[2 + i], "rk,kn->rn");
    x = build_binary(&b, OP_ADD, x, build_broadcast_like(&b, in[4], x));
    x = build_binary(&b, OP_MUL, x, x);
    in[0] = build_scale(&b, build_reduce_sum(&b, x, (const int[]){0, 1}, 2), 0.05);
    in[1] = build_constant(&b, type_scalar(DT_F32), 1);
    const double decay[PARAMS] = {0, 0, 0};
    Attr attr[4] = {attr_text("optimizer", optimizer), attr_floats("decay", decay, PARAMS)};
    int attrs = 2;
    if (clip)
        attr[attrs++] = attr_float("clip", 0.25);
    if (update)
        attr[attrs++] = attr_text("update", update);
    build_node(&b, OP_MINIMIZE, in, 2 + PARAMS, attr, attrs);
    graph_add_result(t->g, "loss", in[0]);
    module_add_entry(t->m, t->g);
}

// L(w + h d) along a random direction d, and d
static double loss_at(Bench *t, const Graph *g, uint64_t seed, Tensor *const direction, double h) {
    Tensor *state = new_states(t, seed);
    for (int i = 0; i < PARAMS; i++)
        for (int64_t k = 0; k < type_count(&state[i].type); k++)
            state[i].at[k] += h * direction[i].at[k];
    return run_entry(t, g, state);
}

// The step's change of the parameters, as one number along the direction.
static double step_along(Bench *t, uint64_t seed, Tensor *direction) {
    Tensor *before = new_states(t, seed), *after = new_states(t, seed);
    run_entry(t, t->g, after);
    double sum = 0;
    for (int i = 0; i < PARAMS; i++)
        for (int64_t k = 0; k < type_count(&before[i].type); k++)
            sum += (after[i].at[k] - before[i].at[k]) * direction[i].at[k];
    return sum;
}

// The model without its minimize: what finite differences are taken of.
static Graph *forward_only(Bench *t) {
    Graph *g = graph_copy(t->g, t->arena);
    g->node_count--; // minimize is the last
    return g;
}

static void check_gradient(uint64_t seed, int repeat, const char *passes) {
    Bench t;
    bench_open(&t, seed);
    random_model(&t, "sgd", repeat, false, NULL);
    Graph *forward = forward_only(&t);
    forward->repeat = 1;
    run_passes(&t, passes);
    Tensor *direction = new_states(&t, seed + 1000);
    double slope = 0;
    if (repeat == 1) {
        const double h = 1e-4;
        slope = (loss_at(&t, forward, 5, direction, h) - loss_at(&t, forward, 5, direction, -h)) /
                (2 * h);
        const double got = -step_along(&t, 5, direction);
        if (fabs(got - slope) > 1e-5 * (1 + fabs(slope)))
            show(&t);
        cr_assert(fabs(got - slope) <= 1e-5 * (1 + fabs(slope)), "seed %d: gradient %g, slope %g",
                  (int)seed, got, slope);
    } else {
        const double h = 1e-4;
        slope = (loss_at(&t, t.g, 5, direction, h) - loss_at(&t, t.g, 5, direction, -h)) / (2 * h);
        const double got = -step_along(&t, 5, direction);
        cr_assert(fabs(got - slope) <= 1e-5 * (1 + fabs(slope)), "seed %d: gradient %g, slope %g",
                  (int)seed, got, slope);
    }
    bench_close(&t);
}

Test(autodiff, gradients_are_slopes) {
    for (uint64_t seed = 1; seed <= 60; seed++)
        check_gradient(seed, 1, "autodiff,optimize");
}

Test(autodiff, gradients_are_slopes_after_simplification) {
    for (uint64_t seed = 1; seed <= 60; seed++)
        check_gradient(seed, 1, "simplify,autodiff,optimize,tidy,legalize");
}

// The mean over the micro-batches is what is differentiated, and what is returned.
Test(autodiff, micro_batches_are_averaged) {
    for (uint64_t seed = 1; seed <= 30; seed++)
        check_gradient(seed, 3, "simplify,autodiff,optimize,tidy");
}

// The parameters after one step, all in one array.
static double *step_result(uint64_t seed, const char *optimizer, bool clip, const char *update,
                           const char *passes, Bench *t, int *count) {
    bench_open(t, seed);
    t->options.precision = "bf16"; // does something only where the pass is in the list
    random_model(t, optimizer, 1, clip, update);
    run_passes(t, passes);
    Tensor *state = new_states(t, 5);
    const double loss = run_entry(t, t->g, state);
    double *all = arena_array(t->arena, double, 256);
    *count = 0;
    all[(*count)++] = loss;
    for (int i = 0; i < t->m->state_count; i++)
        for (int64_t k = 0; k < type_count(&state[i].type); k++)
            all[(*count)++] = state[i].at[k];
    return all;
}

static void check_same(uint64_t seed, const char *optimizer, bool clip, const char *const passes[2],
                       const char *const update[2]) {
    Bench t[2];
    int count[2];
    double *got[2];
    for (int i = 0; i < 2; i++)
        got[i] = step_result(seed, optimizer, clip, update[i], passes[i], &t[i], &count[i]);
    cr_assert(count[0] == count[1]);
    // The evaluator does not round here; constants that were folded are rounded to f32.
    for (int k = 0; k < count[0]; k++)
        cr_assert(fabs(got[0][k] - got[1][k]) <= 1e-6 * (1 + fabs(got[0][k])),
                  "seed %d %s: %g with %s, %g with %s", (int)seed, optimizer, got[0][k], passes[0],
                  got[1][k], passes[1]);
    for (int i = 0; i < 2; i++)
        bench_close(&t[i]);
}

Test(autodiff, optional_passes_change_nothing) {
    static const char *const with[] = {
        "simplify,autodiff,optimize", "autodiff,optimize,tidy", "autodiff,optimize,legalize",
        "autodiff,optimize,chunk,bound", "simplify,autodiff,optimize,tidy,chunk,bound,legalize"};
    static const char *const optimizer[] = {"sgd", "momentum", "adamw"};
    for (uint64_t seed = 1; seed <= 12; seed++)
        for (size_t i = 0; i < sizeof with / sizeof with[0]; i++)
            for (int k = 0; k < 3; k++)
                check_same(seed, optimizer[k], seed % 2,
                           (const char *[]){"autodiff,optimize", with[i]},
                           (const char *[]){NULL, NULL});
}

static bool has_bf16(const Graph *g) {
    for (int i = 0; i < g->node_count; i++)
        if (g->node[i]->result_count && g->node[i]->result[0].type.dtype == DT_BF16)
            return true;
    return false;
}

// Where the evaluator does not round, bf16 computes what f32 does, but for constants that are
// folded.
Test(autodiff, bf16_is_the_same_arithmetic) {
    const char *passes = "simplify,precision,autodiff,optimize,chunk,legalize";
    for (uint64_t seed = 1; seed <= 20; seed++) {
        check_same(seed, seed % 2 ? "sgd" : "adamw", seed % 3 == 0,
                   (const char *[]){"autodiff,optimize", passes}, (const char *[]){NULL, NULL});
        Bench t;
        int count;
        step_result(seed, "sgd", false, NULL, passes, &t, &count);
        cr_assert(has_bf16(t.g));
        bench_close(&t);
    }
}

// Where an update stands changes nothing.
Test(autodiff, fused_updates_are_updates) {
    const char *passes = "simplify,autodiff,optimize,tidy";
    for (uint64_t seed = 1; seed <= 20; seed++)
        check_same(seed, seed % 2 ? "sgd" : "adamw", false, (const char *[]){passes, passes},
                   (const char *[]){NULL, "fused"});
}

// The norm of a clipped sgd step is at most the clip, and its direction the gradient's.
Test(autodiff, clipping_scales_to_the_norm) {
    for (uint64_t seed = 1; seed <= 10; seed++) {
        Bench t;
        bench_open(&t, seed);
        random_model(&t, "sgd", 1, true, NULL);
        run_passes(&t, "simplify,autodiff,optimize,tidy");
        Tensor *before = new_states(&t, 5), *after = new_states(&t, 5);
        run_entry(&t, t.g, after);
        double square = 0;
        for (int i = 0; i < PARAMS; i++)
            for (int64_t k = 0; k < type_count(&before[i].type); k++)
                square += pow(after[i].at[k] - before[i].at[k], 2);
        cr_assert(sqrt(square) <= 0.25 + 1e-9 && sqrt(square) > 0.01, "norm %g", sqrt(square));
        bench_close(&t);
    }
}

static Bench fused_with(int repeat, bool clip) {
    Bench t;
    bench_open(&t, 1);
    random_model(&t, "sgd", repeat, clip, "fused");
    const char *name[] = {"autodiff", "optimize"};
    cr_assert(!pipeline_run(t.m, &t.cx, name, 2, NULL, NULL));
    return t;
}

Test(autodiff, fused_updates_refuse_what_they_cannot_do) {
    Bench t = fused_with(1, true);
    cr_assert(diag_item(t.cx.diag, 0)->code == 557);
    bench_close(&t);
    t = fused_with(2, false);
    cr_assert(diag_item(t.cx.diag, 0)->code == 558);
    bench_close(&t);
}

// Projection, with or without a bias, and cross entropy over 1,024 rows in chunks, forward alone and
// with gradients.
static void head_model(Bench *t, bool train, bool biased) {
    const int64_t data[3] = {4, 256, 8}, rows[2] = {4, 256}, table[2] = {5, 8};
    t->g = graph_create(t->arena, train ? "train" : "eval");
    Builder b = {.g = t->g, .origin = {.scope = ""}};
    const Type type[2] = {type_make(DT_F32, 3, data), type_make(DT_I32, 2, rows)};
    Value *input[2];
    for (int i = 0; i < 2; i++) {
        Node *n = graph_add_typed(t->g, OP_INPUT, NULL, 0, NULL, 0, &type[i], 1, b.origin);
        graph_add_input(t->g, &n->result[0], FROM_DATA)->loader = "data";
        input[i] = &n->result[0];
    }
    const Type w_type = type_make(DT_F32, 2, table);
    const int64_t bias[1] = {8};
    const Type c_type = type_make(DT_F32, 1, bias);
    Value *w = read_state(&b, module_add_state(t->m, "w", w_type, STATE_PARAM, (Loc){0}));
    Value *c = read_state(&b, module_add_state(t->m, "c", c_type, STATE_PARAM, (Loc){0}));
    Value *x = build_binary(&b, OP_ADD, input[0], build_broadcast_like(&b, c, input[0]));
    Value *logits = build_einsum(&b, x, w, "bsd,vd->bsv");
    Value *in[5] = {0};
    if (biased) {
        const Type by_class = type_make(DT_F32, 1, table);
        in[4] = read_state(&b, module_add_state(t->m, "bias", by_class, STATE_PARAM, (Loc){0}));
        logits = build_binary(&b, OP_ADD, logits, build_broadcast_like(&b, in[4], logits));
    }
    in[0] = logits;
    in[1] = input[1];
    const Node *entropy = build_node(&b, OP_CROSS_ENTROPY, in, 2, NULL, 0);
    Value *sum = build_reduce_sum(&b, &entropy->result[0], (const int[]){0, 1}, 2);
    in[0] = build_scale(&b, sum, 1.0 / 1024);
    in[1] = build_constant(&b, type_scalar(DT_F32), 1);
    in[2] = w;
    in[3] = c;
    const double decay[3] = {0};
    const int params = biased ? 3 : 2;
    const Attr attr[2] = {attr_text("optimizer", "sgd"), attr_floats("decay", decay, params)};
    if (train)
        build_node(&b, OP_MINIMIZE, in, 2 + params, attr, 2);
    graph_add_result(t->g, "loss", in[0]);
    module_add_entry(t->m, t->g);
}

static int count_op(const Graph *g, Op op) {
    int count = 0;
    for (int i = 0; i < g->node_count; i++)
        count += g->node[i]->op == op;
    return count;
}

// The second of the two is chunked, in the given precision.
static void check_chunks(bool train, bool biased, const char *precision) {
    Bench t[2];
    double got[2][64];
    int count = 0;
    for (int i = 0; i < 2; i++) {
        bench_open(&t[i], 3);
        t[i].options.chunk_bytes = 1; // the fewest rows: 256
        head_model(&t[i], train, biased);
        t[i].options.precision = i ? precision : "f32";
        run_passes(&t[i], i ? "simplify,precision,autodiff,optimize,tidy,chunk"
                            : "simplify,autodiff,optimize,tidy");
        cr_assert(count_op(t[i].g, OP_CROSS_ENTROPY) == (i ? 4 : 1));
        cr_assert(count_op(t[i].g, OP_CROSS_ENTROPY_GRAD) == (train ? (i ? 4 : 1) : 0));
        Tensor *state = new_states(&t[i], 5);
        count = 0;
        got[i][count++] = run_entry(&t[i], t[i].g, state);
        for (int s = 0; s < t[i].m->state_count; s++)
            for (int64_t k = 0; k < type_count(&state[s].type); k++)
                got[i][count++] = state[s].at[k];
    }
    for (int k = 0; k < count; k++)
        cr_assert(fabs(got[0][k] - got[1][k]) <= 1e-12 * (1 + fabs(got[0][k])), "%d: %.17g %.17g",
                  k, got[0][k], got[1][k]);
    for (int i = 0; i < 2; i++)
        bench_close(&t[i]);
}

Test(autodiff, chunks_train_alike) {
    for (int biased = 0; biased < 2; biased++) {
        check_chunks(true, biased, "f32");
        check_chunks(true, biased, "bf16"); // the evaluator does not round
    }
}

Test(autodiff, chunks_evaluate_alike) {
    for (int biased = 0; biased < 2; biased++) {
        check_chunks(false, biased, "f32");
        check_chunks(false, biased, "bf16");
    }
}

// A chain of n operators takes time linear in n: ten thousand are no matter.
Test(autodiff, long_chains) {
    Bench t;
    bench_open(&t, 1);
    t.g = graph_create(t.arena, "train");
    Builder b = {.g = t.g, .origin = {.scope = ""}};
    const int64_t row[1] = {WIDTH};
    const Type type = type_make(DT_F32, 1, row);
    Value *w = read_state(&b, module_add_state(t.m, "w", type, STATE_PARAM, (Loc){0}));
    Value *x = w;
    for (int i = 0; i < 10000; i++)
        x = i % 2 ? build_unary(&b, OP_TANH, x) : build_binary(&b, OP_ADD, x, w);
    const double decay[1] = {0};
    const Attr attr[2] = {attr_text("optimizer", "sgd"), attr_floats("decay", decay, 1)};
    Value *in[3] = {build_reduce_sum(&b, x, (const int[]){0}, 1),
                    build_constant(&b, type_scalar(DT_F32), 1), w};
    build_node(&b, OP_MINIMIZE, in, 3, attr, 2);
    graph_add_result(t.g, "loss", in[0]);
    module_add_entry(t.m, t.g);
    run_passes(&t, "simplify,precision,autodiff,optimize,tidy,chunk,bound,legalize");
    cr_assert(t.g->node_count > 20000);
    bench_close(&t);
}
