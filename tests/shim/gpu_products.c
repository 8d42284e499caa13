// cuBLASLt's products, by the fake library, beside sums counted one by one: random shapes, strides,
// batches and types, so that every way to count a matrix by columns is met. The same with the
// kernels behind them, in one. And files of measured algorithms: written, read, damaged, of another
// GPU.
#include "runtime/product_cublaslt.h"
#include "tests/temporary.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CASES = 400, JOINTS = 100, ELEMENTS = 4096, WORKSPACE = 8192, MEMORIES = 7 };

static void must(bool holds, const char *what) {
    if (holds)
        return;
    fprintf(stderr, "gpu_products: %s\n", what);
    exit(1);
}

static uint64_t state = 1;

static int64_t draw(int64_t limit) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)(state >> 33) % limit;
}

// Strides for [batch0, batch1, rows, columns]: either of the last two is 1, the others have gaps.
static void draw_strides(const PlanProduct *p, int64_t rows, int64_t columns, int64_t out[4]) {
    const bool by_rows = draw(2) == 0;
    const int64_t gap = draw(3);
    out[3] = by_rows ? 1 : rows + gap;
    out[2] = by_rows ? columns + gap : 1;
    out[1] = (by_rows ? rows : columns) * (by_rows ? out[2] : out[3]) + draw(3);
    out[0] = p->batch[1] * out[1];
}

static PlanProduct draw_product(void) {
    PlanProduct p = {.library = PLAN_CUBLASLT, .tile_m = 1, .tile_n = 1};
    p.batch[0] = 1 + draw(2);
    p.batch[1] = 1 + draw(3);
    p.m = 1 + draw(6);
    p.n = 1 + draw(6);
    p.k = 1 + draw(6);
    p.a = p.b = draw(2) ? PLAN_BF16 : PLAN_F32;
    p.c = draw(2) ? PLAN_BF16 : PLAN_F32;
    p.accumulate = (uint32_t)draw(3);
    if (p.accumulate == 2)
        p.batch[0] = p.batch[1] = 1;
    draw_strides(&p, p.m, p.k, p.a_stride);
    draw_strides(&p, p.k, p.n, p.b_stride);
    do
        draw_strides(&p, p.m, p.n, p.c_stride);
    while (p.accumulate == 2 && p.c_stride[3] != 1);
    return p;
}

// Small whole numbers, so that every sum is exact in either type.
static void store(char *base, PlanDType t, int64_t at, float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if (t == PLAN_F32)
        memcpy(base + 4 * at, &bits, 4);
    else
        memcpy(base + 2 * at, (char *)&bits + 2, 2);
}

static float load(const char *base, PlanDType t, int64_t at) {
    uint32_t bits = 0;
    float x;
    if (t == PLAN_F32)
        memcpy(&bits, base + 4 * at, 4);
    else
        memcpy((char *)&bits + 2, base + 2 * at, 2);
    memcpy(&x, &bits, 4);
    return x;
}

static int64_t place(const int64_t stride[4], int64_t b0, int64_t b1, int64_t row, int64_t column) {
    return b0 * stride[0] + b1 * stride[1] + row * stride[2] + column * stride[3];
}

// What c must be; expected has the elements before.
static void multiply(const PlanProduct *p, char *const *memory, char *expected) {
    const char *a = memory[0], *b = memory[1], *row_added = memory[3];
    for (int64_t i = 0; i < p->batch[0] * p->batch[1] * p->m * p->n; i++) {
        const int64_t column = i % p->n, row = i / p->n % p->m;
        const int64_t b1 = i / p->n / p->m % p->batch[1], b0 = i / p->n / p->m / p->batch[1];
        const int64_t at = place(p->c_stride, b0, b1, row, column);
        float sum = p->accumulate == 1   ? load(expected, p->c, at)
                    : p->accumulate == 2 ? load(row_added, p->c, column)
                                         : 0;
        for (int64_t k = 0; k < p->k; k++)
            sum += load(a, p->a, place(p->a_stride, b0, b1, row, k)) *
                   load(b, p->b, place(p->b_stride, b0, b1, k, column));
        store(expected, p->c, at, sum);
    }
}

// A plan of that product alone.
typedef struct {
    Plan plan;
    PlanProduct product;
    PlanKernel kernel;
    PlanBuffer buffer[5];
    PlanOperand operand[4];
    PlanInstr instr;
    PlanSegment segment;
} Case;

static void make_case(Case *c, const PlanProduct *p) {
    *c = (Case){.product = *p, .kernel = {.name = "k0", .tiles = 1, .workspace = WORKSPACE}};
    const uint32_t count = p->accumulate == 2 ? 4 : 3;
    for (uint32_t i = 0; i < count; i++)
        c->operand[i] = (PlanOperand){.buffer = i, .bytes = 4};
    c->instr = (PlanInstr){.kind = INSTR_PRODUCT,
                           .operand_count = count,
                           .operand = c->operand,
                           .workspace = 4,
                           .name = "matmul"};
    c->segment = (PlanSegment){.instr_count = 1, .instr = &c->instr};
    c->plan = (Plan){.kernel_count = 1,
                     .kernel = &c->kernel,
                     .product_count = 1,
                     .product = &c->product,
                     .buffer_count = 5,
                     .buffer = c->buffer,
                     .segment_count = 1,
                     .segment = &c->segment};
}

typedef struct {
    CudaDriver cu;
    CuStream stream;
    // a, b, c, a row, workspace, aux, a joint's result: the fake's device memory is the program's.
    char *memory[MEMORIES];
} Gpu;

static void open_gpu(Gpu *g) {
    PlimError error;
    CuContext context;
    if (cuda_driver_open(&g->cu, &error) != PLIM_OK)
        must(false, error.text);
    must(g->cu.context_retain(&context, 0) == 0 && g->cu.context_push(context) == 0 &&
             g->cu.stream_new(&g->stream, CU_STREAM_OWN) == 0,
         "no GPU");
    for (int i = 0; i < MEMORIES; i++) {
        CuAddress at;
        must(g->cu.memory_new(&at, 4 * ELEMENTS) == 0, "no memory");
        g->memory[i] = (char *)(uintptr_t)at;
    }
}

static void close_gpu(Gpu *g) {
    for (int i = 0; i < MEMORIES; i++)
        must(g->cu.memory_free((CuAddress)(uintptr_t)g->memory[i]) == 0, "memory stays");
    must(g->cu.stream_free(g->stream) == 0 && g->cu.context_release(0) == 0, "no end");
    cuda_driver_close(&g->cu);
}

static void check_product(Gpu *g, const PlanProduct *p) {
    Case c;
    CublasTable *t;
    PlimError error;
    static char expected[4 * ELEMENTS];
    make_case(&c, p);
    if (cublas_table_new(cublas_load(&c.plan), &c.plan, "Fake GPU", NULL, &t, &error) != PLIM_OK)
        must(false, error.text);
    const PlanDType type[4] = {p->a, p->b, p->c, p->c};
    for (int o = 0; o < 4; o++)
        for (int64_t i = 0; i < ELEMENTS; i++)
            store(g->memory[o], type[o], i, (float)(draw(5) - 2));
    memcpy(expected, g->memory[2], sizeof expected);
    multiply(p, g->memory, expected);
    must(cublas_table_run(t, 0, (void *const *)g->memory, g->memory[4], g->stream) == CU_SUCCESS &&
             g->cu.stream_synchronize(g->stream) == 0,
         "a product failed");
    // All of it: what is no element of c is as before.
    must(memcmp(expected, g->memory[2], sizeof expected) == 0, "a product is wrong");
    cublas_table_release(t);
}

// A product and the kernel behind it.
typedef struct {
    Case c;
    PlanKernel kernel[2];
    PlanInstr instr[2];
    PlanOperand operand[4];
    PlanJoint joint;
} Pair;

// As often with a row and without, with aux and without, where there can be one.
static void make_pair(Pair *t) {
    PlanProduct p;
    do
        p = draw_product();
    while (p.c_stride[3] != 1);
    p.accumulate = 0;
    p.batch[0] = p.batch[1] = 1;
    p.c_stride[2] = 8 * (1 + draw(3));
    make_case(&t->c, &p);
    PlanJoint *g = &t->joint;
    *g = (PlanJoint){.product = 0, .kernel = 1, .apply = (PlanApply)draw(PLAN_APPLY_COUNT)};
    const bool grad = g->apply == PLAN_APPLY_GELU_GRAD, gelu = g->apply == PLAN_APPLY_GELU;
    uint32_t next = 1; // from stands first
    g->bias = !grad && (g->apply == PLAN_APPLY_NONE || draw(2)) ? next++ : UINT32_MAX;
    g->aux = grad || (gelu && draw(2)) ? next++ : UINT32_MAX;
    g->to = next++;
    for (uint32_t i = 0; i < next; i++)
        t->operand[i] = (PlanOperand){.buffer = i == g->bias ? 3 : 2, .bytes = 4};
    t->kernel[0] = t->c.kernel;
    t->kernel[1] = (PlanKernel){.name = "k1", .tiles = 1};
    t->instr[0] = t->c.instr;
    t->instr[1] = (PlanInstr){
        .kind = INSTR_KERNEL, .kernel = 1, .operand_count = next, .operand = t->operand};
    t->c.segment = (PlanSegment){.instr_count = 2, .instr = t->instr};
    t->c.plan.kernel = t->kernel;
    t->c.plan.kernel_count = 2;
    t->c.plan.joint = g;
    t->c.plan.joint_count = 1;
}

static double apply(PlanApply how, double x, double given) {
    const double c = 0.7978845608028654, u = given * (1 + 0.044715 * given * given);
    const double t = tanh(c * u), slope = c * (1 + 3 * 0.044715 * given * given);
    switch (how) {
    case PLAN_APPLY_RELU:
        return x > 0 ? x : 0;
    case PLAN_APPLY_GELU:
        return 0.5 * x * (1 + t);
    case PLAN_APPLY_GELU_GRAD:
        return x * (0.5 * (1 + t) + 0.5 * given * (1 - t * t) * slope);
    default:
        return x;
    }
}

static bool is_close(const PlanProduct *p, double wanted, float got) {
    return fabs(wanted - (double)got) <= (p->c == PLAN_BF16 ? 5e-3 : 1e-5) * (1 + fabs(wanted));
}

// Each number of the result, and of what is left for the gradient.
static void check_results(const Pair *t, Gpu *g, const char *sums) {
    const PlanProduct *p = &t->c.product;
    const PlanJoint *j = &t->joint;
    const bool grad = j->apply == PLAN_APPLY_GELU_GRAD;
    for (int64_t row = 0; row < p->m; row++)
        for (int64_t column = 0; column < p->n; column++) {
            const int64_t at = place(p->c_stride, 0, 0, row, column);
            double x = (double)load(sums, p->c, at);
            if (j->bias != UINT32_MAX)
                x += (double)load(g->memory[3], p->c, column);
            const float aux = load(g->memory[5], p->c, at);
            must(grad || j->aux == UINT32_MAX || is_close(p, x, aux), "aux is wrong");
            must(is_close(p, apply(j->apply, x, grad ? (double)aux : x),
                          load(g->memory[6], p->c, at)),
                 "a joint is wrong");
        }
}

// Without a file a joint stays apart; with one as that says.
static void check_choice(const Pair *t, CublasTable *table) {
    char path[TEMPORARY_MAX];
    LtAlgorithm candidate[CUBLAS_CANDIDATES_MAX];
    PlimError error;
    temporary_path(path, "plim_joint");
    must(cublas_table_rows(table) == 2 && cublas_joint(table, 1) == &t->joint, "no row of a joint");
    must(!cublas_table_joins(table, &t->joint), "joined by nobody's choice");
    must(cublas_candidates(table, 1, candidate) == 3, "the fake has three algorithms");
    for (int joined = 0; joined < 2; joined++) {
        cublas_choose(table, 1, joined ? &candidate[1] : NULL);
        FILE *out = fopen(path, "w");
        must(out != NULL, "no file");
        cublas_write_head(table, out);
        cublas_write_row(table, 0, 1, out);
        cublas_write_row(table, 1, 2, out);
        fclose(out);
        CublasTable *again;
        must(cublas_table_new(cublas_load(&t->c.plan), &t->c.plan, "Fake GPU", path, &again,
                              &error) == PLIM_OK,
             error.text);
        must(cublas_table_joins(again, &t->joint) == joined, "the file's choice is not taken");
        cublas_table_release(again);
    }
    unlink(path);
}

static void check_joint(Gpu *g) {
    Pair t;
    PlimError error;
    CublasTable *table;
    static char sums[4 * ELEMENTS];
    make_pair(&t);
    const PlanProduct *p = &t.c.product;
    if (cublas_table_new(cublas_load(&t.c.plan), &t.c.plan, "Fake GPU", NULL, &table, &error) !=
        PLIM_OK)
        must(false, error.text);
    const PlanDType type[MEMORIES] = {p->a, p->b, p->c, p->c, p->c, p->c, p->c};
    for (int o = 0; o < MEMORIES; o++)
        for (int64_t i = 0; i < ELEMENTS; i++)
            store(g->memory[o], type[o], i, (float)(draw(5) - 2));
    multiply(p, g->memory, sums);
    check_choice(&t, table);
    void *kernel[4] = {NULL, NULL, NULL, NULL};
    if (t.joint.bias != UINT32_MAX)
        kernel[t.joint.bias] = g->memory[3];
    if (t.joint.aux != UINT32_MAX)
        kernel[t.joint.aux] = g->memory[5];
    kernel[t.joint.to] = g->memory[6];
    must(cublas_table_run_joint(table, &t.joint, (void *const *)g->memory, kernel, g->memory[4],
                                g->stream) == CU_SUCCESS &&
             g->cu.stream_synchronize(g->stream) == 0,
         "a joint failed");
    check_results(&t, g, sums);
    cublas_table_release(table);
}

// Two calls of one product and one kernel, gelu without a row, where only the second keeps what
// gelu is given: two rows, or the first would write there, or the second not.
static void check_kept(Gpu *g) {
    Pair t;
    PlimError error;
    CublasTable *table;
    static char sums[4 * ELEMENTS], before[4 * ELEMENTS];
    do
        make_pair(&t);
    while (t.joint.apply != PLAN_APPLY_GELU || t.joint.bias != UINT32_MAX ||
           t.joint.aux != UINT32_MAX);
    PlanInstr instr[4] = {t.instr[0], t.instr[1], t.instr[0], t.instr[1]};
    PlanJoint joint[2] = {t.joint, t.joint};
    joint[1].product = 2;
    joint[1].kernel = 3;
    joint[1].aux = joint[1].from;
    t.c.segment = (PlanSegment){.instr_count = 4, .instr = instr};
    t.c.plan.joint = joint;
    t.c.plan.joint_count = 2;
    must(cublas_table_new(cublas_load(&t.c.plan), &t.c.plan, "Fake GPU", NULL, &table, &error) ==
             PLIM_OK,
         error.text);
    must(cublas_table_rows(table) == 3 && cublas_joint(table, 1) == &joint[0] &&
             cublas_joint(table, 2) == &joint[1],
         "with aux and without share a row");
    const PlanProduct *p = &t.c.product;
    const PlanDType type[MEMORIES] = {p->a, p->b, p->c, p->c, p->c, p->c, p->c};
    for (int o = 0; o < MEMORIES; o++)
        for (int64_t i = 0; i < ELEMENTS; i++)
            store(g->memory[o], type[o], i, (float)(draw(5) - 2));
    memcpy(before, g->memory[5], sizeof before);
    multiply(p, g->memory, sums);
    void *kernel[2] = {g->memory[5], g->memory[6]};
    for (int i = 0; i < 2; i++) {
        LtAlgorithm candidate[CUBLAS_CANDIDATES_MAX];
        must(cublas_candidates(table, (uint32_t)i + 1, candidate) > 0, "no algorithm");
        cublas_choose(table, (uint32_t)i + 1, &candidate[0]);
        must(cublas_table_run_joint(table, &joint[i], (void *const *)g->memory, kernel,
                                    g->memory[4], g->stream) == CU_SUCCESS &&
                 g->cu.stream_synchronize(g->stream) == 0,
             "a joint failed");
        must(i == 1 || memcmp(before, g->memory[5], sizeof before) == 0, "aux is nobody's");
        t.joint = joint[i];
        check_results(&t, g, sums);
    }
    cublas_table_release(table);
}

static PlimStatus read_back(const Case *c, const char *gpu, const char *path, PlimError *error) {
    CublasTable *t;
    const PlimStatus status =
        cublas_table_new(cublas_load(&c->plan), &c->plan, gpu, path, &t, error);
    cublas_table_release(t);
    return status;
}

static void write_text(const char *path, const char *text) {
    FILE *out = fopen(path, "w");
    must(out && fputs(text, out) >= 0 && fclose(out) == 0, "no file");
}

static void check_files(void) {
    char path[TEMPORARY_MAX];
    temporary_path(path, "plim_tune");
    Case c;
    const PlanProduct p = draw_product();
    make_case(&c, &p);
    CublasTable *t;
    PlimError error;
    must(cublas_table_new(cublas_load(&c.plan), &c.plan, "Fake GPU", NULL, &t, &error) == PLIM_OK,
         error.text);
    LtAlgorithm candidate[CUBLAS_CANDIDATES_MAX];
    const int count = cublas_candidates(t, 0, candidate);
    must(count == 3, "the fake has three algorithms");
    cublas_choose(t, 0, &candidate[2]);
    FILE *out = fopen(path, "w");
    must(out != NULL, "no file");
    cublas_write_head(t, out);
    cublas_write_row(t, 0, 1.5, out);
    fclose(out);
    cublas_table_release(t);
    must(read_back(&c, "Fake GPU", path, &error) == PLIM_OK, error.text);
    must(read_back(&c, "Another GPU", path, &error) == PLIM_OK, "another GPU's file is an error");
    write_text(path, "tune?\n");
    must(read_back(&c, "Fake GPU", path, &error) == PLIM_BAD_INPUT, "any file will do");
    write_text(path, "plimsoll tune 1\nlibrary 130100\ngpu Fake GPU\n1.5 us 12: k\n");
    must(read_back(&c, "Fake GPU", path, &error) == PLIM_BAD_INPUT &&
             strstr(error.text, ":4:") != NULL,
         "a damaged line is not told");
    unlink(path);
    must(read_back(&c, "Fake GPU", path, &error) == PLIM_IO, "a missing file is no error");
}

// Matrices that overlap, or of two types: refused with a sentence before anything runs.
static void check_refusals(void) {
    Case c;
    PlimError error;
    PlanProduct p = draw_product();
    p.k = p.m = 3;
    p.a_stride[2] = p.a_stride[3] = 2;
    make_case(&c, &p);
    must(read_back(&c, "Fake GPU", NULL, &error) == PLIM_MACHINE, "no stride is 1");
    p = draw_product();
    p.b = p.a == PLAN_F32 ? PLAN_BF16 : PLAN_F32;
    make_case(&c, &p);
    must(read_back(&c, "Fake GPU", NULL, &error) == PLIM_MACHINE, "two types are multiplied");
}

// Rows and what gelu leaves begin at multiples of 16 bytes, whatever the library says of others: a
// product with one is refused, and a joint stays apart.
static void check_alignment(void) {
    Case c;
    PlimError error;
    PlanProduct p;
    do
        p = draw_product();
    while (p.accumulate != 2);
    make_case(&c, &p);
    must(read_back(&c, "Fake GPU", NULL, &error) == PLIM_OK, error.text);
    c.operand[3].offset = 8;
    must(read_back(&c, "Fake GPU", NULL, &error) == PLIM_MACHINE &&
             strstr(error.text, "16 bytes") != NULL,
         "a row is added that stands at 8 bytes");
    for (int part = 0; part < 2; part++) {
        Pair t;
        CublasTable *table;
        LtAlgorithm candidate[CUBLAS_CANDIDATES_MAX];
        uint32_t operand;
        do {
            make_pair(&t);
            operand = part == 0 ? t.joint.bias : t.joint.aux;
        } while (operand == UINT32_MAX);
        t.operand[operand].offset = 8;
        must(cublas_table_new(cublas_load(&t.c.plan), &t.c.plan, "Fake GPU", NULL, &table,
                              &error) == PLIM_OK,
             error.text);
        must(cublas_candidates(table, 1, candidate) == 0, "a joint has operands at 8 bytes");
        cublas_table_release(table);
    }
}

int main(void) {
    Gpu g = {0};
    open_gpu(&g);
    for (int i = 0; i < CASES; i++) {
        const PlanProduct p = draw_product();
        check_product(&g, &p);
    }
    for (int i = 0; i < JOINTS; i++)
        check_joint(&g);
    check_kept(&g);
    check_files();
    check_refusals();
    check_alignment();
    close_gpu(&g);
    puts("gpu_products: all well");
    return 0;
}
