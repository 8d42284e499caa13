// Gradients of gradient operators, for what is differentiated twice: grad of grad, and a minimize
// of a loss that a gradient is part of.
//
// silu, gelu, softmax and cross entropy have gradient operators of their own so that one kernel
// computes them. Differentiated again they are written out in plain operators: second derivatives
// are rare, and this way they can be differentiated as often as one likes. With dx = f'(x) dy and u
// the gradient of dx, that of dy is f'(x) u, which is the same operator again, and that of x is
// f''(x) dy u. Norms' and attention's gradients have no such rule: P0550 says so.
#include "ir/op_rules.h"

#include "ir/build.h"

static Value *mul(Builder *b, Value *x, Value *y) {
    return build_binary(b, OP_MUL, x, y);
}

static Value *add(Builder *b, Value *x, Value *y) {
    return build_binary(b, OP_ADD, x, y);
}

static Value *sub(Builder *b, Value *x, Value *y) {
    return build_binary(b, OP_SUB, x, y);
}

// c0 + c1 x
static Value *line(Builder *b, double c0, double c1, Value *x) {
    return add(b, build_scale(b, x, c1), build_constant(b, x->type, c0));
}

// Both operands' gradients of n = f'(x) dy, given f''(x).
static void both(Builder *b, const Node *n, Value *u, Value *second, Value **dinput) {
    dinput[0] = mul(b, mul(b, u, n->input[1]), second);
    dinput[1] = build_binary(b, n->op, n->input[0], u);
}

// s (1 - s) (2 + x (1 - 2 s)), s = sigmoid(x)
void grad_silu_grad(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *x = n->input[0], *s = build_unary(b, OP_SIGMOID, x);
    Value *slope = mul(b, s, line(b, 1, -1, s));
    Value *bend = line(b, 2, 1, mul(b, x, line(b, 1, -2, s)));
    both(b, n, dresult[0], mul(b, slope, bend), dinput);
}

// With t = tanh(v), v = c (x + a x^3), v' = c (1 + 3 a x^2), v'' = 6 c a x:
// (1 - t^2) (v' + x (v'' / 2 - t v'^2))
void grad_gelu_grad(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    const double c = 0.7978845608028654, a = 0.044715; // sqrt(2 / pi), as gelu has them
    Value *x = n->input[0], *squared = mul(b, x, x);
    Value *t = build_unary(b, OP_TANH, mul(b, x, line(b, c, c * a, squared)));
    Value *first = line(b, c, 3 * c * a, squared);
    Value *bend = sub(b, build_scale(b, x, 3 * c * a), mul(b, t, mul(b, first, first)));
    Value *second = mul(b, line(b, 1, -1, mul(b, t, t)), add(b, first, mul(b, x, bend)));
    both(b, n, dresult[0], second, dinput);
}

// (2 - x^2) e^(-x^2 / 2) / sqrt(2 pi)
void grad_gelu_erf_grad(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *x = n->input[0], *squared = mul(b, x, x);
    Value *bell = build_unary(b, OP_EXP, build_scale(b, squared, -0.5));
    Value *second = mul(b, build_scale(b, bell, 0.3989422804014327), line(b, 2, -1, squared));
    both(b, n, dresult[0], second, dinput);
}

// Sums along the last axis, repeated along it.
static Value *row_sum(Builder *b, Value *x) {
    const int last = x->type.rank - 1;
    int axes[RANK_MAX];
    for (int i = 0; i < RANK_MAX; i++)
        axes[i] = i;
    return build_broadcast(b, build_reduce_sum(b, x, &last, 1), &x->type, axes);
}

// (y, dy) -> y (dy - s), s = sum(y dy): to y u (dy - s) - dy sum(y u); to dy the operator again.
void grad_softmax_grad(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *y = n->input[0], *dy = n->input[1], *u = dresult[0];
    Value *off = sub(b, dy, row_sum(b, mul(b, y, dy)));
    dinput[0] = sub(b, mul(b, u, off), mul(b, dy, row_sum(b, mul(b, y, u))));
    dinput[1] = build_binary(b, OP_SOFTMAX_GRAD, y, u);
}

// (logits, target, lse, d) -> d (p - hit), p = e^(logits - lse), nothing where the target is
// negative. To the logits u d p, to lse its sum along the row, negative; to d the sum of u (p -
// hit), which is the operator itself at d = 1.
void grad_cross_entropy_grad(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *x = n->input[0], *target = n->input[1], *lse = n->input[2], *u = dresult[0];
    const int last = x->type.rank - 1;
    int axes[RANK_MAX];
    for (int i = 0; i < RANK_MAX; i++)
        axes[i] = i;
    Value *one = build_constant(b, n->input[3]->type, 1);
    Value *off = build_op(b, n->op, (Value *[]){x, target, lse, one}, 4, NULL, 0);
    Value *along = build_cast(b, mul(b, u, off), DT_F32);
    dinput[3] = build_cast(b, build_reduce_sum(b, along, &last, 1), n->input[3]->type.dtype);
    // Rows without a target have no gradient at all.
    Value *zero = build_constant(b, target->type, 0);
    Value *counts = build_cast(b, build_binary(b, OP_LE, zero, target), DT_F32);
    Value *factor = mul(b, counts, build_cast(b, n->input[3], DT_F32));
    Value *wide = build_cast(b, x, DT_F32);
    Value *p = build_unary(b, OP_EXP, sub(b, wide, build_broadcast(b, lse, &wide->type, axes)));
    Value *share = mul(b, p, build_broadcast(b, factor, &wide->type, axes));
    Value *dx = mul(b, build_cast(b, u, DT_F32), share);
    dinput[0] = build_cast(b, dx, x->type.dtype);
    dinput[2] = build_unary(b, OP_NEG, build_reduce_sum(b, dx, &last, 1));
}

// (base, index, rows): the base's gradient as it is; the rows' where they were added.
void grad_scatter_add(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *index = n->input[1], *u = dresult[0];
    int axes[RANK_MAX];
    for (int i = 0; i < RANK_MAX; i++)
        axes[i] = i;
    Value *rows = build_op(b, OP_GATHER, (Value *[]){u, index}, 2, NULL, 0);
    // A negative index adds nothing, so nothing comes back.
    Value *added = build_binary(b, OP_LE, build_constant(b, index->type, 0), index);
    Value *zero = build_constant(b, rows->type, 0);
    Value *where = build_broadcast(b, added, &rows->type, axes);
    Value *kept = build_op(b, OP_SELECT, (Value *[]){where, rows, zero}, 3, NULL, 0);
    dinput[0] = u;
    dinput[2] = build_cast(b, kept, n->input[2]->type.dtype);
}
