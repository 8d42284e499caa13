// The template kernels (own products, convolutions, attention forward and backward) against the
// kernel interpreter, on random shapes, strides and types, compiled for the baseline and for this
// machine; and that both give the same bits.
#include "codegen/codegen.h"
#include "ir/convolution.h"
#include "ir/kernel.h"
#include "ir/template_layout.h"
#include "random_draw.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { OPERANDS = 13, ROUNDS = ONCE ? 24 : 6 };

static uint64_t random_state;

static int64_t random_below(int64_t limit) {
    random_state = random_state * 6364136223846793005U + 1442695040888963407U;
    return (int64_t)((random_state >> 33) % (uint64_t)limit);
}

static int64_t random_between(int64_t low, int64_t high) {
    return low + random_below(high - low + 1);
}

static uint16_t to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float from_bf16(uint16_t h) {
    const uint32_t bits = (uint32_t)h << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

// One operand: elements in memory as the kernel sees them.
typedef struct {
    DType dtype;
    int64_t count;
    void *at;
} Memory;

static Memory memory_new(const Kernel *k, int operand) {
    Memory m = {kernel_dtype(k, operand), kernel_span(k, operand), NULL};
    m.at = calloc((size_t)m.count, dtype_bytes(m.dtype));
    for (int64_t i = 0; i < m.count; i++) {
        // Slopes are small, or distances would drown all keys but one.
        const float most = operand == kernel_attention_slopes(k) ? 0.04F : 1;
        const float x = (float)random_between(-1000, 1000) / 1000.0F * most;
        if (m.dtype == DT_F32)
            ((float *)m.at)[i] = x;
        else if (m.dtype == DT_BOOL)
            ((uint8_t *)m.at)[i] = x > -0.3F;
        else
            ((uint16_t *)m.at)[i] = to_bf16(x);
    }
    return m;
}

static Memory memory_copy(const Memory *from) {
    Memory m = *from;
    const size_t bytes = (size_t)m.count * dtype_bytes(m.dtype);
    m.at = malloc(bytes);
    memcpy(m.at, from->at, bytes);
    return m;
}

static float memory_element(const Memory *m, int64_t i) {
    return m->dtype == DT_F32 ? ((const float *)m->at)[i] : from_bf16(((const uint16_t *)m->at)[i]);
}

// Largest difference, relative to 1 + the value.
static double memory_difference(const Memory *a, const Memory *b) {
    double worst = 0;
    for (int64_t i = 0; i < a->count; i++) {
        const double x = (double)memory_element(a, i), y = (double)memory_element(b, i);
        if (isinf(x) && x == y)
            continue;
        const double d = fabs(x - y) / (1 + fabs(y));
        worst = d > worst || isnan(d) ? d : worst;
    }
    return worst;
}

static void run_compiled(const Kernel *k, const char *target_name, const Memory *memory) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    CpuTarget target;
    cr_assert(cpu_target(a, d, target_name, &target));
    const char *text = kernel_text(k, a);
    Jit *jit = jit_create(d, &target, &text, 1);
    if (!jit)
        diag_print(d, stderr, false);
    cr_assert_not_null(jit);
    void *operand[OPERANDS];
    for (int i = 0; i < kernel_operand_count(k); i++)
        operand[i] = memory[i].at;
    void *workspace = aligned_alloc(64, (kernel_workspace(k) + 63) / 64 * 64 + 64);
    memset(workspace, 0xff, kernel_workspace(k)); // NaN: nothing may depend on it
    // In two calls, the later tiles first: tiles are independent.
    const int64_t tiles = kernel_tiles(k), half = tiles / 2;
    jit_function(jit, 0)(operand, NULL, half, tiles, workspace);
    jit_function(jit, 0)(operand, NULL, 0, half, workspace);
    free(workspace);
    jit_release(jit);
    arena_release(a);
}

static bool is_written(const Kernel *k, int operand) {
    return kernel_access(k, operand) != ACCESS_READ;
}

// The kernel on the baseline, on this machine and interpreted, from equal operands.
static void check_kernel(const Kernel *k, const Memory *start, double tolerance) {
    Memory base[OPERANDS] = {{0}}, native[OPERANDS] = {{0}}, oracle[OPERANDS] = {{0}};
    void *operand[OPERANDS];
    const int count = kernel_operand_count(k);
    for (int i = 0; i < count; i++) {
        base[i] = memory_copy(&start[i]);
        native[i] = memory_copy(&start[i]);
        oracle[i] = memory_copy(&start[i]);
        operand[i] = oracle[i].at;
    }
    kernel_interpret(k, operand, NULL);
    run_compiled(k, "cpu", base);
    run_compiled(k, "cpu:native", native);
    for (int i = 0; i < count; i++) {
        const double difference = is_written(k, i) ? memory_difference(&base[i], &oracle[i]) : 0;
        Arena *a = arena_create();
        cr_assert(difference <= tolerance, "operand %d differs by %g: %s", i, difference,
                  kernel_text(k, a));
        arena_release(a);
        cr_assert_eq(
            memcmp(base[i].at, native[i].at, (size_t)base[i].count * dtype_bytes(base[i].dtype)), 0,
            "operand %d differs between the baseline and this machine", i);
        cr_assert(is_written(k, i) ||
                  memcmp(base[i].at, start[i].at,
                         (size_t)base[i].count * dtype_bytes(base[i].dtype)) == 0);
        free(base[i].at);
        free(native[i].at);
        free(oracle[i].at);
    }
}

static DType random_float(void) {
    return random_below(3) == 0 ? DT_BF16 : DT_F32;
}

// Strides for [batch0, batch1, rows, columns], rows or columns contiguous, with some padding; now
// and then as far apart as rows of a that are packed for it.
static void random_strides(int64_t stride[4], const int64_t batch[2], int64_t rows,
                           int64_t columns) {
    const bool across = random_below(2);
    const int64_t lead = random_below(8) ? (across ? columns : rows) + random_below(3) : 1024;
    stride[2] = across ? lead : 1;
    stride[3] = across ? 1 : lead;
    const int64_t matrix = lead * (across ? rows : columns);
    stride[1] = matrix;
    stride[0] = matrix * batch[1];
}

// Sizes, types and library are set; strides, tiles and the rest are drawn here.
static void check_product(Arena *a, ProductKernel *p) {
    p->library = PRODUCT_OWN;
    p->accumulate = random_below(3) == 0;
    p->c = p->accumulate ? DT_F32 : random_float();
    // Also more rows than meet a packed block of b at a time.
    p->tile_m = random_below(2) ? random_between(1, 4) * 16 : random_between(1, 30) * 12;
    p->tile_n = random_between(1, 3) * 32;
    random_strides(p->a_stride, p->batch, p->m, p->k);
    random_strides(p->b_stride, p->batch, p->k, p->n);
    random_strides(p->c_stride, p->batch, p->m, p->n);
    p->workspace = layout_bytes(product_layout(p).floats);
    const Kernel *k = kernel_product(a, p);
    Memory memory[OPERANDS];
    for (int i = 0; i < 3; i++)
        memory[i] = memory_new(k, i);
    // f32: eps times the depth's square root; bf16 results: half a unit of 8 bits.
    check_kernel(k, memory, p->c == DT_BF16 ? 8e-3 : 2e-5);
    for (int i = 0; i < 3; i++)
        free(memory[i].at);
}

Test(codegen_templates, products_agree_with_the_interpreter) {
    for (int round = 0; round < ROUNDS; round++) {
        random_state = (uint64_t)round + 1;
        Arena *a = arena_create();
        ProductKernel p = {.a = random_float(), .b = random_float()};
        p.batch[0] = random_between(1, 2);
        p.batch[1] = random_between(1, 2);
        p.m = random_between(1, round % 4 == 1 ? 2 * PRODUCT_ROWS + 40 : 70);
        p.n = random_between(1, 90);
        p.k = round % 4 == 0 ? random_between(250, 600) : random_between(1, 60);
        check_product(a, &p);
        arena_release(a);
    }
}

// Of rows 4 KiB apart a cache keeps few.
Test(codegen_templates, rows_in_the_same_sets_of_a_cache_are_packed) {
    ProductKernel p = {.a = DT_F32,
                       .b = DT_F32,
                       .c = DT_F32,
                       .batch = {1, 1},
                       .m = 64,
                       .n = 64,
                       .k = 512,
                       .tile_m = 64,
                       .tile_n = 64,
                       .a_stride = {0, 0, 1536, 1},
                       .b_stride = {0, 0, 64, 1},
                       .c_stride = {0, 0, 64, 1}};
    cr_assert(product_layout(&p).rows_in_place);
    p.a_stride[2] = 3072;
    cr_assert_not(product_layout(&p).rows_in_place);
}

// Few rows: b is read where it lies, along either of its axes.
Test(codegen_templates, thin_products_agree_with_the_interpreter) {
    for (int round = 0; round < ROUNDS; round++) {
        random_state = (uint64_t)round + 50;
        Arena *a = arena_create();
        ProductKernel p = {.a = random_float(), .b = random_float(), .batch = {1, 1}};
        p.batch[1] = random_below(4) == 0 ? 2 : 1;
        p.m = random_between(1, PRODUCT_THIN);
        p.n = random_between(1, 200);
        p.k = random_between(1, round % 3 == 0 ? 400 : 40);
        check_product(a, &p);
        arena_release(a);
    }
}

static void dense(int64_t stride[3], int64_t heads, int64_t positions, int64_t dim) {
    const bool heads_inside = random_below(2); // [b, s, h, e] or [b, h, s, e]
    stride[0] = heads * positions * dim;
    stride[1] = heads_inside ? dim : positions * dim;
    stride[2] = heads_inside ? heads * dim : dim;
}

// NaN in elements [at, at + count).
static void memory_spoil(Memory *m, int64_t at, int64_t count) {
    for (int64_t i = at; i < at + count; i++)
        if (m->dtype == DT_BF16)
            ((uint16_t *)m->at)[i] = 0x7fc0;
        else
            ((float *)m->at)[i] = NAN;
}

static AttentionKernel random_attention(int round) {
    static const int64_t dims[] = {16, 64, 8, 96, 20, 128};
    AttentionKernel t = {.dtype = random_float(), .causal = random_below(2)};
    t.batch = random_between(1, 2);
    t.groups = random_between(1, 2);
    t.heads = t.groups * random_between(1, 3);
    t.queries = random_between(1, 150);
    t.keys = random_below(2) ? t.queries : random_between(1, 150);
    t.dim_qk = dims[round % 6];
    t.dim_v = dims[random_below(6)];
    t.window = random_below(3) == 0 ? random_between(1, 80) : 0;
    t.scale = 1 / sqrt((double)t.dim_qk);
    t.slopes = round % 4 > 1;
    t.cap = round % 3 == 1 ? (double[]){0.4, 2, 50}[random_below(3)] : 0;
    dense(t.q, t.heads, t.queries, t.dim_qk);
    dense(t.dq, t.heads, t.queries, t.dim_qk);
    dense(t.k, t.groups, t.keys, t.dim_qk);
    dense(t.dk, t.groups, t.keys, t.dim_qk);
    dense(t.v, t.groups, t.keys, t.dim_v);
    dense(t.dv, t.groups, t.keys, t.dim_v);
    dense(t.out, t.heads, t.queries, t.dim_v);
    dense(t.dout, t.heads, t.queries, t.dim_v);
    return t;
}

// For batch, head, query and key, some of them broadcast; along the other axes rows lie apart.
static void choose_pairs(const AttentionKernel *t, int64_t stride[4]) {
    const int64_t dim[4] = {t->batch, t->heads, t->queries, t->keys};
    int64_t step = 1;
    for (int i = 3; i >= 0; i--) {
        stride[i] = random_below(3) == 0 ? 0 : step;
        step *= stride[i] > 0 ? dim[i] : 1;
        step += i == 3 ? random_below(2) * 3 : 0;
    }
}

// A bias, a mask or both.
static void add_pairs(AttentionKernel *t, int round) {
    t->bias = round % 3 != 1;
    t->mask = round % 3 != 0;
    t->bias_dtype = random_float();
    choose_pairs(t, t->bias_at);
    choose_pairs(t, t->mask_at);
    choose_pairs(t, t->dbias_at);
}

// Some of a bias is -inf, and all of some query's or head's.
static void hide_some(const Kernel *k, Memory *bias) {
    const int64_t *stride = k->attention.bias_at;
    const int64_t whole = stride[3] > 0 ? k->attention.keys : 1, count = bias->count;
    for (int64_t i = 0; i < count; i++)
        if (i / whole % 5 == 2 || i % 7 == 3) {
            if (bias->dtype == DT_F32)
                ((float *)bias->at)[i] = -INFINITY;
            else
                ((uint16_t *)bias->at)[i] = 0xff80;
        }
}

// Several documents, one after another or in no order.
static void number_documents(const AttentionKernel *t, int32_t *id) {
    const bool sorted = random_below(2);
    const int64_t documents = random_between(1, 6);
    for (int64_t j = 0, last = -2; j < t->keys; j++) {
        last += random_below(t->keys) < documents;
        id[j] = (int32_t)(sorted ? last : random_below(documents));
    }
}

// A prefix before what is causal; or any intervals, empty ones and such as reach past the keys.
static void choose_intervals(const AttentionKernel *t, int32_t *begin) {
    int32_t *end = begin + t->queries;
    const bool prefix = random_below(2), far = random_below(4) == 0;
    const int64_t length = random_below(t->keys + 1), keys = t->keys;
    for (int64_t i = 0; i < t->queries; i++) {
        const int64_t beside = i + keys - t->queries + 1;
        begin[i] = (int32_t)(prefix ? 0 : random_between(-20, keys + 5));
        end[i] = (int32_t)(prefix ? (beside > length ? beside : length)
                                  : begin[i] + random_between(-3, keys));
        if (far && i % 7 == 0) {
            begin[i] = i % 2 ? INT32_MIN : INT32_MAX;
            end[i] = i % 3 ? INT32_MAX : INT32_MIN;
        }
    }
}

static void fill_table(const AttentionKernel *t, Memory *m) {
    for (int64_t b = 0; b < t->batch; b++) {
        int32_t *row = (int32_t *)m->at + b * attention_table_row(t);
        if (t->interval)
            choose_intervals(t, row);
        if (t->documents)
            number_documents(t, row + (t->interval ? 2 * t->queries : 0));
    }
}

static void check_attention(const AttentionKernel *t) {
    Arena *a = arena_create();
    const Kernel *k = kernel_attention(a, KERNEL_ATTENTION, t);
    Memory memory[OPERANDS];
    const int operands = kernel_operand_count(k);
    for (int i = 0; i < operands; i++)
        memory[i] = memory_new(k, i);
    if (attention_table_row(t) > 0)
        fill_table(t, &memory[5]);
    if (t->bias)
        hide_some(k, &memory[kernel_attention_bias(k)]);
    check_kernel(k, memory, t->dtype == DT_BF16 ? 8e-3 : 1e-5);
    for (int i = 0; i < operands; i++)
        free(memory[i].at);
    arena_release(a);
}

Test(codegen_templates, attention_agrees_with_the_interpreter) {
    for (int round = 0; round < ROUNDS; round++) {
        random_state = (uint64_t)round + 100;
        AttentionKernel t = random_attention(round);
        t.queries = round % 4 == 0 ? 1 : t.queries; // a kernel of its own
        check_attention(&t);
    }
}

// Documents, intervals, or both.
static AttentionKernel random_table(int round) {
    AttentionKernel t = random_attention(round);
    t.documents = round % 3 != 1;
    t.interval = round % 3 != 0;
    if (t.documents)
        t.queries = t.queries < t.keys ? t.queries : t.keys;
    return t;
}

Test(codegen_templates, attention_with_a_table_agrees_with_the_interpreter) {
    for (int round = 0; round < ROUNDS; round++) {
        random_state = (uint64_t)round + 400;
        AttentionKernel t = random_table(round);
        t.queries = round % 8 == 0 ? 1 : t.queries;
        check_attention(&t);
    }
}

Test(codegen_templates, attention_with_a_bias_or_a_mask_agrees_with_the_interpreter) {
    for (int round = 0; round < ROUNDS; round++) {
        random_state = (uint64_t)round + 500;
        AttentionKernel t = round % 4 == 1 ? random_table(round) : random_attention(round);
        t.queries = round % 4 == 0 ? 1 : t.queries;
        add_pairs(&t, round);
        check_attention(&t);
    }
}

// Three blocks of queries and of keys of one head, forward and backward, with a table. From
// `spoiled` on a block of keys and values holds NaN, so that reading it shows.
enum { BLOCK = KERNEL_QUERY_BLOCK, LENGTH = 3 * BLOCK, WIDTH = 16 };
static void run_three_blocks(AttentionKernel t, const int32_t *table, int64_t spoiled,
                             Memory memory[OPERANDS]) {
    Arena *a = arena_create();
    t.dtype = DT_F32;
    t.batch = t.heads = t.groups = 1;
    t.queries = t.keys = LENGTH;
    t.dim_qk = t.dim_v = WIDTH;
    t.scale = 0.25;
    int64_t *const stride[] = {t.q, t.k, t.v, t.out, t.dout, t.dq, t.dk, t.dv};
    for (int i = 0; i < 8; i++)
        dense(stride[i], 1, LENGTH, WIDTH);
    const Kernel *backward = kernel_attention(a, KERNEL_ATTENTION_GRAD, &t);
    for (int i = 0; i < OPERANDS; i++)
        memory[i] = i < kernel_operand_count(backward) ? memory_new(backward, i) : (Memory){0};
    memcpy(memory[9].at, table, (size_t)attention_table_row(&t) * sizeof *table);
    memory_spoil(&memory[1], spoiled * WIDTH, BLOCK * WIDTH);
    memory_spoil(&memory[2], spoiled * WIDTH, BLOCK * WIDTH);
    const Memory operands[6] = {memory[0], memory[1], memory[2], memory[3], memory[4], memory[9]};
    run_compiled(kernel_attention(a, KERNEL_ATTENTION, &t), "cpu", operands);
    run_compiled(backward, "cpu", memory);
    arena_release(a);
}

// Blocks of keys whose documents no query of a block has are not read.
Test(codegen_templates, attention_skips_other_documents) {
    random_state = 7;
    // Documents 5, -3, 5: the middle one is not read by the others, nor they by it.
    int32_t id[LENGTH];
    for (int64_t j = 0; j < LENGTH; j++)
        id[j] = j / BLOCK == 1 ? -3 : 5;
    Memory memory[OPERANDS];
    run_three_blocks((AttentionKernel){.documents = true}, id, BLOCK, memory);
    for (int64_t i = 0; i < LENGTH * WIDTH; i++) {
        const bool middle = i / WIDTH / BLOCK == 1;
        for (int o = 3; o < 9; o++)
            if (o != 4 && o != 5)
                cr_assert_eq(isnan(((const float *)memory[o].at)[i]), middle, "operand %d at %d", o,
                             (int)i);
    }
    for (int i = 0; i < OPERANDS; i++)
        free(memory[i].at);
}

// Keys in front of all intervals of a block of queries are not read. The others are, a prefix that
// lies past the diagonal, too.
Test(codegen_templates, attention_skips_what_no_interval_has) {
    enum { PREFIX = BLOCK + 5 };
    random_state = 8;
    // Queries of the first block see keys 0 .. PREFIX - 1, those of the others keys from BLOCK on.
    int32_t begin[2 * LENGTH], *end = begin + LENGTH;
    for (int32_t i = 0; i < LENGTH; i++) {
        begin[i] = i < BLOCK ? 0 : BLOCK;
        end[i] = i < PREFIX ? PREFIX : i + 1;
    }
    Memory memory[OPERANDS];
    run_three_blocks((AttentionKernel){.interval = true}, begin, 0, memory);
    const float *out = memory[3].at, *dq = memory[6].at;
    for (int64_t i = 0; i < LENGTH * WIDTH; i++) {
        cr_assert_eq(isnan(out[i]), i / WIDTH < BLOCK, "out at %d", (int)i);
        cr_assert_eq(isnan(dq[i]), i / WIDTH < BLOCK, "dq at %d", (int)i);
    }
    for (int i = 0; i < OPERANDS; i++)
        free(memory[i].at);
}

// Keys that no query sees hold NaN: they must not be read into a sum.
Test(codegen_templates, attention_with_an_offset_agrees_with_the_interpreter) {
    for (int round = 0; round < ROUNDS / 2; round++) {
        random_state = (uint64_t)round + 300;
        Arena *a = arena_create();
        AttentionKernel t = random_attention(round);
        t.causal = t.offset = true;
        t.queries = random_below(2) ? 1 : t.queries < t.keys ? t.queries : t.keys;
        const Kernel *k = kernel_attention(a, KERNEL_ATTENTION, &t);
        Memory memory[OPERANDS];
        const int operands = kernel_operand_count(k);
        for (int i = 0; i < operands; i++)
            memory[i] = memory_new(k, i);
        const int32_t offset = (int32_t)random_between(-2, t.keys + 2);
        ((int32_t *)memory[5].at)[0] = offset;
        const int64_t most = t.keys - t.queries;
        const int64_t end = (offset < 0 ? 0 : offset < most ? offset : most) + t.queries;
        for (int64_t row = 0; row < t.batch * t.groups * (t.keys - end); row++) {
            const int64_t b = row / (t.keys - end) / t.groups, g = row / (t.keys - end) % t.groups;
            const int64_t j = end + row % (t.keys - end);
            memory_spoil(&memory[1], b * t.k[0] + g * t.k[1] + j * t.k[2], t.dim_qk);
            memory_spoil(&memory[2], b * t.v[0] + g * t.v[1] + j * t.v[2], t.dim_v);
        }
        check_kernel(k, memory, t.dtype == DT_BF16 ? 8e-3 : 1e-5);
        for (int i = 0; i < operands; i++)
            free(memory[i].at);
        arena_release(a);
    }
}

// Out and log-sum-exp belong to q, k and v.
static void check_gradient(const AttentionKernel *t, KernelKind kind) {
    Arena *a = arena_create();
    const Kernel *forward = kernel_attention(a, KERNEL_ATTENTION, t);
    const Kernel *backward = kernel_attention(a, kind, t);
    Memory memory[OPERANDS];
    const int count = kernel_operand_count(backward), own = kind == KERNEL_ATTENTION_GRAD ? 9 : 7;
    for (int i = 0; i < count; i++)
        memory[i] = memory_new(backward, i);
    void *operand[9] = {NULL};
    for (int i = 0; i < 5; i++)
        operand[i] = memory[i].at;
    for (int i = own; i < count; i++)
        operand[i - own + 5] = memory[i].at;
    if (attention_table_row(t) > 0)
        fill_table(t, &memory[own]);
    if (t->bias)
        hide_some(backward, &memory[kernel_attention_bias(backward)]);
    kernel_interpret(forward, operand, NULL);
    const bool narrow = t->dtype == DT_BF16 || (t->bias && t->bias_dtype == DT_BF16);
    check_kernel(backward, memory, narrow ? 2e-2 : 3e-5);
    for (int i = 0; i < count; i++)
        free(memory[i].at);
    arena_release(a);
}

Test(codegen_templates, attention_gradient_agrees_with_the_interpreter) {
    for (int round = 0; round < ROUNDS; round++) {
        random_state = (uint64_t)round + 200;
        AttentionKernel t = random_attention(round);
        check_gradient(&t, KERNEL_ATTENTION_GRAD);
        if (round % 2 == 0)
            continue;
        t = random_table(round);
        check_gradient(&t, KERNEL_ATTENTION_GRAD);
    }
}

Test(codegen_templates, attention_gradient_with_a_bias_agrees_with_the_interpreter) {
    for (int round = 0; round < ROUNDS; round++) {
        random_state = (uint64_t)round + 600;
        AttentionKernel t = round % 4 == 1 ? random_table(round) : random_attention(round);
        add_pairs(&t, round);
        check_gradient(&t, KERNEL_ATTENTION_GRAD);
        t.bias = true;
        check_gradient(&t, KERNEL_ATTENTION_GRAD_BIAS);
    }
}

// Small planes or many channels, seldom both: the interpreter is slow. A third are depthwise, a
// third keep the width, which is read in another way than the rest.
static ConvolutionKernel random_convolution(int round) {
    const bool deep = round % 4 == 0, same = round % 3 == 1, planes = round % 3 == 2;
    ConvolutionKernel k = {.part = (ConvolutionPart)(round / 3 % 3)};
    Convolution *c = &k.shape;
    c->batch = random_between(1, 4);
    c->groups = planes ? random_between(1, 20) : random_below(3) == 0 ? 2 : 1;
    c->in = planes ? 1 : random_between(1, deep ? 40 : 6);
    c->out = planes ? 1 : random_between(1, deep ? 30 : 9);
    for (int i = 0; i < 2; i++) {
        c->size[i] = random_between(1, deep ? 9 : 27);
        c->kernel[i] = random_between(1, 4);
        c->stride[i] = same ? 1 : random_between(1, 3);
        c->dilation[i] = random_between(1, 2);
        const int64_t span = c->dilation[i] * (c->kernel[i] - 1) + 1;
        c->before[i] = same ? (span - 1) / 2 : random_below(4);
        c->after[i] = same ? span - 1 - c->before[i] : random_below(4);
        while (c->size[i] < span && c->size[i] + c->before[i] + c->after[i] < span)
            c->after[i]++;
        c->result[i] = convolution_result(c->size[i], c->kernel[i], c->stride[i],
                                          c->before[i] + c->after[i], c->dilation[i]);
    }
    // Sometimes with gaps between images, as parts of a concat have.
    k.x_stride = c->groups * c->in * c->size[0] * c->size[1] + random_below(2) * random_below(9);
    k.y_stride = c->groups * c->out * c->result[0] * c->result[1] + random_below(2) * 7;
    for (int i = 0; i < 3; i++)
        k.dtype[i] = random_below(4) == 0 ? DT_BF16 : DT_F32;
    return k;
}

Test(codegen_templates, convolutions_agree_with_the_interpreter) {
    for (int round = 0; round < ROUNDS + ROUNDS / 2; round++) {
        random_state = (uint64_t)round + 400;
        Arena *a = arena_create();
        const ConvolutionKernel c = random_convolution(round);
        const Kernel *k = kernel_convolution(a, &c);
        Memory memory[OPERANDS];
        for (int i = 0; i < 3; i++)
            memory[i] = memory_new(k, i);
        // Sums of up to 1500 terms of size 1.
        check_kernel(k, memory, c.dtype[2] == DT_BF16 ? 8e-3 : 5e-5);
        for (int i = 0; i < 3; i++)
            free(memory[i].at);
        arena_release(a);
    }
}
