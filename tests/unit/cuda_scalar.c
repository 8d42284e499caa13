// Kernels printed as CUDA C and run through the shim, against the interpreter, the CPU's code and
// themselves: pointwise results are the CPU's bits, sums are within a bound of the interpreter's,
// and warps that run in the opposite order give the same bits.
//
// Tolerance against the interpreter (double inside): as in codegen_scalar.c.
#include "codegen/codegen.h"
#include "cuda_run.h"
#include "ir/convolution.h"
#include "ir/launch.h"
#include "ir/launch_scalar.h"
#include "random_draw.h"
#include "scalar_samples.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum {
    GUARD = 64,
    SAMPLES_MAX = 512,
    RANDOM_PROGRAMS = ONCE ? 24 : 6,
    CONVOLUTIONS = ONCE ? 24 : 6
};

static const int64_t imm[] = {7, -3};

typedef struct {
    Arena *a;
    int count;
    Kernel *kernel[SAMPLES_MAX];
    double tolerance[SAMPLES_MAX];
} Samples;

static void add(Samples *s, Kernel *k, double tolerance) {
    if (!k)
        return;
    cr_assert_lt(s->count, SAMPLES_MAX);
    k->name = arena_format(s->a, "k%d", s->count);
    s->kernel[s->count] = k;
    s->tolerance[s->count++] = tolerance;
}

static double tolerance_for(int64_t terms) {
    return 2e-6 * (1 + (double)terms / 16);
}

typedef struct {
    void *at[KERNEL_OPERANDS_MAX];
    size_t bytes[KERNEL_OPERANDS_MAX];
} Copy;

static Copy make_copy(Arena *a, const Kernel *k) {
    Copy c = {0};
    uint64_t state = 88172645463325252u;
    for (int o = 0; o < kernel_operand_count(k); o++) {
        const int64_t span = kernel_span(k, o);
        c.bytes[o] = (size_t)span * dtype_bytes(kernel_dtype(k, o));
        // No more aligned than the kernel is told.
        const int align = k->kind == KERNEL_SCALAR ? k->operand[o].align : 0;
        c.at[o] = (char *)arena_alloc(a, 1, c.bytes[o] + GUARD + 16) + align;
        memset((char *)c.at[o] + c.bytes[o], 0x5a, GUARD);
        sample_fill(kernel_dtype(k, o), c.at[o], span, &state);
    }
    return c;
}

static void compare(Arena *a, const Kernel *k, const Copy *got, const Copy *want,
                    double tolerance) {
    for (int o = 0; o < kernel_operand_count(k); o++) {
        const DType t = kernel_dtype(k, o);
        // A sum that lies between two bf16 may become either.
        const double narrow = tolerance > 2e-6 ? 1.0 / 128 : 1.0 / 256;
        const double relative = t == DT_BF16 ? narrow : t == DT_F32 ? tolerance : 0;
        for (int64_t i = 0; i < kernel_span(k, o); i++) {
            const double x = sample_element(t, got->at[o], i),
                         y = sample_element(t, want->at[o], i);
            if (isnan(x) && isnan(y))
                continue;
            cr_assert(x == y || fabs(x - y) <= relative * (fabs(y) + (t == DT_BF16 ? 0.01 : 1)),
                      "operand %d element %lld is %.9g, not %.9g, in\n%s", o, (long long)i, x, y,
                      kernel_text(k, a));
        }
        for (int g = 0; g < GUARD; g++)
            cr_assert(((unsigned char *)got->at[o])[got->bytes[o] + (size_t)g] == 0x5a,
                      "operand %d is written past its end in\n%s", o, kernel_text(k, a));
    }
}

static void same_bits(Arena *a, const Kernel *k, const Copy *x, const Copy *y, const char *what) {
    for (int o = 0; o < kernel_operand_count(k); o++)
        cr_assert(memcmp(x->at[o], y->at[o], x->bytes[o]) == 0,
                  "operand %d differs in its bits %s in\n%s", o, what, kernel_text(k, a));
}

static bool is_pointwise(const Kernel *k) {
    bool any = k->kind != KERNEL_SCALAR || kernel_reduces(k, NULL);
    for (KRef i = 0; !any && i < k->instr_count; i++)
        any = k->instr[i].op == KOP_ADD_AT;
    return !any;
}

static void check(Samples *s) {
    const CudaProgram p = cuda_program(s->a, s->kernel, s->count, (GpuArch){80, false});
    Diag *d = diag_create(s->a);
    CpuTarget cpu;
    cr_assert(cpu_target(s->a, d, "cpu", &cpu));
    const char **text = arena_array(s->a, const char *, s->count);
    for (int i = 0; i < s->count; i++)
        text[i] = kernel_text(s->kernel[i], s->a);
    Jit *jit = jit_create(d, &cpu, text, s->count);
    cr_assert_not_null(jit);
    for (int i = 0; i < s->count; i++) {
        Arena *a = arena_create();
        const Kernel *k = s->kernel[i];
        Copy forward = make_copy(a, k), backward = make_copy(a, k), want = make_copy(a, k);
        cuda_program_run(&p, k, forward.at, imm, SHIM_FORWARD);
        cuda_program_run(&p, k, backward.at, imm, SHIM_BACKWARD);
        kernel_interpret(k, want.at, imm);
        compare(a, k, &forward, &want, s->tolerance[i]);
        same_bits(a, k, &forward, &backward, "when warps run backward");
        if (is_pointwise(k)) {
            Copy cpus = make_copy(a, k);
            jit_function(jit, i)(cpus.at, imm, 0, kernel_tiles(k), NULL);
            same_bits(a, k, &forward, &cpus, "from the CPU's");
        }
        arena_release(a);
    }
    jit_release(jit);
}

static const int64_t column_counts[] = {1, 3, 15, 16, 17, 64, 100, 1000};
enum { COLUMN_COUNTS = sizeof column_counts / sizeof column_counts[0] };

static void add_operations(Samples *s) {
    static const DType types[] = {DT_F32, DT_I32, DT_BOOL};
    for (int op = 0; op < KOP_COUNT; op++)
        for (int t = 0; t < 3; t++) {
            const int64_t dim[] = {3, column_counts[(op + t) % COLUMN_COUNTS]};
            add(s, sample_operation(s->a, (KOp)op, types[t], dim), 2e-6);
        }
}

// Rows of teams of every size, of blocks, and some that no block holds.
static void add_rows(Samples *s) {
    static const int64_t width[] = {1, 3, 8, 17, 100, 768, 1000, 2048, 4100, 12000, 35001};
    for (int c = 0; c < 11; c++) {
        const int64_t dim[] = {width[c] > 4000 ? 2 : width[c] > 500 ? 9 : 37, width[c]};
        add(s, sample_layer_norm(s->a, dim, c % 2 ? DT_BF16 : DT_F32), tolerance_for(dim[1]));
        add(s, sample_softmax(s->a, dim, c % 2 ? DT_F32 : DT_BF16), tolerance_for(dim[1]));
    }
    // Few long rows are cut: parts through the workspace.
    for (int rows = 1; rows <= 2; rows++) {
        const int64_t dim[] = {rows, 33001}, once[] = {1, 0};
        add(s, sample_softmax(s->a, dim, DT_F32), tolerance_for(dim[1]));
        KernelBuilder *kb = kernel_builder(s->a, KERNEL_ROWS, 2, dim);
        const KRef x = load_dense(kb, rows == 1 ? DT_F32 : DT_BF16);
        const KRef norm = kb_op1(kb, KOP_SQRT, kb_op1(kb, KOP_SUM, kb_op2(kb, KOP_MUL, x, x)));
        kb_store(kb, kernel_add_operand(kb, DT_F32, ACCESS_WRITE, once), norm);
        kb_store(kb, kernel_add_operand(kb, DT_F32, ACCESS_WRITE, once),
                 kb_op1(kb, KOP_MAXIMUM, x));
        add(s, kernel_finish(kb), tolerance_for(dim[1]));
    }
}

// Sums and maxima down one and several parts of the rows.
static void add_columns(Samples *s) {
    static const int64_t rows[] = {1, 5, 127, 300, 1500};
    for (int c = 0; c < COLUMN_COUNTS; c++) {
        const int64_t dim[] = {rows[c % 5], 2, column_counts[c]}, once[] = {0, 0, 1};
        KernelBuilder *kb = kernel_builder(s->a, KERNEL_COLUMNS, 3, dim);
        KRef x = load_dense(kb, c % 2 ? DT_BF16 : DT_F32);
        KRef weight = kb_load(kb, kernel_add_operand(kb, DT_F32, ACCESS_READ, once));
        KRef sum = kb_op1(kb, KOP_SUM, kb_op2(kb, KOP_MUL, x, kb_op2(kb, KOP_MUL, x, weight)));
        KRef most = kb_op1(kb, KOP_MAXIMUM, kb_op1(kb, KOP_SIN, x));
        kb_store(kb, kernel_add_operand(kb, DT_F32, ACCESS_WRITE, once), sum);
        kb_store(kb, kernel_add_operand(kb, DT_BF16, ACCESS_WRITE, once),
                 kb_op2(kb, KOP_ADD, kb_op2(kb, KOP_MUL, most, weight), sum));
        add(s, kernel_finish(kb), tolerance_for(2 * dim[0]));
    }
}

// Operands that are transposed, broadcast along either dim, and narrower than f32.
static void add_strides(Samples *s) {
    for (int c = 0; c < COLUMN_COUNTS; c++) {
        const int64_t dim[] = {2, 5, column_counts[c]};
        KernelBuilder *kb = kernel_builder(s->a, KERNEL_ROWS, 3, dim);
        const int64_t turned[] = {5 * dim[2], 1, 5}, row[] = {0, 0, 1}, column[] = {5, 1, 0};
        KRef sum = kb_load(kb, kernel_add_operand(kb, DT_F32, ACCESS_READ, turned));
        sum = kb_op2(kb, KOP_ADD, sum,
                     kb_load(kb, kernel_add_operand(kb, DT_BF16, ACCESS_READ, row)));
        sum = kb_op2(kb, KOP_ADD, sum,
                     kb_load(kb, kernel_add_operand(kb, DT_F32, ACCESS_READ, column)));
        KRef flag = kb_load(kb, kernel_add_operand(kb, DT_BOOL, ACCESS_READ, turned));
        sum = kb_op3(kb, KOP_SELECT, flag, sum, kb_op1(kb, KOP_TO_F32, kb_index(kb, 2)));
        sum = kb_op2(kb, KOP_ADD, sum, kb_op1(kb, KOP_TO_F32, kb_index(kb, 1)));
        sum = kb_op2(kb, KOP_ADD, sum, kb_op1(kb, KOP_TO_F32, kb_imm(kb, kernel_add_imm(kb))));
        store_dense(kb, DT_F32, sum);
        store_dense(kb, DT_BF16, sum);
        kb_store(kb, kernel_add_operand(kb, DT_F32, ACCESS_WRITE, turned), sum);
        store_dense(kb, DT_BOOL, kb_op2(kb, KOP_LT, kb_float(kb, 0.25), sum));
        add(s, kernel_finish(kb), 2e-6);
    }
}

// Transposed operands of whole tiles, and of tiles that stick out, beside dense and narrow ones; a
// dim between the two that are exchanged, or none.
static void add_turned(Samples *s) {
    static const int64_t depth[] = {16, 32, 33, 70}, columns[] = {64, 100, 17, 128};
    for (int c = 0; c < 8; c++) {
        const int64_t d = depth[c % 4], n = columns[(c + c / 4) % 4], inside = c < 4 ? 3 : 1;
        const int64_t four[] = {2, d, inside, n}, four_turned[] = {inside * n * d, 1, n * d, d};
        const int64_t two[] = {d, n}, two_turned[] = {1, d};
        KernelBuilder *kb = kernel_builder(s->a, KERNEL_ROWS, c < 4 ? 4 : 2, c < 4 ? four : two);
        const int64_t *turned = c < 4 ? four_turned : two_turned;
        KRef x = kb_load(kb, kernel_add_operand(kb, DT_F32, ACCESS_READ, turned));
        const KRef y = kb_load(kb, kernel_add_operand(kb, DT_BF16, ACCESS_READ, turned));
        const KRef flag = kb_load(kb, kernel_add_operand(kb, DT_BOOL, ACCESS_READ, turned));
        x = kb_op2(kb, KOP_ADD, x, load_dense(kb, c % 2 ? DT_BF16 : DT_F32));
        x = kb_op3(kb, KOP_SELECT, flag, kb_op2(kb, KOP_MUL, x, y), x);
        x = kb_op2(kb, KOP_ADD, x, kb_op1(kb, KOP_TO_F32, kb_index(kb, c < 4 ? 1 : 0)));
        store_dense(kb, c % 3 ? DT_BF16 : DT_F32, x);
        if (c % 2)
            kb_store(kb, kernel_add_operand(kb, DT_F32, ACCESS_WRITE, turned), x);
        Kernel *k = kernel_finish(kb);
        const ScalarWalks w = scalar_walks(s->a, k);
        cr_assert_eq(scalar_launch(&w).shape, SCALAR_TILES);
        add(s, k, 4e-6); // the index makes numbers whose bf16 lie far apart
    }
}

// Rows of a table, elements chosen at each point, a store where an index points.
static void add_indexed(Samples *s) {
    for (int c = 0; c < COLUMN_COUNTS; c++) {
        const int64_t dim[] = {9, column_counts[c]}, by_row[] = {1, 0}, table[] = {0, 1},
                      none[] = {0, 0};
        KernelBuilder *kb = kernel_builder(s->a, KERNEL_ROWS, 2, dim);
        KRef row = kb_load(kb, kernel_add_operand(kb, DT_I32, ACCESS_READ, by_row));
        KRef point = load_dense(kb, DT_I32);
        const DType t = c % 2 ? DT_BF16 : DT_F32;
        KRef x = kb_load_at(kb, kernel_add_operand(kb, t, ACCESS_READ, table), row, 37, dim[1]);
        KRef y = kb_load_at(kb, kernel_add_operand(kb, t, ACCESS_READ, none), point, 37, 3);
        KRef z = kb_load_at(kb, kernel_add_operand(kb, t, ACCESS_READ, table), point, 37, dim[1]);
        KRef sum = kb_op2(kb, KOP_ADD, kb_op2(kb, KOP_ADD, x, y), z);
        store_dense(kb, DT_F32, sum);
        if (c % 2)
            store_dense(kb, DT_F32, kb_op2(kb, KOP_SUB, sum, kb_op1(kb, KOP_SUM, z)));
        add(s, kernel_finish(kb), tolerance_for(dim[1]));
    }
    const int64_t dim[] = {7, 40}, at_row[] = {37, 0}, by_row[] = {1, 0};
    KernelBuilder *kb = kernel_builder(s->a, KERNEL_ROWS, 2, dim);
    KRef index = kb_load(kb, kernel_add_operand(kb, DT_I32, ACCESS_READ, by_row));
    KRef sum = kb_op1(kb, KOP_SUM, load_dense(kb, DT_F32));
    kb_store_at(kb, kernel_add_operand(kb, DT_F32, ACCESS_WRITE, at_row), sum, index, 37, 1);
    add(s, kernel_finish(kb), tolerance_for(40));
}

// Operands that begin anywhere, in vectors of the widest that the others allow.
static void add_unaligned(Samples *s) {
    static const DType types[] = {DT_F32, DT_BF16, DT_I32, DT_BOOL};
    for (int c = 0; c < 8; c++) {
        const int64_t dim[] = {4, c < 4 ? 96 : 100};
        KernelBuilder *kb = kernel_builder(s->a, KERNEL_ROWS, 2, dim);
        const KRef x = load_dense(kb, types[c % 4]);
        store_dense(kb, types[c % 4], x);
        store_dense(kb, DT_BOOL, kb_op2(kb, KOP_EQ, x, x));
        Kernel *k = kernel_finish(kb);
        const int bytes = (int)dtype_bytes(types[c % 4]);
        k->operand[c % 2].align = c % 3 && bytes < 8 ? 2 * bytes : bytes;
        add(s, k, 0);
    }
}

// Products with and without transposes, sums into what is there, narrow types, odd sizes.
static void add_products(Samples *s) {
    for (int c = 0; c < 8; c++) {
        const int64_t m = c % 4 == 0 ? 5 : 70, n = 33 + 64 * (c % 3), k = 20 + 31 * c;
        const bool turned = c % 2;
        ProductKernel p = {.a = c == 3 ? DT_BF16 : DT_F32,
                           .b = c == 4 ? DT_BF16 : DT_F32,
                           .c = c == 5 ? DT_BF16 : DT_F32,
                           .batch = {2, 1 + c % 2},
                           .m = m,
                           .n = n,
                           .k = k,
                           .accumulate = c > 5,
                           .tile_m = 64,
                           .tile_n = 64,
                           .a_stride = {m * k, 2 * m * k, turned ? 1 : k, turned ? m : 1},
                           .b_stride = {n * k, 0, turned ? 1 : n, turned ? k : 1},
                           .c_stride = {m * n, 2 * m * n, n, 1}};
        add(s, kernel_product(s->a, &p), 4 * tolerance_for(k));
    }
}

static int64_t between(uint64_t *state, int64_t low, int64_t high) {
    return low + (int64_t)(sample_next(state) % (uint64_t)(high - low + 1));
}

// All three parts, with strides, dilations, padding, groups; many channels, few and single ones.
static void add_convolutions(Samples *s, uint64_t *state) {
    for (int round = 0; round < CONVOLUTIONS; round++) {
        ConvolutionKernel k = {.part = (ConvolutionPart)(round % 3)};
        Convolution *c = &k.shape;
        c->batch = between(state, 1, 3);
        c->groups = round % 4 == 0 ? between(state, 2, 5) : 1;
        c->in = round % 4 == 0 ? 1 : between(state, 1, round % 4 == 1 ? 20 : 5);
        c->out = round % 4 == 0 ? 1 : between(state, 1, round % 4 == 1 ? 20 : 5);
        for (int i = 0; i < 2; i++) {
            c->size[i] = between(state, 4, 11);
            c->kernel[i] = between(state, 1, 3);
            c->stride[i] = between(state, 1, 2);
            c->dilation[i] = between(state, 1, 2);
            c->before[i] = between(state, 0, 2);
            c->after[i] = between(state, 1, 2);
            c->result[i] = convolution_result(c->size[i], c->kernel[i], c->stride[i],
                                              c->before[i] + c->after[i], c->dilation[i]);
        }
        k.x_stride = c->groups * c->in * c->size[0] * c->size[1] + between(state, 0, 1) * 8;
        k.y_stride = c->groups * c->out * c->result[0] * c->result[1] + between(state, 0, 1) * 7;
        for (int i = 0; i < 3; i++)
            k.dtype[i] = between(state, 0, 3) == 0 ? DT_BF16 : DT_F32;
        add(s, kernel_convolution(s->a, &k), 5e-5);
    }
}

// Rows added where their index points, in order; below 0 is skipped. Few rows and many; to a few
// places, to one range of them and to several.
static void add_scatters(Samples *s) {
    for (int c = 0; c < COLUMN_COUNTS; c++) {
        const int64_t dim[] = {c % 2 ? 50 : 2100, column_counts[c]}, by_row[] = {1, 0},
                      table[] = {0, 1};
        const int64_t places = c == 2 ? 3 : c > 3 ? 700 : 37;
        KernelBuilder *kb = kernel_builder(s->a, KERNEL_COLUMNS, 2, dim);
        KRef index = kb_load(kb, kernel_add_operand(kb, DT_I32, ACCESS_READ, by_row));
        if (places == 700)
            index = kb_op2(kb, KOP_MUL, index, kb_int(kb, 19));
        KRef x = load_dense(kb, c % 4 < 2 ? DT_F32 : DT_BF16);
        kb_add_at(kb, kernel_add_operand(kb, DT_F32, ACCESS_UPDATE, table), x, index, places,
                  dim[1]);
        add(s, kernel_finish(kb), tolerance_for(dim[0]));
    }
}

// The best of those that make up a share of the mass, with and without noise.
static void add_picks(Samples *s) {
    static const int64_t width[] = {1, 17, 300, 5000};
    for (int c = 0; c < 8; c++) {
        const int64_t dim[] = {5, width[c % 4]}, by_row[] = {1, 0};
        KernelBuilder *kb = kernel_builder(s->a, KERNEL_ROWS, 2, dim);
        KRef x = load_dense(kb, DT_F32), noise = load_dense(kb, DT_F32);
        KRef d = kb_op2(kb, KOP_SUB, x, kb_op1(kb, KOP_MAXIMUM, x)), e = kb_op1(kb, KOP_EXP, d);
        KRef mass = kb_op2(kb, KOP_MUL, kb_float(kb, c < 4 ? 0.3 : 0.9), kb_op1(kb, KOP_SUM, e));
        KRef y = kb_op2(kb, KOP_ADD, d, kb_op2(kb, KOP_MUL, noise, kb_float(kb, c % 2 ? 4 : 0.5)));
        kb_store(kb, kernel_add_operand(kb, DT_I32, ACCESS_WRITE, by_row),
                 kb_pick(kb, d, e, y, mass));
        add(s, kernel_finish(kb), 0);
    }
}

// Rows that begin at whole vectors and end within one, too long for registers: what is left at the
// end is for whichever thread comes next. And picks from such rows.
static void add_ends(Samples *s) {
    static const int64_t width[] = {8203, 8193, 12287, 5003};
    for (int c = 0; c < 8; c++) {
        const int64_t dim[] = {3, width[c % 4]}, by_row[] = {1, 0};
        const int64_t apart[] = {(dim[1] + 7) / 8 * 8, 1};
        const DType t = c < 4 ? DT_F32 : DT_BF16;
        KernelBuilder *kb = kernel_builder(s->a, KERNEL_ROWS, 2, dim);
        KRef x[4];
        for (int i = 0; i < 4; i++)
            x[i] = kb_load(kb, kernel_add_operand(kb, t, ACCESS_READ, apart));
        const KRef y =
            kb_op2(kb, KOP_ADD, kb_op2(kb, KOP_MUL, x[0], x[1]), kb_op2(kb, KOP_MUL, x[2], x[3]));
        const KRef d = kb_op2(kb, KOP_SUB, y, kb_op1(kb, KOP_MAXIMUM, y));
        const KRef e = kb_op1(kb, KOP_EXP, d), sum = kb_op1(kb, KOP_SUM, e);
        if (c % 4 == 3) {
            const KRef mass = kb_op2(kb, KOP_MUL, kb_float(kb, 0.5), sum);
            kb_store(kb, kernel_add_operand(kb, DT_I32, ACCESS_WRITE, by_row),
                     kb_pick(kb, d, e, x[0], mass));
        } else {
            kb_store(kb, kernel_add_operand(kb, t, ACCESS_WRITE, apart),
                     kb_op2(kb, KOP_DIV, e, sum));
            kb_store(kb, kernel_add_operand(kb, DT_F32, ACCESS_WRITE, by_row), sum);
        }
        Kernel *k = kernel_finish(kb);
        const ScalarWalks w = scalar_walks(s->a, k);
        const ScalarLaunch l = scalar_launch(&w);
        cr_assert(l.shape == SCALAR_TEAM && !l.kept && l.columns % l.lanes != 0);
        add(s, k, tolerance_for(dim[1]));
    }
}

// Equal programs on operands of their own: member by member the bits of the whole program. A rate
// that all share, results over operands, a vector's end, one member aligned less than the others,
// and transposed operands, which have no blocks by member.
static void add_members(Samples *s) {
    static const int64_t columns[] = {768, 1000, 2307, 17};
    for (int c = 0; c < 8; c++) {
        const int64_t dim[] = {c < 4 ? 1 : c < 7 ? 3 : 40, columns[c % 4]}, once[] = {0, 0};
        const int64_t dense[] = {dim[1], 1}, turned[] = {1, dim[0]};
        const int members = 2 + c % 4 * 2;
        KernelBuilder *kb = kernel_builder(s->a, KERNEL_ROWS, 2, dim);
        const KRef rate = kb_load(kb, kernel_add_operand(kb, DT_F32, ACCESS_READ, once));
        for (int m = 0; m < members; m++) {
            const int state = kernel_add_operand(kb, DT_F32, ACCESS_UPDATE, dense);
            const KRef x = kb_load(kb, state);
            const int operand = kernel_add_operand(kb, c % 2 ? DT_BF16 : DT_F32, ACCESS_READ,
                                                   c == 7 ? turned : dense);
            const KRef step = kb_op2(kb, KOP_MUL, rate, kb_load(kb, operand));
            const KRef y = kb_op3(kb, KOP_FMA, x, kb_float(kb, 0.875), step);
            kb_store(kb, state, y);
            store_dense(kb, DT_BF16, kb_op2(kb, KOP_DIV, x, kb_op1(kb, KOP_EXP, y)));
        }
        Kernel *k = kernel_finish(kb);
        k->members = members;
        if (c == 2)
            k->operand[4].align = 4;
        cr_assert(kernel_verify(k, diag_create(s->a), (Loc){0}));
        add(s, k, 3e-6); // what lies between two bf16 may become either
        // A block, or several, for each.
        const KernelMembers found = scalar_members(s->a, k);
        KernelLaunches all = {0}, one = {0};
        kernel_launches_scalar(k, (GpuArch){80, false}, &all);
        kernel_launches_scalar(found.one, (GpuArch){80, false}, &one);
        cr_assert_eq(found.count, c == 7 ? 1 : members);
        cr_assert_eq(all.launch[0].grid[0], found.count * one.launch[0].grid[0]);
    }
}

Test(cuda_scalar, printed_kernels_agree) {
    Samples s = {.a = arena_create()};
    uint64_t state = 20240229;
    add_operations(&s);
    add_rows(&s);
    add_columns(&s);
    add_strides(&s);
    add_turned(&s);
    add_indexed(&s);
    add_scatters(&s);
    add_unaligned(&s);
    add_products(&s);
    add_convolutions(&s, &state);
    add_picks(&s);
    add_ends(&s);
    add_members(&s);
    for (int i = 0; i < RANDOM_PROGRAMS; i++)
        add(&s, sample_random(s.a, column_counts, COLUMN_COUNTS, &state), 2e-4);
    check(&s);
    arena_release(s.a);
}
