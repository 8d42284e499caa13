// A libcublasLt.so.13 for machines without one: products computed one number after another from the
// descriptors alone, on the fake driver's streams. An algorithm is a number from 0 on, and how the
// matrices were said to be aligned; all give the same result. What the real library refuses is
// refused: overlapping columns, too little workspace, an epilogue without its addresses, matrices
// that are aligned worse than was said. Epilogues work on sums that are not rounded.
#include "fake_driver.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))

enum { INVALID = 7, NOT_SUPPORTED = 15, BF16 = 14, ALGORITHMS = 3, WORKSPACE = 4096 };
// Parts of epilogues; GRAD with AUX is gelu's gradient.
enum { RELU = 2, BIAS = 4, GELU = 32, GRAD = 64, AUX = 128 };

typedef struct {
    int type;
    uint64_t rows, columns;
    int64_t ld;
    int32_t batch;
    int64_t stride;
} Layout;

typedef struct {
    int transposed[2];
    uint32_t epilogue; // 0 and 1: none
    const char *bias;  // a number a row of d
    char *aux;         // what gelu is given, or was given
    int64_t aux_ld;
} Operation;

typedef struct {
    uint64_t workspace;
    uint32_t reductions, alignment[4];
} Preference;

typedef struct {
    uint64_t word[8];
} Algorithm;

typedef struct {
    Algorithm algorithm;
    size_t workspace;
    int status;
    float waves;
    int reserved[4];
} Choice;

typedef struct {
    Operation operation;
    Layout a, b, d;
    float alpha, beta;
    const char *from_a, *from_b;
    char *to;
} Job;

API size_t cublasLtGetVersion(void) {
    return 130100;
}

API int cublasLtCreate(void **out) {
    ENTER("cublasLtCreate");
    *out = malloc(1);
    return 0;
}

API int cublasLtDestroy(void *handle) {
    ENTER("cublasLtDestroy");
    free(handle);
    return 0;
}

API int cublasLtMatmulDescCreate(Operation **out, int compute, int scale) {
    ENTER("cublasLtMatmulDescCreate");
    *out = calloc(1, sizeof **out);
    return compute == 68 && scale == 0 ? 0 : INVALID;
}

API int cublasLtMatmulDescDestroy(Operation *o) {
    ENTER("cublasLtMatmulDescDestroy");
    free(o);
    return 0;
}

API int cublasLtMatmulDescSetAttribute(Operation *o, int attribute, const void *value,
                                       size_t size) {
    ENTER("cublasLtMatmulDescSetAttribute");
    if ((attribute == 3 || attribute == 4) && size == sizeof o->transposed[0])
        memcpy(&o->transposed[attribute - 3], value, size);
    else if (attribute == 7 && size == sizeof o->epilogue)
        memcpy(&o->epilogue, value, size);
    else if (attribute == 8 && size == sizeof o->bias)
        memcpy(&o->bias, value, size);
    else if (attribute == 11 && size == sizeof o->aux)
        memcpy(&o->aux, value, size);
    else if (attribute == 12 && size == sizeof o->aux_ld)
        memcpy(&o->aux_ld, value, size);
    else
        return INVALID;
    static const uint32_t known[] = {
        0,         1, BIAS, RELU, RELU | BIAS, GELU, GELU | BIAS, GELU | AUX, GELU | AUX | BIAS,
        GRAD | AUX};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (o->epilogue == known[i])
            return 0;
    return NOT_SUPPORTED;
}

// The real library asks addresses how they are aligned, and then may take 16 bytes at a time all
// the same; it has rules for aux.
static bool has_address(const void *at) {
    return at && (uintptr_t)at % 16 == 0;
}

static bool has_addresses(const Operation *o, const Layout *d) {
    return (!(o->epilogue & BIAS) || has_address(o->bias)) &&
           (!(o->epilogue & AUX) || (has_address(o->aux) && o->aux_ld % 8 == 0 &&
                                     o->aux_ld >= (int64_t)d->rows && d->batch == 1));
}

API int cublasLtMatrixLayoutCreate(Layout **out, int type, uint64_t rows, uint64_t columns,
                                   int64_t ld) {
    ENTER("cublasLtMatrixLayoutCreate");
    *out = malloc(sizeof **out);
    **out = (Layout){type, rows, columns, ld, 1, 0};
    return ld >= (int64_t)rows && (type == 0 || type == BF16) ? 0 : INVALID;
}

API int cublasLtMatrixLayoutDestroy(Layout *l) {
    ENTER("cublasLtMatrixLayoutDestroy");
    free(l);
    return 0;
}

API int cublasLtMatrixLayoutSetAttribute(Layout *l, int attribute, const void *value, size_t size) {
    ENTER("cublasLtMatrixLayoutSetAttribute");
    if (attribute == 5 && size == sizeof l->batch)
        memcpy(&l->batch, value, size);
    else if (attribute == 6 && size == sizeof l->stride)
        memcpy(&l->stride, value, size);
    else
        return INVALID;
    return 0;
}

API int cublasLtMatmulPreferenceCreate(Preference **out) {
    ENTER("cublasLtMatmulPreferenceCreate");
    *out = calloc(1, sizeof **out);
    return 0;
}

API int cublasLtMatmulPreferenceDestroy(Preference *p) {
    ENTER("cublasLtMatmulPreferenceDestroy");
    free(p);
    return 0;
}

API int cublasLtMatmulPreferenceSetAttribute(Preference *p, int attribute, const void *value,
                                             size_t size) {
    ENTER("cublasLtMatmulPreferenceSetAttribute");
    if (attribute == 1 && size == sizeof p->workspace)
        memcpy(&p->workspace, value, size);
    else if (attribute == 3 && size == sizeof p->reductions)
        memcpy(&p->reductions, value, size);
    else if (attribute >= 5 && attribute <= 8 && size == sizeof p->alignment[0])
        memcpy(&p->alignment[attribute - 5], value, size);
    else
        return INVALID;
    return 0;
}

// The shapes of op(a), op(b) and d fit each other.
static bool fits(const Operation *o, const Layout *a, const Layout *b, const Layout *d) {
    const uint64_t rows = o->transposed[0] ? a->columns : a->rows;
    const uint64_t depth = o->transposed[0] ? a->rows : a->columns;
    const uint64_t columns = o->transposed[1] ? b->rows : b->columns;
    return depth == (o->transposed[1] ? b->columns : b->rows) && rows == d->rows &&
           columns == d->columns && a->type == b->type && a->batch == b->batch &&
           b->batch == d->batch;
}

// Algorithm 0 needs no workspace, the others do.
static size_t workspace_of(uint64_t number) {
    return number > 0 ? WORKSPACE : 0;
}

static Choice choose(uint64_t number, const Preference *p) {
    Choice c = {.algorithm = {{number, 42}}, .workspace = workspace_of(number)};
    for (int i = 0; i < 4; i++)
        c.algorithm.word[2 + i] = p->alignment[i] ? p->alignment[i] : 256;
    return c;
}

// All matrices of the batch begin where the algorithm may take them.
static bool is_aligned(const void *at, const Layout *l, uint64_t alignment) {
    const uint64_t step = l->batch > 1 ? (uint64_t)l->stride * (l->type == BF16 ? 2 : 4) : 0;
    return ((uintptr_t)at | step) % alignment == 0;
}

API int cublasLtMatmulAlgoGetHeuristic(void *handle, Operation *o, Layout *a, Layout *b, Layout *c,
                                       Layout *d, Preference *p, int most, Choice *out,
                                       int *count) {
    ENTER("cublasLtMatmulAlgoGetHeuristic");
    (void)handle;
    *count = 0;
    if (!fits(o, a, b, d) || c != d || !has_addresses(o, d))
        return INVALID;
    for (uint64_t i = 0; i < ALGORITHMS && *count < most; i++)
        if (workspace_of(i) <= p->workspace)
            out[(*count)++] = choose(i, p);
    return *count ? 0 : NOT_SUPPORTED;
}

API int cublasLtMatmulAlgoCheck(void *handle, Operation *o, Layout *a, Layout *b, Layout *c,
                                Layout *d, const Algorithm *algorithm, Choice *out) {
    ENTER("cublasLtMatmulAlgoCheck");
    (void)handle;
    (void)c;
    if (algorithm->word[0] >= ALGORITHMS || algorithm->word[1] != 42)
        return INVALID;
    *out = (Choice){.algorithm = *algorithm, .workspace = workspace_of(algorithm->word[0])};
    return fits(o, a, b, d) ? 0 : INVALID;
}

static float read_at(const char *base, int type, int64_t index) {
    uint32_t bits = 0;
    float x;
    if (type == BF16)
        memcpy((char *)&bits + 2, base + 2 * index, 2);
    else
        memcpy(&bits, base + 4 * index, 4);
    memcpy(&x, &bits, 4);
    return x;
}

// bf16: to the nearest, ties to even.
static void write_at(char *base, int type, int64_t index, float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if (type != BF16) {
        memcpy(base + 4 * index, &bits, 4);
        return;
    }
    bits += 0x7fff + (bits >> 16 & 1);
    memcpy(base + 2 * index, (char *)&bits + 2, 2);
}

// gelu in tanh's form, and its slope.
static double gelu(double x) {
    return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

static double gelu_slope(double x) {
    const double t = tanh(0.7978845608028654 * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.7978845608028654 * (1 + 0.134145 * x * x);
}

// What is stored of a sum.
static float finish(const Job *j, int64_t row, int64_t column, float sum) {
    const Operation *o = &j->operation;
    const int64_t at = row + column * o->aux_ld;
    if (o->epilogue & BIAS)
        sum += read_at(o->bias, j->d.type, row);
    if (o->epilogue & GRAD)
        return (float)((double)sum * gelu_slope((double)read_at(o->aux, j->d.type, at)));
    if (o->epilogue & AUX)
        write_at(o->aux, j->d.type, at, sum);
    if (o->epilogue & GELU)
        return (float)gelu((double)sum);
    return o->epilogue & RELU && sum < 0 ? 0 : sum;
}

static void multiply_one(const Job *j, int64_t batch) {
    const Layout *a = &j->a, *b = &j->b, *d = &j->d;
    const int64_t depth = (int64_t)(j->operation.transposed[0] ? a->rows : a->columns);
    for (int64_t column = 0; column < (int64_t)d->columns; column++)
        for (int64_t row = 0; row < (int64_t)d->rows; row++) {
            const int64_t at = batch * d->stride + row + column * d->ld;
            double sum = 0;
            for (int64_t k = 0; k < depth; k++) {
                const int64_t in_a = j->operation.transposed[0] ? k + row * a->ld : row + k * a->ld;
                const int64_t in_b =
                    j->operation.transposed[1] ? column + k * b->ld : k + column * b->ld;
                sum += (double)read_at(j->from_a, a->type, batch * a->stride + in_a) *
                       (double)read_at(j->from_b, b->type, batch * b->stride + in_b);
            }
            const float before = j->beta != 0 ? read_at(j->to, d->type, at) : 0;
            const float whole = j->alpha * (float)sum + j->beta * before;
            write_at(j->to, d->type, at, finish(j, row, column, whole));
        }
}

static void multiply(const void *argument) {
    Job j;
    memcpy(&j, argument, sizeof j);
    for (int64_t i = 0; i < j.d.batch; i++)
        multiply_one(&j, i);
}

API int cublasLtMatmul(void *handle, Operation *o, const void *alpha, const void *from_a, Layout *a,
                       const void *from_b, Layout *b, const void *beta, const void *from_c,
                       Layout *c, void *to, Layout *d, const Algorithm *algorithm, void *workspace,
                       size_t bytes, void *stream) {
    ENTER("cublasLtMatmul");
    Job j = {
        .operation = *o, .a = *a, .b = *b, .d = *d, .from_a = from_a, .from_b = from_b, .to = to};
    (void)handle;
    memcpy(&j.alpha, alpha, sizeof j.alpha);
    memcpy(&j.beta, beta, sizeof j.beta);
    if (!algorithm || algorithm->word[1] != 42 || from_c != to || c != d || !fits(o, a, b, d) ||
        !has_addresses(o, d) || bytes < workspace_of(algorithm->word[0]) ||
        (bytes > 0 && !workspace) || !is_aligned(from_a, a, algorithm->word[2]) ||
        !is_aligned(from_b, b, algorithm->word[3]) || !is_aligned(to, d, algorithm->word[5]))
        return INVALID;
    return fake_driver_enqueue(stream, multiply, &j, sizeof j);
}
