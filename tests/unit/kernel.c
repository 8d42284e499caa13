// Kernels as data: building and finishing, what a kernel says about itself, and the interpreter.
#include "ir/kernel.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

static const Kernel *finish(KernelBuilder *kb, Arena *a) {
    Diag *d = diag_create(a);
    const Kernel *k = kernel_finish(kb);
    const bool good = kernel_verify(k, d, (Loc){0});
    if (!good)
        diag_print(d, stderr, false);
    cr_assert(good, "%s", kernel_text(k, a));
    return k;
}

Test(kernel, equal_operations_are_shared_and_dead_ones_dropped) {
    Arena *a = arena_create();
    KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, 2, DIMS(4, 8));
    const int x = kernel_add_operand(kb, DT_F32, ACCESS_READ, DIMS(8, 1));
    const int y = kernel_add_operand(kb, DT_F32, ACCESS_WRITE, DIMS(8, 1));
    const int z = kernel_add_operand(kb, DT_F32, ACCESS_WRITE, DIMS(8, 1));
    const KRef v = kb_load(kb, x);
    cr_assert_eq(v, kb_load(kb, x));
    kb_op1(kb, KOP_TANH, v);
    const KRef e = kb_op1(kb, KOP_EXP, v);
    kb_store(kb, y, e);
    cr_assert_eq(e, kb_op1(kb, KOP_EXP, kb_load(kb, x)));
    kb_store(kb, z, kb_op2(kb, KOP_MUL, e, kb_float(kb, 2)));
    cr_assert_neq(kb_float(kb, 0.0), kb_float(kb, -0.0));
    cr_assert_eq(kb_float(kb, 0.1), kb_float(kb, (double)0.1f));
    const Kernel *k = finish(kb, a);
    // load, exp, const, mul; then both stores
    cr_assert_eq(k->instr_count, 6);
    cr_assert_eq(k->instr[4].op, KOP_STORE);
    cr_assert_eq(k->instr[5].op, KOP_STORE);
    arena_release(a);
}

Test(kernel, many_operations_stay_shared) {
    Arena *a = arena_create();
    KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, 1, DIMS(8));
    KRef first[500];
    for (int i = 0; i < 500; i++)
        first[i] = kb_int(kb, i * 7);
    for (int i = 0; i < 500; i++)
        cr_assert_eq(kb_int(kb, i * 7), first[i]);
    arena_release(a);
}

Test(kernel, rounding_to_bf16_twice_is_once) {
    Arena *a = arena_create();
    KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, 1, DIMS(8));
    const int x = kernel_add_operand(kb, DT_BF16, ACCESS_READ, DIMS(1));
    const KRef v = kb_load(kb, x), r = kb_op1(kb, KOP_ROUND_BF16, kb_float(kb, 0.3));
    cr_assert_eq(kb_op1(kb, KOP_ROUND_BF16, v), v);
    cr_assert_eq(kb_op1(kb, KOP_ROUND_BF16, r), r);
    arena_release(a);
}

typedef struct {
    KernelAxis axis;
    bool sums; // the program has a reduction
    int index; // dim whose INDEX is read, or -1
    int rank;
    int64_t dim[4], x[4], y[4]; // extents, strides read and stored with
    int merged_rank;
    int64_t merged_dim[4], merged_x[4];
} MergeCase;

static const MergeCase merge_case[] = {
    // Elementwise: all dims become one
    {KERNEL_ROWS, false, -1, 3, {2, 3, 4}, {12, 4, 1}, {12, 4, 1}, 1, {24}, {1}},
    // A transposed operand keeps its dims apart, and those it walks as one merge
    {KERNEL_ROWS, false, -1, 3, {2, 3, 4}, {1, 8, 2}, {12, 4, 1}, 2, {2, 12}, {1, 2}},
    // A broadcast row
    {KERNEL_ROWS, false, -1, 3, {2, 3, 4}, {0, 0, 1}, {12, 4, 1}, 2, {6, 4}, {0, 1}},
    // Extent 1 vanishes whatever its strides
    {KERNEL_ROWS, false, -1, 4, {1, 3, 1, 4}, {7, 4, 9, 1}, {0, 4, 0, 1}, 1, {12}, {1}},
    {KERNEL_ROWS, false, -1, 2, {1, 1}, {5, 5}, {0, 0}, 1, {1}, {0}},
    // A reduction keeps its column; the rows merge
    {KERNEL_ROWS, true, -1, 3, {2, 3, 4}, {12, 4, 1}, {3, 1, 0}, 2, {6, 4}, {4, 1}},
    {KERNEL_ROWS, true, -1, 3, {2, 3, 1}, {3, 1, 1}, {3, 1, 0}, 2, {6, 1}, {1, 0}},
    {KERNEL_ROWS, true, -1, 1, {5}, {1}, {0}, 1, {5}, {1}},
    {KERNEL_COLUMNS, true, -1, 3, {2, 3, 4}, {12, 4, 1}, {0, 0, 1}, 2, {6, 4}, {4, 1}},
    {KERNEL_COLUMNS, true, -1, 2, {6, 1}, {1, 1}, {0, 1}, 2, {6, 1}, {1, 0}},
    // A dim whose index is read stays
    {KERNEL_ROWS, false, 1, 3, {2, 3, 4}, {12, 4, 1}, {12, 4, 1}, 3, {2, 3, 4}, {12, 4, 1}},
    {KERNEL_ROWS, false, 2, 3, {2, 3, 4}, {12, 4, 1}, {12, 4, 1}, 2, {6, 4}, {4, 1}},
    {KERNEL_ROWS, false, 1, 3, {2, 1, 4}, {4, 4, 1}, {4, 4, 1}, 1, {8}, {1}},
};

Test(kernel, finishing_merges_dims) {
    for (size_t i = 0; i < sizeof merge_case / sizeof *merge_case; i++) {
        const MergeCase *c = &merge_case[i];
        Arena *a = arena_create();
        KernelBuilder *kb = kernel_builder(a, c->axis, c->rank, c->dim);
        const int x = kernel_add_operand(kb, DT_F32, ACCESS_READ, c->x);
        const int y = kernel_add_operand(kb, DT_F32, ACCESS_WRITE, c->y);
        KRef v = kb_load(kb, x);
        if (c->index >= 0)
            v = kb_op2(kb, KOP_ADD, v, kb_op1(kb, KOP_TO_F32, kb_index(kb, c->index)));
        kb_store(kb, y, c->sums ? kb_op1(kb, KOP_SUM, v) : v);
        const Kernel *k = finish(kb, a);
        cr_assert_eq(k->rank, c->merged_rank, "case %zu: %s", i, kernel_text(k, a));
        for (int d = 0; d < k->rank; d++) {
            cr_assert_eq(k->dim[d], c->merged_dim[d], "case %zu: %s", i, kernel_text(k, a));
            cr_assert_eq(k->operand[x].stride[d], c->merged_x[d], "case %zu: %s", i,
                         kernel_text(k, a));
        }
        arena_release(a);
    }
}

// y = 2 x + position along each dim, over random boxes and axis orders: finishing changes nothing.
Test(kernel, finishing_keeps_the_meaning) {
    uint32_t random = 7;
    for (int trial = 0; trial < 200; trial++) {
        Arena *a = arena_create();
        int64_t dim[4], x[4], y[4], step = 1, room = 1;
        const int rank = 1 + trial % 4;
        for (int d = 0; d < rank; d++)
            dim[d] = 1 + (int64_t)((random = random * 1664525u + 1013904223u) >> 28) % 5;
        for (int d = rank - 1; d >= 0; room *= dim[d--])
            y[d] = room;
        for (int i = 0; i < rank; i++) { // x in another order, and with gaps
            const int d = (i + trial) % rank;
            x[d] = step;
            step *= dim[d] + (trial % 3 == 0);
        }
        float in[2000], out[2000] = {0};
        for (int i = 0; i < 2000; i++)
            in[i] = (float)i;
        KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, rank, dim);
        const int from = kernel_add_operand(kb, DT_F32, ACCESS_READ, x);
        const int to = kernel_add_operand(kb, DT_F32, ACCESS_WRITE, y);
        KRef v = kb_op2(kb, KOP_MUL, kb_load(kb, from), kb_float(kb, 2));
        const int indexed = trial % 5; // 4 and more than the rank: none
        if (indexed < rank)
            v = kb_op2(kb, KOP_ADD, v, kb_op1(kb, KOP_TO_F32, kb_index(kb, indexed)));
        kb_store(kb, to, v);
        void *operand[] = {in, out};
        kernel_interpret(finish(kb, a), operand, NULL);
        for (int64_t point = 0; point < room; point++) {
            int64_t at = 0;
            float want = 0;
            for (int d = 0; d < rank; d++) {
                const int64_t index = point / y[d] % dim[d];
                at += index * x[d];
                want += d == indexed ? (float)index : 0;
            }
            cr_assert_eq(out[point], 2 * in[at] + want);
        }
        arena_release(a);
    }
}

static Kernel *parse(Arena *a, const char *text) {
    Diag *d = diag_create(a);
    size_t at = 0;
    Kernel *k = kernel_parse(a, d, "k", text, strlen(text), &at);
    if (!k)
        diag_print(d, stderr, false);
    cr_assert_not_null(k);
    return k;
}

Test(kernel, tiles) {
    static const struct {
        KernelAxis axis;
        bool sums;
        int rank;
        int64_t dim[3], rows, columns, tiles;
    } c[] = {
        {KERNEL_ROWS, false, 1, {5}, 1, 16384, 1},
        {KERNEL_ROWS, false, 1, {16385}, 1, 16384, 2},
        {KERNEL_ROWS, false, 2, {100, 768}, 21, 768, 5},
        {KERNEL_ROWS, false, 2, {3, 65536}, 1, 65536, 3},
        {KERNEL_ROWS, false, 2, {3, 65537}, 1, 16384, 15},
        {KERNEL_ROWS, true, 2, {3, 65537}, 1, 65537, 3},
        {KERNEL_ROWS, true, 1, {100000}, 1, 100000, 1},
        {KERNEL_ROWS, true, 3, {10, 10, 1024}, 16, 1024, 7},
        {KERNEL_COLUMNS, true, 2, {1000, 65}, 1000, 64, 2},
        {KERNEL_COLUMNS, true, 3, {10, 10, 64}, 100, 64, 1},
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        KInstr program[2] = {{.op = KOP_CONST, .arg = {-1, -1, -1, -1}, .operand = -1},
                             {.op = KOP_SUM, .arg = {0, -1, -1, -1}, .operand = -1}};
        Kernel k = {.kind = KERNEL_SCALAR,
                    .axis = c[i].axis,
                    .rank = c[i].rank,
                    .instr = program,
                    .instr_count = c[i].sums ? 2 : 1};
        memcpy(k.dim, c[i].dim, sizeof c[i].dim);
        int64_t rows, columns;
        kernel_tile_shape(&k, &rows, &columns);
        cr_assert_eq(rows, c[i].rows, "case %zu: %ld rows", i, (long)rows);
        cr_assert_eq(columns, c[i].columns, "case %zu", i);
        cr_assert_eq(kernel_tiles(&k), c[i].tiles, "case %zu: %ld", i, (long)kernel_tiles(&k));
    }
}

static const char product_text[] =
    "kernel k product {\n library own\n a f32 [0, 20, 5, 1]\n b bf16 [0, 15, 3, 1]\n"
    " c f32 update [0, 12, 3, 1]\n batch [1, 2]\n m 4\n n 3\n k 5\n tile [2, 2]\n workspace 0\n}\n";

Test(kernel, spans_and_costs) {
    Arena *a = arena_create();
    const Kernel *p = parse(a, product_text);
    cr_assert_eq(kernel_operand_count(p), 3);
    cr_assert_eq(kernel_span(p, 0), 20 + 3 * 5 + 5);
    cr_assert_eq(kernel_span(p, 1), 15 + 4 * 3 + 3);
    cr_assert_eq(kernel_span(p, 2), 24);
    cr_assert_eq(kernel_access(p, 2), ACCESS_UPDATE);
    cr_assert_eq(kernel_dtype(p, 1), DT_BF16);
    cr_assert_eq(kernel_flops(p), 2 * 2 * 4 * 3 * 5);
    cr_assert_eq(kernel_bytes(p), 40 * 4 + 30 * 2 + 24 * 4 * 2);
    cr_assert_eq(kernel_tiles(p), 2 * 2 * 2);

    const Kernel *g = parse(a, "kernel k rows [6, 8] {\n operand 0: f32 read [0, 1]\n"
                               " operand 1: i32 read [1, 0]\n operand 2: f32 write [8, 1]\n"
                               " operand 3: f32 read [8, 1]\n"
                               " %0 = load 1\n %1 = load_at 0 %0 limit 100 step 8\n store 2 %1\n}");
    cr_assert_eq(kernel_span(g, 0), 800);
    cr_assert_eq(kernel_span(g, 1), 6);
    cr_assert_eq(kernel_span(g, 2), 48);
    cr_assert_eq(kernel_span(g, 3), 0); // Never touched
    cr_assert_eq(kernel_bytes(g), 48 * 4 + 6 * 4 + 48 * 4);
    cr_assert_eq(kernel_flops(g), 0);

    // A row's mean: 8 x 6 additions and 6 divisions
    const Kernel *m = parse(a, "kernel k rows [6, 8] {\n operand 0: f32 read [8, 1]\n"
                               " operand 1: f32 write [1, 0]\n %0 = load 0\n %1 = sum %0\n"
                               " %2 = const 8\n %3 = div %1 %2\n store 1 %3\n}");
    cr_assert_eq(kernel_flops(m), 54);
    arena_release(a);
}

static AttentionKernel attention(int64_t queries, int64_t keys, bool causal, int64_t window) {
    AttentionKernel t = {.dtype = DT_F32,
                         .batch = 2,
                         .heads = 4,
                         .groups = 2,
                         .queries = queries,
                         .keys = keys,
                         .dim_qk = 3,
                         .dim_v = 5,
                         .causal = causal,
                         .window = window,
                         .scale = 0.5};
    // [batch, position, head, width]: heads side by side
    const int64_t h = t.heads, g = t.groups, e = t.dim_qk, f = t.dim_v;
    memcpy(t.q, DIMS(queries * h * e, e, h * e), sizeof t.q);
    memcpy(t.k, DIMS(keys * g * e, e, g * e), sizeof t.k);
    memcpy(t.v, DIMS(keys * g * f, f, g * f), sizeof t.v);
    memcpy(t.out, DIMS(queries * h * f, f, h * f), sizeof t.out);
    memcpy(t.dout, t.out, sizeof t.dout);
    memcpy(t.dq, t.q, sizeof t.dq);
    memcpy(t.dk, t.k, sizeof t.dk);
    memcpy(t.dv, t.v, sizeof t.dv);
    return t;
}

static bool sees(const AttentionKernel *t, int64_t i, int64_t j) {
    const int64_t beside = i + t->keys - t->queries;
    return !(t->causal && j > beside) && !(t->window > 0 && j <= beside - t->window);
}

Test(kernel, attention_flops_count_the_pairs_seen) {
    Arena *a = arena_create();
    for (int64_t queries = 1; queries <= 7; queries++)
        for (int64_t keys = queries; keys <= 9; keys++)
            for (int64_t window = 0; window <= 10; window++)
                for (int causal = 0; causal < 2; causal++) {
                    const AttentionKernel t = attention(queries, keys, causal, window);
                    int64_t pairs = 0;
                    for (int64_t i = 0; i < queries; i++)
                        for (int64_t j = 0; j < keys; j++)
                            pairs += sees(&t, i, j);
                    const Kernel *k = kernel_attention(a, KERNEL_ATTENTION, &t);
                    cr_assert_eq(kernel_flops(k), 2 * 4 * pairs * 2 * (3 + 5),
                                 "%ld queries, %ld keys, window %ld, causal %d", (long)queries,
                                 (long)keys, (long)window, causal);
                }
    arena_release(a);
}

Test(kernel, equality_is_of_the_work_not_the_name) {
    Arena *a = arena_create();
    Kernel *x = parse(a, product_text), *y = parse(a, product_text);
    y->name = "other";
    cr_assert(kernel_equal(x, y));
    cr_assert_eq(kernel_hash(x), kernel_hash(y));
    y->product.c_stride[3]++;
    cr_assert_not(kernel_equal(x, y));
    AttentionKernel t = attention(4, 4, true, 0);
    const Kernel *p = kernel_attention(a, KERNEL_ATTENTION, &t);
    t.dv[2]++; // Means nothing forward
    cr_assert(kernel_equal(p, kernel_attention(a, KERNEL_ATTENTION, &t)));
    const Kernel *g = kernel_attention(a, KERNEL_ATTENTION_GRAD, &t);
    t.dv[2]++;
    cr_assert_not(kernel_equal(g, kernel_attention(a, KERNEL_ATTENTION_GRAD, &t)));
    t.scale = 0.25;
    cr_assert_not(kernel_equal(p, kernel_attention(a, KERNEL_ATTENTION, &t)));
    arena_release(a);
}

Test(kernel, integers_wrap_saturate_and_never_trap) {
    Arena *a = arena_create();
    const Kernel *k = parse(
        a, "kernel k rows [4] {\n imms 1\n operand 0: i32 read [1]\n operand 1: i32 read [1]\n"
           " operand 2: i32 write [1]\n operand 3: i32 write [1]\n operand 4: i32 write [1]\n"
           " operand 5: f32 read [1]\n operand 6: i32 write [1]\n operand 7: i32 write [1]\n"
           " %0 = load 0\n %1 = load 1\n %2 = add %0 %1\n %3 = mul %0 %1\n %4 = div %0 %1\n"
           " %5 = load 5\n %6 = to_i32 %5\n %7 = imm 0\n"
           " store 2 %2\n store 3 %3\n store 4 %4\n store 6 %6\n store 7 %7\n}");
    int32_t x[4] = {INT32_MAX, INT32_MIN, -7, 7}, y[4] = {1, -1, 2, 0};
    float f[4] = {3e9f, -3e9f, -1.9f, NAN};
    int32_t sum[4], product[4], quotient[4], whole[4], imm[4];
    void *operand[] = {x, y, sum, product, quotient, f, whole, imm};
    kernel_interpret(k, operand, (const int64_t[]){0x1fffffffe});
    const int32_t want_sum[4] = {INT32_MIN, INT32_MAX, -5, 7};
    const int32_t want_product[4] = {INT32_MAX, INT32_MIN, -14, 0};
    const int32_t want_quotient[4] = {INT32_MAX, INT32_MIN, -3, 0};
    const int32_t want_whole[4] = {INT32_MAX, INT32_MIN, -1, 0};
    cr_assert_arr_eq(sum, want_sum, sizeof sum);
    cr_assert_arr_eq(product, want_product, sizeof product);
    cr_assert_arr_eq(quotient, want_quotient, sizeof quotient);
    cr_assert_arr_eq(whole, want_whole, sizeof whole);
    cr_assert_eq(imm[3], -2);
    arena_release(a);
}

Test(kernel, columns_add_rows_in_order_and_skip_negative_indices) {
    Arena *a = arena_create();
    enum { ROWS = 5, WIDE = 150 }; // More than two strips of columns
    const Kernel *k = parse(
        a,
        "kernel k columns [5, 150] {\n operand 0: f32 read [150, 1]\n operand 1: i32 read [1, 0]\n"
        " operand 2: f32 update [0, 1]\n operand 3: f32 write [0, 1]\n"
        " operand 4: f32 write [150, 1]\n operand 5: f32 write [0, 1]\n"
        " %0 = load 0\n %1 = load 1\n %2 = sum %0\n %3 = maximum %0\n %4 = neg %0\n"
        " %5 = const 2\n %6 = mul %2 %5\n"
        " add_at 2 %0 %1 limit 3 step 150\n store 3 %6\n store 4 %4\n store 5 %3\n}");
    float x[ROWS * WIDE], base[3 * WIDE], sum[WIDE], minus[ROWS * WIDE], most[WIDE];
    int32_t index[ROWS] = {2, -1, 0, 2, 9};
    for (int i = 0; i < ROWS * WIDE; i++)
        x[i] = (float)((i * 37) % 101) - 50;
    for (int i = 0; i < 3 * WIDE; i++)
        base[i] = 1000;
    void *operand[] = {x, index, base, sum, minus, most};
    kernel_interpret(k, operand, NULL);
    for (int c = 0; c < WIDE; c++) {
        float total = 0, high = x[c];
        for (int r = 0; r < ROWS; r++) {
            total += x[r * WIDE + c];
            high = x[r * WIDE + c] > high ? x[r * WIDE + c] : high;
            cr_assert_eq(minus[r * WIDE + c], -x[r * WIDE + c]);
        }
        cr_assert_eq(sum[c], 2 * total);
        cr_assert_eq(most[c], high);
        cr_assert_eq(base[c], 1000 + x[2 * WIDE + c]);
        cr_assert_eq(base[WIDE + c], 1000);
        cr_assert_eq(base[2 * WIDE + c], 1000 + x[c] + x[3 * WIDE + c] + x[4 * WIDE + c]);
    }
    arena_release(a);
}

Test(kernel, product_and_bf16) {
    Arena *a = arena_create();
    const Kernel *k = parse(a, product_text);
    float x[40], c[24];
    uint16_t y[30];
    for (int i = 0; i < 40; i++)
        x[i] = (float)(i % 7) - 3;
    for (int i = 0; i < 30; i++) { // Small whole numbers are exact in bf16
        const float f = (float)(i % 5) - 2;
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        y[i] = (uint16_t)(bits >> 16);
    }
    for (int i = 0; i < 24; i++)
        c[i] = 100;
    void *operand[] = {x, y, c};
    kernel_interpret(k, operand, NULL);
    for (int b = 0; b < 2; b++)
        for (int m = 0; m < 4; m++)
            for (int n = 0; n < 3; n++) {
                float want = 100;
                for (int i = 0; i < 5; i++)
                    want += x[b * 20 + m * 5 + i] * (float)((b * 15 + i * 3 + n) % 5 - 2);
                cr_assert_eq(c[b * 12 + m * 3 + n], want);
            }
    arena_release(a);
}

// The bias is added to every row; what lies between rows stays.
Test(kernel, product_with_bias) {
    Arena *a = arena_create();
    const Kernel *k =
        parse(a, "kernel k product {\n library cublaslt\n a f32 [0, 0, 2, 1]\n b f32 [0, 0, 3, 1]\n"
                 " c f32 write [0, 0, 4, 1] bias\n batch [1, 1]\n m 2\n n 3\n k 2\n tile [2, 3]\n"
                 " workspace 0\n}\n");
    cr_assert_eq(kernel_operand_count(k), 4);
    cr_assert_eq(kernel_span(k, 3), 3);
    cr_assert_eq(kernel_access(k, 3), ACCESS_READ);
    cr_assert_eq(kernel_dtype(k, 3), DT_F32);
    cr_assert_eq(kernel_bytes(k), 4 * (4 + 6 + 6 + 3));
    float x[] = {1, 2, 3, 4}, y[] = {1, 0, -1, 0, 1, 1}, c[] = {9, 9, 9, 9, 9, 9, 9};
    float bias[] = {10, 20, 30};
    void *operand[] = {x, y, c, bias};
    kernel_interpret(k, operand, NULL);
    const float want[] = {11, 22, 31, 9, 13, 24, 31};
    cr_assert_arr_eq(c, want, sizeof want);
    const Kernel *plain =
        parse(a, "kernel k product {\n library cublaslt\n a f32 [0, 0, 2, 1]\n b f32 [0, 0, 3, 1]\n"
                 " c f32 write [0, 0, 4, 1]\n batch [1, 1]\n m 2\n n 3\n k 2\n tile [2, 3]\n"
                 " workspace 0\n}\n");
    cr_assert_not(kernel_equal(k, plain));
    arena_release(a);
}

// Stores round to nearest, ties to even.
Test(kernel, stores_round_to_bf16) {
    Arena *a = arena_create();
    const Kernel *k = parse(a, "kernel k rows [4] {\n operand 0: f32 read [1]\n"
                               " operand 1: bf16 write [1]\n %0 = load 0\n store 1 %0\n}");
    float x[4] = {1.00390625f, 1.01171875f, 1.005f, -2.5f};
    uint16_t y[4];
    void *operand[] = {x, y};
    kernel_interpret(k, operand, NULL);
    const uint16_t want[4] = {0x3f80, 0x3f82, 0x3f81, 0xc020};
    cr_assert_arr_eq(y, want, sizeof y);
    arena_release(a);
}

enum { NUMBERS = 512 };
typedef struct {
    float at[9][NUMBERS]; // by operand of ATTENTION_GRAD
    float slopes[4], bias[NUMBERS], dbias[NUMBERS];
    uint8_t mask[NUMBERS];
} AttentionData;

static void fill(AttentionData *data) {
    uint32_t random = 3;
    for (int o = 0; o < 9; o++)
        for (int i = 0; i < NUMBERS; i++) {
            random = random * 1664525u + 1013904223u;
            data->at[o][i] = (float)(random >> 8) / 8388608.0f - 1;
        }
    for (int h = 0; h < 4; h++)
        data->slopes[h] = data->at[0][h];
    for (int i = 0; i < NUMBERS; i++) {
        data->bias[i] = data->at[1][NUMBERS - 1 - i];
        data->mask[i] = i % 3 != 1;
    }
}

static void run(const AttentionKernel *t, KernelKind kind, AttentionData *data) {
    Arena *a = arena_create();
    void *operand[13];
    for (int o = 0; o < 9; o++)
        operand[o] = data->at[o];
    const Kernel *k = kernel_attention(a, kind, t);
    if (kind == KERNEL_ATTENTION_GRAD_BIAS)
        operand[6] = data->dbias;
    if (t->bias)
        operand[kernel_attention_bias(k)] = data->bias;
    if (t->mask)
        operand[kernel_attention_mask(k)] = data->mask;
    if (t->slopes)
        operand[kernel_attention_slopes(k)] = data->slopes;
    Diag *d = diag_create(a);
    cr_assert(kernel_verify(k, d, (Loc){0}));
    kernel_interpret(k, operand, NULL);
    arena_release(a);
}

// sum of out dout: what the gradients are gradients of.
static double loss(const AttentionKernel *t, AttentionData *data) {
    run(t, KERNEL_ATTENTION, data);
    double sum = 0;
    for (int64_t i = 0; i < t->batch * t->queries * t->heads * t->dim_v; i++)
        sum += (double)data->at[3][i] * (double)data->at[5][i];
    return sum;
}

Test(kernel, attention_is_softmax_over_the_keys_seen) {
    const AttentionKernel t = attention(4, 6, true, 3);
    AttentionData data;
    fill(&data);
    run(&t, KERNEL_ATTENTION, &data);
    for (int64_t b = 0; b < t.batch; b++)
        for (int64_t h = 0; h < t.heads; h++)
            for (int64_t i = 0; i < t.queries; i++) {
                double total = 0, weighted = 0;
                for (int64_t j = 0; j < t.keys; j++) {
                    double dot = 0;
                    for (int64_t e = 0; e < t.dim_qk; e++)
                        dot += (double)data.at[0][b * t.q[0] + h * t.q[1] + i * t.q[2] + e] *
                               (double)data.at[1][b * t.k[0] + h / 2 * t.k[1] + j * t.k[2] + e];
                    const double w = sees(&t, i, j) ? exp(dot * t.scale) : 0;
                    total += w;
                    weighted +=
                        w * (double)data.at[2][b * t.v[0] + h / 2 * t.v[1] + j * t.v[2] + 1];
                }
                const float out = data.at[3][b * t.out[0] + h * t.out[1] + i * t.out[2] + 1];
                const float lse = data.at[4][(b * t.heads + h) * t.queries + i];
                cr_assert_float_eq((double)out, weighted / total, 1e-6);
                cr_assert_float_eq((double)lse, log(total), 1e-6);
            }
}

// Central differences of the loss; outputs are f32, so a step of 1/64 leaves errors near 1e-4.
static void check_slopes(AttentionKernel t, double cap) {
    t.cap = cap;
    AttentionData data, grad;
    fill(&data);
    run(&t, KERNEL_ATTENTION, &data);
    grad = data;
    run(&t, KERNEL_ATTENTION_GRAD, &grad);
    const int64_t count[3] = {2 * 4 * 4 * 3, 2 * 6 * 2 * 3, 2 * 6 * 2 * 5};
    for (int o = 0; o < 3; o++)
        for (int64_t i = 0; i < count[o]; i += 5) {
            const float keep = data.at[o][i];
            data.at[o][i] = keep + 1.0f / 64;
            const double up = loss(&t, &data);
            data.at[o][i] = keep - 1.0f / 64;
            const double down = loss(&t, &data);
            data.at[o][i] = keep;
            cr_assert_float_eq((double)grad.at[6 + o][i], (up - down) * 32, 1e-3,
                               "operand %d, element %ld", o, (long)i);
        }
}

Test(kernel, attention_gradients_are_slopes) {
    check_slopes(attention(4, 6, true, 3), 0);
    check_slopes(attention(4, 6, true, 3), 0.2);
    AttentionKernel t = attention(4, 6, false, 0);
    t.slopes = true;
    check_slopes(t, 0);
    check_slopes(t, 0.7);
    t.bias = t.mask = true;
    memcpy(t.bias_at, (int64_t[4]){0, 24, 6, 1}, sizeof t.bias_at);
    memcpy(t.mask_at, (int64_t[4]){24, 0, 6, 1}, sizeof t.mask_at);
    check_slopes(t, 0.7);
}

// The same of a bias, along different axes of its own.
Test(kernel, attention_bias_gradients_are_slopes) {
    static const int64_t own[][4] = {{96, 24, 6, 1}, {0, 24, 6, 1}, {6, 0, 0, 1}, {0, 4, 1, 0}};
    for (size_t round = 0; round < sizeof own / sizeof *own; round++) {
        AttentionKernel t = attention(4, 6, round % 2, round % 2 ? 3 : 0);
        t.bias = t.mask = true;
        t.cap = round > 0 ? 0.3 : 0;
        memcpy(t.bias_at, own[round], sizeof t.bias_at);
        memcpy(t.dbias_at, own[round], sizeof t.dbias_at);
        memcpy(t.mask_at, (int64_t[4]){24, 0, 6, 1}, sizeof t.mask_at);
        AttentionData data, grad;
        fill(&data);
        run(&t, KERNEL_ATTENTION, &data);
        grad = data;
        run(&t, KERNEL_ATTENTION_GRAD_BIAS, &grad);
        for (int64_t i = 0;
             i <= own[round][0] + 3 * own[round][1] + 3 * own[round][2] + 5 * own[round][3];
             i += 3) {
            const float keep = data.bias[i];
            data.bias[i] = keep + 1.0f / 64;
            const double up = loss(&t, &data);
            data.bias[i] = keep - 1.0f / 64;
            const double down = loss(&t, &data);
            data.bias[i] = keep;
            cr_assert_float_eq((double)grad.dbias[i], (up - down) * 32, 1e-3,
                               "round %zu, element %ld", round, (long)i);
        }
    }
}
