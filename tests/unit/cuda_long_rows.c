// Rows that don't fit registers: what stays in shared memory, on which GPU; that the printed text
// reads them from global memory once; that they agree with the interpreter, and give the same bits
// on every GPU, in either order of threads, in place, and with or without what is fused with them.
#include "cuda_run.h"
#include "ir/launch_hold.h"
#include "scalar_samples.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum {
    ROWS = 100,
    FEW_ROWS = 2,
    OPERANDS_MAX = 9,
    LOGITS = 0,
    LOSS = 2,
    LSE = 3,
    GRADIENT = 4,
    CASES_MAX = 64
};
static const GpuArch archs[] = {{80, false}, {89, false}, {90, true}};
enum { ARCHS = sizeof archs / sizeof archs[0] };

typedef enum { LOSS_ALONE, LOSS_AND_GRADIENT } Fusion;

// Cross entropy of rows that lie `pitch` elements apart, and its gradient.
static Kernel *cross_entropy(Arena *a, int64_t rows, int64_t columns, int64_t pitch, DType t,
                             Fusion fusion) {
    const int64_t dim[] = {rows, columns}, apart[] = {pitch, 1}, once[] = {1, 0};
    KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, 2, dim);
    const KRef x = kb_load(kb, kernel_add_operand(kb, t, ACCESS_READ, apart));
    const KRef label = kb_load(kb, kernel_add_operand(kb, DT_I32, ACCESS_READ, once));
    const int loss = kernel_add_operand(kb, DT_F32, ACCESS_WRITE, once);
    const int lse = kernel_add_operand(kb, DT_F32, ACCESS_WRITE, once);
    const KRef most = kb_op1(kb, KOP_MAXIMUM, x), d = kb_op2(kb, KOP_SUB, x, most);
    const KRef log = kb_op1(kb, KOP_LOG, kb_op1(kb, KOP_SUM, kb_op1(kb, KOP_EXP, d)));
    const KRef mine = kb_op2(kb, KOP_EQ, kb_index(kb, 1), label);
    const KRef of_mine = kb_op1(kb, KOP_SUM, kb_op3(kb, KOP_SELECT, mine, d, kb_float(kb, 0)));
    const KRef sum = kb_op2(kb, KOP_ADD, most, log);
    kb_store(kb, loss, kb_op2(kb, KOP_SUB, log, of_mine));
    kb_store(kb, lse, sum);
    if (fusion == LOSS_AND_GRADIENT) {
        const KRef p = kb_op1(kb, KOP_EXP, kb_op2(kb, KOP_SUB, x, sum));
        const KRef hot = kb_op3(kb, KOP_SELECT, mine, kb_float(kb, 1), kb_float(kb, 0));
        kb_store(kb, kernel_add_operand(kb, DT_BF16, ACCESS_WRITE, apart),
                 kb_op2(kb, KOP_SUB, p, hot));
    }
    return kernel_finish(kb);
}

// Of two operands, each needed in both walks: the gradient of a softmax.
static Kernel *softmax_gradient(Arena *a, int64_t rows, int64_t columns, DType t) {
    const int64_t dim[] = {rows, columns};
    KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, 2, dim);
    const KRef y = load_dense(kb, t), dy = load_dense(kb, DT_F32);
    const KRef sum = kb_op1(kb, KOP_SUM, kb_op2(kb, KOP_MUL, y, dy));
    store_dense(kb, DT_F32, kb_op2(kb, KOP_MUL, y, kb_op2(kb, KOP_SUB, dy, sum)));
    return kernel_finish(kb);
}

// A row that an index chooses and six more: more operands than registers hold, of short rows.
static Kernel *many_operands(Arena *a, int64_t rows, int64_t columns) {
    const int64_t dim[] = {rows, columns}, once[] = {1, 0}, table[] = {0, 1};
    KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, 2, dim);
    const KRef index = kb_load(kb, kernel_add_operand(kb, DT_I32, ACCESS_READ, once));
    KRef x =
        kb_load_at(kb, kernel_add_operand(kb, DT_BF16, ACCESS_READ, table), index, 41, columns);
    for (int i = 0; i < 6; i++)
        x = kb_op2(kb, KOP_ADD, x, load_dense(kb, i % 2 ? DT_F32 : DT_BF16));
    const KRef mean = kb_op2(kb, KOP_MUL, kb_op1(kb, KOP_SUM, x), kb_float(kb, 1.0 / 1024));
    store_dense(kb, DT_F32, kb_op2(kb, KOP_SUB, x, mean));
    return kernel_finish(kb);
}

static ScalarLaunch launch_of(Arena *a, const Kernel *k, ScalarWalks *w) {
    *w = scalar_walks(a, k);
    return scalar_launch(w);
}

static ScalarHold hold_of(Arena *a, const Kernel *k, GpuArch arch) {
    ScalarWalks w;
    const ScalarLaunch s = launch_of(a, k, &w);
    return scalar_hold(a, &w, &s, arch);
}

// Columns of the logits that are held.
static int64_t held_columns(Arena *a, int64_t columns, int64_t pitch, DType t, GpuArch arch) {
    return hold_of(a, cross_entropy(a, ROWS, columns, pitch, t, LOSS_ALONE), arch).load[0].columns;
}

Test(cuda_long_rows, what_is_held) {
    Arena *a = arena_create();
    const struct {
        int64_t columns, pitch;
        DType t;
        int64_t held[ARCHS]; // sm_80: 80 KiB of a block; sm_89: 48; sm_90a: 112
    } table[] = {
        {16384, 16384, DT_BF16, {0, 0, 0}}, // in registers
        {16392, 16392, DT_BF16, {16392, 16392, 16392}},
        {24576, 24576, DT_BF16, {24576, 24576, 24576}},
        {24584, 24584, DT_BF16, {24584, 24576, 24584}},
        {40960, 40960, DT_BF16, {40960, 24576, 40960}},
        {40968, 40968, DT_BF16, {40960, 24576, 40968}},
        {50257, 50264, DT_BF16, {40960, 24576, 50256}}, // but for the last column
        {57344, 57344, DT_BF16, {40960, 24576, 57344}},
        {57352, 57352, DT_BF16, {40960, 24576, 57344}},
        {128256, 128256, DT_BF16, {40960, 24576, 57344}},
        {50257, 50257, DT_BF16, {0, 0, 0}}, // elements of two bytes are not copied
        {50257, 50258, DT_BF16, {40960, 24576, 50256}},
        {50257, 50257, DT_F32, {20480, 12288, 28672}},
        {50257, 50260, DT_F32, {20480, 12288, 28672}},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        for (int j = 0; j < ARCHS; j++)
            cr_assert_eq(
                held_columns(a, table[i].columns, table[i].pitch, table[i].t, archs[j]),
                table[i].held[j], "%lld columns, %lld apart, on sm_%d: %lld",
                (long long)table[i].columns, (long long)table[i].pitch, archs[j].sm,
                (long long)held_columns(a, table[i].columns, table[i].pitch, table[i].t, archs[j]));
    cr_assert_eq(held_columns(a, 50304, 50304, DT_BF16, (GpuArch){75, false}), 0); // no cp.async
    arena_release(a);
}

// So many blocks as make 1024 threads fit a multiprocessor, with what CUDA takes of each and its
// static memory; and what loads hold does not overlap.
Test(cuda_long_rows, blocks_fit_together) {
    Arena *a = arena_create();
    for (int64_t columns = 1000; columns < 300000; columns = columns * 9 / 8)
        for (int j = 0; j < ARCHS * 3; j++) {
            Kernel *k = j / ARCHS == 0 ? many_operands(a, ROWS, columns)
                        : j / ARCHS == 1
                            ? softmax_gradient(a, ROWS, columns, DT_BF16)
                            : cross_entropy(a, ROWS, columns, columns, DT_F32, LOSS_AND_GRADIENT);
            ScalarWalks w;
            const ScalarLaunch s = launch_of(a, k, &w);
            const ScalarHold h = scalar_hold(a, &w, &s, archs[j % ARCHS]);
            const int64_t blocks = HOLD_THREADS / s.block, fixed = 128 * w.reductions;
            cr_assert_leq(blocks * (h.shared + fixed + 1024),
                          gpu_shared_max(archs[j % ARCHS]) + 1024);
            cr_assert(s.kept || h.row > 0);
            int64_t end = 0;
            for (KRef i = 0; i < k->instr_count; i++)
                if (h.load[i].columns > 0) {
                    const DType t = k->operand[k->instr[i].operand].dtype;
                    const int64_t bytes = h.load[i].columns * (int64_t)dtype_bytes(t);
                    cr_assert_eq(h.load[i].at, end);
                    cr_assert_eq(h.load[i].at % 16, 0);
                    end = (h.load[i].at + bytes + 15) / 16 * 16;
                }
            cr_assert_eq(end, h.row);
        }
    arena_release(a);
}

// A sum's shape is its vectors' width and its threads: whatever else the kernel does.
Test(cuda_long_rows, shape_does_not_follow_from_what_is_fused) {
    Arena *a = arena_create();
    for (int64_t columns = 10; columns < 300000; columns = columns * 9 / 8)
        for (int t = 0; t < 2; t++) {
            ScalarWalks w;
            const DType type = t ? DT_F32 : DT_BF16;
            const ScalarLaunch alone =
                launch_of(a, cross_entropy(a, ROWS, columns, columns, type, LOSS_ALONE), &w);
            const ScalarLaunch fused =
                launch_of(a, cross_entropy(a, ROWS, columns, columns, type, LOSS_AND_GRADIENT), &w);
            // Nor from how many rows a part of a value has.
            const ScalarLaunch part =
                launch_of(a, cross_entropy(a, 4 * ROWS, columns, columns, type, LOSS_ALONE), &w);
            cr_assert(alone.lanes == fused.lanes && alone.team == fused.team);
            cr_assert(alone.lanes == part.lanes && alone.team == part.team);
        }
    arena_release(a);
}

static int count_text(const char *text, const char *what) {
    int count = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        count++;
    return count;
}

Test(cuda_long_rows, text_reads_a_row_once) {
    Arena *a = arena_create();
    Kernel *k = cross_entropy(a, ROWS, 50257, 50264, DT_BF16, LOSS_AND_GRADIENT);
    k->name = "k";
    const char *text = cuda_print(a, diag_create(a), k, (GpuArch){90, true});
    cr_assert_eq(count_text(text, "plim_copy_16("), 1);
    cr_assert_eq(count_text(text, "plim_load_bf16_8((const plim_bf16 *)(held"), 3);
    cr_assert_eq(count_text(text, "plim_load_bf16_8(p0"), 0);
    cr_assert_eq(count_text(text, "plim_get_bf16(p0"), 3); // the last column
    // Vectors without the target, in the two walks that ask for it, compute as if there were none.
    cr_assert_eq(count_text(text, "(unsigned)v1 - (unsigned)c < 8u"), 2);
    cr_assert_eq(count_text(text, " = false;"), 2);
    arena_release(a);
}

// Kernels of many rows, since few such long ones would be cut, of which the first are run; and the
// same of so few, which is what operands are made for and the interpreter computes.
typedef struct {
    Kernel *kernel[CASES_MAX], *few[CASES_MAX];
    int count;
} Cases;

static void add(Arena *a, Cases *c, Kernel *k, Kernel *few) {
    cr_assert_lt(c->count, CASES_MAX);
    k->name = arena_format(a, "k%d", c->count);
    c->kernel[c->count] = k;
    c->few[c->count++] = few;
}

// Each loss alone, then with its gradient.
static void add_losses(Arena *a, Cases *c) {
    static const struct {
        int64_t columns, pitch;
        DType t;
        int align;
    } table[] = {
        {50257, 50264, DT_BF16, 0}, {50304, 50304, DT_BF16, 0},   {50304, 50304, DT_BF16, 4},
        {50257, 50257, DT_BF16, 2}, {50257, 50258, DT_BF16, 4},   {57344, 57344, DT_BF16, 0},
        {57352, 57352, DT_BF16, 0}, {128256, 128256, DT_BF16, 0}, {24584, 24592, DT_BF16, 0},
        {50257, 50260, DT_F32, 0},  {50257, 50257, DT_F32, 0},    {28676, 28676, DT_F32, 8},
        {128256, 128256, DT_F32, 0}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        for (int fused = 0; fused < 2; fused++) {
            Kernel *k[2];
            for (int few = 0; few < 2; few++) {
                k[few] = cross_entropy(a, few ? FEW_ROWS : ROWS, table[i].columns, table[i].pitch,
                                       table[i].t, fused ? LOSS_AND_GRADIENT : LOSS_ALONE);
                k[few]->operand[LOGITS].align = table[i].align;
            }
            add(a, c, k[0], k[1]);
        }
}

static void add_others(Arena *a, Cases *c) {
    static const int64_t columns[] = {50304, 20003, 5000};
    for (int i = 0; i < 3; i++) {
        const DType t = i == 1 ? DT_F32 : DT_BF16;
        add(a, c, softmax_gradient(a, ROWS, columns[i], t),
            softmax_gradient(a, FEW_ROWS, columns[i], t));
    }
    // Several rows a block, some of which are past the last.
    static const int64_t narrow[] = {768, 200, 8192, 333};
    for (int i = 0; i < 4; i++)
        add(a, c, many_operands(a, FEW_ROWS, narrow[i]), many_operands(a, FEW_ROWS, narrow[i]));
}

typedef struct {
    void *at[OPERANDS_MAX];
    size_t bytes[OPERANDS_MAX];
} Copy;

static Copy make_copy(Arena *a, const Kernel *k) {
    Copy c = {0};
    uint64_t state = 88172645463325252u;
    for (int o = 0; o < k->operand_count; o++) {
        const int64_t span = kernel_span(k, o);
        c.bytes[o] = (size_t)span * dtype_bytes(kernel_dtype(k, o));
        c.at[o] = (char *)arena_alloc(a, 1, c.bytes[o] + 16) + k->operand[o].align;
        sample_fill(kernel_dtype(k, o), c.at[o], span, &state);
        if (kernel_dtype(k, o) == DT_I32) // the first row's target is its last column
            *(int32_t *)c.at[o] = (int32_t)k->dim[1] - 1;
    }
    return c;
}

static void same_bits(Arena *a, const Kernel *k, const Copy *x, const Copy *y, int operands,
                      const char *what) {
    for (int o = 0; o < operands; o++)
        cr_assert(memcmp(x->at[o], y->at[o], x->bytes[o]) == 0,
                  "operand %d differs in its bits %s in\n%s", o, what, kernel_text(k, a));
}

// Tolerance: a thread adds some 256 numbers one after another; a bf16 beside a sum that is off by
// that may be its neighbour.
static void compare(Arena *a, const Kernel *k, const Copy *got, const Copy *want) {
    for (int o = 0; o < k->operand_count; o++) {
        const DType t = kernel_dtype(k, o);
        for (int64_t i = 0; i < kernel_span(k, o); i++) {
            const double x = sample_element(t, got->at[o], i);
            const double y = sample_element(t, want->at[o], i);
            const double most = t == DT_BF16 ? fabs(y) / 128 + 1e-5 : 4e-5 * (fabs(y) + 1);
            cr_assert(x == y || fabs(x - y) <= most,
                      "operand %d element %lld is %.9g, not %.9g, in\n%s", o, (long long)i, x, y,
                      kernel_text(k, a));
        }
    }
}

// The gradient stored where the logits lie.
static void check_in_place(Arena *a, const CudaProgram *p, const Kernel *k, const Kernel *few,
                           const Copy *apart) {
    Copy c = make_copy(a, few);
    c.at[GRADIENT] = c.at[LOGITS];
    cuda_program_run(p, k, c.at, NULL, SHIM_FORWARD);
    for (int o = LOSS; o <= GRADIENT; o++)
        for (int64_t row = 0; row < FEW_ROWS; row++) {
            const size_t size = dtype_bytes(kernel_dtype(k, o));
            const size_t at = (size_t)(row * k->operand[o].stride[0]) * size;
            const size_t bytes = o == GRADIENT ? (size_t)k->dim[1] * size : size;
            cr_assert(memcmp((char *)c.at[o] + at, (char *)apart->at[o] + at, bytes) == 0,
                      "operand %d differs in place in\n%s", o, kernel_text(k, a));
        }
}

Test(cuda_long_rows, results_agree) {
    Arena *a = arena_create();
    Cases c = {0};
    add_losses(a, &c);
    add_others(a, &c);
    CudaProgram program[ARCHS];
    for (int j = 0; j < ARCHS; j++) {
        program[j] = cuda_program(a, c.kernel, c.count, archs[j]);
        program[j].blocks_max = FEW_ROWS;
    }
    Copy loss = {0}; // of the case before
    for (int i = 0; i < c.count; i++) {
        const Kernel *k = c.kernel[i], *few = c.few[i];
        Copy want = make_copy(a, few), got[ARCHS];
        kernel_interpret(few, want.at, NULL);
        for (int j = 0; j < ARCHS; j++) {
            got[j] = make_copy(a, few);
            cuda_program_run(&program[j], k, got[j].at, NULL,
                             (i + j) % 2 ? SHIM_FORWARD : SHIM_BACKWARD);
            same_bits(a, k, &got[j], &got[0], k->operand_count, "on another GPU");
        }
        compare(a, few, &got[0], &want);
        const bool fused = k->operand_count > GRADIENT && k->operand[LSE].access == ACCESS_WRITE;
        if (fused) {
            same_bits(a, k, &got[0], &loss, GRADIENT, "with its gradient");
            if (k->operand[LOGITS].dtype == DT_BF16)
                check_in_place(a, &program[ARCHS - 1], k, few, &got[0]);
        }
        loss = got[0];
    }
    arena_release(a);
}
