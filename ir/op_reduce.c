// Reductions over axes that vanish.
//
// The gradient of a sum is a broadcast. That of a maximum goes to the elements that equal it, in
// equal shares where several do, as PyTorch's amax has it; the shares are counted in f32.
#include "ir/op_rules.h"

#include "ir/build.h"

#include <math.h>

// The axes as bits; they rise, so that one reduction has one text.
static bool reduced_axes(const Node *n, uint32_t *out, Diag *d, Arena *scratch) {
    const Type *x = &n->input[0]->type;
    int count;
    const int64_t *axes = node_ints(n, "axes", &count);
    *out = 0;
    if (count == 0)
        return diag_error(d, n->loc, 308, "%s of %s names no axis", op_info(n->op)->name,
                          type_text(scratch, x));
    for (int i = 0; i < count; i++) {
        if (!infer_want_axis(n, axes[i], x->rank, d))
            return false;
        if (i > 0 && axes[i] <= axes[i - 1])
            return diag_error(d, n->loc, 308, "the axes of %s must rise, got %lld after %lld",
                              op_info(n->op)->name, (long long)axes[i], (long long)axes[i - 1]);
        *out |= 1u << axes[i];
    }
    return true;
}

// x [..], floating point -> the axes that are left, in order.
bool infer_reduce(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *x = &n->input[0]->type;
    uint32_t axes;
    if (!reduced_axes(n, &axes, d, scratch))
        return false;
    if (!infer_want_float(n, 0, d, scratch)) // Kernels reduce in f32
        return false;
    // Grows by each axis that is left.
    *result = type_scalar(x->dtype);
    for (int i = 0; i < x->rank; i++)
        if (!(axes >> i & 1))
            result->dim[result->rank++] = x->dim[i];
    return true;
}

// The axes as bits, of a node that has been inferred.
static uint32_t axis_bits(const Node *n) {
    int axes[RANK_MAX];
    const int count = node_axes(n, "axes", axes);
    uint32_t bits = 0;
    for (int i = 0; i < count; i++)
        bits |= 1u << axes[i];
    return bits;
}

// Dims are the operand's axes.
bool map_reduce(const Node *n, IndexMap *out) {
    const Type *x = &n->input[0]->type;
    index_map_init(n, x, out);
    out->reduced = axis_bits(n);
    for (int i = 0, k = 0; i < x->rank; i++)
        if (!(out->reduced >> i & 1))
            out->axis_dim[1][k++] = (int8_t)i;
    return true;
}

// y, of a result's shape, back to the operand's shape.
static Value *spread(Builder *b, const Node *n, Value *y) {
    const Type *x = &n->input[0]->type;
    const uint32_t reduced = axis_bits(n);
    int axes[RANK_MAX], count = 0;
    for (int i = 0; i < x->rank; i++)
        if (!(reduced >> i & 1))
            axes[count++] = i;
    return build_broadcast(b, y, x, axes);
}

// Every summand gets the sum's gradient.
void grad_reduce_sum(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    dinput[0] = spread(b, n, dresult[0]);
}

// dx = [x = max] dy / count
void grad_reduce_max(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *x = n->input[0];
    int axes[RANK_MAX];
    const int count = node_axes(n, "axes", axes);
    // hit [x]: where x is the maximum; shares [y]: in how many places.
    Value *hit = build_binary(b, OP_EQ, x, spread(b, n, &n->result[0]));
    Value *shares = build_reduce_sum(b, build_cast(b, hit, DT_F32), axes, count);
    Value *share = build_binary(b, OP_DIV, build_cast(b, dresult[0], DT_F32), shares);
    // Back to x's type only after the division.
    Value *dx = spread(b, n, build_cast(b, share, x->type.dtype));
    Value *zero = build_constant(b, x->type, 0);
    dinput[0] = build_op(b, OP_SELECT, (Value *[]){hit, dx, zero}, 3, NULL, 0);
}

// stride[i] of the operand's axis i in the result: 0 where it is reduced.
static void result_strides(const Node *n, const Type *y, int64_t stride[RANK_MAX]) {
    int64_t dense[RANK_MAX];
    const uint32_t reduced = axis_bits(n);
    type_strides(y, dense);
    for (int i = 0, k = 0; i < n->input[0]->type.rank; i++)
        stride[i] = reduced >> i & 1 ? 0 : dense[k++];
}

// How an element joins what was reduced so far.
typedef double (*Join)(double sum, double x);

// One walk over the operand; several elements meet in one result.
static void reduce(const Node *n, const Tensor *in, Tensor *out, double start, Join join) {
    const Type *x = &in[0].type;
    const int64_t count = type_count(x), results = type_count(&out[0].type);
    int64_t dense[RANK_MAX], stride[RANK_MAX];
    type_strides(x, dense);
    result_strides(n, &out[0].type, stride);
    // Sums start from 0, maxima from -inf.
    for (int64_t i = 0; i < results; i++)
        out[0].at[i] = start;
    for (int64_t i = 0; i < count; i++) {
        int64_t to = 0;
        for (int axis = 0; axis < x->rank; axis++)
            to += i / dense[axis] % x->dim[axis] * stride[axis];
        out[0].at[to] = join(out[0].at[to], in[0].at[i]);
    }
}

static double join_sum(double sum, double x) {
    return sum + x;
}

static double join_max(double sum, double x) {
    return x > sum ? x : sum;
}

void evaluate_reduce_sum(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    reduce(n, in, out, 0, join_sum);
}

void evaluate_reduce_max(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    reduce(n, in, out, -HUGE_VAL, join_max);
}
