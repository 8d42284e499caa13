// Scalar programs of pointwise operators: one value from the operands at the same point. Values are
// f32, i32 or bool as they come; a multiply-add is fused where it says so and nowhere else.
// Derivatives are exact for the formula of the forward operator.
#include "ir/op_lower.h"

#include "ir/check.h"
#include "ir/lower_math.h"

// What is a row of ops.def and nothing more.
#define LOWER_UNARY(name, KOP)                                                                     \
    void lower_##name(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {               \
        (void)n;                                                                                   \
        out[0] = kb_op1(kb, KOP, in[0]);                                                           \
    }
#define LOWER_BINARY(name, KOP)                                                                    \
    void lower_##name(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {               \
        (void)n;                                                                                   \
        out[0] = kb_op2(kb, KOP, in[0], in[1]);                                                    \
    }

// stop_gradient: the value itself.
void lower_stop(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)kb, (void)n;
    out[0] = in[0];
}

LOWER_UNARY(neg, KOP_NEG)
LOWER_UNARY(abs, KOP_ABS)
LOWER_UNARY(exp, KOP_EXP)
LOWER_UNARY(expm1, KOP_EXPM1)
LOWER_UNARY(log, KOP_LOG)
LOWER_UNARY(sqrt, KOP_SQRT)
LOWER_UNARY(sin, KOP_SIN)
LOWER_UNARY(cos, KOP_COS)
LOWER_UNARY(tanh, KOP_TANH)
LOWER_UNARY(erf, KOP_ERF)
LOWER_UNARY(not, KOP_NOT)
LOWER_BINARY(add, KOP_ADD)
LOWER_BINARY(sub, KOP_SUB)
LOWER_BINARY(mul, KOP_MUL)
LOWER_BINARY(div, KOP_DIV)
LOWER_BINARY(eq, KOP_EQ)
LOWER_BINARY(ne, KOP_NE)
LOWER_BINARY(lt, KOP_LT)
LOWER_BINARY(le, KOP_LE)
LOWER_BINARY(and, KOP_AND)
LOWER_BINARY(or, KOP_OR)

// b < a ? b : a, as the evaluator says: where one is NaN, or they are equal, a.
void lower_min(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    out[0] = kb_op2(kb, KOP_MIN, in[1], in[0]);
}

void lower_max(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    out[0] = kb_op2(kb, KOP_MAX, in[1], in[0]);
}

// 0 in x's type, f32 or i32.
static KRef zero_like(KernelBuilder *kb, KRef x) {
    return kb_dtype(kb, x) == DT_I32 ? kb_int(kb, 0) : kb_float(kb, 0);
}

static KRef one_like(KernelBuilder *kb, KRef x) {
    return kb_dtype(kb, x) == DT_I32 ? kb_int(kb, 1) : kb_float(kb, 1);
}

// x > 0 ? 1 : x < 0 ? -1 : 0; NaN is neither and gives 0.
void lower_sign(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    const KRef zero = zero_like(kb, in[0]), one = one_like(kb, in[0]);
    const KRef minus = kb_op1(kb, KOP_NEG, one);
    const KRef below = kb_op3(kb, KOP_SELECT, kb_op2(kb, KOP_LT, in[0], zero), minus, zero);
    out[0] = kb_op3(kb, KOP_SELECT, kb_op2(kb, KOP_LT, zero, in[0]), one, below);
}

// 1 / sqrt(x): both rounded exactly, no approximation.
void lower_rsqrt(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    out[0] = divide(kb, kb_float(kb, 1), kb_op1(kb, KOP_SQRT, in[0]));
}

// 1 / (1 + e^-x): e^-x may be inf, which gives 0.
static KRef sigmoid(KernelBuilder *kb, KRef x) {
    const KRef one = kb_float(kb, 1);
    return divide(kb, one, add(kb, one, kb_op1(kb, KOP_EXP, kb_op1(kb, KOP_NEG, x))));
}

void lower_sigmoid(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    out[0] = sigmoid(kb, in[0]);
}

// x second: MAX gives its second operand where one is NaN, so NaN stays visible.
void lower_relu(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    out[0] = kb_op2(kb, KOP_MAX, zero_like(kb, in[0]), in[0]);
}

// min(max(x, low), high), where NaN stays NaN.
static KRef clamp(KernelBuilder *kb, KRef x, double low, double high) {
    return kb_op2(kb, KOP_MIN, kb_float(kb, high), kb_op2(kb, KOP_MAX, kb_float(kb, low), x));
}

void lower_relu6(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    out[0] = clamp(kb, in[0], 0, 6);
}

static KRef hard_sigmoid(KernelBuilder *kb, KRef x) {
    return divide(kb, clamp(kb, add(kb, x, kb_float(kb, 3)), 0, 6), kb_float(kb, 6));
}

void lower_hard_sigmoid(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    out[0] = hard_sigmoid(kb, in[0]);
}

void lower_hard_swish(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    out[0] = mul(kb, in[0], hard_sigmoid(kb, in[0]));
}

// x / (1 + e^-x)
void lower_silu(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    out[0] = mul(kb, in[0], sigmoid(kb, in[0]));
}

// d silu = s (1 + x (1 - s)), s = sigmoid(x)
void lower_silu_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    const KRef one = kb_float(kb, 1), x = in[0], s = sigmoid(kb, x);
    // in: x, dy.
    const KRef slope = mul(kb, s, fused(kb, x, sub(kb, one, s), one));
    out[0] = mul(kb, in[1], slope);
}

static const double gelu_scale = 0.7978845608028654; // sqrt(2 / pi)
static const double gelu_cubic = 0.044715;

// 1 + e^(-2 u), u = sqrt(2/pi) (x + 0.044715 x^3). (1 + tanh u) / 2 is one over it, and nothing
// cancels where x is negative.
static KRef gelu_divisor(KernelBuilder *kb, KRef x) {
    const KRef linear = kb_float(kb, -2 * gelu_scale);
    const KRef cubic = kb_float(kb, -2 * gelu_scale * gelu_cubic);
    const KRef inner = mul(kb, x, fused(kb, mul(kb, x, x), cubic, linear));
    return add(kb, kb_float(kb, 1), kb_op1(kb, KOP_EXP, inner));
}

// x (1 + tanh u) / 2
void lower_gelu(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    out[0] = divide(kb, in[0], gelu_divisor(kb, in[0]));
}

// s (1 + 2 x (1 - s) u'), s = (1 + tanh u) / 2, u' = sqrt(2/pi) (1 + 3 0.044715 x^2)
void lower_gelu_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    const KRef one = kb_float(kb, 1), x = in[0];
    const KRef s = divide(kb, one, gelu_divisor(kb, x));
    const KRef twice = kb_float(kb, 2 * gelu_scale);
    const KRef cubic = kb_float(kb, 6 * gelu_scale * gelu_cubic);
    const KRef inner = mul(kb, x, fused(kb, mul(kb, x, x), cubic, twice));
    const KRef slope = mul(kb, s, fused(kb, inner, sub(kb, one, s), one));
    out[0] = mul(kb, in[1], slope);
}

// Phi(x) = (1 + erf(x / sqrt 2)) / 2
static KRef normal_cdf(KernelBuilder *kb, KRef x) {
    const KRef e = kb_op1(kb, KOP_ERF, mul(kb, x, kb_float(kb, 0.7071067811865476)));
    return mul(kb, kb_float(kb, 0.5), add(kb, kb_float(kb, 1), e));
}

// x Phi(x), without approximation but for erf's own.
void lower_gelu_erf(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    out[0] = mul(kb, in[0], normal_cdf(kb, in[0]));
}

// Phi(x) + x phi(x), phi(x) = e^(-x^2 / 2) / sqrt(2 pi)
void lower_gelu_erf_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    const KRef x = in[0];
    // 0.3989... is 1 / sqrt(2 pi).
    const KRef bell = kb_op1(kb, KOP_EXP, mul(kb, kb_float(kb, -0.5), mul(kb, x, x)));
    const KRef phi = mul(kb, kb_float(kb, 0.3989422804014327), bell);
    out[0] = mul(kb, in[1], fused(kb, x, phi, normal_cdf(kb, x)));
}

void lower_select(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    out[0] = kb_op3(kb, KOP_SELECT, in[0], in[1], in[2]);
}

// Types are those in a program, where bf16 is f32 already.
void lower_cast(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    const DType from = kb_dtype(kb, in[0]);
    KRef x = in[0];
    switch (n->result[0].type.dtype) {
    case DT_F32:
    case DT_BF16: // Rounded here, so that a fused user sees what a stored value would be
        x = from == DT_F32 ? x : kb_op1(kb, KOP_TO_F32, x);
        out[0] = n->result[0].type.dtype == DT_BF16 ? kb_op1(kb, KOP_ROUND_BF16, x) : x;
        return;
    case DT_I32:
        out[0] = from == DT_I32 ? x : kb_op1(kb, KOP_TO_I32, x);
        return;
    case DT_BOOL:
        out[0] = from == DT_BOOL ? x : kb_op2(kb, KOP_NE, x, zero_like(kb, x));
        return;
    case DT_COUNT:
        break;
    }
    UNREACHABLE();
}
