// Random modules, executed and evaluated.
//
//   differential FIRST COUNT
//
// For each seed: the module is planned as naively as possible (program order, no two buffers
// sharing bytes) and in several better ways; all plans are verified, compiled and run on the same
// arguments, two steps. Then
//  - every result and state of every plan must equal the naive plan's, bit for bit;
//  - the naive plan's must equal the reference evaluator's on the module as autodiff and optimize
//  leave it
//    (nothing simplified, fused or chunked), within the rounding that the evaluator itself shows:
//    it runs once with every value rounded to its dtype and once in f64 throughout, and their
//    distance scales the tolerance.
#include "codegen/codegen.h"
#include "ir/evaluate.h"
#include "passes/pipeline.h"
#include "runtime/run.h"
#include "tests/random/random_graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 2, KERNELS_MAX = 4096 };

typedef struct {
    const char *order, *arrange;
} Variant;

static const Variant variant_table[] = {
    {"program", "naive"}, {NULL, NULL}, {"list", NULL}, {"depth-first", NULL}};
enum { VARIANTS = sizeof variant_table / sizeof variant_table[0] };

// One seed under test.
typedef struct {
    uint64_t seed;
    int size;
    bool training;
    Arena *arena;
    Diag *diag;
    CpuTarget cpu;
    Plan *plan[VARIANTS];
    PlanMemory *memory[VARIANTS];
    const char *text[KERNELS_MAX]; // distinct kernels of all plans
    int text_count;
    Jit *jit;
} Trial;

static bool failed(const Trial *t, const char *what) {
    fprintf(stderr, "seed %llu (size %d%s): %s\n", (unsigned long long)t->seed, t->size,
            t->training ? ", training" : "", what);
    diag_print(t->diag, stderr, false);
    return false;
}

static bool make_plan(Trial *t, int v) {
    const PassOptions options = {.target = "cpu:x86-64-v3",
                                 .isa = "avx2,fma",
                                 .order = variant_table[v].order,
                                 .arrange = variant_table[v].arrange,
                                 .chunk_bytes = 64,
                                 .workers = 2,
                                 .tool = "differential",
                                 .flags = ""};
    t->memory[v] = plan_memory_new();
    PassCtx cx = {.arena = t->arena,
                  .scratch = arena_create(),
                  .diag = t->diag,
                  .options = &options,
                  .plan_memory = t->memory[v]};
    Module *m = random_module(t->arena, t->seed, t->size, t->training);
    const bool good = pipeline_run(m, &cx, NULL, 0, NULL, NULL);
    arena_release(cx.scratch);
    t->plan[v] = cx.plan;
    PlimError error;
    if (!good || !cx.plan)
        return failed(t, "the pipeline failed");
    if (plan_verify(cx.plan, &error) != PLIM_OK)
        return failed(t, arena_format(t->arena, "plan %d is refused: %s", v, error.text));
    return true;
}

static int find_text(Trial *t, const char *text) {
    for (int i = 0; i < t->text_count; i++)
        if (strcmp(t->text[i], text) == 0)
            return i;
    t->text[t->text_count] = text;
    return t->text_count++;
}

// Kernel texts begin with the kernel's name, which the plans number on their own: the JIT gets each
// once.
static const char *without_name(Trial *t, const char *text) {
    const char *rest = text + strlen("kernel ");
    return arena_format(t->arena, "kernel x%s", rest + strcspn(rest, " "));
}

static bool compile(Trial *t, PlimKernelFn **function[VARIANTS]) {
    int *index[VARIANTS];
    for (int v = 0; v < VARIANTS; v++) {
        index[v] = arena_array(t->arena, int, t->plan[v]->kernel_count + 1);
        for (uint32_t i = 0; i < t->plan[v]->kernel_count; i++)
            index[v][i] = find_text(t, without_name(t, t->plan[v]->kernel[i].text));
    }
    for (int i = 0; i < t->text_count; i++)
        t->text[i] = arena_format(t->arena, "kernel x%d%s", i, t->text[i] + strlen("kernel x"));
    t->jit = jit_create(t->diag, &t->cpu, t->text, t->text_count);
    if (!t->jit)
        return failed(t, "the kernels don't compile");
    for (int v = 0; v < VARIANTS; v++) {
        function[v] = arena_array(t->arena, PlimKernelFn *, t->plan[v]->kernel_count + 1);
        for (uint32_t i = 0; i < t->plan[v]->kernel_count; i++)
            function[v][i] = jit_function(t->jit, index[v][i]);
    }
    return true;
}

// The value of an argument's element, from names alone so that every plan and the evaluator agree.
static double argument_value(Random *r, const Type *type) {
    if (type->dtype == DT_I32)
        return (double)random_range(r, 0, 6);
    return (double)random_range(r, -1000, 1000) / 1000;
}

static Tensor argument_tensor(Trial *t, const Input *in, int step, int slot) {
    Tensor out = tensor_create(t->arena, in->value->type);
    Random r = {t->seed * 1000 + (uint64_t)step * 10 + (uint64_t)slot};
    for (int64_t i = 0; i < type_count(&out.type); i++) {
        double x = in->source == FROM_DATA ? argument_value(&r, &out.type) : in->fallback;
        if (in->source == FROM_STEP)
            x = step;
        if (in->source == FROM_STEPS)
            x = STEPS;
        if (in->source == FROM_SEED)
            x = (double)t->seed;
        if (in->source == FROM_SLOT)
            x = slot;
        out.at[i] = dtype_round(out.type.dtype, x);
    }
    return out;
}

static void store_tensor(const Tensor *from, void *to) {
    for (int64_t i = 0; i < type_count(&from->type); i++)
        if (from->type.dtype == DT_F32)
            ((float *)to)[i] = (float)from->at[i];
        else
            ((int32_t *)to)[i] = (int32_t)from->at[i];
}

static const Input *find_input(const Graph *g, const char *name) {
    for (int i = 0; i < g->input_count; i++)
        if (strcmp(g->input[i].value->name, name) == 0)
            return &g->input[i];
    return NULL;
}

static bool fill_inputs(Trial *t, PlimRun *run, const PlanEntry *entry, const Graph *g, int step) {
    for (uint32_t i = 0; i < entry->input_count; i++) {
        const PlanInput *in = &entry->input[i];
        const Input *source = find_input(g, in->name);
        Input made = {0};
        if (!source) { // Added by a pass: step, steps.
            Value *v = arena_new(t->arena, Value);
            v->type = type_scalar(DT_I32);
            made = (Input){.value = v, .source = (InputSource)in->source};
            source = &made;
        }
        for (uint32_t slot = 0; slot < in->slots; slot++) {
            const Tensor x = argument_tensor(t, source, step, (int)slot);
            const size_t bytes = type_bytes(&x.type);
            store_tensor(&x, (char *)run_address(run, in->buffer) + slot * bytes);
        }
    }
    return true;
}

// What a plan leaves behind: its results and states, as bytes, step after step.
typedef struct {
    char *bytes;
    size_t size;
} Outcome;

static uint64_t result_bytes(const PlanResult *r) {
    uint64_t bytes = plan_dtype_bytes(r->dtype);
    for (uint32_t i = 0; i < r->rank; i++)
        bytes *= (uint64_t)r->dim[i];
    return bytes;
}

static bool run_plan(Trial *t, int v, PlimKernelFn *const *function, const Graph *g, Outcome *out) {
    PlimError error;
    PlimRun *run;
    if (run_new(t->plan[v], function, &(RunOptions){.threads = 2}, &run, &error) != PLIM_OK)
        return failed(t, error.text);
    const PlanEntry *init = plan_find_entry(t->plan[v], "init");
    const PlanEntry *entry = plan_find_entry(t->plan[v], "main");
    const Graph *init_graph = NULL;
    Module *m = random_module(t->arena, t->seed, t->size, t->training);
    init_graph = module_find_entry(m, "init");
    FILE *memory = open_memstream(&out->bytes, &out->size);
    fill_inputs(t, run, init, init_graph, 0);
    bool good = run_entry(run, init, &error) == PLIM_OK;
    for (int step = 0; step < STEPS && good; step++) {
        fill_inputs(t, run, entry, g, step);
        good = run_entry(run, entry, &error) == PLIM_OK;
        for (uint32_t i = 0; i < entry->result_count; i++)
            fwrite((char *)run_address(run, entry->result[i].buffer) + entry->result[i].offset, 1,
                   result_bytes(&entry->result[i]), memory);
        for (uint32_t i = 0; i < t->plan[v]->state_count; i++) {
            const PlanState *s = &t->plan[v]->state[i];
            const PlanResult shape = {.dtype = s->dtype, .rank = s->rank};
            PlanResult whole = shape;
            memcpy(whole.dim, s->dim, sizeof whole.dim);
            fwrite(run_address(run, s->buffer), 1, result_bytes(&whole), memory);
        }
    }
    fclose(memory);
    run_release(run);
    return good || failed(t, error.text);
}

// The evaluator's numbers in the order of run_plan's.
typedef struct {
    double *at;
    size_t count, capacity;
    Arena *arena;
} Numbers;

static void add_numbers(Numbers *n, const Tensor *t) {
    const size_t more = (size_t)type_count(&t->type);
    if (n->count + more > n->capacity) {
        const size_t capacity = (n->count + more) * 2;
        n->at = arena_grow(n->arena, n->at, n->count, capacity, sizeof *n->at);
        n->capacity = capacity;
    }
    memcpy(n->at + n->count, t->at, more * sizeof *t->at);
    n->count += more;
}

static void evaluate_entry(Trial *t, const Module *m, const Graph *g, Tensor *state, Tensor *result,
                           int step, bool exact) {
    EvalInput in = {.argument = arena_array(t->arena, Tensor, g->input_count * g->repeat + 1),
                    .state = state};
    for (int i = 0; i < g->input_count; i++)
        for (int r = 0; r < g->repeat; r++)
            in.argument[i * g->repeat + r] = argument_tensor(t, &g->input[i], step, r);
    const EvalCtx cx = {
        .arena = t->arena, .exact = exact, .seed = (int64_t)t->seed, .step = step, .steps = STEPS};
    graph_evaluate(m, g, &in, result, &cx);
}

static bool evaluate(Trial *t, bool exact, Numbers *out) {
    static const char *const passes[] = {"autodiff", "optimize"};
    const PassOptions options = {.target = "cpu"};
    PassCtx cx = {
        .arena = t->arena, .scratch = arena_create(), .diag = t->diag, .options = &options};
    Module *m = random_module(t->arena, t->seed, t->size, t->training);
    const bool good = pipeline_run(m, &cx, passes, 2, NULL, NULL);
    arena_release(cx.scratch);
    if (!good)
        return failed(t, "autodiff and optimize failed");
    const Graph *init = module_find_entry(m, "init"), *g = module_find_entry(m, "main");
    Tensor *state = arena_array(t->arena, Tensor, m->state_count + 1);
    Tensor *result = arena_array(t->arena, Tensor, g->result_count + 1);
    for (int i = 0; i < m->state_count; i++)
        state[i] = tensor_create(t->arena, m->state[i]->type);
    evaluate_entry(t, m, init, state, result, 0, false);
    out->arena = t->arena;
    for (int step = 0; step < STEPS; step++) {
        evaluate_entry(t, m, g, state, result, step, exact);
        for (int i = 0; i < g->result_count; i++)
            add_numbers(out, &result[i]);
        for (int i = 0; i < m->state_count; i++)
            add_numbers(out, &state[i]);
    }
    return true;
}

static bool agree(Trial *t, const Outcome *o, const Numbers *rounded, const Numbers *exact) {
    if (o->size != rounded->count * sizeof(float))
        return failed(t, "the plan and the evaluator disagree on how much there is");
    double spread = 0; // of the evaluator's own rounding
    for (size_t i = 0; i < exact->count; i++)
        spread = fmax(spread, fabs(rounded->at[i] - exact->at[i]) / (1 + fabs(exact->at[i])));
    const double tolerance = 1e-5 + 100 * fmin(spread, 1e-3);
    for (size_t i = 0; i < exact->count; i++) {
        const double x = (double)((const float *)(const void *)o->bytes)[i];
        const double difference = fabs(x - exact->at[i]) / (1 + fabs(exact->at[i]));
        if (!(difference <= tolerance))
            return failed(t,
                          arena_format(t->arena,
                                       "number %zu is %.9g, the evaluator says %.9g (tolerance %g)",
                                       i, x, exact->at[i], tolerance));
    }
    return true;
}

static bool run_trial(Trial *t) {
    PlimKernelFn **function[VARIANTS];
    Outcome outcome[VARIANTS] = {{0}};
    for (int v = 0; v < VARIANTS; v++)
        if (!make_plan(t, v))
            return false;
    if (!compile(t, function))
        return false;
    Module *m = random_module(t->arena, t->seed, t->size, t->training);
    bool good = true;
    for (int v = 0; v < VARIANTS && good; v++) {
        good = run_plan(t, v, function[v], module_find_entry(m, "main"), &outcome[v]);
        if (good && v > 0 &&
            (outcome[v].size != outcome[0].size ||
             memcmp(outcome[v].bytes, outcome[0].bytes, outcome[0].size) != 0))
            good =
                failed(t, arena_format(t->arena, "plan %d does not give the naive plan's bits", v));
    }
    Numbers rounded = {0}, exact = {0};
    good = good && evaluate(t, false, &rounded) && evaluate(t, true, &exact) &&
           agree(t, &outcome[0], &rounded, &exact);
    for (int v = 0; v < VARIANTS; v++)
        free(outcome[v].bytes);
    return good;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: differential FIRST COUNT\n");
        return 2;
    }
    const uint64_t first = strtoull(argv[1], NULL, 10), count = strtoull(argv[2], NULL, 10);
    int wrong = 0;
    for (uint64_t seed = first; seed < first + count; seed++) {
        Trial t = {.seed = seed, .size = 3 + (int)(seed % 23), .training = seed % 2 == 1};
        t.arena = arena_create();
        t.diag = diag_create(t.arena);
        if (!cpu_target(t.arena, t.diag, "cpu", &t.cpu))
            return 1;
        wrong += !run_trial(&t);
        jit_release(t.jit);
        for (int v = 0; v < VARIANTS; v++)
            plan_memory_release(t.memory[v]);
        arena_release(t.arena);
    }
    printf("%llu random modules, %d failed\n", (unsigned long long)count, wrong);
    return wrong > 0;
}
