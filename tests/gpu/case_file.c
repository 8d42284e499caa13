// The format of cases:
//
//   "plimcase" | number of cases | case...          numbers are u64, little-endian as the machine
//   case   = name bytes, name | arguments: count, (bytes, data)... | results: count, result...
//   result = elements, plan dtype, tolerance (f64), expected of each element: f64, but f32 where
//   the
//            dtype is one of floats
//
// Tolerance: what rounding each value to its dtype does to the result, eight times, and a floor
// by dtype: GPUs sum in another order and round where the evaluator does not.
#include "case_file.h"

#include "runtime/plan.h"

#include <math.h>
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
    for (int64_t i = 0; i < count; i++) {
        const float f = (float)rounded->at[i]; // rounded to f32 or bf16 already
        if (dtype_is_float(dtype))
            fwrite(&f, sizeof f, 1, out);
        else
            fwrite(&rounded->at[i], sizeof rounded->at[i], 1, out);
    }
}

// The graph's own lines, with the entry named anew.
static void put_graph(const Sample *s, const char *name, FILE *out) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *memory = open_memstream(&text, &bytes);
    module_print(s->m, memory, 0);
    fclose(memory);
    const char *graph = strstr(text, "graph @test");
    fprintf(out, "graph @%s%s\n", name, graph + strlen("graph @test"));
    free(text);
}

static void round_arguments(Sample *s) {
    for (int i = 0; i < s->g->input_count; i++)
        for (int64_t e = 0; e < type_count(&s->argument[i].type); e++)
            s->argument[i].at[e] = dtype_round(s->argument[i].type.dtype, s->argument[i].at[e]);
}

bool case_file_open(const char *graphs, const char *cases, uint64_t count, CaseFile *out) {
    *out = (CaseFile){fopen(graphs, "w"), fopen(cases, "wb")};
    if (!out->graphs || !out->cases)
        return false;
    fwrite("plimcase", 1, 8, out->cases);
    put(out->cases, count);
    return true;
}

void case_file_add(CaseFile *f, Sample *s, const char *name) {
    Tensor rounded[SAMPLE_OPERANDS_MAX], exact[SAMPLE_OPERANDS_MAX];
    round_arguments(s);
    sample_evaluate(s, false, rounded);
    sample_evaluate(s, true, exact);
    put_graph(s, name, f->graphs);
    put(f->cases, strlen(name));
    fwrite(name, 1, strlen(name), f->cases);
    put(f->cases, (uint64_t)s->g->input_count);
    for (int i = 0; i < s->g->input_count; i++)
        put_argument(f->cases, &s->argument[i]);
    put(f->cases, (uint64_t)s->n->result_count);
    for (int i = 0; i < s->n->result_count; i++)
        put_result(f->cases, &rounded[i], &exact[i]);
}

bool case_file_close(CaseFile *f) {
    const bool graphs = fclose(f->graphs) == 0, cases = fclose(f->cases) == 0;
    return graphs && cases;
}
