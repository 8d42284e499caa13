// Attention as printed for a GPU, run by the shim on this machine, against the kernel interpreter:
// masks, windows, offsets, grouped queries, lengths that tiles don't divide, head dims of every
// kind, strides that forbid wide accesses; bf16 on (emulated) tensor cores, by warps and by groups
// of them, and f32. Each kernel runs with threads in both orders, with copies and products that
// come late and early: the bits must be the same.
#include "codegen/cuda.h"
#include "cuda_run.h"
#include "ir/kernel.h"
#include "ir/launch_attention.h"
#include "random_draw.h"
#include "tests/attention_table.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { OPERANDS_MAX = 13, CASES_MAX = 64, STEP = ONCE ? 1 : 4 };
enum { Q, K, V, OUT, LSE, EXTRA, DQ, DK, DV, TABLE };

typedef struct {
    const char *what;
    DType dtype;
    int64_t batch, groups, sharing; // sharing: query heads a group
    int64_t queries, keys, dim_qk, dim_v;
    bool causal;
    int64_t window;
    int offset;    // the operand's value + 1; 0: none
    int documents; // keys of each, in order; less than 0: so many, in no order; 0: none
    int interval;  // a prefix of so many before what is causal; less than 0: any intervals; 0: none
    bool by_head;  // [b, h, s, e] instead of [b, s, h, e]
    int64_t gap;   // elements between positions that belong to nobody
    bool negative; // the scale
    double cap;    // 0: none
    bool slopes;
    bool stacked;      // gradients of q, k and v lie in one buffer [b, s, heads of all three, e]
    bool forward_only; // the gradient is another case's too
    bool uneven;       // dq forbids wide accesses, where q doesn't
    // Axes that a bias or a mask has of its own, of "bhst"; NULL: there is none.
    const char *bias, *mask;
    DType bias_dtype;
} Case;

// By threads and by warps.
static const Case warp_cases[] = {
    {"whole tiles", DT_BF16, 1, 1, 1, 128, 128, 64, 64, .causal = true},
    {"a short sequence", DT_BF16, 2, 1, 1, 5, 5, 64, 64, .causal = true},
    {"all keys, odd lengths", DT_BF16, 1, 2, 1, 77, 131, 64, 64, .causal = false},
    {"more queries than keys", DT_BF16, 1, 1, 1, 90, 40, 32, 32, .causal = true},
    {"a window", DT_BF16, 1, 1, 1, 110, 110, 64, 64, .causal = true, .window = 37},
    {"a window, not causal", DT_BF16, 1, 1, 1, 70, 90, 32, 32, .window = 20, .negative = true},
    {"grouped queries", DT_BF16, 1, 2, 3, 75, 75, 64, 64, .causal = true, .by_head = true},
    {"an offset", DT_BF16, 1, 1, 2, 20, 150, 64, 64, .causal = true, .offset = 71},
    {"no wide accesses", DT_BF16, 1, 1, 2, 50, 50, 20, 24, .causal = true, .gap = 1},
    {"head dim 96", DT_BF16, 1, 1, 1, 70, 70, 96, 96, .causal = true},
    {"head dim 128", DT_BF16, 1, 1, 1, 100, 100, 128, 128, .causal = true},
    {"head dims 192 and 112", DT_BF16, 1, 1, 1, 50, 50, 192, 112, .causal = true},
    {"head dim 256", DT_BF16, 1, 1, 1, 50, 50, 256, 256, .causal = true},
    {"head dims 300 and 140", DT_BF16, 1, 1, 1, 33, 40, 300, 140, .causal = true},
    {"one query", DT_BF16, 2, 2, 2, 1, 300, 64, 32, .causal = true, .forward_only = true},
    {"one query, an offset, a window", DT_BF16, 1, 1, 20, 1, 700, 64, 64, .causal = true,
     .window = 400, .offset = 551, .by_head = true},
    {"documents", DT_BF16, 2, 1, 2, 200, 200, 64, 64, .causal = true, .documents = 45},
    {"documents in no order", DT_BF16, 1, 1, 1, 60, 100, 128, 128, .documents = -3},
    {"documents, a window", DT_BF16, 1, 1, 1, 90, 90, 96, 40, .causal = true, .window = 30,
     .documents = 25, .gap = 3},
    {"one query in documents", DT_BF16, 1, 1, 1, 1, 90, 32, 32, .documents = 20},
    {"f32, documents", DT_F32, 2, 1, 1, 80, 110, 16, 16, .causal = true, .documents = 33},
    {"f32, documents in no order", DT_F32, 1, 1, 1, 50, 70, 16, 16, .documents = -4},
    {"a prefix", DT_BF16, 2, 1, 2, 150, 150, 64, 64, .interval = 70},
    {"a prefix of documents", DT_BF16, 1, 1, 1, 90, 130, 128, 128, .documents = 40, .interval = 60},
    {"any intervals", DT_BF16, 2, 1, 1, 140, 90, 96, 40, .interval = -1, .gap = 3},
    {"any intervals, a window", DT_BF16, 1, 1, 1, 90, 90, 192, 32, .causal = true, .window = 30,
     .interval = -2},
    {"one query, an interval", DT_BF16, 2, 1, 2, 1, 90, 32, 32, .interval = -1},
    {"f32, a prefix", DT_F32, 2, 1, 1, 80, 80, 16, 16, .interval = 33},
    {"f32, any intervals of documents", DT_F32, 1, 1, 2, 50, 70, 16, 16, .documents = -4,
     .interval = -1},
    {"f32", DT_F32, 1, 1, 2, 70, 70, 64, 64, .causal = true, .window = 45},
    {"stacked gradients", DT_BF16, 2, 2, 1, 75, 75, 64, 64, .causal = true, .stacked = true},
    {"stacked gradients, grouped queries", DT_BF16, 2, 2, 3, 40, 40, 20, 20, .causal = true,
     .stacked = true},
    {"f32, stacked gradients", DT_F32, 2, 2, 2, 37, 37, 16, 16, .causal = true, .stacked = true},
    {"f32, all keys, odd dims", DT_F32, 2, 1, 1, 37, 70, 7, 5, .causal = false},
    {"a cap", DT_BF16, 1, 1, 2, 90, 90, 64, 64, .causal = true, .cap = 0.8},
    {"a high cap, documents", DT_BF16, 1, 1, 1, 60, 60, 128, 128, .causal = true, .cap = 50,
     .documents = 25, .negative = true},
    {"slopes", DT_BF16, 1, 2, 3, 75, 90, 64, 64, .causal = true, .slopes = true, .negative = true},
    {"slopes, a cap, documents", DT_BF16, 1, 1, 2, 60, 60, 96, 96, .causal = true, .cap = 0.8,
     .documents = 25, .slopes = true},
    {"one query, slopes", DT_BF16, 2, 2, 18, 1, 300, 64, 64, .causal = true, .slopes = true,
     .offset = 250},
    {"f32, slopes", DT_F32, 1, 1, 2, 50, 60, 16, 20, .slopes = true, .interval = -1},
    {"f32, slopes and a cap", DT_F32, 1, 1, 2, 33, 40, 16, 20, .causal = true, .slopes = true,
     .cap = 0.7},
    {"a bias", DT_BF16, 2, 1, 2, 90, 100, 64, 64, .causal = true, .bias = "hst"},
    {"a bias of all, a cap", DT_BF16, 1, 1, 2, 70, 70, 128, 128, .bias = "bhst", .cap = 0.8,
     .bias_dtype = DT_BF16},
    {"a bias of keys, slopes", DT_BF16, 2, 2, 2, 70, 90, 32, 48, .bias = "bt", .slopes = true,
     .window = 60, .causal = true, .gap = 1},
    {"a bias and a mask of keys", DT_BF16, 2, 1, 1, 70, 90, 96, 96, .bias = "t", .mask = "bt",
     .interval = -1},
    {"a bias of heads and a tree", DT_BF16, 1, 1, 3, 70, 70, 192, 64, .bias = "ht", .mask = "st"},
    {"a bias and a mask, documents, a cap", DT_BF16, 1, 1, 2, 80, 80, 256, 256, .bias = "hst",
     .mask = "h", .documents = 25, .cap = 2},
    {"a mask of all", DT_BF16, 2, 1, 1, 40, 150, 64, 64, .mask = "bhst", .causal = true},
    {"a bias and a mask, an offset", DT_BF16, 1, 1, 2, 20, 150, 64, 64, .causal = true,
     .offset = 71, .bias = "hst", .mask = "st"},
    {"one query, a bias and a mask", DT_BF16, 2, 1, 3, 1, 300, 64, 64, .bias = "ht", .mask = "bt"},
    {"f32, a bias", DT_F32, 2, 1, 2, 50, 60, 16, 20, .causal = true, .bias = "hst", .cap = 0.7},
    {"f32, a bias of queries", DT_F32, 2, 1, 2, 50, 60, 16, 20, .bias = "s", .mask = "h"},
    {"f32, a bias and a mask", DT_F32, 2, 2, 2, 37, 70, 16, 150, .bias = "bt", .mask = "hs",
     .documents = -4, .bias_dtype = DT_BF16, .slopes = true},
    {"one query, a cap", DT_BF16, 1, 1, 4, 1, 300, 64, 64, .causal = true, .cap = 0.5,
     .offset = 250},
    {"f32, a cap", DT_F32, 1, 1, 2, 50, 60, 16, 20, .causal = true, .window = 30, .cap = 0.6,
     .negative = true},
    {"f32, an offset past the end", DT_F32, 1, 1, 2, 5, 80, 16, 16, .causal = true, .offset = 99},
};

// By groups of warps.
static const Case group_cases[] = {
    {"whole tiles", DT_BF16, 1, 1, 1, 128, 384, 128, 128, .causal = false, .forward_only = true},
    {"head dim 64, grouped queries", DT_BF16, 1, 1, 2, 210, 140, 64, 64, .causal = true},
    {"stacked gradients", DT_BF16, 2, 2, 2, 130, 130, 64, 64, .causal = true, .stacked = true},
    {"a window, head dim 96", DT_BF16, 1, 1, 1, 130, 300, 96, 96, .causal = true, .window = 150},
    {"no wide accesses", DT_BF16, 1, 1, 1, 70, 80, 40, 72, .causal = true, .gap = 1,
     .negative = true},
    {"an offset", DT_BF16, 1, 1, 1, 70, 500, 128, 64, .causal = true, .offset = 311},
    {"more queries than keys", DT_BF16, 1, 1, 1, 200, 40, 84, 100, .causal = true, .gap = 1,
     .negative = true, .forward_only = true},
    {"documents", DT_BF16, 2, 1, 1, 270, 300, 64, 64, .causal = true, .documents = 70,
     .forward_only = true},
    {"documents in no order", DT_BF16, 1, 1, 1, 80, 200, 128, 128, .documents = -3},
    {"a prefix", DT_BF16, 1, 1, 2, 200, 200, 64, 64, .interval = 90, .forward_only = true},
    {"any intervals of documents", DT_BF16, 2, 1, 1, 80, 200, 128, 128, .documents = 60,
     .interval = -1},
    {"a cap", DT_BF16, 1, 1, 2, 80, 80, 64, 64, .causal = true, .cap = 0.8},
    {"slopes", DT_BF16, 1, 1, 2, 70, 140, 64, 64, .causal = true, .slopes = true, .interval = -1},
    {"slopes and a cap", DT_BF16, 1, 1, 1, 70, 100, 128, 128, .slopes = true, .cap = 2,
     .negative = true},
    {"a high cap, an interval", DT_BF16, 1, 1, 1, 80, 120, 128, 128, .cap = 50, .interval = -1,
     .negative = true},
    {"many tiles", DT_BF16, 1, 2, 1, 300, 300, 128, 128, .causal = true},
    {"all keys", DT_BF16, 2, 1, 1, 130, 330, 128, 64, .by_head = true, .uneven = true},
    {"keys that nobody sees", DT_BF16, 1, 1, 2, 140, 420, 64, 64, .causal = true, .window = 90},
    {"queries that see nothing", DT_BF16, 1, 1, 2, 330, 150, 64, 128, .causal = true, .gap = 8},
    {"a diagonal that ends tiles", DT_BF16, 1, 1, 1, 100, 165, 64, 64, .causal = true},
    {"a window, not causal", DT_BF16, 1, 1, 1, 200, 300, 64, 64, .window = 50},
    {"head dims 40 and 72", DT_BF16, 2, 1, 1, 70, 80, 40, 72, .causal = true, .negative = true},
    {"slopes, grouped queries", DT_BF16, 2, 1, 2, 70, 140, 128, 128, .causal = true,
     .slopes = true},
    {"a cap, head dim 96", DT_BF16, 1, 1, 1, 100, 100, 96, 96, .causal = true, .cap = 0.8},
    {"slopes and a cap, head dim 64", DT_BF16, 1, 1, 2, 70, 100, 64, 64, .slopes = true, .cap = 2,
     .negative = true},
    {"a bias: by warps", DT_BF16, 1, 1, 1, 70, 130, 64, 64, .bias = "st", .mask = "t"},
    {"head dim 192", DT_BF16, 1, 1, 1, 64, 200, 192, 192, .causal = false, .forward_only = true},
    {"head dim 256", DT_BF16, 1, 1, 1, 64, 150, 256, 256, .causal = true, .forward_only = true},
};

// Smaller tiles, for less shared memory.
static const Case small_cases[] = {
    {"head dim 256", DT_BF16, 1, 1, 1, 50, 50, 256, 256, .causal = true},
    {"head dim 256, a bias", DT_BF16, 1, 1, 1, 50, 50, 256, 256, .bias = "st"},
};

static uint64_t random_state;

static float random_float(void) {
    random_state = random_state * 6364136223846793005U + 1442695040888963407U;
    return (float)((int64_t)(random_state >> 40) - (1 << 23)) / (float)(1 << 22);
}

// Strides of [batch, head, position].
static void set_strides(int64_t stride[3], const Case *c, int64_t heads, int64_t positions,
                        int64_t dim) {
    const int64_t step = (c->by_head ? 1 : heads) * dim + c->gap;
    stride[2] = step;
    stride[1] = c->by_head ? positions * step : dim;
    stride[0] = c->by_head ? heads * positions * step : positions * step;
}

// Strides of what has these axes, rows of keys a little apart.
static void set_pairs(const AttentionKernel *t, const char *axes, int64_t stride[4]) {
    const int64_t dim[4] = {t->batch, t->heads, t->queries, t->keys};
    int64_t step = 1;
    for (int i = 3; i >= 0; i--) {
        const bool own = axes && strchr(axes, "bhst"[i]) && dim[i] > 1;
        stride[i] = own ? step : 0;
        step *= own ? dim[i] + (i == 3) : 1;
    }
}

static Kernel *make_kernel(Arena *a, const Case *c, KernelKind kind, const char *name) {
    AttentionKernel t = {.dtype = c->dtype, .batch = c->batch, .groups = c->groups};
    t.heads = c->groups * c->sharing;
    t.queries = c->queries;
    t.keys = c->keys;
    t.dim_qk = c->dim_qk;
    t.dim_v = c->dim_v;
    t.causal = c->causal;
    t.window = c->window;
    t.offset = c->offset > 0;
    t.documents = c->documents != 0;
    t.interval = c->interval != 0;
    t.scale = (c->negative ? -1 : 1) / sqrt((double)c->dim_qk);
    t.cap = c->cap;
    t.slopes = c->slopes;
    t.bias = c->bias != NULL;
    t.bias_dtype = c->bias_dtype;
    t.mask = c->mask != NULL;
    set_pairs(&t, c->bias, t.bias_at);
    set_pairs(&t, c->bias, t.dbias_at);
    set_pairs(&t, c->mask, t.mask_at);
    set_strides(t.q, c, t.heads, t.queries, t.dim_qk);
    set_strides(t.k, c, t.groups, t.keys, t.dim_qk);
    set_strides(t.v, c, t.groups, t.keys, t.dim_v);
    set_strides(t.out, c, t.heads, t.queries, t.dim_v);
    if (kind != KERNEL_ATTENTION) {
        memcpy(t.dq, t.q, sizeof t.q);
        for (int i = 0; i < 3 && c->uneven; i++)
            t.dq[i] += t.dq[i] / t.dq[2];
        memcpy(t.dk, t.k, sizeof t.k);
        memcpy(t.dv, t.v, sizeof t.v);
        memcpy(t.dout, t.out, sizeof t.out);
        const int64_t all = (t.heads + 2 * t.groups) * t.dim_qk;
        for (int i = 0; i < 3 && c->stacked; i++) {
            int64_t *const stride = i == 0 ? t.dq : i == 1 ? t.dk : t.dv;
            stride[0] = t.queries * all;
            stride[1] = t.dim_qk;
            stride[2] = all;
        }
    }
    Kernel *k = kernel_attention(a, kind, &t);
    k->name = name;
    return k;
}

static float element(DType dtype, const void *at, int64_t i) {
    if (dtype == DT_F32)
        return ((const float *)at)[i];
    const uint32_t bits = (uint32_t)((const uint16_t *)at)[i] << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void fill(DType dtype, void *at, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        const float x = random_float();
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        if (dtype == DT_F32)
            ((float *)at)[i] = x;
        else if (dtype == DT_BOOL)
            ((uint8_t *)at)[i] = x > -1;
        else
            ((uint16_t *)at)[i] = (uint16_t)(bits >> 16);
    }
}

// The largest difference of two tensors in units of 1 + the largest number of the right one.
static double difference(DType dtype, const void *a, const void *b, int64_t count) {
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < count; i++) {
        const double x = (double)element(dtype, a, i), y = (double)element(dtype, b, i);
        if (isinf(y) && x == y)
            continue;
        const double d = fabs(x - y);
        worst = d > worst || isnan(d) ? d : worst;
        largest = fabs(y) > largest ? fabs(y) : largest;
    }
    return worst / (1 + largest);
}

typedef struct {
    void *at[OPERANDS_MAX];
    void *memory[OPERANDS_MAX]; // NULL where the operand lies in another's
} Operands;

// Whether the operand lies in the same rows as dq, behind the one before it.
static bool is_in_stack(const Case *c, const Kernel *k, int operand) {
    return c->stacked && k->kind == KERNEL_ATTENTION_GRAD && (operand == DK || operand == DV);
}

static Operands copy_operands(const Case *c, const Kernel *k, const Operands *from) {
    Operands out = {{0}, {0}};
    const AttentionKernel *t = &k->attention;
    for (int i = 0; i < kernel_operand_count(k); i++) {
        // Sixteen bytes apart from anything else, as in a plan.
        const size_t element = dtype_bytes(kernel_dtype(k, i));
        const size_t bytes = (size_t)kernel_span(k, i) * element;
        const size_t stack = (size_t)(t->batch * t->dq[0]) * element;
        if (is_in_stack(c, k, i))
            out.at[i] = (char *)out.at[DQ] +
                        element * (size_t)(t->dim_qk * (t->heads + (i - DK) * t->groups));
        else
            out.at[i] = out.memory[i] =
                aligned_alloc(16, ((c->stacked && stack > bytes ? stack : bytes) + 15) / 16 * 16);
        if (from)
            memcpy(out.at[i], from->at[i], bytes);
    }
    return out;
}

static void free_operands(Operands *o) {
    for (int i = 0; i < OPERANDS_MAX; i++)
        free(o->memory[i]);
}

// Results against the interpreter's within the bound, and the same bits with threads the other way
// round. bf16: p and ds are rounded to 8 bits before they are multiplied, and results once more.
static void check(const CudaProgram *p, const Kernel *k, const Case *c, const Operands *start) {
    Operands oracle = copy_operands(c, k, start), got = copy_operands(c, k, start);
    Operands again = copy_operands(c, k, start);
    kernel_interpret(k, oracle.at, NULL);
    cuda_program_run(p, k, got.at, NULL, SHIM_FORWARD);
    cuda_program_run(p, k, again.at, NULL, SHIM_BACKWARD);
    for (int i = 0; i < kernel_operand_count(k); i++) {
        const DType dtype = kernel_dtype(k, i);
        const int64_t count = kernel_span(k, i);
        // Of a bias's gradient the rounded result takes part in every number.
        const bool of_rounded = k->kind == KERNEL_ATTENTION_GRAD_BIAS && c->dtype == DT_BF16;
        const double bound = dtype == DT_F32 && !of_rounded ? 4e-6 : 8e-3;
        const double d =
            !dtype_is_float(dtype) ? 0 : difference(dtype, got.at[i], oracle.at[i], count);
        cr_assert(d <= bound, "%s: %s: operand %d differs by %g", c->what, k->name, i, d);
        cr_assert_eq(memcmp(got.at[i], again.at[i], (size_t)count * dtype_bytes(dtype)), 0,
                     "%s: %s: operand %d depends on the order of threads", c->what, k->name, i);
    }
    free_operands(&oracle);
    free_operands(&got);
    free_operands(&again);
}

// The rows of a cache that nobody has written are infinite: times a probability of 0 no number.
static void fill_unwritten(const Case *c, const Kernel *k, int operand, uint16_t *at) {
    const AttentionKernel *t = &k->attention;
    const int64_t *stride = operand == K ? t->k : t->v;
    const int64_t width = operand == K ? t->dim_qk : t->dim_v;
    for (int64_t row = c->offset - 1 + c->queries; row < c->keys; row++)
        for (int64_t head = 0; head < c->batch * c->groups; head++)
            for (int64_t i = 0; i < width; i++)
                at[head / c->groups * stride[0] + head % c->groups * stride[1] + row * stride[2] +
                   i] = 0x7f80;
}

// Of both signs; so small that distances don't drown all keys but one.
static void fill_slopes(const Kernel *k, const Operands *o) {
    const int slopes = kernel_attention_slopes(k);
    for (int64_t h = 0; slopes >= 0 && h < k->attention.heads; h++)
        ((float *)o->at[slopes])[h] = 0.02f * (float)(h + 1) * (h % 3 == 2 ? -1 : 1);
}

// Some biases are minus infinity, of some rows all.
static void fill_pairs(const Kernel *k, const Operands *o) {
    const int bias = kernel_attention_bias(k), mask = kernel_attention_mask(k);
    if (mask >= 0)
        fill(DT_BOOL, o->at[mask], kernel_span(k, mask));
    if (bias < 0)
        return;
    const DType dtype = kernel_dtype(k, bias);
    fill(dtype, o->at[bias], kernel_span(k, bias));
    for (int64_t i = 0; i < kernel_span(k, bias); i++)
        if (i % 13 == 5 || i / (k->attention.keys + 1) % 17 == 3) {
            if (dtype == DT_F32)
                ((float *)o->at[bias])[i] = -INFINITY;
            else
                ((uint16_t *)o->at[bias])[i] = 0xff80;
        }
}

static void check_gradient(const CudaProgram *p, const Case *c, const Kernel *forward,
                           const Kernel *backward) {
    const AttentionTable table = {c->batch, c->queries, c->keys, c->documents, c->interval};
    const int own = kernel_operand_count(backward) - kernel_operand_count(forward) + EXTRA;
    Operands grad = copy_operands(c, backward, NULL);
    for (int o = 0; o < own; o++)
        fill(kernel_dtype(backward, o), grad.at[o], kernel_span(backward, o));
    if (kernel_attention_extra(backward) >= 0)
        attention_table_fill(&table, grad.at[own]);
    fill_slopes(backward, &grad);
    fill_pairs(backward, &grad);
    // Out and log-sum-exp that belong to q, k, v.
    kernel_interpret(forward,
                     (void *[]){grad.at[Q], grad.at[K], grad.at[V], grad.at[OUT], grad.at[LSE],
                                grad.at[own], grad.at[own + 1], grad.at[own + 2], grad.at[own + 3]},
                     NULL);
    check(p, backward, c, &grad);
    free_operands(&grad);
}

static void check_case(const CudaProgram *p, const Case *c, const Kernel *forward,
                       const Kernel *backward, const Kernel *of_bias) {
    const AttentionTable table = {c->batch, c->queries, c->keys, c->documents, c->interval};
    Operands operands = copy_operands(c, forward, NULL);
    for (int o = Q; o <= LSE; o++)
        fill(kernel_dtype(forward, o), operands.at[o], kernel_span(forward, o));
    if (c->offset > 0)
        ((int32_t *)operands.at[EXTRA])[0] = c->offset - 1;
    for (int o = K; o <= V && c->offset > 0 && c->dtype == DT_BF16; o++)
        fill_unwritten(c, forward, o, operands.at[o]);
    if (attention_table_columns(&table) > 0)
        attention_table_fill(&table, operands.at[EXTRA]);
    fill_slopes(forward, &operands);
    fill_pairs(forward, &operands);
    check(p, forward, c, &operands);
    free_operands(&operands);
    if (backward)
        check_gradient(p, c, forward, backward);
    if (of_bias)
        check_gradient(p, c, forward, of_bias);
}

// All cases, or every fourth, in one program.
static void check_cases(const Case *cases, int count, GpuArch arch) {
    enum { KINDS = 3 };
    static const KernelKind kind[KINDS] = {KERNEL_ATTENTION, KERNEL_ATTENTION_GRAD,
                                           KERNEL_ATTENTION_GRAD_BIAS};
    Arena *a = arena_create();
    Kernel *kernel[CASES_MAX][KINDS] = {{NULL}}, *all[KINDS * CASES_MAX];
    int kernels = 0;
    for (int i = 0; i < count; i += STEP) {
        const bool both = !cases[i].forward_only && cases[i].offset == 0;
        const bool has[KINDS] = {true, both, both && cases[i].bias};
        for (int j = 0; j < KINDS; j++)
            if (has[j]) {
                kernel[i][j] =
                    make_kernel(a, &cases[i], kind[j], arena_format(a, "%c%d", "fgb"[j], i));
                all[kernels++] = kernel[i][j];
            }
    }
    const CudaProgram p = cuda_program(a, all, kernels, arch);
    for (int i = 0; i < count; i += STEP) {
        random_state = (uint64_t)i + 1;
        check_case(&p, &cases[i], kernel[i][0], kernel[i][1], kernel[i][2]);
    }
    arena_release(a);
}

static bool in_one_pass(const Case *c, GpuArch arch) {
    Arena *a = arena_create();
    AttentionLaunches launches;
    attention_launches(make_kernel(a, c, KERNEL_ATTENTION_GRAD, "g"), arch, &launches);
    bool all = false;
    for (int i = 0; i < launches.count; i++)
        all = all || launches.launch[i].part == ATTENTION_ALL;
    arena_release(a);
    return all;
}

#define COUNT(cases) ((int)(sizeof(cases) / sizeof((cases)[0])))

Test(cuda_attention, by_warps_agrees_with_the_interpreter) {
    check_cases(warp_cases, COUNT(warp_cases), (GpuArch){80, false});
}

Test(cuda_attention, by_groups_agrees_with_the_interpreter) {
    check_cases(group_cases, COUNT(group_cases), (GpuArch){90, true});
}

Test(cuda_attention, in_less_shared_memory_agrees_with_the_interpreter) {
    check_cases(small_cases, COUNT(small_cases), (GpuArch){86, false});
}

Test(cuda_attention, gradients_are_made_in_one_pass_where_that_can_be) {
    static const Case one[] = {
        {"narrow heads", DT_BF16, 1, 1, 2, 64, 64, 40, 40, .causal = true, .window = 20},
        {"wide heads", DT_BF16, 2, 2, 1, 100, 1000, 128, 128, .cap = 50},
    };
    static const Case several[] = {
        {"few queries", DT_BF16, 1, 1, 1, 40, 400, 64, 64, .causal = true},
        {"wider heads", DT_BF16, 1, 1, 1, 100, 100, 192, 64, .causal = true},
        {"no maps", DT_BF16, 1, 1, 1, 100, 100, 64, 64, .gap = 1},
        {"documents", DT_BF16, 1, 1, 1, 100, 100, 64, 64, .documents = 30},
        {"intervals", DT_BF16, 1, 1, 1, 100, 100, 64, 64, .interval = 30},
        {"too few registers", DT_BF16, 1, 1, 1, 100, 100, 128, 128, .cap = 50, .slopes = true},
        {"f32", DT_F32, 1, 1, 1, 100, 100, 64, 64, .causal = true},
    };
    for (int i = 0; i < COUNT(one); i++) {
        cr_assert(in_one_pass(&one[i], (GpuArch){90, true}), "%s", one[i].what);
        cr_assert_not(in_one_pass(&one[i], (GpuArch){80, false}), "%s", one[i].what);
    }
    for (int i = 0; i < COUNT(several); i++)
        cr_assert_not(in_one_pass(&several[i], (GpuArch){90, true}), "%s", several[i].what);
}
