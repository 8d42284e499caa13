// Scalar programs with reductions: along the last axis (softmax, norms, cross entropy, reduce) or
// down the rows (parameter gradients). Statistics are f32. Means divide the sum exactly; the
// variance is taken in a second pass over the differences, population variance. Also rotary, which
// reads the other half of its row.
#include "ir/op_lower.h"

#include "ir/check.h"
#include "ir/lower_math.h"

static KRef sum(KernelBuilder *kb, KRef x) {
    return kb_op1(kb, KOP_SUM, x);
}

// Sum along the row over its length.
static KRef mean(KernelBuilder *kb, KRef x) {
    return divide(kb, sum(kb, x), kb_float(kb, (double)kb_dim(kb, kb_rank(kb) - 1)));
}

// 1 / sqrt(variance + eps)
static KRef inverse_deviation(KernelBuilder *kb, const Node *n, KRef variance) {
    const KRef eps = kb_float(kb, node_float(n, "eps", 0));
    return divide(kb, kb_float(kb, 1), kb_op1(kb, KOP_SQRT, add(kb, variance, eps)));
}

void lower_reduce_sum(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    out[0] = sum(kb, in[0]);
}

void lower_reduce_max(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    out[0] = kb_op1(kb, KOP_MAXIMUM, in[0]);
}

void lower_softmax(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    const KRef e = kb_op1(kb, KOP_EXP, sub(kb, in[0], kb_op1(kb, KOP_MAXIMUM, in[0])));
    out[0] = mul(kb, e, divide(kb, kb_float(kb, 1), sum(kb, e)));
}

// (y, dy) -> y (dy - sum y dy)
void lower_softmax_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    out[0] = mul(kb, in[0], sub(kb, in[1], sum(kb, mul(kb, in[0], in[1]))));
}

// (x, weight, bias) -> (y, mean, rstd)
void lower_layernorm(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    const KRef middle = mean(kb, in[0]);
    const KRef off = sub(kb, in[0], middle);
    const KRef rstd = inverse_deviation(kb, n, mean(kb, mul(kb, off, off)));
    out[0] = fused(kb, mul(kb, off, rstd), in[1], in[2]);
    out[1] = middle;
    out[2] = rstd;
}

// (dy, x, weight, mean, rstd): with g = dy weight and h = (x - mean) rstd,
// dx = rstd (g - mean(g) - h mean(g h))
void lower_layernorm_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    const KRef g = mul(kb, in[0], in[2]);
    const KRef h = mul(kb, sub(kb, in[1], in[3]), in[4]);
    const KRef along = mean(kb, mul(kb, g, h));
    out[0] = mul(kb, in[4], sub(kb, sub(kb, g, mean(kb, g)), mul(kb, h, along)));
}

// (dy, x, mean, rstd) -> (dweight, dbias), down the rows
void lower_layernorm_param_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    out[0] = sum(kb, mul(kb, in[0], mul(kb, sub(kb, in[1], in[2]), in[3])));
    out[1] = sum(kb, in[0]);
}

// (x, weight) -> (y, rstd)
void lower_rmsnorm(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    const KRef rstd = inverse_deviation(kb, n, mean(kb, mul(kb, in[0], in[0])));
    out[0] = mul(kb, mul(kb, in[0], rstd), in[1]);
    out[1] = rstd;
}

// (dy, x, weight, rstd): with g = dy weight and h = x rstd, dx = rstd (g - h mean(g h))
void lower_rmsnorm_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    const KRef g = mul(kb, in[0], in[2]);
    const KRef h = mul(kb, in[1], in[3]);
    out[0] = mul(kb, in[3], sub(kb, g, mul(kb, h, mean(kb, mul(kb, g, h)))));
}

// (dy, x, rstd) -> dweight, down the rows
void lower_rmsnorm_param_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    out[0] = sum(kb, mul(kb, in[0], mul(kb, in[1], in[2])));
}

// Whether this column is the target's, and whether the row counts at all.
static KRef is_target(KernelBuilder *kb, KRef target) {
    return kb_op2(kb, KOP_EQ, kb_index(kb, kb_rank(kb) - 1), target);
}

static KRef is_ignored(KernelBuilder *kb, KRef target) {
    return kb_op2(kb, KOP_LT, target, kb_int(kb, 0));
}

// (logits, target) -> (loss, lse): with m the maximum and s = sum e^(x - m), lse = m + log s and
// loss = log s - (x[target] - m). The target's logit is a masked sum, so that the program fuses.
void lower_cross_entropy(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    const KRef most = kb_op1(kb, KOP_MAXIMUM, in[0]);
    const KRef off = sub(kb, in[0], most);
    const KRef log_sum = kb_op1(kb, KOP_LOG, sum(kb, kb_op1(kb, KOP_EXP, off)));
    const KRef zero = kb_float(kb, 0);
    const KRef picked = sum(kb, kb_op3(kb, KOP_SELECT, is_target(kb, in[1]), off, zero));
    out[0] = kb_op3(kb, KOP_SELECT, is_ignored(kb, in[1]), zero, sub(kb, log_sum, picked));
    out[1] = add(kb, most, log_sum);
}

// (logits, target, lse, dloss) -> (e^(x - lse) - [column is target]) dloss
void lower_cross_entropy_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    const KRef zero = kb_float(kb, 0), one = kb_float(kb, 1);
    const KRef p = kb_op1(kb, KOP_EXP, sub(kb, in[0], in[2]));
    const KRef hit = kb_op3(kb, KOP_SELECT, is_target(kb, in[1]), one, zero);
    const KRef counted = kb_op3(kb, KOP_SELECT, is_ignored(kb, in[1]), zero, in[3]);
    out[0] = mul(kb, sub(kb, p, hit), counted);
}

// Halves a, b of a row: (a cos - b sin, b cos + a sin); inverse turns sin around. x is read at its
// own place and half a row away.
void lower_rotary(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)in;
    const int rank = kb_rank(kb), last = rank - 1;
    const int64_t e = kb_dim(kb, last), half = e / 2;
    CHECK(rank >= 2 && n->input[0]->type.rank >= 2);
    const KSource x = kb_source(kb, 0), cosine = kb_source(kb, 1), sine = kb_source(kb, 2);
    CHECK(x.rank == rank);
    for (int d = 0; d < last; d++)
        kb_set_stride(kb, x.operand, d, x.stride[d]);
    kb_set_stride(kb, cosine.operand, last - 1, cosine.stride[0]);
    kb_set_stride(kb, sine.operand, last - 1, sine.stride[0]);

    const KRef column = kb_index(kb, last), middle = kb_int(kb, half);
    const KRef low = kb_op2(kb, KOP_LT, column, middle);
    const KRef before = sub(kb, column, middle);
    const KRef other = kb_op3(kb, KOP_SELECT, low, add(kb, column, middle), before);
    const KRef angle = kb_op3(kb, KOP_SELECT, low, column, before);
    const KRef here = kb_load_at(kb, x.operand, column, e, x.stride[last]);
    const KRef there = kb_load_at(kb, x.operand, other, e, x.stride[last]);
    const KRef c = kb_load_at(kb, cosine.operand, angle, half, cosine.stride[1]);
    const KRef s = kb_load_at(kb, sine.operand, angle, half, sine.stride[1]);
    const bool inverse = node_int(n, "inverse", 0) != 0;
    const KRef minus = kb_op1(kb, KOP_NEG, s);
    const KRef turn = kb_op3(kb, KOP_SELECT, low, inverse ? s : minus, inverse ? minus : s);
    out[0] = fused(kb, there, turn, mul(kb, here, c));
}
