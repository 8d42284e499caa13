// Batch normalisation in sums and pointwise operators.
//
//   mean = sum(x) / n;  variance = sum((x - mean)^2) / n;  rstd = 1 / sqrt(variance + eps)
//   y = (x - mean) (rstd weight) + bias
//
// and of its gradient, with h = (x - mean) rstd:
//
//   dbias = sum(dy);  dweight = sum(dy h)
//   dx = (weight rstd) dy - (x - mean) (weight rstd^2 dweight / n) - weight rstd dbias / n
//
// Sums run over x seen as [n, c, h w]: along h w, with the pointwise operators that lead to them in
// the same kernel, and then over n. What has the shape of x keeps it, so that it fuses with what
// stands before and behind. Everything is f32 inside.
#include "passes/legalize.h"

#include "ir/check.h"

// A channel tensor and what it is made from.
typedef struct {
    Builder *b;
    Type wide;   // of x, f32
    Type folded; // [n, c, h w], f32
    double size; // elements of a channel
} Channels;

static Channels channels_of(Builder *b, const Type *x) {
    int64_t dim[3] = {x->dim[0], x->dim[1], 1};
    for (int i = 2; i < x->rank; i++)
        dim[2] *= x->dim[i];
    return (Channels){.b = b,
                      .wide = type_with_dtype(*x, DT_F32),
                      .folded = type_make(DT_F32, 3, dim),
                      .size = (double)(dim[0] * dim[2])};
}

static Value *sub(const Channels *c, Value *x, Value *y) {
    return build_binary(c->b, OP_SUB, x, y);
}

static Value *mul(const Channels *c, Value *x, Value *y) {
    return build_binary(c->b, OP_MUL, x, y);
}

// [c] laid along the channels.
static Value *spread(const Channels *c, Value *x, const Type *to) {
    const int axis = 1;
    return build_broadcast(c->b, x, to, &axis);
}

static Value *fold(const Channels *c, Value *x) {
    return build_reshape(c->b, x, 3, c->folded.dim);
}

// [n, c, h w] to [c].
static Value *sum(const Channels *c, Value *folded) {
    const int rest = 2, batch = 0;
    Value *rows = build_reduce_sum(c->b, folded, &rest, 1);
    return build_reduce_sum(c->b, rows, &batch, 1);
}

void legalize_batchnorm(Builder *b, const Node *n, Value *out[4]) {
    const DType dtype = n->input[0]->type.dtype;
    const Channels c = channels_of(b, &n->input[0]->type);
    Value *x = build_cast(b, n->input[0], DT_F32), *folded = fold(&c, x);
    Value *mean = build_scale(b, sum(&c, folded), 1 / c.size);
    Value *off = sub(&c, folded, spread(&c, mean, &c.folded));
    Value *variance = build_scale(b, sum(&c, mul(&c, off, off)), 1 / c.size);
    Value *eps = build_constant(b, variance->type, node_float(n, "eps", 0));
    Value *rstd = build_unary(b, OP_RSQRT, build_binary(b, OP_ADD, variance, eps));
    Value *scale = mul(&c, rstd, build_cast(b, n->input[1], DT_F32));
    Value *y = mul(&c, sub(&c, x, spread(&c, mean, &c.wide)), spread(&c, scale, &c.wide));
    Value *bias = spread(&c, build_cast(b, n->input[2], DT_F32), &c.wide);
    out[0] = build_cast(b, build_binary(b, OP_ADD, y, bias), dtype);
    out[1] = mean;
    out[2] = variance;
    out[3] = rstd;
}

void legalize_batchnorm_grad(Builder *b, const Node *n, Value *out[3]) {
    const DType dtype = n->input[0]->type.dtype;
    const Channels c = channels_of(b, &n->input[0]->type);
    Value *dy = build_cast(b, n->input[0], DT_F32), *x = build_cast(b, n->input[1], DT_F32);
    Value *mean = n->input[3], *rstd = n->input[4];
    Value *dy_folded = fold(&c, dy);
    Value *off = sub(&c, fold(&c, x), spread(&c, mean, &c.folded));
    Value *bias = sum(&c, dy_folded);
    // rstd is the same for a channel: it waits until the sum is done.
    Value *weight = mul(&c, sum(&c, mul(&c, dy_folded, off)), rstd);
    // Numbers of a channel first: three of them, and one walk over dy and x.
    Value *scale = mul(&c, rstd, build_cast(b, n->input[2], DT_F32));
    Value *slope = build_scale(b, mul(&c, scale, mul(&c, rstd, weight)), 1 / c.size);
    Value *shift = build_scale(b, mul(&c, scale, bias), 1 / c.size);
    Value *dx = mul(&c, dy, spread(&c, scale, &c.wide));
    Value *centred = sub(&c, x, spread(&c, mean, &c.wide));
    dx = sub(&c, dx, mul(&c, centred, spread(&c, slope, &c.wide)));
    out[0] = build_cast(b, sub(&c, dx, spread(&c, shift, &c.wide)), dtype);
    out[1] = weight;
    out[2] = bias;
}
