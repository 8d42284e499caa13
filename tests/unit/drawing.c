// What sample draws, as compiled for the baseline: the distribution over many rows of equal logits,
// the cut of top_p against sorting, greedy rows, and what a draw depends on.
#include "codegen/codegen.h"
#include "ir/evaluate.h"
#include "ir/op_lower.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { ROWS = 10000, CLASSES = 37 };

// One call: what the kernel's operands hold.
typedef struct {
    float temperature, top_p;
    int32_t seed, step;
    int64_t key;
} Knobs;

typedef struct {
    float logit[ROWS][CLASSES];
    int32_t drawn[ROWS];
} Rows;

static Node *sample_node(Arena *a, const Knobs *knobs) {
    static const Type in[5] = {{.dtype = DT_F32, .rank = 2, .dim = {ROWS, CLASSES}},
                               {.dtype = DT_F32},
                               {.dtype = DT_F32},
                               {.dtype = DT_I32},
                               {.dtype = DT_I32}};
    Graph *g = graph_create(a, "test");
    Value *value[5];
    const NodeOrigin origin = {.scope = ""};
    for (int i = 0; i < 5; i++)
        value[i] = graph_add_typed(g, OP_INPUT, NULL, 0, NULL, 0, &in[i], 1, origin)->result;
    const Attr attr = attr_int("key", knobs->key);
    Node *n = graph_add(g, diag_create(a), OP_SAMPLE, value, 5, &attr, 1, origin);
    cr_assert_not_null(n);
    return n;
}

static Kernel *sample_kernel(Arena *a, const Knobs *knobs) {
    const int64_t dim[2] = {ROWS, CLASSES}, whole[KERNEL_DIMS_MAX] = {CLASSES, 1};
    const int64_t scalar[KERNEL_DIMS_MAX] = {0}, row[KERNEL_DIMS_MAX] = {1, 0};
    KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, 2, dim);
    KRef in[5], out;
    for (int i = 0; i < 5; i++)
        in[i] = kb_load(kb, kernel_add_operand(kb, i < 3 ? DT_F32 : DT_I32, ACCESS_READ,
                                               i == 0 ? whole : scalar));
    lower_sample(kb, sample_node(a, knobs), in, &out);
    kb_store(kb, kernel_add_operand(kb, DT_I32, ACCESS_WRITE, row), out);
    Kernel *k = kernel_finish(kb);
    k->name = "k";
    return k;
}

typedef enum { COMPILED, INTERPRETED } How;

static void run_as(How how, const Knobs *knobs, Rows *rows) {
    Arena *a = arena_create();
    Kernel *k = sample_kernel(a, knobs);
    Knobs copy = *knobs;
    void *operand[6] = {rows->logit, &copy.temperature, &copy.top_p,
                        &copy.seed,  &copy.step,        rows->drawn};
    if (how == INTERPRETED) {
        kernel_interpret(k, operand, &copy.key);
        arena_release(a);
        return;
    }
    const char *text = kernel_text(k, a);
    CpuTarget target;
    Diag *d = diag_create(a);
    cr_assert(cpu_target(a, d, "cpu", &target));
    Jit *jit = jit_create(d, &target, &text, 1);
    cr_assert_not_null(jit);
    jit_function(jit, 0)(operand, &copy.key, 0, kernel_tiles(k), NULL);
    jit_release(jit);
    arena_release(a);
}

static void run(const Knobs *knobs, Rows *rows) {
    run_as(COMPILED, knobs, rows);
}

static Rows *rows_create(Arena *a, uint32_t random, bool equal) {
    Rows *rows = arena_new(a, Rows);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < CLASSES; j++) {
            random = random * 1664525u + 1013904223u;
            rows->logit[i][j] = i && equal ? rows->logit[0][j] : (float)(random >> 8) * 0x1p-21f;
        }
    return rows;
}

// Counts against n p within 5 deviations of a binomial: one in two million goes wrong by chance,
// and the draws are always the same.
Test(drawing, follows_the_softmax) {
    Arena *a = arena_create();
    const Knobs knobs = {.temperature = 1.5F, .top_p = 1, .seed = 3, .step = 7, .key = 11};
    Rows *rows = rows_create(a, 1, true);
    run(&knobs, rows);
    int count[CLASSES] = {0};
    for (int i = 0; i < ROWS; i++)
        count[rows->drawn[i]]++;
    double sum = 0;
    for (int j = 0; j < CLASSES; j++)
        sum += exp((double)rows->logit[0][j] / 1.5);
    for (int j = 0; j < CLASSES; j++) {
        const double p = exp((double)rows->logit[0][j] / 1.5) / sum;
        const double n = ROWS;
        cr_assert(fabs(count[j] - n * p) <= 5 * sqrt(n * p * (1 - p)) + 1,
                  "class %d: %d draws of probability %g", j, count[j], p);
    }
    arena_release(a);
}

// Every row has other logits: the evaluator sorts, and all draws agree.
static void check_against_sorting(How how, float temperature, float top_p) {
    Arena *a = arena_create();
    const Knobs knobs = {
        .temperature = temperature, .top_p = top_p, .seed = 5, .step = 2, .key = 1};
    Rows *rows = rows_create(a, 9, false);
    run_as(how, &knobs, rows);
    const Node *n = sample_node(a, &knobs);
    const double number[5] = {0, (double)temperature, (double)top_p, 5, 2};
    Tensor in[5], out[1];
    for (int i = 0; i < 5; i++) {
        in[i] = tensor_create(a, n->input[i]->type);
        in[i].at[0] = number[i];
    }
    for (int i = 0; i < ROWS * CLASSES; i++)
        in[0].at[i] = (double)rows->logit[i / CLASSES][i % CLASSES];
    const EvalCtx cx = {.arena = a};
    node_evaluate(n, in, out, &cx);
    int other = 0;
    for (int i = 0; i < ROWS; i++)
        other += rows->drawn[i] != (int32_t)out[0].at[i];
    // f32 against f64: where two noisy logits, or a mass and top_p, agree to 7 digits.
    cr_assert_leq(other, top_p < 1 ? 4 : 1, "temperature %g, top_p %g: %d rows differ",
                  (double)temperature, (double)top_p, other);
    arena_release(a);
}

Test(drawing, cuts_where_sorting_cuts) {
    for (How how = COMPILED; how <= INTERPRETED; how++) {
        check_against_sorting(how, 1, 1);
        check_against_sorting(how, 2, 0.9F);
        check_against_sorting(how, 1, 0.5F);
        check_against_sorting(how, 1, 0);
    }
}

static void check_greedy(How how) {
    Arena *a = arena_create();
    const Knobs knobs = {.temperature = 0, .top_p = 0.3F, .seed = 5};
    Rows *rows = rows_create(a, 4, false);
    // Twice the largest in a row: the first counts. Then no number at all.
    rows->logit[0][4] = rows->logit[0][20] = 9;
    for (int j = 0; j < CLASSES; j++)
        rows->logit[1][j] = NAN;
    run_as(how, &knobs, rows);
    cr_assert_eq(rows->drawn[0], 4);
    cr_assert(rows->drawn[1] >= 0 && rows->drawn[1] < CLASSES);
    for (int i = 2; i < ROWS; i++) {
        int best = 0;
        for (int j = 1; j < CLASSES; j++)
            best = rows->logit[i][j] > rows->logit[i][best] ? j : best;
        cr_assert_eq(rows->drawn[i], best);
    }
    arena_release(a);
}

Test(drawing, is_greedy_at_temperature_0) {
    check_greedy(COMPILED);
    check_greedy(INTERPRETED);
}

Test(drawing, depends_on_seed_step_and_key) {
    Arena *a = arena_create();
    const Knobs first = {.temperature = 1, .top_p = 1, .seed = 1, .step = 1, .key = 1};
    Knobs other[4] = {first, first, first, first};
    other[1].seed = other[2].step = 2;
    other[3].key = 2;
    Rows *rows = rows_create(a, 2, true), *again = rows_create(a, 2, true);
    run(&first, rows);
    for (int i = 0; i < 4; i++) {
        run(&other[i], again);
        cr_assert_eq(memcmp(rows->drawn, again->drawn, sizeof rows->drawn) == 0, i == 0);
    }
    arena_release(a);
}
