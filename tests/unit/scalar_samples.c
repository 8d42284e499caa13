// Kernels and operands that several tests print and run.
#include "scalar_samples.h"

#include <math.h>
#include <string.h>

uint64_t sample_next(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u;
}

static double unit_random(uint64_t *state) {
    return (double)(sample_next(state) >> 40) / (double)(1 << 24);
}

void sample_fill(DType t, void *at, int64_t count, uint64_t *state) {
    for (int64_t i = 0; i < count; i++) {
        const float f = (float)(2 * unit_random(state) - 1) * 2;
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        if (t == DT_F32)
            ((float *)at)[i] = f;
        else if (t == DT_BF16)
            ((uint16_t *)at)[i] = (uint16_t)(bits >> 16);
        else if (t == DT_I32)
            ((int32_t *)at)[i] = (int32_t)(sample_next(state) % 43) - 2;
        else
            ((uint8_t *)at)[i] = sample_next(state) & 1;
    }
}

double sample_element(DType t, const void *at, int64_t i) {
    float f;
    uint32_t bits;
    switch (t) {
    case DT_F32:
        return (double)((const float *)at)[i];
    case DT_BF16:
        bits = (uint32_t)((const uint16_t *)at)[i] << 16;
        memcpy(&f, &bits, sizeof f);
        return (double)f;
    case DT_I32:
        return ((const int32_t *)at)[i];
    default:
        return ((const uint8_t *)at)[i];
    }
}

void sample_dense(int rank, const int64_t *dim, int64_t *stride) {
    int64_t step = 1;
    for (int d = rank - 1; d >= 0; d--) {
        stride[d] = step;
        step *= dim[d];
    }
}

static int dense_operand(KernelBuilder *kb, DType t, Access access) {
    int64_t dim[KERNEL_DIMS_MAX], stride[KERNEL_DIMS_MAX];
    for (int d = 0; d < kb_rank(kb); d++)
        dim[d] = kb_dim(kb, d);
    sample_dense(kb_rank(kb), dim, stride);
    return kernel_add_operand(kb, t, access, stride);
}

KRef load_dense(KernelBuilder *kb, DType t) {
    return kb_load(kb, dense_operand(kb, t, ACCESS_READ));
}

void store_dense(KernelBuilder *kb, DType t, KRef value) {
    kb_store(kb, dense_operand(kb, t, ACCESS_WRITE), value);
}

Kernel *sample_operation(Arena *a, KOp op, DType type, const int64_t *dim) {
    DType arg[4] = {type, type, type, type}, gives;
    if (op == KOP_SELECT)
        arg[0] = DT_BOOL;
    if (kop_is_effect(op) || kop_is_reduction(op) || op <= KOP_LOAD_AT ||
        !kop_infer(op, arg, &gives))
        return NULL;
    KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, 2, dim);
    KRef x[4] = {0};
    for (int j = 0; j < kop_arity(op); j++)
        x[j] = load_dense(kb, arg[j]);
    // Arguments where the function is defined and small integers where results are compared
    // exactly.
    if (op == KOP_SQRT || op == KOP_LOG)
        x[0] = kb_op1(kb, KOP_ABS, x[0]);
    KRef y;
    if (op == KOP_RANDOM)
        y = kb_random(kb, x[0], x[1], x[2], x[3]);
    else
        y = kop_arity(op) == 1   ? kb_op1(kb, op, x[0])
            : kop_arity(op) == 2 ? kb_op2(kb, op, x[0], x[1])
                                 : kb_op3(kb, op, x[0], x[1], x[2]);
    store_dense(kb, gives, y);
    return kernel_finish(kb);
}

Kernel *sample_layer_norm(Arena *a, const int64_t *dim, DType t) {
    KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, 2, dim);
    const int64_t weight[] = {0, 1}, once[] = {1, 0};
    KRef scale = kb_float(kb, 1.0 / (double)dim[1]), x = load_dense(kb, t);
    KRef mean = kb_op2(kb, KOP_MUL, kb_op1(kb, KOP_SUM, x), scale);
    KRef y = kb_op2(kb, KOP_SUB, x, mean);
    KRef variance = kb_op2(kb, KOP_MUL, kb_op1(kb, KOP_SUM, kb_op2(kb, KOP_MUL, y, y)), scale);
    KRef root = kb_op1(kb, KOP_SQRT, kb_op2(kb, KOP_ADD, variance, kb_float(kb, 1e-2)));
    KRef g = kb_load(kb, kernel_add_operand(kb, DT_F32, ACCESS_READ, weight));
    store_dense(kb, t, kb_op2(kb, KOP_MUL, kb_op2(kb, KOP_DIV, y, root), g));
    kb_store(kb, kernel_add_operand(kb, DT_F32, ACCESS_WRITE, once), variance);
    return kernel_finish(kb);
}

Kernel *sample_softmax(Arena *a, const int64_t *dim, DType t) {
    KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, 2, dim);
    KRef x = load_dense(kb, t);
    KRef e = kb_op1(kb, KOP_EXP, kb_op2(kb, KOP_SUB, x, kb_op1(kb, KOP_MAXIMUM, x)));
    store_dense(kb, t, kb_op2(kb, KOP_DIV, e, kb_op1(kb, KOP_SUM, e)));
    return kernel_finish(kb);
}

Kernel *sample_random(Arena *a, const int64_t *column_counts, int count_of, uint64_t *state) {
    static const KOp unary[] = {KOP_NEG, KOP_ABS, KOP_SIN, KOP_COS, KOP_TANH, KOP_ERF, KOP_EXPM1};
    static const KOp binary[] = {KOP_ADD, KOP_SUB, KOP_MUL, KOP_MIN, KOP_MAX};
    const int64_t dim[] = {1 + (int64_t)(sample_next(state) % 3),
                           1 + (int64_t)(sample_next(state) % 9),
                           column_counts[sample_next(state) % (uint64_t)count_of]};
    const KernelAxis axis = sample_next(state) % 4 == 0 ? KERNEL_COLUMNS : KERNEL_ROWS;
    KernelBuilder *kb = kernel_builder(a, axis, 3, dim);
    KRef known[64];
    int count = 0, reductions = axis == KERNEL_ROWS ? 2 : 0;
    for (int i = 0; i < 3; i++) {
        int64_t stride[3];
        sample_dense(3, dim, stride);
        for (int j = 0; j < 3 && i > 0; j++)
            stride[j] = sample_next(state) % 3 == 0 ? 0 : stride[j];
        known[count++] =
            kb_load(kb, kernel_add_operand(kb, i == 1 ? DT_BF16 : DT_F32, ACCESS_READ, stride));
    }
    for (int i = 0; i < 10; i++) {
        KRef x = known[sample_next(state) % (uint64_t)count],
             y = known[sample_next(state) % (uint64_t)count];
        const int kind = (int)(sample_next(state) % 8);
        if (kind < 3)
            x = kb_op1(kb, unary[sample_next(state) % 7], x);
        else if (kind < 6)
            x = kb_op2(kb, binary[sample_next(state) % 5], x, y);
        else if (kind == 6 || reductions-- <= 0)
            x = kb_op3(kb, KOP_FMA, x, kb_float(kb, 0.5), y);
        else
            x = kb_op2(kb, KOP_MUL, kb_op1(kb, i % 2 ? KOP_SUM : KOP_MAXIMUM, x),
                       kb_float(kb, 1e-3));
        // Bounded again, so that chains don't grow.
        known[count++] =
            kb_op2(kb, KOP_MAX, kb_float(kb, -2), kb_op2(kb, KOP_MIN, x, kb_float(kb, 2)));
    }
    if (axis == KERNEL_ROWS) {
        store_dense(kb, DT_F32, known[count - 1]);
    } else {
        const int64_t once[] = {0, 0, 1};
        kb_store(kb, kernel_add_operand(kb, DT_F32, ACCESS_WRITE, once),
                 kb_op1(kb, KOP_SUM, known[count - 1]));
    }
    return kernel_finish(kb);
}
