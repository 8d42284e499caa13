// Random nodes of every operator with what the reference evaluator says of them, for run_cases on a
// machine that need not have the compiler:
//   operator_cases COUNT OUT.graph OUT.cases
// OUT.graph has an entry a case; OUT.cases its arguments and results, in the format below.
//
//   "plimcase" | number of cases | case...          numbers are u64, little-endian as the machine
//   case   = name bytes, name | arguments: count, (bytes, data)... | results: count, result...
//   result = elements, plan dtype, tolerance (f64), expected (f64) of each element
//
// Tolerance: what rounding each value to its dtype does to the result, eight times, and a floor
// by dtype: GPUs sum in another order and round where the evaluator does not.
#include "tests/numeric/op_sample.h"

#include "runtime/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put(FILE *out, uint64_t x) {
    fwrite(&x, sizeof x, 1, out);
}

// In the bytes of its dtype.
static void put_element(FILE *out, DType dtype, double x) {
    const float f = (float)x;
    const int32_t i = (int32_t)x;
    const uint8_t b = x != 0;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    const uint16_t high = (uint16_t)(bits >> 16); // already rounded
    switch (dtype) {
    case DT_F32:
        fwrite(&f, sizeof f, 1, out);
        return;
    case DT_BF16:
        fwrite(&high, sizeof high, 1, out);
        return;
    case DT_I32:
        fwrite(&i, sizeof i, 1, out);
        return;
    case DT_BOOL:
        fwrite(&b, sizeof b, 1, out);
        return;
    case DT_COUNT:
        return;
    }
}

static PlanDType plan_dtype(DType t) {
    return t == DT_F32 ? PLAN_F32 : t == DT_BF16 ? PLAN_BF16 : t == DT_I32 ? PLAN_I32 : PLAN_BOOL;
}

static void put_argument(FILE *out, const Tensor *t) {
    const int64_t count = type_count(&t->type);
    put(out, (uint64_t)count * dtype_bytes(t->type.dtype));
    for (int64_t i = 0; i < count; i++)
        put_element(out, t->type.dtype, t->at[i]);
}

static void put_result(FILE *out, const Tensor *rounded, const Tensor *exact) {
    const DType dtype = rounded->type.dtype;
    const int64_t count = type_count(&rounded->type);
    double spread = 0, size = 0;
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(exact->at[i]))
            continue;
        spread = fmax(spread, fabs(rounded->at[i] - exact->at[i]));
        size = fmax(size, fabs(exact->at[i]));
    }
    const double floor = dtype == DT_BF16 ? 0x1p-7 : dtype == DT_F32 ? 1e-5 : 0;
    const double tolerance =
        floor == 0 ? 0 : floor * (1 + size) + 8 * fmin(spread, 1e-2 * (1 + size));
    put(out, (uint64_t)count);
    put(out, plan_dtype(dtype));
    fwrite(&tolerance, sizeof tolerance, 1, out);
    fwrite(rounded->at, sizeof(double), (size_t)count, out);
}

// The graph's own lines, with the entry named anew.
static void put_graph(Arena *a, const Sample *s, const char *name, FILE *out) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *memory = open_memstream(&text, &bytes);
    module_print(s->m, memory, 0);
    fclose(memory);
    const char *graph = strstr(text, "graph @test");
    fprintf(out, "graph @%s%s\n", name, arena_text(a, graph) + strlen("graph @test"));
    free(text);
}

// Operators that no entry computes as they are: autodiff and optimize replace them, or they need a
// state, micro-batches or one another.
static bool has_cases(Op op) {
    const OpFamily family = op_info(op)->family;
    return family != FAMILY_TRAINING && family != FAMILY_MOVE && op != OP_INPUT && op != OP_STATE &&
           op != OP_ACCUMULATE;
}

static void round_arguments(Sample *s) {
    for (int i = 0; i < s->g->input_count; i++)
        for (int64_t e = 0; e < type_count(&s->argument[i].type); e++)
            s->argument[i].at[e] = dtype_round(s->argument[i].type.dtype, s->argument[i].at[e]);
}

static void put_case(Op op, uint64_t seed, FILE *graphs, FILE *cases) {
    Arena *a = arena_create();
    Sample s = sample_create(a, op, seed);
    Tensor rounded[SAMPLE_OPERANDS_MAX], exact[SAMPLE_OPERANDS_MAX];
    round_arguments(&s);
    sample_evaluate(&s, false, rounded);
    sample_evaluate(&s, true, exact);
    const char *name = arena_format(a, "%s_%llu", op_info(op)->name, (unsigned long long)seed);
    put_graph(a, &s, name, graphs);
    put(cases, strlen(name));
    fwrite(name, 1, strlen(name), cases);
    put(cases, (uint64_t)s.g->input_count);
    for (int i = 0; i < s.g->input_count; i++)
        put_argument(cases, &s.argument[i]);
    put(cases, (uint64_t)s.n->result_count);
    for (int i = 0; i < s.n->result_count; i++)
        put_result(cases, &rounded[i], &exact[i]);
    arena_release(a);
}

int main(int argc, char **argv) {
    FILE *graphs = argc == 4 ? fopen(argv[2], "w") : NULL;
    FILE *cases = argc == 4 ? fopen(argv[3], "wb") : NULL;
    if (!graphs || !cases) {
        fprintf(stderr, "usage: operator_cases COUNT OUT.graph OUT.cases\n");
        return 2;
    }
    const uint64_t each = strtoull(argv[1], NULL, 10);
    uint64_t count = 0;
    for (int op = 0; op < OP_COUNT; op++)
        count += has_cases((Op)op) ? each : 0;
    fwrite("plimcase", 1, 8, cases);
    put(cases, count);
    for (int op = 0; op < OP_COUNT; op++)
        for (uint64_t seed = 0; seed < each && has_cases((Op)op); seed++)
            put_case((Op)op, seed, graphs, cases);
    printf("%llu cases\n", (unsigned long long)count);
    return fclose(graphs) == 0 && fclose(cases) == 0 ? 0 : 1;
}
