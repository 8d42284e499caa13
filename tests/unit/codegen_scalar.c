// Scalar kernels compiled in this process against the interpreter: every operation, access and
// reduction over shapes with and without tails. Each kernel is compiled for x86-64-v3 and for this
// machine: both must give the same bits, tile by tile in any order, and nothing outside the
// operands' spans may change.
//
// Tolerance against the interpreter (double inside): 2e-6 of the value plus 2e-6 of the operands'
// scale (about 1) for elementary functions and rounding of intermediate values; sums over n terms
// add n / 16 roundings; bf16 results half a unit of 2^-8.
#include "codegen/codegen.h"
#include "ir/kernel.h"
#include "scalar_samples.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 64, OPERANDS = 8 };

static const int64_t column_counts[] = {1, 3, 15, 16, 17, 64, 100, 1000};
enum { COLUMN_COUNTS = sizeof column_counts / sizeof column_counts[0] };

// One copy of all operands, with guards behind them.
typedef struct {
    void *at[KERNEL_OPERANDS_MAX];
    size_t bytes[KERNEL_OPERANDS_MAX];
} Copy;

// Each begins `shift` bytes past a multiple of 64.
static Copy make_copy(Arena *a, const Kernel *k, size_t shift) {
    Copy c = {0};
    uint64_t state = 88172645463325252u;
    for (int o = 0; o < k->operand_count; o++) {
        const int64_t span = kernel_span(k, o);
        c.bytes[o] = (size_t)span * dtype_bytes(k->operand[o].dtype);
        char *memory = arena_alloc(a, 1, c.bytes[o] + GUARD + 64 + shift);
        c.at[o] = memory + (64 - (uintptr_t)memory % 64) + shift;
        memset((char *)c.at[o] + c.bytes[o], 0x5a, GUARD);
        sample_fill(k->operand[o].dtype, c.at[o], span, &state);
    }
    return c;
}

static const int64_t imm[] = {7, -3};

static Jit *compiled(Arena *a, const Kernel *k, const char *target) {
    Diag *d = diag_create(a);
    CpuTarget cpu;
    cr_assert(cpu_target(a, d, target, &cpu));
    const char *text = kernel_text(k, a);
    Jit *jit = jit_create(d, &cpu, &text, 1);
    if (!jit)
        diag_print(d, stderr, false);
    cr_assert_not_null(jit, "%s", text);
    return jit;
}

// Compiles for the target and runs the tiles one by one, the last first where backwards.
static Copy run_compiled(Arena *a, const Kernel *k, const char *target, bool backwards) {
    Copy c = make_copy(a, k, backwards ? 4 : 0);
    Jit *jit = compiled(a, k, target);
    const int64_t tiles = kernel_tiles(k);
    for (int64_t t = 0; t < tiles && backwards; t++)
        jit_function(jit, 0)(c.at, imm, tiles - 1 - t, tiles - t, NULL);
    if (!backwards)
        jit_function(jit, 0)(c.at, imm, 0, tiles, NULL);
    jit_release(jit);
    return c;
}

static void compare(Arena *a, const Kernel *k, const Copy *got, const Copy *want,
                    double tolerance) {
    for (int o = 0; o < k->operand_count; o++) {
        const DType t = k->operand[o].dtype;
        const double relative = t == DT_BF16 ? 1.0 / 256 : t == DT_F32 ? tolerance : 0;
        for (int64_t i = 0; i < kernel_span(k, o); i++) {
            const double x = sample_element(t, got->at[o], i),
                         y = sample_element(t, want->at[o], i);
            if (isnan(x) && isnan(y))
                continue;
            cr_assert(x == y || fabs(x - y) <= relative * (fabs(y) + (t == DT_BF16 ? 0.01 : 1)),
                      "operand %d element %lld is %.9g, not %.9g, in\n%s", o, (long long)i, x, y,
                      kernel_text(k, a));
        }
    }
}

static void check_guards(Arena *a, const Kernel *k, const Copy *c) {
    for (int o = 0; o < k->operand_count; o++)
        for (int g = 0; g < GUARD; g++)
            cr_assert(((unsigned char *)c->at[o])[c->bytes[o] + (size_t)g] == 0x5a,
                      "operand %d is written past its end in\n%s", o, kernel_text(k, a));
}

// The kernel with what it writes stored past the caches, as far as its strides allow, or NULL.
static Kernel *streamed(Arena *a, const Kernel *k) {
    Kernel *out = arena_new(a, Kernel);
    *out = *k;
    bool any = false;
    for (int o = 0; o < k->operand_count; o++) {
        out->operand[o].stream = kernel_may_stream(k, o);
        any = any || out->operand[o].stream;
    }
    return any ? out : NULL;
}

// The same bits, whether operands begin at whole lines (and are streamed) or not.
static void check_streamed(Arena *a, const Kernel *k) {
    const Kernel *past = streamed(a, k);
    cr_assert_not_null(past);
    const Copy want = run_compiled(a, k, "cpu:native", false);
    Jit *jit = compiled(a, past, "cpu:native");
    for (size_t shift = 0; shift <= 64; shift += shift ? 28 : 4) {
        const Copy c = make_copy(a, past, shift);
        jit_function(jit, 0)(c.at, imm, 0, kernel_tiles(past), NULL);
        check_guards(a, past, &c);
        for (int o = 0; o < k->operand_count; o++)
            cr_assert(memcmp(c.at[o], want.at[o], want.bytes[o]) == 0,
                      "operand %d differs where it is streamed, %zu bytes past a line, in\n%s", o,
                      shift, kernel_text(past, a));
    }
    jit_release(jit);
}

static void check_kernel(Arena *a, const Kernel *k, double tolerance) {
    const Copy base = run_compiled(a, k, "cpu", false);
    const Copy native = run_compiled(a, k, "cpu:native", true);
    Copy want = make_copy(a, k, 0);
    kernel_interpret(k, want.at, imm);
    check_guards(a, k, &base);
    check_guards(a, k, &native);
    compare(a, k, &base, &want, tolerance);
    for (int o = 0; o < k->operand_count; o++)
        cr_assert(memcmp(base.at[o], native.at[o], base.bytes[o]) == 0,
                  "operand %d differs in its bits between targets in\n%s", o, kernel_text(k, a));
}

static double tolerance_for(int64_t terms) {
    return 2e-6 * (1 + (double)terms / 16);
}

Test(codegen_scalar, every_operation) {
    static const DType types[] = {DT_F32, DT_I32, DT_BOOL};
    for (int op = 0; op < KOP_COUNT; op++) {
        for (int t = 0; t < 3; t++) {
            Arena *a = arena_create();
            const int64_t dim[] = {3, column_counts[(op + t) % COLUMN_COUNTS]};
            Kernel *k = sample_operation(a, (KOp)op, types[t], dim);
            if (k)
                check_kernel(a, k, 2e-6);
            arena_release(a);
        }
    }
}

// The sum of a row has the shape docs/architecture.md gives it, to the bit; so has the sum of a
// column.
static float row_sum(const float *x, int64_t count) {
    float a[4][16] = {{0}}, all[16];
    for (int64_t j = 0; j < count; j++)
        a[j / 16 % 4][j % 16] += x[j];
    for (int lane = 0; lane < 16; lane++)
        all[lane] = (a[0][lane] + a[1][lane]) + (a[2][lane] + a[3][lane]);
    for (int half = 8; half >= 1; half /= 2)
        for (int lane = 0; lane < half; lane++)
            all[lane] += all[lane + half];
    return all[0];
}

static float column_sum(const float *x, int64_t rows, int64_t stride) {
    float total = 0;
    for (int64_t first = 0; first < rows; first += 128) {
        float sum = 0;
        for (int64_t r = first; r < rows && r < first + 128; r++)
            sum += x[r * stride];
        total += sum;
    }
    return total;
}

Test(codegen_scalar, sums_have_their_shape) {
    const int64_t dim[] = {300, 1000}, by_row[] = {1, 0}, by_column[] = {0, 1};
    Arena *a = arena_create();
    for (int axis = 0; axis < 2; axis++) {
        KernelBuilder *kb = kernel_builder(a, axis ? KERNEL_COLUMNS : KERNEL_ROWS, 2, dim);
        KRef sum = kb_op1(kb, KOP_SUM, load_dense(kb, DT_F32));
        const int64_t *stride = axis ? by_column : by_row;
        kb_store(kb, kernel_add_operand(kb, DT_F32, ACCESS_WRITE, stride), sum);
        const Copy c = run_compiled(a, kernel_finish(kb), "cpu", false);
        const float *x = c.at[0], *y = c.at[1];
        for (int64_t i = 0; i < dim[axis]; i++)
            cr_assert(y[i] ==
                      (axis ? column_sum(x + i, dim[0], dim[1]) : row_sum(x + i * dim[1], dim[1])));
    }
    arena_release(a);
}

// Values near a rounding step, NaN, infinities and subnormal numbers become the same bf16 on every
// target.
Test(codegen_scalar, bf16_narrowing_is_the_same_everywhere) {
    Arena *a = arena_create();
    enum { COUNT = 4096 };
    const int64_t count = COUNT;
    KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, 1, &count);
    KRef x = load_dense(kb, DT_F32);
    store_dense(kb, DT_BF16, x);
    store_dense(kb, DT_F32, kb_op1(kb, KOP_ROUND_BF16, x));
    Kernel *k = kernel_finish(kb);
    const char *text = kernel_text(k, a);
    uint16_t narrow[2][COUNT];
    float value[2][COUNT], in[COUNT];
    uint64_t state = 42;
    for (int i = 0; i < COUNT; i++) {
        uint32_t bits = (uint32_t)sample_next(&state);
        bits = i % 4 == 0 ? bits & 0x807fffffu : i % 4 == 1 ? bits | 0x7f800000u : bits;
        bits = i % 8 == 2 ? (bits & 0xffff0000u) | 0x8000u : bits; // Halfway
        memcpy(&in[i], &bits, sizeof bits);
    }
    static const char *const target[] = {"cpu", "cpu:native"};
    for (int t = 0; t < 2; t++) {
        CpuTarget cpu;
        Diag *d = diag_create(a);
        cr_assert(cpu_target(a, d, target[t], &cpu));
        Jit *jit = jit_create(d, &cpu, &text, 1);
        cr_assert_not_null(jit);
        void *const operand[] = {in, narrow[t], value[t]};
        jit_function(jit, 0)(operand, NULL, 0, 1, NULL);
        jit_release(jit);
    }
    cr_assert(memcmp(narrow[0], narrow[1], sizeof narrow[0]) == 0);
    cr_assert(memcmp(value[0], value[1], sizeof value[0]) == 0);
    for (int i = 0; i < COUNT; i++) {
        cr_assert(isnan(in[i]) == isnan(value[0][i]));
        if (isnormal(in[i]) && fabsf(in[i]) < 1e38f)
            cr_assert(fabsf(value[0][i] - in[i]) <= fabsf(in[i]) / 256);
    }
    arena_release(a);
}

// Operands that are transposed, broadcast along either dim, and narrower than f32.
Test(codegen_scalar, strides_and_types) {
    for (int c = 0; c < COLUMN_COUNTS; c++) {
        Arena *a = arena_create();
        const int64_t dim[] = {2, 5, column_counts[c]};
        KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, 3, dim);
        const int64_t turned[] = {5 * dim[2], 1, 5}, row[] = {0, 0, 1}, column[] = {5, 1, 0};
        KRef sum = kb_load(kb, kernel_add_operand(kb, DT_F32, ACCESS_READ, turned));
        sum = kb_op2(kb, KOP_ADD, sum,
                     kb_load(kb, kernel_add_operand(kb, DT_BF16, ACCESS_READ, row)));
        sum = kb_op2(kb, KOP_ADD, sum,
                     kb_load(kb, kernel_add_operand(kb, DT_F32, ACCESS_READ, column)));
        sum = kb_op2(kb, KOP_ADD, sum,
                     kb_load(kb, kernel_add_operand(kb, DT_BF16, ACCESS_READ, turned)));
        KRef flag = kb_load(kb, kernel_add_operand(kb, DT_BOOL, ACCESS_READ, turned));
        sum = kb_op3(kb, KOP_SELECT, flag, sum, kb_op1(kb, KOP_TO_F32, kb_index(kb, 2)));
        sum = kb_op2(kb, KOP_ADD, sum, kb_op1(kb, KOP_TO_F32, kb_index(kb, 1)));
        sum = kb_op2(kb, KOP_ADD, sum, kb_op1(kb, KOP_TO_F32, kb_imm(kb, kernel_add_imm(kb))));
        store_dense(kb, DT_F32, sum);
        store_dense(kb, DT_BF16, sum);
        kb_store(kb, kernel_add_operand(kb, DT_F32, ACCESS_WRITE, turned), sum);
        store_dense(kb, DT_BOOL, kb_op2(kb, KOP_LT, kb_float(kb, 0.25), sum));
        check_kernel(a, kernel_finish(kb), 2e-6);
        arena_release(a);
    }
}

// The sum of one column's value and zeros, with numbers of columns inside the row and outside.
Test(codegen_scalar, one_column_of_a_row) {
    for (int c = 0; c < COLUMN_COUNTS; c++) {
        Arena *a = arena_create();
        const int64_t dim[] = {60, column_counts[c]}, once[] = {1, 0};
        KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, 2, dim);
        KRef x = load_dense(kb, c % 2 ? DT_BF16 : DT_F32);
        KRef at = kb_load(kb, kernel_add_operand(kb, DT_I32, ACCESS_READ, once));
        KRef e = kb_op1(kb, KOP_EXP, kb_op2(kb, KOP_SUB, x, kb_op1(kb, KOP_MAXIMUM, x)));
        KRef here = kb_op2(kb, KOP_EQ, kb_index(kb, 1), at), zero = kb_float(kb, 0);
        KRef one = kb_op1(kb, KOP_SUM, kb_op3(kb, KOP_SELECT, here, e, zero));
        KRef other = kb_op1(kb, KOP_SUM, kb_op3(kb, KOP_SELECT, here, x, zero));
        kb_store(kb, kernel_add_operand(kb, DT_F32, ACCESS_WRITE, once), other);
        kb_store(kb, kernel_add_operand(kb, DT_F32, ACCESS_WRITE, once),
                 kb_op2(kb, KOP_DIV, one, kb_op1(kb, KOP_SUM, e)));
        check_kernel(a, kernel_finish(kb), tolerance_for(dim[1]));
        arena_release(a);
    }
}

// exp(x - m), m the row's maximum as the kernel finds it or as an operand says it.
static Kernel *falling(Arena *a, const int64_t *dim, bool found) {
    const int64_t once[] = {1, 0};
    KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, 2, dim);
    KRef x = load_dense(kb, DT_F32);
    KRef said = kb_load(kb, kernel_add_operand(kb, DT_F32, ACCESS_READ, once));
    KRef most = found ? kb_op1(kb, KOP_MAXIMUM, x) : said;
    store_dense(kb, DT_F32, kb_op1(kb, KOP_EXP, kb_op2(kb, KOP_SUB, x, most)));
    return kernel_finish(kb);
}

// Less is computed where the argument is known not to be above 0: the bits are those of any exp.
Test(codegen_scalar, exponentials_below_a_maximum) {
    static const float special[] = {-HUGE_VALF, -87.5F, -86.98F, -200, -0.0F, 0, NAN, -1e-30F};
    enum { COLUMNS = 100, ROWS = 40 };
    Arena *a = arena_create();
    const int64_t dim[] = {ROWS, COLUMNS};
    float x[ROWS * COLUMNS], most[ROWS], y[2][ROWS * COLUMNS];
    for (int i = 0; i < ROWS; i++) {
        most[i] = i % 4 ? (float)i : 0;
        for (int j = 0; j < COLUMNS; j++)
            x[i * COLUMNS + j] =
                most[i] + (j < 8 ? special[j] : -0.013F * (float)((i * 997 + j * 71) % 7000));
    }
    for (int found = 0; found < 2; found++) {
        Jit *jit = compiled(a, falling(a, dim, found), "cpu:native");
        jit_function(jit, 0)((void *[]){x, most, y[found]}, NULL, 0, 1, NULL);
        jit_release(jit);
    }
    cr_assert(memcmp(y[0], y[1], sizeof y[0]) == 0);
    arena_release(a);
}

// More columns than a tile has.
Test(codegen_scalar, wide_rows_are_tiled) {
    static const int64_t width[] = {16384, 16385, 40000, 70017};
    for (int c = 0; c < 4; c++) {
        Arena *a = arena_create();
        const int64_t dim[] = {2, width[c]};
        KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, c == 3 ? 2 : 1, c == 3 ? dim : dim + 1);
        KRef x = load_dense(kb, c % 2 ? DT_BF16 : DT_F32);
        store_dense(kb, c % 2 ? DT_F32 : DT_BF16, kb_op1(kb, KOP_TANH, x));
        store_dense(kb, DT_F32, kb_op2(kb, KOP_MUL, x, x));
        const Kernel *k = kernel_finish(kb);
        check_kernel(a, k, 2e-6);
        check_streamed(a, k);
        arena_release(a);
    }
}

Test(codegen_scalar, row_reductions) {
    for (int c = 0; c < COLUMN_COUNTS; c++) {
        Arena *a = arena_create();
        const int64_t dim[] = {21, column_counts[c]};
        const DType t = c % 3 == 2 ? DT_BF16 : DT_F32;
        check_kernel(a, sample_layer_norm(a, dim, t), tolerance_for(dim[1]));
        check_kernel(a, sample_softmax(a, dim, t), tolerance_for(dim[1]));
        arena_release(a);
    }
}

Test(codegen_scalar, column_reductions) {
    static const int64_t rows[] = {1, 5, 127, 128, 129, 300};
    for (int c = 0; c < COLUMN_COUNTS; c++) {
        Arena *a = arena_create();
        const int64_t dim[] = {rows[c % 6], 2, column_counts[c]}, once[] = {0, 0, 1};
        KernelBuilder *kb = kernel_builder(a, KERNEL_COLUMNS, 3, dim);
        KRef x = load_dense(kb, c % 2 ? DT_BF16 : DT_F32);
        KRef sum = kb_op1(kb, KOP_SUM, kb_op2(kb, KOP_MUL, x, x));
        KRef most = kb_op1(kb, KOP_MAXIMUM, kb_op1(kb, KOP_SIN, x));
        kb_store(kb, kernel_add_operand(kb, DT_F32, ACCESS_WRITE, once), sum);
        kb_store(kb, kernel_add_operand(kb, DT_F32, ACCESS_WRITE, once),
                 kb_op2(kb, KOP_ADD, most, sum));
        check_kernel(a, kernel_finish(kb), tolerance_for(2 * dim[0]));
        arena_release(a);
    }
}

// Rows of a table chosen by an index a row (embedding), and elements chosen by an index a point.
Test(codegen_scalar, gathers) {
    for (int c = 0; c < COLUMN_COUNTS; c++) {
        Arena *a = arena_create();
        const int64_t dim[] = {9, column_counts[c]};
        KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, 2, dim);
        const int64_t by_row[] = {1, 0}, table[] = {0, 1}, none[] = {0, 0};
        KRef row = kb_load(kb, kernel_add_operand(kb, DT_I32, ACCESS_READ, by_row));
        KRef point = load_dense(kb, DT_I32);
        const DType t = c % 2 ? DT_BF16 : DT_F32;
        KRef x = kb_load_at(kb, kernel_add_operand(kb, t, ACCESS_READ, table), row, 37, dim[1]);
        KRef y = kb_load_at(kb, kernel_add_operand(kb, t, ACCESS_READ, none), point, 37, 3);
        KRef z = kb_load_at(kb, kernel_add_operand(kb, t, ACCESS_READ, table), point, 37, dim[1]);
        KRef sum = kb_op2(kb, KOP_ADD, kb_op2(kb, KOP_ADD, x, y), z);
        store_dense(kb, DT_F32, sum);
        check_kernel(a, kernel_finish(kb), 2e-6);
        arena_release(a);
    }
}

// A value put where an index points within its row: a one-hot.
Test(codegen_scalar, store_at) {
    Arena *a = arena_create();
    const int64_t dim[] = {7, 40}, at_row[] = {37, 0}, by_row[] = {1, 0};
    KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, 2, dim);
    KRef index = kb_load(kb, kernel_add_operand(kb, DT_I32, ACCESS_READ, by_row));
    KRef sum = kb_op1(kb, KOP_SUM, load_dense(kb, DT_F32));
    kb_store_at(kb, kernel_add_operand(kb, DT_F32, ACCESS_WRITE, at_row), sum, index, 37, 1);
    check_kernel(a, kernel_finish(kb), tolerance_for(40));
    arena_release(a);
}

// The gradient of an embedding: rows are added where their index points, in order; below 0 is
// skipped.
Test(codegen_scalar, add_at) {
    for (int c = 0; c < COLUMN_COUNTS; c++) {
        Arena *a = arena_create();
        const int64_t dim[] = {50, column_counts[c]}, by_row[] = {1, 0}, table[] = {0, 1};
        KernelBuilder *kb = kernel_builder(a, KERNEL_COLUMNS, 2, dim);
        KRef index = kb_load(kb, kernel_add_operand(kb, DT_I32, ACCESS_READ, by_row));
        KRef x = load_dense(kb, c % 2 ? DT_BF16 : DT_F32);
        kb_add_at(kb, kernel_add_operand(kb, DT_F32, ACCESS_UPDATE, table), x, index, 37, dim[1]);
        check_kernel(a, kernel_finish(kb), tolerance_for(dim[0]));
        arena_release(a);
    }
}

// Rows that begin at whole lines, of widths with and without a tail; parts of wider rows; rows that
// don't begin so can't be streamed.
Test(codegen_scalar, streams) {
    static const DType types[] = {DT_F32, DT_BF16, DT_I32, DT_BOOL};
    for (int c = 1; c < COLUMN_COUNTS; c++) { // A single column is no row
        Arena *a = arena_create();
        const int64_t columns = column_counts[c], dim[] = {5, columns};
        const int64_t row = (columns + 127) / 64 * 64, out[] = {row, 1};
        for (int t = 0; t < 4; t++) {
            KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, 2, dim);
            KRef x = load_dense(kb, types[t]);
            const int wide = kernel_add_operand(kb, types[t], ACCESS_WRITE, out);
            kb_store(kb, wide, x);
            if (t < 2)
                kb_store(kb, kernel_add_operand(kb, DT_F32, ACCESS_WRITE, out),
                         kb_op2(kb, KOP_SUB, x, kb_op1(kb, KOP_SUM, x)));
            Kernel *k = kernel_finish(kb);
            cr_assert(kernel_may_stream(k, wide));
            check_streamed(a, k);
            k->operand[wide].stride[0]++;
            cr_assert(!kernel_may_stream(k, wide));
        }
        arena_release(a);
    }
}

// The result may lie where the operand lies.
Test(codegen_scalar, in_place) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    CpuTarget cpu;
    const int64_t dim[] = {4, 1000};
    const Kernel *k = sample_softmax(a, dim, DT_F32);
    const char *text = kernel_text(k, a);
    cr_assert(cpu_target(a, d, "cpu", &cpu));
    Jit *jit = jit_create(d, &cpu, &text, 1);
    cr_assert_not_null(jit);
    Copy apart = make_copy(a, k, 0), same = make_copy(a, k, 0);
    jit_function(jit, 0)(apart.at, NULL, 0, kernel_tiles(k), NULL);
    same.at[1] = same.at[0];
    jit_function(jit, 0)(same.at, NULL, 0, kernel_tiles(k), NULL);
    cr_assert(memcmp(apart.at[1], same.at[1], apart.bytes[1]) == 0);
    jit_release(jit);
    arena_release(a);
}

Test(codegen_scalar, random_programs) {
    uint64_t state = 20240229;
    for (int i = 0; i < 60; i++) {
        Arena *a = arena_create();
        check_kernel(a, sample_random(a, column_counts, COLUMN_COUNTS, &state), 2e-4);
        arena_release(a);
    }
}
