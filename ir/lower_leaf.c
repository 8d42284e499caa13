// Scalar programs of leaves: constants, positions, keyed random draws. A draw depends on its
// element's row-major number in the result, so the kernel's dims are the result's; numbers wrap at
// 2^32.
#include "ir/op_lower.h"

#include "ir/check.h"
#include "ir/evaluate.h"
#include "ir/random_gauss.h"

// Rounded to the tensor's type now: a program's f32 holds a bf16 constant as it would be stored.
void lower_constant(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)in;
    const double value = node_float(n, "value", 0);
    switch (n->result[0].type.dtype) {
    case DT_F32:
    case DT_BF16:
        out[0] = kb_float(kb, dtype_round(n->result[0].type.dtype, value));
        return;
    case DT_I32:
        out[0] = kb_int(kb, (int64_t)dtype_round(DT_I32, value));
        return;
    case DT_BOOL:
        out[0] = kb_bool(kb, value != 0);
        return;
    case DT_COUNT:
        break;
    }
    UNREACHABLE();
}

void lower_iota(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)in;
    const int axis = (int)node_int(n, "axis", 0);
    out[0] = kb_index(kb, axis);
}

// The element's row-major number over all dims of the kernel.
static KRef element_number(KernelBuilder *kb) {
    KRef number = -1;
    for (int d = 0; d < kb_rank(kb); d++) {
        // Its index is always 0.
        if (kb_dim(kb, d) == 1)
            continue;
        const KRef index = kb_index(kb, d);
        if (number < 0) {
            number = index;
            continue;
        }
        const KRef extent = kb_int(kb, kb_dim(kb, d));
        number = kb_op2(kb, KOP_ADD, kb_op2(kb, KOP_MUL, number, extent), index);
    }
    return number < 0 ? kb_int(kb, 0) : number;
}

KRef lower_draw_bits(KernelBuilder *kb, const Node *n, KRef seed, KRef step) {
    const KRef key = kb_imm(kb, kernel_add_imm(kb));
    KRef number = element_number(kb);
    if (node_attr(n, "offset"))
        number = kb_op2(kb, KOP_ADD, number, kb_imm(kb, kernel_add_imm(kb)));
    const KRef bits = kb_random(kb, seed, step, key, number);
    const KRef divisor = kb_int(kb, 256);
    const KRef quotient = kb_op2(kb, KOP_DIV, bits, divisor); // Toward zero
    const KRef rest = kb_op2(kb, KOP_SUB, bits, kb_op2(kb, KOP_MUL, quotient, divisor));
    // A negative remainder: the quotient was cut upwards, so the floor is one less.
    const KRef below = kb_op2(kb, KOP_LT, rest, kb_int(kb, 0));
    const KRef lower = kb_op2(kb, KOP_SUB, quotient, kb_int(kb, 1));
    return kb_op1(kb, KOP_TO_F32, kb_op3(kb, KOP_SELECT, below, lower, quotient));
}

// Draws without a step (in init) are those of step 0.
static KRef draw(KernelBuilder *kb, const Node *n, const KRef *in) {
    return lower_draw_bits(kb, n, in[0], n->input_count > 1 ? in[1] : kb_int(kb, 0));
}

static KRef fused(KernelBuilder *kb, KRef a, KRef b, KRef c) {
    return kb_op3(kb, KOP_FMA, a, b, c);
}

// Operation by operation random_unit of ir/random.c.
void lower_random_uniform(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    const double low = node_float(n, "low", 0), high = node_float(n, "high", 1);
    const KRef unit = fused(kb, draw(kb, n, in), kb_float(kb, 0x1p-24), kb_float(kb, 0.5));
    out[0] = fused(kb, kb_float(kb, high - low), unit, kb_float(kb, low));
}

// A polynomial by Horner's rule.
static KRef horner(KernelBuilder *kb, const float coefficient[GAUSS_TERMS], KRef x) {
    KRef sum = kb_float(kb, (double)coefficient[0]);
    for (int i = 1; i < GAUSS_TERMS; i++)
        sum = fused(kb, sum, x, kb_float(kb, (double)coefficient[i]));
    return sum;
}

// Operation by operation random_gauss of ir/random.c, whose head says whose polynomials these are.
void lower_random_normal(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    const KRef one = kb_float(kb, 1);
    const KRef x = fused(kb, draw(kb, n, in), kb_float(kb, 0x1p-23), kb_float(kb, 0x1p-24));
    const KRef product =
        kb_op2(kb, KOP_MUL, kb_op2(kb, KOP_SUB, one, x), kb_op2(kb, KOP_ADD, one, x));
    const KRef w = kb_op1(kb, KOP_NEG, kb_op1(kb, KOP_LOG, product));
    const KRef near = kb_op2(kb, KOP_SUB, w, kb_float(kb, 2.5));
    const KRef far = kb_op2(kb, KOP_SUB, kb_op1(kb, KOP_SQRT, w), kb_float(kb, 3));
    // Two ranges of w, each with a polynomial; both are computed and one is chosen.
    const KRef p = kb_op3(kb, KOP_SELECT, kb_op2(kb, KOP_LT, w, kb_float(kb, 5)),
                          horner(kb, gauss_middle, near), horner(kb, gauss_tail, far));
    const KRef root_two = kb_float(kb, 1.4142135623730951);
    const KRef gauss = kb_op2(kb, KOP_MUL, kb_op2(kb, KOP_MUL, p, x), root_two);
    const KRef mean = kb_float(kb, node_float(n, "mean", 0));
    out[0] = fused(kb, kb_float(kb, node_float(n, "std", 1)), gauss, mean);
}
