// States moved to far memory: every entry computes the same bits, and only slices are in the
// device's memory where updates run.
#include "passes/far_states.h"

#include "ir/far.h"
#include "passes/pipeline.h"
#include "tests/unit/model_bench.h"

#include <criterion/criterion.h>
#include <string.h>

// Bytes: small, so that small models have states of many slices.
enum { LEAST = 128, SLICE = 256 };

// A tied table read at both ends, a weight read twice by each layer, a stack of matrices whose rows
// along the first axis are larger than a slice, and a bias that stays.
static const char *const model_text =
    "use nn\n"
    "model m(batch = 4, context = 3, vocab = 24, width = 8) {\n"
    "  wte = param [vocab, width] ~ normal(0.3)\n"
    "  both = param [2, 10, width] ~ normal(0.3)\n"
    "  fn logits(tokens: i32[b, s]) {\n"
    "    x = wte[tokens]\n"
    "    for i in 0 .. 3 { x = x + h.{i}: nn.mlp(ln.{i}: nn.layernorm(x, 1e-5), 24) }\n"
    "    x = x + einsum(einsum(x, both[0], \"b s d, n d -> b s n\"), both[1], \"b s n, n d -> b s "
    "d\")\n"
    "    return einsum(x, wte, \"b s d, v d -> b s v\")\n"
    "  }\n";

// How either is trained.
static const char *const entries_text =
    "  entry train(text: i32[batch, context + 1] from data, lr: f32 = 0.1) {\n"
    "    loss = cross_entropy(logits(text[.., 0 .. -1]), text[.., 1 ..])\n"
    "    minimize loss { %s }\n"
    "    return loss\n"
    "  }\n"
    "  entry eval(text: i32[batch, context + 1] from data) {\n"
    "    return cross_entropy(logits(text[.., 0 .. -1]), text[.., 1 ..])\n"
    "  }\n"
    "}\n";

static const char *const minimizes[] = {
    "optimizer = sgd(lr)",
    "optimizer = sgd(lr); clip = global_norm(0.5)",
    "optimizer = sgd(lr); update = fused",
    "optimizer = sgd(lr, momentum = 0.9, decay = 0.01); clip = global_norm(0.5)",
    "optimizer = sgd(lr, momentum = 0.9, nesterov = true); accumulate = 2",
    "optimizer = adamw(lr, decay = 0.1); clip = global_norm(0.5); accumulate = 4",
    "optimizer = adamw(lr, decay = 0.1); update = fused",
    "optimizer = adamw(lr); precision = bf16; clip = global_norm(0.5)",
    "optimizer = adamw(lr); precision = bf16; accumulate = 2",
};
enum { MINIMIZES = sizeof minimizes / sizeof minimizes[0] };

static Module *module_of(Bench *t, const char *model, const char *minimize) {
    const char *entries = arena_format(t->a, entries_text, minimize);
    return bench_module(t, arena_format(t->a, "%s%s", model, entries));
}

// The same module again, from its text.
static Module *module_again(Bench *t, const Module *m) {
    const char *text = module_text(m, t->a, 0);
    Module *out = module_parse(t->a, t->cx.diag, "t.graph", text, strlen(text));
    bench_expect(t, out != NULL, "a module's text does not parse");
    return out;
}

static Module *module_far(Bench *t, const Module *m, FarStates which) {
    Module *far = module_again(t, m);
    const FarStatesOptions options = {.which = which, .least = LEAST, .slice = SLICE};
    cr_assert_eq(far_states_apply(far, &options, &t->cx), PASS_CHANGED, "nothing for rung %d",
                 which);
    arena_reset(t->cx.scratch);
    if (!module_verify(far, t->cx.diag))
        fprintf(stderr, "%s\n", module_text(far, t->a, 0));
    bench_expect(t, module_verify(far, t->cx.diag), "what far_states leaves is wrong");
    return far;
}

// First values, training, and a look: everything that is left of it.
static Tensor *run_all(Bench *t, const Module *m, double *loss) {
    Tensor *state = bench_train(t, m, loss), result[1];
    bench_run(t, m, "eval", BENCH_STEPS, state, result);
    loss[BENCH_STEPS] = result[0].at[0];
    return state;
}

static void expect_same(Bench *t, const Module *near, const Module *far, const char *what) {
    double a[BENCH_STEPS + 1], b[BENCH_STEPS + 1];
    const Tensor *x = run_all(t, near, a), *y = run_all(t, far, b);
    cr_assert(memcmp(a, b, sizeof a) == 0, "%s: losses %.9g %.9g and %.9g %.9g", what, a[0], a[1],
              b[0], b[1]);
    bench_expect_states(near, x, y, what);
}

// Which of them have gradients that wait for their update, or sums of such.
static const bool waits[MINIMIZES] = {false, true, false, true, true, true, false, true, true};

Test(far_states, same_bits_with_every_optimizer) {
    for (int i = 0; i < MINIMIZES; i++)
        for (FarStates which = FAR_STATES_OPTIMIZER; which <= FAR_STATES_GRADIENTS; which++) {
            // sgd has no state of its own; only gradients that are clipped or summed wait.
            if ((which == FAR_STATES_OPTIMIZER && i < 3) ||
                (which == FAR_STATES_GRADIENTS && !waits[i]))
                continue;
            Bench t;
            bench_open(&t);
            const Module *m = module_of(&t, model_text, minimizes[i]);
            expect_same(&t, m, module_far(&t, m, which), minimizes[i]);
            bench_close(&t);
        }
}

Test(far_states, nothing_to_move_is_said) {
    Bench t;
    bench_open(&t);
    Module *m = module_of(&t, model_text, minimizes[0]);
    const char *before = module_text(m, t.a, 0);
    FarStatesOptions options = {.which = FAR_STATES_OPTIMIZER};
    cr_assert_eq(far_states_apply(m, &options, &t.cx), PASS_SAME);
    options.which = FAR_STATES_ALL; // all are small
    cr_assert_eq(far_states_apply(m, &options, &t.cx), PASS_SAME);
    cr_assert_str_eq(module_text(m, t.a, 0), before);
    bench_close(&t);
}

// An eighth, a quarter and a half of the moments: about that, both of a parameter or none, and
// the more the more. Bits are those of all near.
Test(far_states, a_part_of_the_moments) {
    size_t before = 0;
    for (int sixteenths = 2; sixteenths <= 8; sixteenths *= 2) {
        Bench t;
        bench_open(&t);
        const Module *m = module_of(&t, model_text, minimizes[5]);
        Module *far = module_again(&t, m);
        const FarStatesOptions options = {.which = FAR_STATES_OPTIMIZER,
                                          .sixteenths = sixteenths,
                                          .least = LEAST,
                                          .slice = SLICE};
        cr_assert_eq(far_states_apply(far, &options, &t.cx), PASS_CHANGED);
        bench_expect(&t, module_verify(far, t.cx.diag), "what far_states leaves is wrong");
        size_t all = 0, away = 0, largest = 0;
        for (int i = 0; i < far->state_count; i++) {
            const State *s = far->state[i];
            const size_t bytes = type_bytes(&s->type), length = strlen(s->name);
            cr_assert(s->kind == STATE_OPTIMIZER || !s->far, "%s", s->name);
            if (s->kind != STATE_OPTIMIZER || bytes < LEAST)
                continue;
            all += bytes;
            away += s->far ? bytes : 0;
            largest = bytes > largest ? bytes : largest;
            if (s->name[length - 1] == 'v')
                cr_assert_eq(s->far, far->state[i - 1]->far, "%s without its other", s->name);
        }
        // Of each of the two moments, half of the largest.
        cr_assert_leq(16 * away, all * (size_t)sixteenths + 16 * largest, "%zu of %zu", away, all);
        cr_assert_geq(16 * away + 16 * largest, all * (size_t)sixteenths, "%zu of %zu", away, all);
        cr_assert_gt(away, before);
        before = away;
        expect_same(&t, m, far, "a part of the moments");
        bench_close(&t);
    }
}

// How many fetches of all of the state an entry has, and the largest part of it that updates have.
static int count_fetches(const Module *m, const char *entry, const char *state, size_t *part) {
    const Graph *g = module_find_entry(m, entry);
    int count = 0;
    *part = 0;
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        if (n->op != OP_FETCH)
            continue;
        const Value *v = n->input[0];
        while (v->def->op == OP_SLICE)
            v = v->def->input[0];
        if (strcmp(node_text(v->def, "name", ""), state) != 0)
            continue;
        const size_t bytes = type_bytes(&n->result[0].type);
        count += v == n->input[0];
        if (v != n->input[0] && bytes > *part)
            *part = bytes;
    }
    return count;
}

Test(far_states, a_fetch_a_region_and_updates_in_slices) {
    Bench t;
    bench_open(&t);
    const Module *far = module_far(&t, module_of(&t, model_text, minimizes[6]), FAR_STATES_ALL);
    size_t part;
    // Looked up at the beginning, multiplied by at the end: both ways there.
    cr_assert_eq(count_fetches(far, "train", "wte", &part), 2);
    cr_assert(part > 0 && part <= SLICE);
    cr_assert_eq(count_fetches(far, "eval", "wte", &part), 2);
    cr_assert_eq(part, 0);
    // Forward and backward.
    cr_assert_eq(count_fetches(far, "train", "h.0.c_fc.weight", &part), 2);
    cr_assert(part > 0 && part <= SLICE);
    // Cut inside its two matrices.
    count_fetches(far, "train", "both", &part);
    cr_assert(part > 0 && part <= SLICE);
    // Moments are read by slices alone.
    cr_assert_eq(count_fetches(far, "train", "wte.m", &part), 0);
    cr_assert(part > 0 && part <= SLICE);
    bench_close(&t);
}

// The state it reads, seen through views; NULL where v is no state.
static const char *looked_at(const Value *v) {
    while (node_keeps_far(v->def))
        v = v->def->input[0];
    return v->def->op == OP_STATE ? node_text(v->def, "name", "") : NULL;
}

// A recurrent loop over few weights fetches each a few times, not once a turn.
Test(far_states, loops_keep_what_they_fetched) {
    Bench t;
    bench_open(&t);
    const char *text =
        "model m(batch = 2) {\n"
        "  a = param [8, 8] ~ normal(0.3)\n"
        "  b = param [8, 8] ~ normal(0.3)\n"
        "  entry run(x: f32[batch, 8]) {\n"
        "    for i in 0 .. 20 { x = tanh(einsum(einsum(x, a, \"b n, m n -> b m\"), b, "
        "\"b n, m n -> b m\")) }\n"
        "    return x\n"
        "  }\n"
        "}\n";
    Module *m = bench_elaborate(&t, text);
    const FarStatesOptions options = {.which = FAR_STATES_ALL, .least = LEAST, .slice = SLICE};
    cr_assert_eq(far_states_apply(m, &options, &t.cx), PASS_CHANGED);
    bench_expect(&t, module_verify(m, t.cx.diag), "what far_states leaves is wrong");
    int fetches = 0;
    const Graph *g = module_find_entry(m, "run");
    for (int i = 0; i < g->node_count; i++)
        fetches += g->node[i]->op == OP_FETCH && looked_at(g->node[i]->input[0]) != NULL;
    cr_assert(fetches <= 8, "%d fetches of two states", fetches);
    bench_close(&t);
}

// --- large weights in tiles ---

// Weights of 38400 bytes. The evaluator rounds what is summed tile by tile at each, so numbers are
// near each other only; tests/e2e/tiles.py shows that kernels give the same bits.
static const char *const tiled_text = "model m(batch = 4, context = 3, vocab = 600, width = 16) {\n"
                                      "  wte = param [vocab, width] ~ normal(0.3)\n"
                                      "  up = param [vocab, width] ~ uniform(-0.3, 0.3)\n"
                                      "  down = param [vocab, width] ~ normal(0.3)\n"
                                      "  fn logits(tokens: i32[b, s]) {\n"
                                      "    x = wte[tokens]\n"
                                      "    h = tanh(einsum(x, up, \"b s d, h d -> b s h\"))\n"
                                      "    x = x + einsum(h, down, \"b s h, h d -> b s d\")\n"
                                      "    return einsum(x, wte, \"b s d, v d -> b s v\")\n"
                                      "  }\n";
enum { TABLE = 600 * 16 * 4 };

// The largest value of the entry that is in the device's memory while others run.
static size_t largest_near(const Module *m, const char *entry) {
    const Graph *g = module_find_entry(m, entry);
    size_t most = 0;
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        for (int k = 0; k < n->result_count; k++)
            if (n->op != OP_CONSTANT && n->op != OP_BROADCAST && !value_is_far(m, &n->result[k]) &&
                type_bytes(&n->result[k].type) > most)
                most = type_bytes(&n->result[k].type);
    }
    return most;
}

static Module *module_tiled(Bench *t, const Module *m) {
    Module *far = module_again(t, m);
    const FarStatesOptions options = {
        .which = FAR_STATES_TILED, .least = LEAST, .slice = SLICE, .tiled = TABLE};
    cr_assert_eq(far_states_apply(far, &options, &t->cx), PASS_CHANGED);
    arena_reset(t->cx.scratch);
    bench_expect(t, module_verify(far, t->cx.diag), "what far_states leaves is wrong");
    return far;
}

static void expect_near(Bench *t, const Module *near, const Module *far, double tolerance,
                        const char *what) {
    double a[BENCH_STEPS + 1], b[BENCH_STEPS + 1];
    const Tensor *x = run_all(t, near, a), *y = run_all(t, far, b);
    for (int i = 0; i <= BENCH_STEPS; i++)
        cr_assert_float_eq(a[i], b[i], tolerance, "%s: losses %.9g and %.9g", what, a[i], b[i]);
    for (int i = 0; i < near->state_count; i++)
        for (int64_t k = 0; k < type_count(&x[i].type); k++)
            cr_assert_float_eq(x[i].at[k], y[i].at[k], tolerance, "%s: %s[%d] is %.9g, not %.9g",
                               what, near->state[i]->name, (int)k, y[i].at[k], x[i].at[k]);
}

Test(far_states, large_weights_are_never_whole) {
    static const char *const how[] = {
        "optimizer = sgd(lr); update = fused",
        "optimizer = adamw(lr); update = fused",
        "optimizer = sgd(lr, momentum = 0.9); clip = global_norm(0.5)",
    };
    // adamw's first steps go by signs.
    static const double tolerance[] = {1e-5, 1e-3, 1e-5};
    for (size_t i = 0; i < sizeof how / sizeof how[0]; i++) {
        Bench t;
        bench_open(&t);
        const Module *m = module_of(&t, tiled_text, how[i]), *far = module_tiled(&t, m);
        cr_assert(largest_near(m, "train") >= TABLE);
        for (int e = 0; e < far->entry_count; e++)
            cr_assert(largest_near(far, far->entry[e]->name) < TABLE, "%s: a value of %zu bytes",
                      how[i], largest_near(far, far->entry[e]->name));
        expect_near(&t, m, far, tolerance[i], how[i]);
        bench_close(&t);
    }
}

// Casts, and sums over micro-batches.
Test(far_states, large_weights_of_other_training) {
    static const char *const how[] = {
        "optimizer = sgd(lr); precision = bf16",
        "optimizer = sgd(lr); accumulate = 2",
        "optimizer = adamw(lr); accumulate = 2; clip = global_norm(0.5)",
        "optimizer = sgd(lr); precision = bf16; accumulate = 2; clip = global_norm(0.5)",
        "optimizer = adamw(lr); precision = bf16; clip = global_norm(0.5)",
    };
    for (size_t i = 0; i < sizeof how / sizeof how[0]; i++) {
        Bench t;
        bench_open(&t);
        const Module *m = module_of(&t, tiled_text, how[i]), *far = module_tiled(&t, m);
        cr_assert(largest_near(far, "eval") < TABLE, "%s", how[i]);
        cr_assert(largest_near(far, "train") < TABLE, "%s: a value of %zu bytes", how[i],
                  largest_near(far, "train"));
        // A sum that is rounded to bf16 once may come out one step apart.
        expect_near(&t, m, far,
                    strstr(how[i], "bf16")    ? 0.25
                    : strstr(how[i], "adamw") ? 1e-3
                                              : 1e-5,
                    how[i]);
        bench_close(&t);
    }
}

// --- looked-up tables ---

// The table is only looked up; [vocab, width] is larger than many slices.
static const char *const lookup_text =
    "model m(batch = 4, context = 3, vocab = 60, width = 16) {\n"
    "  wte = param [vocab, width] ~ normal(0.3)\n"
    "  head = param [vocab, width] ~ normal(0.3)\n"
    "  fn logits(tokens: i32[b, s]) {\n"
    "    return einsum(tanh(wte[tokens]), head, \"b s d, v d -> b s v\")\n"
    "  }\n";
enum { LOOKED_UP = 60 * 16 * 4 };

// The largest sum of rows that indices name; how many there are.
static int count_scattered(const Module *m, size_t *most) {
    const Graph *g = module_find_entry(m, "train");
    int count = 0;
    *most = 0;
    for (int i = 0; i < g->node_count; i++)
        if (g->node[i]->op == OP_SCATTER_ADD) {
            const size_t bytes = type_bytes(&g->node[i]->result[0].type);
            *most = bytes > *most ? bytes : *most;
            count++;
        }
    return count;
}

// For the update, and for a norm once more; nothing is far.
Test(far_states, gradients_of_lookups_are_made_in_slices) {
    static const struct {
        const char *minimize;
        int times; // that it is made
    } how[] = {
        {"optimizer = sgd(lr)", 1},
        {"optimizer = adamw(lr); update = fused", 1},
        {"optimizer = adamw(lr); clip = global_norm(0.5)", 2},
        {"optimizer = adamw(lr); precision = bf16; clip = global_norm(0.5)", 2},
    };
    for (size_t i = 0; i < sizeof how / sizeof how[0]; i++) {
        Bench t;
        bench_open(&t);
        const Module *m = module_of(&t, lookup_text, how[i].minimize);
        size_t most;
        cr_assert_eq(count_scattered(m, &most), 1);
        cr_assert_geq(most, LOOKED_UP / 2);
        const Module *made = module_far(&t, m, FAR_STATES_SCATTERED);
        const int count = count_scattered(made, &most);
        cr_assert_gt(count, how[i].times * 8, "%s: %d", how[i].minimize, count);
        cr_assert_leq(most, LOOKED_UP / 3);
        for (int k = 0; k < made->state_count; k++)
            cr_assert(!made->state[k]->far, "%s", made->state[k]->name);
        expect_same(&t, m, made, how[i].minimize);
        bench_close(&t);
    }
}

// What is summed over micro-batches, or has a product's gradient under it, is a tensor like others.
Test(far_states, other_gradients_of_tables_are_whole) {
    static const char *const how[] = {"optimizer = sgd(lr); accumulate = 2", "optimizer = sgd(lr)"};
    const char *const model[] = {lookup_text, tiled_text}; // tied
    for (int i = 0; i < 2; i++) {
        Bench t;
        bench_open(&t);
        Module *m = module_of(&t, model[i], how[i]);
        const FarStatesOptions options = {
            .which = FAR_STATES_SCATTERED, .least = LEAST, .slice = SLICE};
        cr_assert_eq(far_states_apply(m, &options, &t.cx), PASS_SAME);
        bench_close(&t);
    }
}

static const char *const uneven_text =
    "model m(batch = 4, context = 3, vocab = 24, width = 16) {\n"
    "  first = param [vocab, width] ~ normal(0.3)\n"
    "  p = param [4, width] ~ normal(0.3)\n"
    "  q = param [4, width] ~ normal(0.3)\n"
    "  r = param [4, width] ~ normal(0.3)\n"
    "  t = param [4, width] ~ normal(0.3)\n"
    "  last = param [vocab, width] ~ normal(0.3)\n"
    "  fn narrow(x: [b, s, e], w: [m, e]) {\n"
    "    return x + einsum(einsum(x, w, \"b s e, n e -> b s n\"), w, \"b s n, n e -> b s e\")\n"
    "  }\n"
    "  fn logits(tokens: i32[b, s]) {\n"
    "    x = narrow(narrow(narrow(narrow(first[tokens], p), q), r), t)\n"
    "    return einsum(x, last, \"b s e, v e -> b s v\")\n"
    "  }\n";

// Moments of first and last are 3/8 of all each, those of the four between them a sixteenth each. A
// part is met exactly wherever these can meet it, and of first and last, which are alike, last
// goes.
Test(far_states, a_part_of_few_large_moments) {
    static const struct {
        int sixteenths;
        bool first, last;
        int small;
    } want[] = {{1, false, false, 1}, {2, false, false, 2}, {4, false, false, 4},
                {6, false, true, 0},  {8, false, true, 2},  {12, true, true, 0},
                {14, true, true, 2}};
    for (size_t k = 0; k < sizeof want / sizeof want[0]; k++) {
        Bench t;
        bench_open(&t);
        Module *m = module_of(&t, uneven_text, "optimizer = adamw(lr)");
        const FarStatesOptions options = {.which = FAR_STATES_OPTIMIZER,
                                          .sixteenths = want[k].sixteenths,
                                          .least = LEAST,
                                          .slice = SLICE};
        cr_assert_eq(far_states_apply(m, &options, &t.cx), PASS_CHANGED);
        int small = 0;
        for (int i = 0; i < m->state_count; i++) {
            const State *s = m->state[i];
            const size_t length = strcspn(s->name, ".");
            if (s->kind != STATE_OPTIMIZER || type_bytes(&s->type) < LEAST)
                continue;
            small += length == 1 && s->far;
            if (length > 1) {
                const bool goes = s->name[0] == 'f' ? want[k].first : want[k].last;
                cr_assert_eq(s->far, goes, "%s of %d", s->name, want[k].sixteenths);
            }
        }
        cr_assert_eq(small, 2 * want[k].small, "%d of %d", small, want[k].sixteenths);
        bench_close(&t);
    }
}

// Half of the weights leaves the table where it is: it would come in whole for a few rows.
Test(far_states, half_of_the_weights_has_no_tables) {
    Bench t;
    bench_open(&t);
    Module *m = module_of(&t, lookup_text, "optimizer = sgd(lr)");
    const FarStatesOptions options = {
        .which = FAR_STATES_ALL, .sixteenths = 8, .least = LEAST, .slice = SLICE};
    cr_assert_eq(far_states_apply(m, &options, &t.cx), PASS_CHANGED);
    for (int i = 0; i < m->state_count; i++)
        cr_assert_eq(m->state[i]->far, strcmp(m->state[i]->name, "head") == 0, "%s",
                     m->state[i]->name);
    bench_close(&t);
}

// A library's products promise nothing about parts.
Test(far_states, libraries_read_weights_whole) {
    Bench t;
    bench_open(&t);
    t.options.onednn = true;
    Module *m = module_of(&t, tiled_text, "optimizer = sgd(lr)");
    const char *before = module_text(m, t.a, 0);
    const FarStatesOptions options = {
        .which = FAR_STATES_TILED, .least = LEAST, .slice = SLICE, .tiled = TABLE};
    cr_assert_eq(far_states_apply(m, &options, &t.cx), PASS_SAME);
    cr_assert_str_eq(module_text(m, t.a, 0), before);
    bench_close(&t);
}

// As much as it takes: nothing, then the optimizer's state, then weights.
Test(far_states, budgets_move_states) {
    static const char *const text = "model m(batch = 4, width = 128) {\n"
                                    "  fn layer(x) { w = param [256, width] ~ normal(0.1)\n"
                                    "    u = param [width, 256] ~ normal(0.1)\n"
                                    "    return x + tanh(x @ u) @ w }\n"
                                    "  entry train(text: i32[batch] from data, lr: f32 = 0.1) {\n"
                                    "    x = normal([batch, width])\n"
                                    "    for i in 0 .. 2 { x = h.{i}: layer(x) }\n"
                                    "    loss = cross_entropy(x, text)\n"
                                    "    minimize loss { optimizer = adamw(lr); update = fused }\n"
                                    "    return loss\n"
                                    "  }\n"
                                    "  entry eval(text: i32[batch] from data) {\n"
                                    "    x = ones([batch, width])\n"
                                    "    for i in 0 .. 2 { x = h.{i}: layer(x) }\n"
                                    "    return cross_entropy(x, text)\n"
                                    "  }\n"
                                    "}\n";
    static const char *const pass[] = {"simplify", "precision", "autodiff", "optimize",  "tidy",
                                       "chunk",    "bound",     "legalize", "recompute", "retain"};
    // Weights are 512 KiB, the optimizer's state 1 MiB, a gradient 128 KiB.
    static const struct {
        uint64_t budget;
        FarStates far;
    } known[] = {
        {4 << 20, FAR_STATES_NONE}, {1 << 20, FAR_STATES_OPTIMIZER}, {540 << 10, FAR_STATES_ALL}};
    const Tensor *first = NULL;
    double loss[3][BENCH_STEPS + 1];
    Bench t;
    bench_open(&t);
    t.options.workers = 1;
    for (int i = 0; i < 3; i++) {
        Module *m = bench_elaborate(&t, text);
        t.options.budget = known[i].budget;
        t.options.far = true;
        bench_expect(&t, pipeline_run(m, &t.cx, pass, sizeof pass / sizeof pass[0], NULL, NULL),
                     "no rung fits");
        for (int k = 0; k < m->state_count; k++)
            cr_assert_eq(m->state[k]->far,
                         m->state[k]->kind == STATE_OPTIMIZER ? known[i].far >= FAR_STATES_OPTIMIZER
                                                              : known[i].far >= FAR_STATES_ALL,
                         "%s with %d bytes", m->state[k]->name, (int)known[i].budget);
        const Tensor *state = run_all(&t, m, loss[i]);
        cr_assert(memcmp(loss[i], loss[0], sizeof loss[0]) == 0);
        for (int k = 0; first && k < m->state_count; k++)
            cr_assert(memcmp(state[k].at, first[k].at,
                             (size_t)type_count(&first[k].type) * sizeof *first[k].at) == 0);
        first = first ? first : state;
    }
    bench_close(&t);
}

// A fused update's scalars stand before the forward's first operator: that ends no forward pass.
Test(far_states, fused_updates_leave_a_choice) {
    static const char *const text = "model m(batch = 64, width = 64) {\n"
                                    "  fn layer(x) { w = param [width, 256] ~ normal(0.1)\n"
                                    "    u = param [256, width] ~ normal(0.1)\n"
                                    "    return x + tanh(x @ w) @ u }\n"
                                    "  entry train(text: i32[batch] from data, lr: f32 = 0.1) {\n"
                                    "    x = normal([batch, width])\n"
                                    "    for i in 0 .. 6 { x = h.{i}: layer(x) }\n"
                                    "    loss = cross_entropy(x, text)\n"
                                    "    minimize loss { optimizer = adamw(lr); update = fused }\n"
                                    "    return loss\n"
                                    "  }\n"
                                    "}\n";
    uint64_t bytes = 0;
    for (int i = 0; i < 2; i++) {
        Bench t;
        bench_open(&t);
        t.cx.plan_memory = plan_memory_new();
        Module *m = bench_elaborate(&t, text);
        t.options.workers = 1;
        t.options.budget = i ? bytes - (64 << 10) : 0;
        bench_expect(&t, pipeline_run(m, &t.cx, NULL, 0, NULL, NULL), "no rung fits");
        bytes = t.cx.plan->space[0].bytes;
        plan_memory_release(t.cx.plan_memory);
        bench_close(&t);
    }
}
