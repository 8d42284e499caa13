// cuBLASLt counts matrices column by column. A row-major C = A B is C' = B' A' there, where a
// transposed matrix is the same bytes counted the other way: the library's first operand is our b.
// Where C's columns are contiguous instead, operands keep their places.
//
// Sums are f32 and stay so: no TF32, and partial sums of split products meet in f32. The algorithm
// is chosen once a product, by the library's own rule for its shape and alignment within the plan's
// workspace, and kept: a step never asks, and equal plans compute alike on equal machines.
//
// A row that is added to every row of C is an epilogue: its numbers meet the f32 sums before these
// are rounded. Its address belongs to the operation, so it is set before every call. So is what the
// epilogue of a joint (runtime/plan.h) reads or writes besides. A joint is computed in one only
// where a file of measurements says so: whether that is faster depends on the GPU and the library's
// version, its numbers differ in their last bits, and what nobody measured should neither be slower
// nor change.
#include "runtime/product_cublaslt.h"

#include "runtime/cublaslt_tune.h"
#include "runtime/error.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct CublasLoading {
    pthread_t thread;
    bool threaded; // else cublas_table_new opens it
    CublasLibrary library;
    PlimStatus status;
    PlimError error;
};

// A stored matrix, column-major, and how it is used.
typedef struct {
    int64_t rows, columns, ld;
    int operation; // LT_PLAIN or LT_TRANSPOSED
} Stored;

// Of a product: what its addresses are called here.
enum { PART_A, PART_B, PART_C, PART_BIAS, PART_AUX, PARTS };

// One product, or one product with the kernel behind it, as the library has it.
typedef struct {
    const PlanProduct *plan;
    const PlanJoint *joint; // one of those that it stands for, or NULL
    LtOperation operation;  // NULL: the library has nothing of the kind, of joints
    LtLayout first, second, result;
    bool swapped; // first is our b
    float beta;
    bool bias, aux;
    uint32_t align[PARTS]; // addresses are multiples of so many bytes
    size_t workspace;
    LtAlgorithm algorithm;
    bool joined; // of a joint: it is computed in one, by `algorithm`
} Product;

struct CublasTable {
    const Plan *plan;
    CublasLibrary library;
    LtHandle handle;
    uint32_t row_count;
    Product
        *product;  // by the plan's row; then those with a kernel, each pair with its epilogue once
    uint32_t *row; // by kernel: the product alone
    uint32_t *joint_row; // by joint
    char gpu[128];
};

static void *load_main(void *argument) {
    CublasLoading *l = argument;
    l->status = cublas_library_open(&l->library, &l->error);
    return NULL;
}

CublasLoading *cublas_load(const Plan *p) {
    bool any = false;
    for (uint32_t i = 0; i < p->product_count; i++)
        any = any || p->product[i].library == PLAN_CUBLASLT;
    CublasLoading *l = any ? calloc(1, sizeof *l) : NULL;
    if (l)
        l->threaded = pthread_create(&l->thread, NULL, load_main, l) == 0;
    return l;
}

// The thread has ended.
static void await(CublasLoading *l) {
    if (l->threaded)
        pthread_join(l->thread, NULL);
    else
        load_main(l);
}

void cublas_forget(CublasLoading *loading) {
    if (!loading)
        return;
    await(loading);
    cublas_library_close(&loading->library);
    free(loading);
}

// Element (r, c) stands at r * row_step + c * column_step. False where the library can't count it
// so.
static bool find_stored(int64_t rows, int64_t columns, int64_t row_step, int64_t column_step,
                        Stored *out) {
    // A step along an extent of 1 means nothing.
    if ((row_step == 1 || rows == 1) && (column_step >= rows || columns == 1)) {
        const int64_t ld = column_step > rows ? column_step : rows;
        *out = (Stored){rows, columns, columns == 1 ? rows : ld, LT_PLAIN};
        return true;
    }
    if ((column_step == 1 || columns == 1) && (row_step >= columns || rows == 1)) {
        const int64_t ld = row_step > columns ? row_step : columns;
        *out = (Stored){columns, rows, rows == 1 ? columns : ld, LT_TRANSPOSED};
        return true;
    }
    return false;
}

// Two batch dims as one. False where their steps don't join.
static bool join_batch(const PlanProduct *p, const int64_t stride[4], int64_t *out) {
    *out = p->batch[1] == 1 ? stride[0] : stride[1];
    return p->batch[0] == 1 || p->batch[1] == 1 || stride[0] == p->batch[1] * stride[1];
}

static int lt_type(PlanDType t) {
    return t == PLAN_BF16 ? LT_TYPE_BF16 : LT_TYPE_F32;
}

static int new_layout(const CublasTable *t, const PlanProduct *p, PlanDType dtype, const Stored *s,
                      int64_t stride, LtLayout *out) {
    const CublasLibrary *lt = &t->library;
    const int32_t batch = (int32_t)(p->batch[0] * p->batch[1]);
    int status =
        lt->layout_new(out, lt_type(dtype), (uint64_t)s->rows, (uint64_t)s->columns, s->ld);
    if (status == 0 && batch > 1)
        status = lt->layout_set(*out, LT_LAYOUT_BATCH, &batch, sizeof batch);
    if (status == 0 && batch > 1)
        status = lt->layout_set(*out, LT_LAYOUT_BATCH_STRIDE, &stride, sizeof stride);
    return status;
}

// False where the matrices are none that the library multiplies.
static bool find_layouts(const PlanProduct *p, Product *out, Stored s[3], int64_t stride[3]) {
    const int64_t *a = p->a_stride, *b = p->b_stride, *c = p->c_stride;
    Stored of_a, of_b;
    int64_t batch_a, batch_b;
    if (!join_batch(p, a, &batch_a) || !join_batch(p, b, &batch_b) || !join_batch(p, c, &stride[2]))
        return false;
    // C' [n, m] plain, or else C [m, n] itself.
    out->swapped = find_stored(p->n, p->m, c[3], c[2], &s[2]) && s[2].operation == LT_PLAIN;
    const bool found = out->swapped ? find_stored(p->k, p->m, a[3], a[2], &of_a) &&
                                          find_stored(p->n, p->k, b[3], b[2], &of_b)
                                    : find_stored(p->m, p->n, c[2], c[3], &s[2]) &&
                                          s[2].operation == LT_PLAIN &&
                                          find_stored(p->m, p->k, a[2], a[3], &of_a) &&
                                          find_stored(p->k, p->n, b[2], b[3], &of_b);
    if (!found)
        return false;
    s[0] = out->swapped ? of_b : of_a;
    s[1] = out->swapped ? of_a : of_b;
    stride[0] = out->swapped ? batch_b : batch_a;
    stride[1] = out->swapped ? batch_a : batch_b;
    return true;
}

// The addresses that belong to the operation.
static int set_addresses(const CublasLibrary *lt, const Product *x, const void *bias,
                         const void *aux) {
    int status = 0;
    if (x->bias)
        status = lt->operation_set(x->operation, LT_OPERATION_BIAS, &bias, sizeof bias);
    if (x->aux && status == 0)
        status = lt->operation_set(x->operation, LT_OPERATION_AUX, &aux, sizeof aux);
    return status;
}

static uint32_t epilogue_of(const Product *x) {
    static const uint32_t apply[PLAN_APPLY_COUNT] = {[PLAN_APPLY_RELU] = LT_EPILOGUE_RELU,
                                                     [PLAN_APPLY_GELU] = LT_EPILOGUE_GELU,
                                                     [PLAN_APPLY_GELU_GRAD] =
                                                         LT_EPILOGUE_GELU_GRAD};
    return (x->joint ? apply[x->joint->apply] : 0) | (x->bias ? LT_EPILOGUE_BIAS : 0) |
           (x->aux ? LT_EPILOGUE_AUX : 0);
}

// Where an epilogue's own operands have to begin. The library asks their addresses how they are
// aligned, but versions of it take 16 bytes at a time in any case, and the kernel ends with a
// misaligned address (PyTorch's pull request 194497; others found the same before).
enum { EPILOGUE_ALIGNMENT = 16 };

static bool is_epilogue_aligned(const Product *x) {
    return (!x->bias || x->align[PART_BIAS] >= EPILOGUE_ALIGNMENT) &&
           (!x->aux || x->align[PART_AUX] >= EPILOGUE_ALIGNMENT);
}

// No address is known yet: algorithms are chosen for such that are aligned no better than any will
// be. They are never read through.
static int describe_epilogue(const CublasLibrary *lt, const Product *x) {
    const uint32_t epilogue = epilogue_of(x);
    const int64_t ld = x->plan->c_stride[2];
    int status = 0;
    if (epilogue)
        status = lt->operation_set(x->operation, LT_OPERATION_EPILOGUE, &epilogue, sizeof epilogue);
    if (x->aux && status == 0)
        status = lt->operation_set(x->operation, LT_OPERATION_AUX_LD, &ld, sizeof ld);
    if (status != 0)
        return status;
    return set_addresses(lt, x, (const void *)(uintptr_t)x->align[PART_BIAS],
                         (const void *)(uintptr_t)x->align[PART_AUX]);
}

static int describe(const CublasTable *t, const Stored s[3], const int64_t stride[3],
                    Product *out) {
    const CublasLibrary *lt = &t->library;
    const PlanProduct *p = out->plan;
    int status = lt->operation_new(&out->operation, LT_COMPUTE_F32, LT_TYPE_F32);
    if (status == 0)
        status = lt->operation_set(out->operation, LT_OPERATION_TRANSPOSE_A, &s[0].operation,
                                   sizeof s[0].operation);
    if (status == 0)
        status = lt->operation_set(out->operation, LT_OPERATION_TRANSPOSE_B, &s[1].operation,
                                   sizeof s[1].operation);
    if (status == 0)
        status = new_layout(t, p, out->swapped ? p->b : p->a, &s[0], stride[0], &out->first);
    if (status == 0)
        status = new_layout(t, p, out->swapped ? p->a : p->b, &s[1], stride[1], &out->second);
    if (status == 0)
        status = new_layout(t, p, p->c, &s[2], stride[2], &out->result);
    return status == 0 ? describe_epilogue(lt, out) : status;
}

// The operand in a part of the product, or of the product with the joint's kernel; NULL: none.
static const PlanOperand *part_of(const PlanInstr *instr, const PlanJoint *g, int part) {
    if (!g || part < PART_C)
        return (uint32_t)part < instr->operand_count ? &instr->operand[part] : NULL;
    const uint32_t operand = part == PART_C ? g->to : part == PART_BIAS ? g->bias : g->aux;
    return operand == UINT32_MAX ? NULL : &instr[g->kernel - g->product].operand[operand];
}

// Where the kernel's operands stand belongs to it, but whether a result is kept, and so aux, to the
// call.
static bool is_same_epilogue(const PlanJoint *a, const PlanJoint *b) {
    return a->apply == b->apply && a->from == b->from && a->to == b->to && a->bias == b->bias &&
           a->aux == b->aux;
}

// The instruction is the row's product, with its kernel where it is a joint's.
static bool is_of_row(const Plan *p, const Product *x, uint32_t segment, uint32_t index) {
    const PlanInstr *instr = &p->segment[segment].instr[index];
    if (instr->kind != INSTR_PRODUCT || instr->kernel != x->plan->kernel)
        return false;
    if (!x->joint)
        return true;
    const PlanJoint *g = plan_joint_at(p, segment, index);
    return g && g->product == index && is_same_epilogue(g, x->joint) &&
           p->segment[segment].instr[g->kernel].kernel ==
               p->segment[x->joint->segment].instr[x->joint->kernel].kernel;
}

// Bytes from one matrix of a batch to the next ones, or'ed.
static uint64_t batch_bits(const PlanProduct *p, int part) {
    const int64_t *const stride[3] = {p->a_stride, p->b_stride, p->c_stride};
    const PlanDType dtype[3] = {p->a, p->b, p->c};
    uint64_t bits = 0;
    for (int i = 0; i < 2 && part <= PART_C; i++)
        bits |= p->batch[i] > 1 ? (uint64_t)stride[part][i] * plan_dtype_bytes(dtype[part]) : 0;
    return bits;
}

// The lowest bit that any address of the part may have, of any matrix of a batch, at most 256.
static void find_alignment(const Plan *p, Product *out) {
    uint64_t bits[PARTS];
    for (int o = 0; o < PARTS; o++)
        bits[o] = 256 | batch_bits(out->plan, o);
    for (uint32_t s = 0; s < p->segment_count; s++)
        for (uint32_t i = 0; i < p->segment[s].instr_count; i++)
            for (int o = 0; o < PARTS && is_of_row(p, out, s, i); o++) {
                const PlanJoint *g = out->joint ? plan_joint_at(p, s, i) : NULL;
                const PlanOperand *x = part_of(&p->segment[s].instr[i], g, o);
                if (x)
                    bits[o] |= (p->buffer[x->buffer].offset + x->offset) | x->slot_bytes;
            }
    for (int o = 0; o < PARTS; o++)
        out->align[o] = (uint32_t)(bits[o] & -bits[o]);
}

// Up to `most` algorithms that compute the product within its workspace; their number, 0 for none.
static int list_choices(const CublasTable *t, uint32_t row, int most, LtChoice *out) {
    const CublasLibrary *lt = &t->library;
    const Product *x = &t->product[row];
    const uint64_t workspace = x->workspace;
    const bool exact = x->plan->c == PLAN_F32;
    // Where the result is bf16, partial sums must not be rounded to it.
    const uint32_t reductions = LT_REDUCTION_IN_F32 | (exact ? LT_REDUCTION_IN_PLACE : 0);
    const uint32_t align[4] = {x->align[x->swapped], x->align[!x->swapped], x->align[2],
                               x->align[2]};
    LtPreference preference = NULL;
    int count = 0;
    int status = x->operation ? lt->preference_new(&preference) : -1;
    if (status == 0)
        status =
            lt->preference_set(preference, LT_PREFERENCE_WORKSPACE, &workspace, sizeof workspace);
    if (status == 0)
        status = lt->preference_set(preference, LT_PREFERENCE_REDUCTIONS, &reductions,
                                    sizeof reductions);
    for (int i = 0; i < 4 && status == 0; i++)
        status = lt->preference_set(preference, LT_PREFERENCE_ALIGNMENT_A + i, &align[i],
                                    sizeof align[i]);
    if (status == 0)
        status = lt->choose(t->handle, x->operation, x->first, x->second, x->result, x->result,
                            preference, most, out, &count);
    if (preference)
        (void)lt->preference_free(preference);
    // Those that can't run, or want more than they may have, are left out.
    int kept = 0;
    for (int i = 0; i < count && i < most && status == 0; i++)
        if (out[i].status == 0 && out[i].workspace <= x->workspace)
            out[kept++] = out[i];
    return kept;
}

static PlimStatus cannot(const PlanProduct *p, const char *why, PlimError *error) {
    return error_set(error, PLIM_MACHINE,
                     "cuBLASLt can't compute the product %lld x %lld x %lld of %s and %s: %s",
                     (long long)p->m, (long long)p->k, (long long)p->n, plan_dtype_name(p->a),
                     plan_dtype_name(p->b), why);
}

static PlimStatus prepare(CublasTable *t, uint32_t row, PlimError *error) {
    const PlanProduct *p = &t->plan->product[row];
    Product *x = &t->product[row];
    Stored s[3];
    int64_t stride[3];
    t->row[p->kernel] = row;
    *x = (Product){.plan = p,
                   .beta = p->accumulate == 1 ? 1 : 0,
                   .bias = p->accumulate == 2,
                   .workspace = (size_t)t->plan->kernel[p->kernel].workspace};
    if (p->a != p->b || p->batch[0] > INT32_MAX / p->batch[1] || !find_layouts(p, x, s, stride))
        return cannot(p, "its operands are none that it knows", error);
    // The library adds to columns of what it computes, and those are our rows only where it is C'.
    if (x->bias && !x->swapped)
        return cannot(p, "it adds no row to such a result", error);
    find_alignment(t->plan, x);
    if (!is_epilogue_aligned(x))
        return cannot(p, "the row that it adds must begin at a multiple of 16 bytes", error);
    const int status = describe(t, s, stride, x);
    LtChoice choice;
    char why[64];
    snprintf(why, sizeof why, "status %d", status);
    if (status != 0)
        return cannot(p, why, error);
    if (list_choices(t, row, 1, &choice) < 1)
        return cannot(p, "it has no algorithm within the plan's workspace", error);
    x->algorithm = choice.algorithm;
    return PLIM_OK;
}

// The row of a joint, a new one where none is of the same kernels and parts. What the library
// refuses is computed apart.
static uint32_t prepare_joint(CublasTable *t, const PlanJoint *g) {
    const Plan *p = t->plan;
    for (uint32_t i = p->product_count; i < t->row_count; i++)
        if (is_of_row(p, &t->product[i], g->segment, g->product))
            return i;
    const PlanInstr *instr = &p->segment[g->segment].instr[g->product];
    const Product *alone = &t->product[t->row[instr->kernel]];
    Product *x = &t->product[t->row_count];
    Stored s[3];
    int64_t stride[3];
    *x = (Product){.plan = alone->plan,
                   .joint = g,
                   .bias = g->bias != UINT32_MAX,
                   .aux = g->aux != UINT32_MAX,
                   .workspace = alone->workspace};
    find_alignment(p, x);
    // Rows of ours are the library's columns only where it computes C'.
    if (is_epilogue_aligned(x) && find_layouts(x->plan, x, s, stride) && x->swapped &&
        describe(t, s, stride, x) != 0 && x->operation) {
        (void)t->library.operation_free(x->operation);
        x->operation = NULL;
    }
    return t->row_count++;
}

// The line of a product in a file of measurements: everything that its best algorithm depends on.
static void key_of(const CublasTable *t, uint32_t row, char out[TUNE_KEY_MAX]) {
    const Product *x = &t->product[row];
    const PlanProduct *p = x->plan;
    int used =
        snprintf(out, TUNE_KEY_MAX, "%s %s %s %lld,%lld %lld,%lld,%lld", plan_dtype_name(p->a),
                 plan_dtype_name(p->b), plan_dtype_name(p->c), (long long)p->batch[0],
                 (long long)p->batch[1], (long long)p->m, (long long)p->n, (long long)p->k);
    const int64_t *const stride[3] = {p->a_stride, p->b_stride, p->c_stride};
    for (int i = 0; i < 3; i++)
        used += snprintf(out + used, (size_t)(TUNE_KEY_MAX - used), " %lld,%lld,%lld,%lld",
                         (long long)stride[i][0], (long long)stride[i][1], (long long)stride[i][2],
                         (long long)stride[i][3]);
    static const char *const adds[] = {"set", "add", "row"};
    used += snprintf(out + used, (size_t)(TUNE_KEY_MAX - used), " %u,%u,%u %s", x->align[0],
                     x->align[1], x->align[2], adds[p->accumulate]);
    static const char *const applies[PLAN_APPLY_COUNT] = {"bias", "relu", "gelu", "gelu_grad"};
    if (x->joint)
        used +=
            snprintf(out + used, (size_t)(TUNE_KEY_MAX - used), " %s", applies[x->joint->apply]);
    if (x->bias)
        used += snprintf(out + used, (size_t)(TUNE_KEY_MAX - used), " %u", x->align[PART_BIAS]);
    if (x->aux)
        used += snprintf(out + used, (size_t)(TUNE_KEY_MAX - used), " aux %u", x->align[PART_AUX]);
    snprintf(out + used, (size_t)(TUNE_KEY_MAX - used), " %zu", x->workspace);
}

// The file's algorithms for the products it knows. One that the library refuses is a damaged
// file's.
static PlimStatus take_measured(CublasTable *t, const char *path, PlimError *error) {
    TuneFile *f = NULL;
    const PlimStatus status = tune_read(path, t->library.version(), t->gpu, &f, error);
    if (status != PLIM_OK || !f)
        return status;
    PlimStatus good = PLIM_OK;
    for (uint32_t i = 0; i < t->row_count && good == PLIM_OK; i++) {
        char key[TUNE_KEY_MAX];
        Product *x = &t->product[i];
        LtChoice choice = {.status = -1};
        if (!x->operation)
            continue;
        key_of(t, i, key);
        const LtAlgorithm *algorithm = tune_find(f, key);
        if (!algorithm)
            continue;
        const int checked = t->library.check(t->handle, x->operation, x->first, x->second,
                                             x->result, x->result, algorithm, &choice);
        if (checked != 0 || choice.workspace > x->workspace)
            good =
                error_set(error, PLIM_BAD_INPUT,
                          "%s: cuBLASLt refuses the algorithm for %s: run tune again", path, key);
        else
            cublas_choose(t, i, algorithm);
    }
    tune_release(f);
    return good;
}

PlimStatus cublas_table_new(CublasLoading *loading, const Plan *p, const char *gpu,
                            const char *tune, CublasTable **out, PlimError *error) {
    *out = NULL;
    if (!loading)
        return PLIM_OK;
    await(loading);
    CublasTable *t = loading->status == PLIM_OK ? calloc(1, sizeof *t) : NULL;
    if (t) {
        t->plan = p;
        t->library = loading->library;
        loading->library = (CublasLibrary){0};
        t->row_count = p->product_count;
        t->product = calloc((size_t)p->product_count + p->joint_count + 1, sizeof *t->product);
        t->row = malloc(((size_t)p->kernel_count + 1) * sizeof *t->row);
        t->joint_row = malloc(((size_t)p->joint_count + 1) * sizeof *t->joint_row);
        snprintf(t->gpu, sizeof t->gpu, "%s", gpu);
        *out = t;
    }
    PlimStatus status = loading->status;
    if (status != PLIM_OK)
        *error = loading->error;
    else if (!t || !t->product || !t->row || !t->joint_row)
        status = error_set(error, PLIM_NO_MEMORY, "out of memory preparing products");
    else if (t->library.open(&t->handle) != 0) {
        t->handle = NULL;
        status = error_set(error, PLIM_MACHINE, "cuBLASLt does not start on this GPU");
    }
    cublas_library_close(&loading->library);
    free(loading);
    if (status != PLIM_OK)
        return status;
    for (uint32_t i = 0; i < p->kernel_count; i++)
        t->row[i] = UINT32_MAX;
    for (uint32_t i = 0; i < p->product_count && status == PLIM_OK; i++)
        if (p->product[i].library == PLAN_CUBLASLT)
            status = prepare(t, i, error);
    for (uint32_t i = 0; i < p->joint_count && status == PLIM_OK; i++)
        t->joint_row[i] = prepare_joint(t, &p->joint[i]);
    return status == PLIM_OK && tune ? take_measured(t, tune, error) : status;
}

void cublas_table_release(CublasTable *t) {
    if (!t)
        return;
    const CublasLibrary *lt = &t->library;
    for (uint32_t i = 0; t->product && i < t->row_count; i++) {
        const Product *x = &t->product[i];
        const LtLayout layout[3] = {x->first, x->second, x->result};
        for (int k = 0; k < 3; k++)
            if (layout[k])
                (void)lt->layout_free(layout[k]);
        if (x->operation)
            (void)lt->operation_free(x->operation);
    }
    if (t->handle)
        (void)lt->close(t->handle);
    cublas_library_close(&t->library);
    free(t->product);
    free(t->row);
    free(t->joint_row);
    free(t);
}

uint32_t cublas_table_row(const CublasTable *t, uint32_t kernel) {
    return t ? t->row[kernel] : UINT32_MAX;
}

static CuResult run_product(const CublasTable *t, const Product *x, void *const part[PARTS],
                            void *workspace, CuStream stream) {
    const float one = 1;
    int status = set_addresses(&t->library, x, part[PART_BIAS], part[PART_AUX]);
    if (status == 0)
        status = t->library.multiply(t->handle, x->operation, &one, part[x->swapped], x->first,
                                     part[!x->swapped], x->second, &x->beta, part[PART_C],
                                     x->result, part[PART_C], x->result, &x->algorithm, workspace,
                                     workspace ? x->workspace : 0, stream);
    return status == 0 ? CU_SUCCESS : CUBLAS_ERROR + status;
}

CuResult cublas_table_run(const CublasTable *t, uint32_t kernel, void *const *operand,
                          void *workspace, CuStream stream) {
    const Product *x = &t->product[t->row[kernel]];
    void *const part[PARTS] = {operand[0], operand[1], operand[2], x->bias ? operand[3] : NULL};
    return run_product(t, x, part, workspace, stream);
}

bool cublas_table_joins(const CublasTable *t, const PlanJoint *g) {
    return t->product[t->joint_row[g - t->plan->joint]].joined;
}

CuResult cublas_table_run_joint(const CublasTable *t, const PlanJoint *g, void *const *product,
                                void *const *kernel, void *workspace, CuStream stream) {
    void *const part[PARTS] = {product[0], product[1], kernel[g->to],
                               g->bias == UINT32_MAX ? NULL : kernel[g->bias],
                               g->aux == UINT32_MAX ? NULL : kernel[g->aux]};
    return run_product(t, &t->product[t->joint_row[g - t->plan->joint]], part, workspace, stream);
}

uint32_t cublas_table_rows(const CublasTable *t) {
    return t->row_count;
}

const PlanJoint *cublas_joint(const CublasTable *t, uint32_t row) {
    return t->product[row].joint;
}

int cublas_candidates(const CublasTable *t, uint32_t row, LtAlgorithm out[CUBLAS_CANDIDATES_MAX]) {
    LtChoice choice[CUBLAS_CANDIDATES_MAX];
    const int count = list_choices(t, row, CUBLAS_CANDIDATES_MAX, choice);
    for (int i = 0; i < count; i++)
        out[i] = choice[i].algorithm;
    return count;
}

void cublas_choose(CublasTable *t, uint32_t row, const LtAlgorithm *algorithm) {
    Product *x = &t->product[row];
    x->joined = x->joint && algorithm;
    if (algorithm)
        x->algorithm = *algorithm;
}

void cublas_write_head(const CublasTable *t, FILE *out) {
    tune_write_head(t->library.version(), t->gpu, out);
}

void cublas_write_row(const CublasTable *t, uint32_t row, double microseconds, FILE *out) {
    char key[TUNE_KEY_MAX];
    key_of(t, row, key);
    const Product *x = &t->product[row];
    tune_write_line(key, &x->algorithm, x->joint && !x->joined ? TUNE_APART : TUNE_TAKEN,
                    microseconds, out);
}
