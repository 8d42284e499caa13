// Pointwise operators: element by element over operands of one shape.
//
// Gradient rules stand under the derivative they use; y is the operator's own result. They are made
// of pointwise operators again, so fusion turns each into a line or two of a kernel; the three
// gated activations have a gradient operator of their own. What floats can't flow through
// (comparisons, logic, casts to integers) has no gradient.
#include "ir/op_rules.h"

#include "ir/build.h"
#include "ir/check.h"

#include <math.h>
#include <string.h>

// Types.

// neg, abs, sign and relu make sense for integers too.
bool infer_unary(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const bool integers =
        n->op == OP_NEG || n->op == OP_ABS || n->op == OP_SIGN || n->op == OP_RELU;
    *result = n->input[0]->type;
    return (integers && result->dtype == DT_I32) || infer_want_float(n, 0, d, scratch);
}

// From anything to anything.
bool infer_cast(const Node *n, Type *result, Diag *d, Arena *scratch) {
    (void)scratch;
    const char *name = node_text(n, "to", "");
    DType to;
    if (!dtype_find(name, &to))
        return diag_error(d, n->loc, 307, "there is no element type '%s'", name);
    *result = type_with_dtype(n->input[0]->type, to);
    return true;
}

// One or two bools.
bool infer_logic(const Node *n, Type *result, Diag *d, Arena *scratch) {
    *result = n->input[0]->type;
    if (n->input_count == 2 && !infer_want_equal(n, 0, 1, d, scratch))
        return false;
    if (result->dtype != DT_BOOL)
        return diag_error(d, n->loc, 302, "%s wants bool elements, got %s", op_info(n->op)->name,
                          type_text(scratch, result));
    return true;
}

// The gradient operators, softmax's among them, want floats; arithmetic takes integers too.
bool infer_binary(const Node *n, Type *result, Diag *d, Arena *scratch) {
    if (!infer_want_equal(n, 0, 1, d, scratch))
        return false;
    *result = n->input[0]->type;
    const bool arithmetic = n->op == OP_ADD || n->op == OP_SUB || n->op == OP_MUL ||
                            n->op == OP_DIV || n->op == OP_MIN || n->op == OP_MAX;
    if (n->op == OP_SOFTMAX_GRAD && !infer_want_rank(n, 0, 1, d, scratch))
        return false;
    return (arithmetic && result->dtype == DT_I32) || infer_want_float(n, 0, d, scratch);
}

// Two of one type give bool; bools are equal or not, but have no order.
bool infer_compare(const Node *n, Type *result, Diag *d, Arena *scratch) {
    if (!infer_want_equal(n, 0, 1, d, scratch))
        return false;
    *result = type_with_dtype(n->input[0]->type, DT_BOOL);
    const bool ordered = n->op == OP_LT || n->op == OP_LE;
    if (ordered && n->input[0]->type.dtype == DT_BOOL)
        return diag_error(d, n->loc, 302, "%s wants numbers, got %s", op_info(n->op)->name,
                          type_text(scratch, &n->input[0]->type));
    return true;
}

// The condition has the branches' shape; both branches are evaluated, so there is nothing lazy
// here.
bool infer_select(const Node *n, Type *result, Diag *d, Arena *scratch) {
    if (!infer_want_equal(n, 1, 2, d, scratch))
        return false;
    *result = n->input[1]->type;
    return infer_want(n, 0, "a condition", type_with_dtype(*result, DT_BOOL), WANT_EXACT, d,
                      scratch);
}

// Operands have the result's axes; scalars (a learning rate) have none.
bool map_pointwise(const Node *n, IndexMap *out) {
    index_map_init(n, &n->result[0].type, out);
    return true;
}

// Gradients.

static Value *neg(Builder *b, Value *x) {
    return build_unary(b, OP_NEG, x);
}

static Value *mul(Builder *b, Value *x, Value *y) {
    return build_binary(b, OP_MUL, x, y);
}

static Value *zero_like(Builder *b, const Value *x) {
    return build_constant(b, x->type, 0);
}

static Value *select(Builder *b, Value *condition, Value *yes, Value *no) {
    return build_op(b, OP_SELECT, (Value *[]){condition, yes, no}, 3, NULL, 0);
}

// -1
void grad_neg(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    (void)n;
    dinput[0] = neg(b, dresult[0]);
}

// sign(x), so 0 at 0
void grad_abs(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    dinput[0] = mul(b, dresult[0], build_unary(b, OP_SIGN, n->input[0]));
}

// y
void grad_exp(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    dinput[0] = mul(b, dresult[0], &n->result[0]);
}

// y + 1
void grad_expm1(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *dy = dresult[0];
    dinput[0] = build_binary(b, OP_ADD, mul(b, dy, &n->result[0]), dy);
}

// 1 / x
void grad_log(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    dinput[0] = build_binary(b, OP_DIV, dresult[0], n->input[0]);
}

// 1 / (2 y)
void grad_sqrt(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    dinput[0] = build_binary(b, OP_DIV, build_scale(b, dresult[0], 0.5), &n->result[0]);
}

// -y^3 / 2
void grad_rsqrt(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *y = &n->result[0];
    dinput[0] = mul(b, build_scale(b, dresult[0], -0.5), mul(b, y, mul(b, y, y)));
}

// cos x
void grad_sin(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    dinput[0] = mul(b, dresult[0], build_unary(b, OP_COS, n->input[0]));
}

// -sin x
void grad_cos(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    dinput[0] = neg(b, mul(b, dresult[0], build_unary(b, OP_SIN, n->input[0])));
}

// 1 - y^2
void grad_tanh(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *dy = dresult[0], *y = &n->result[0];
    dinput[0] = build_binary(b, OP_SUB, dy, mul(b, dy, mul(b, y, y)));
}

// 2 / sqrt(pi) e^(-x^2)
void grad_erf(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *x = n->input[0];
    Value *bell = build_unary(b, OP_EXP, neg(b, mul(b, x, x)));
    dinput[0] = mul(b, build_scale(b, dresult[0], M_2_SQRTPI), bell);
}

// y (1 - y)
void grad_sigmoid(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *y = &n->result[0], *dy = mul(b, dresult[0], y);
    dinput[0] = build_binary(b, OP_SUB, dy, mul(b, dy, y));
}

// 1 where y > 0: y is what the next layer keeps, so x need not be kept beside it.
void grad_relu(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *zero = zero_like(b, n->input[0]);
    dinput[0] = select(b, build_binary(b, OP_LT, zero, &n->result[0]), dresult[0], zero);
}

// 1 where 0 < y < 6
void grad_relu6(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *y = &n->result[0], *zero = zero_like(b, y), *six = build_constant(b, y->type, 6);
    Value *above = build_binary(b, OP_LT, zero, y), *below = build_binary(b, OP_LT, y, six);
    dinput[0] = select(b, build_binary(b, OP_AND, above, below), dresult[0], zero);
}

// 1 / 6 where 0 < y < 1
void grad_hard_sigmoid(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *y = &n->result[0], *zero = zero_like(b, y), *one = build_constant(b, y->type, 1);
    Value *above = build_binary(b, OP_LT, zero, y), *below = build_binary(b, OP_LT, y, one);
    Value *inner = build_binary(b, OP_AND, above, below);
    dinput[0] = select(b, inner, build_scale(b, dresult[0], 1.0 / 6), zero);
}

// 0 below -3, 1 above 3, between them x / 3 + 1 / 2
void grad_hard_swish(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *x = n->input[0], *dy = dresult[0], *three = build_constant(b, x->type, 3);
    Value *half = build_constant(b, x->type, 0.5);
    Value *slope = build_binary(b, OP_ADD, build_scale(b, x, 1.0 / 3), half);
    Value *inner = select(b, build_binary(b, OP_LT, x, three), mul(b, dy, slope), dy);
    Value *above = build_binary(b, OP_LT, neg(b, three), x);
    dinput[0] = select(b, above, inner, zero_like(b, x));
}

void grad_silu(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    dinput[0] = build_binary(b, OP_SILU_GRAD, n->input[0], dresult[0]);
}

void grad_gelu(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    dinput[0] = build_binary(b, OP_GELU_GRAD, n->input[0], dresult[0]);
}

void grad_gelu_erf(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    dinput[0] = build_binary(b, OP_GELU_ERF_GRAD, n->input[0], dresult[0]);
}

// Rounding counts as the identity.
void grad_cast(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    const DType from = n->input[0]->type.dtype;
    if (dtype_is_float(from) && dtype_is_float(dresult[0]->type.dtype))
        dinput[0] = build_cast(b, dresult[0], from);
}

void grad_add(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    (void)b, (void)n;
    dinput[0] = dinput[1] = dresult[0];
}

void grad_sub(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    (void)n;
    dinput[0] = dresult[0];
    dinput[1] = neg(b, dresult[0]);
}

// b and a
void grad_mul(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    dinput[0] = mul(b, dresult[0], n->input[1]);
    dinput[1] = mul(b, dresult[0], n->input[0]);
}

// 1 / b and -y / b
void grad_div(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    dinput[0] = build_binary(b, OP_DIV, dresult[0], n->input[1]);
    dinput[1] = neg(b, mul(b, dinput[0], &n->result[0]));
}

// All to a where condition holds, else all to b.
static void choose(Builder *b, Value *condition, Value *dy, Value **da, Value **db) {
    Value *zero = zero_like(b, dy);
    *da = select(b, condition, dy, zero);
    *db = select(b, condition, zero, dy);
}

// To a where a <= b
void grad_min(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *first = build_binary(b, OP_LE, n->input[0], n->input[1]);
    choose(b, first, dresult[0], &dinput[0], &dinput[1]);
}

// To a where b <= a
void grad_max(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *first = build_binary(b, OP_LE, n->input[1], n->input[0]);
    choose(b, first, dresult[0], &dinput[0], &dinput[1]);
}

void grad_select(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    choose(b, n->input[0], dresult[0], &dinput[1], &dinput[2]);
}

// Evaluation: one function of doubles an operator, run over all elements.

typedef double (*Function)(double a, double b, double c);

// Missing operands read as 0.
static void run(const Tensor *in, int count, Tensor *out, Function f) {
    const int64_t elements = type_count(&out[0].type);
    for (int64_t i = 0; i < elements; i++)
        out[0].at[i] = f(in[0].at[i], count > 1 ? in[1].at[i] : 0, count > 2 ? in[2].at[i] : 0);
}

static double normal_cdf(double x) {
    return 0.5 * (1 + erf(x * M_SQRT1_2));
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

// The argument of tanh in gelu's approximation: sqrt(2/pi) (x + 0.044715 x^3)
static double gelu_inner(double x) {
    return M_2_SQRTPI * M_SQRT1_2 * (x + 0.044715 * x * x * x);
}

// sigmoid(x) (1 + x (1 - sigmoid(x))) dy
static double silu_grad(double x, double dy) {
    const double s = sigmoid(x);
    return dy * s * (1 + x * (1 - s));
}

static double gelu_grad(double x, double dy) {
    const double t = tanh(gelu_inner(x));
    const double slope = M_2_SQRTPI * M_SQRT1_2 * (1 + 3 * 0.044715 * x * x);
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope);
}

// (Phi(x) + x phi(x)) dy
static double gelu_erf_grad(double x, double dy) {
    const double density = exp(-0.5 * x * x) * 0.5 * M_2_SQRTPI * M_SQRT1_2;
    return dy * (normal_cdf(x) + x * density);
}

// min(max(x + 3, 0), 6) / 6; NaN stays NaN.
static double hard_sigmoid(double x) {
    return x < -3 ? 0 : x > 3 ? 1 : (x + 3) / 6;
}

// An operator's function from an expression of its operands a, b, c.
#define EVALUATE(NAME, COUNT, EXPRESSION)                                                          \
    static double at_##NAME(double a, double b, double c) {                                        \
        (void)a, (void)b, (void)c;                                                                 \
        return EXPRESSION;                                                                         \
    }                                                                                              \
    void evaluate_##NAME(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {        \
        (void)n, (void)cx;                                                                         \
        run(in, COUNT, out, at_##NAME);                                                            \
    }

EVALUATE(sign, 1, (a > 0) - (a < 0))
EVALUATE(exp, 1, exp(a))
EVALUATE(expm1, 1, expm1(a))
EVALUATE(log, 1, log(a))
EVALUATE(sqrt, 1, sqrt(a))
EVALUATE(rsqrt, 1, 1 / sqrt(a))
EVALUATE(sin, 1, sin(a))
EVALUATE(cos, 1, cos(a))
EVALUATE(tanh, 1, tanh(a))
EVALUATE(erf, 1, erf(a))
EVALUATE(sigmoid, 1, sigmoid(a))
EVALUATE(relu, 1, 0 > a ? 0 : a) // NaN stays NaN, as in kernels
EVALUATE(relu6, 1, 0 > a ? 0 : a > 6 ? 6 : a)
EVALUATE(hard_sigmoid, 1, hard_sigmoid(a))
EVALUATE(hard_swish, 1, a *hard_sigmoid(a))
EVALUATE(silu, 1, a *sigmoid(a))
EVALUATE(gelu, 1, 0.5 * a * (1 + tanh(gelu_inner(a))))
EVALUATE(gelu_erf, 1, a *normal_cdf(a))
EVALUATE(cast, 1, a)
EVALUATE(stop, 1, a)
EVALUATE(not, 1, a == 0)
EVALUATE(silu_grad, 2, silu_grad(a, b))
EVALUATE(gelu_grad, 2, gelu_grad(a, b))
EVALUATE(gelu_erf_grad, 2, gelu_erf_grad(a, b))
EVALUATE(min, 2, b < a ? b : a)
EVALUATE(max, 2, b > a ? b : a)
EVALUATE(eq, 2, a == b)
EVALUATE(ne, 2, a != b)
EVALUATE(lt, 2, a < b)
EVALUATE(le, 2, a <= b)
EVALUATE(and, 2, a != 0 && b != 0)
EVALUATE(or, 2, a != 0 || b != 0)
EVALUATE(select, 3, a != 0 ? b : c)

// i32 arithmetic wraps, so it is done in 32 bits without a sign.
static void run_integers(const Tensor *in, int count, Tensor *out,
                         uint32_t (*f)(uint32_t a, uint32_t b)) {
    const int64_t elements = type_count(&out[0].type);
    for (int64_t i = 0; i < elements; i++) {
        const uint32_t a = (uint32_t)(int64_t)in[0].at[i];
        const uint32_t b = count > 1 ? (uint32_t)(int64_t)in[1].at[i] : 0;
        out[0].at[i] = (double)(int32_t)f(a, b);
    }
}

// The same with a second expression for i32.
#define ARITHMETIC(NAME, COUNT, EXPRESSION, INTEGERS)                                              \
    static double at_##NAME(double a, double b, double c) {                                        \
        (void)b, (void)c;                                                                          \
        return EXPRESSION;                                                                         \
    }                                                                                              \
    static uint32_t integer_##NAME(uint32_t a, uint32_t b) {                                       \
        (void)b;                                                                                   \
        return INTEGERS;                                                                           \
    }                                                                                              \
    void evaluate_##NAME(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {        \
        (void)cx;                                                                                  \
        if (n->result[0].type.dtype == DT_I32)                                                     \
            run_integers(in, COUNT, out, integer_##NAME);                                          \
        else                                                                                       \
            run(in, COUNT, out, at_##NAME);                                                        \
    }

ARITHMETIC(neg, 1, -a, 0 - a)
ARITHMETIC(abs, 1, fabs(a), a >> 31 ? 0 - a : a)
ARITHMETIC(add, 2, (a + b), (a + b))
ARITHMETIC(sub, 2, (a - b), (a - b))
ARITHMETIC(mul, 2, (a * b), (a * b))

static double divide(double a, double b, double c) {
    (void)c;
    return a / b;
}

// Truncates; nothing traps: a zero divisor gives 0.
static double divide_integers(double a, double b, double c) {
    (void)c;
    return b == 0 ? 0 : trunc(a / b);
}

void evaluate_div(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    run(in, 2, out, n->result[0].type.dtype == DT_I32 ? divide_integers : divide);
}
