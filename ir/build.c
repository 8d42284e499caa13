// Short forms for making nodes: each function is one operator with its attributes filled in.
//
// A NULL operand means that making it failed and was reported, so the call returns NULL at once and
// errors pass through chains of calls. Without a Diag nothing may fail.
#include "ir/build.h"

#include "ir/check.h"

// All other functions come down to this one. The node has the builder's origin: place, scope and
// phase.
Node *build_node(Builder *b, Op op, Value *const *input, int input_count, const Attr *attr,
                 int attr_count) {
    for (int i = 0; i < input_count; i++)
        if (!input[i]) {
            // A NULL comes from a mistake that was reported, and without a Diag none may happen.
            CHECK(b->diag);
            return NULL;
        }
    return graph_add(b->g, b->diag, op, input, input_count, attr, attr_count, b->origin);
}

// For operators with one result, which is what most callers want to go on with.
Value *build_op(Builder *b, Op op, Value *const *input, int input_count, const Attr *attr,
                int attr_count) {
    const Node *n = build_node(b, op, input, input_count, attr, attr_count);
    if (!n)
        return NULL;
    CHECK(n->result_count == 1);
    return n->result;
}

Value *build_unary(Builder *b, Op op, Value *x) {
    return build_op(b, op, &x, 1, NULL, 0);
}

Value *build_binary(Builder *b, Op op, Value *x, Value *y) {
    return build_op(b, op, (Value *[]){x, y}, 2, NULL, 0);
}

// value is a double whatever the type; the evaluator and the kernels round it.
Value *build_constant(Builder *b, Type type, double value) {
    const Attr attr[] = {attr_float("value", value), attr_text("dtype", dtype_name(type.dtype)),
                         attr_ints("shape", type.dim, type.rank)};
    return build_op(b, OP_CONSTANT, NULL, 0, attr, 3);
}

Value *build_cast(Builder *b, Value *x, DType to) {
    // To its own type: no node. A NULL falls through to build_node, which knows what to do with it.
    if (x && x->type.dtype == to)
        return x;
    const Attr attr = attr_text("to", dtype_name(to));
    return build_op(b, OP_CAST, &x, 1, &attr, 1);
}

Value *build_reshape(Builder *b, Value *x, int rank, const int64_t *dim) {
    const Attr attr = attr_ints("shape", dim, rank);
    return build_op(b, OP_RESHAPE, &x, 1, &attr, 1);
}

// perm has x's rank of entries, each axis once.
Value *build_transpose(Builder *b, Value *x, const int *perm) {
    if (!x)
        return NULL;
    // Attributes are i64, axes in C are int.
    int64_t axes[RANK_MAX];
    for (int i = 0; i < x->type.rank; i++)
        axes[i] = perm[i];
    const Attr attr = attr_ints("perm", axes, x->type.rank);
    return build_op(b, OP_TRANSPOSE, &x, 1, &attr, 1);
}

// axes has x's rank of entries.
Value *build_broadcast(Builder *b, Value *x, const Type *to, const int *axes) {
    if (!x)
        return NULL;
    int64_t axis[RANK_MAX];
    for (int i = 0; i < x->type.rank; i++)
        axis[i] = axes[i];
    const Attr attr[] = {attr_ints("shape", to->dim, to->rank),
                         attr_ints("axes", axis, x->type.rank)};
    return build_op(b, OP_BROADCAST, &x, 1, attr, 2);
}

// NumPy's rules: shapes are aligned at their last axes.
Value *build_broadcast_like(Builder *b, Value *x, const Value *like) {
    if (!x || !like)
        return NULL;
    if (type_same_shape(&x->type, &like->type))
        return x;
    // Axes that x lacks in front; the others keep their order.
    const int missing = like->type.rank - x->type.rank;
    int axes[RANK_MAX];
    bool fits = missing >= 0;
    for (int i = 0; fits && i < x->type.rank; i++) {
        axes[i] = missing + i;
        // An axis of size 1 is stretched, any other must agree.
        fits = x->type.dim[i] == 1 || x->type.dim[i] == like->type.dim[axes[i]];
    }
    if (!fits) {
        diag_error(b->diag, b->origin.loc, 301, "shapes do not broadcast: %s to the shape of %s",
                   type_text(b->g->arena, &x->type), type_text(b->g->arena, &like->type));
        return NULL;
    }
    return build_broadcast(b, x, &like->type, axes);
}

// x * factor, in x's type; no node for a factor of 1.
Value *build_scale(Builder *b, Value *x, double factor) {
    if (!x || factor == 1)
        return x;
    return build_binary(b, OP_MUL, x, build_constant(b, x->type, factor));
}

// Over axes in rising order; over none it is x itself.
Value *build_reduce_sum(Builder *b, Value *x, const int *axes, int axis_count) {
    if (axis_count == 0)
        return x;
    CHECK(axis_count > 0 && axis_count <= RANK_MAX);
    int64_t axis[RANK_MAX];
    for (int i = 0; i < axis_count; i++)
        axis[i] = axes[i];
    const Attr attr = attr_ints("axes", axis, axis_count);
    return build_op(b, OP_REDUCE_SUM, &x, 1, &attr, 1);
}

// The other axes stay whole.
Value *build_slice(Builder *b, Value *x, int axis, int64_t start, int64_t stop) {
    if (!x)
        return NULL;
    CHECK(axis >= 0 && axis < x->type.rank);
    int64_t first[RANK_MAX] = {0}, last[RANK_MAX];
    for (int i = 0; i < x->type.rank; i++)
        last[i] = x->type.dim[i];
    first[axis] = start;
    last[axis] = stop;
    const Attr attr[] = {attr_ints("start", first, x->type.rank),
                         attr_ints("stop", last, x->type.rank)};
    return build_op(b, OP_SLICE, &x, 1, attr, 2);
}

Value *build_concat(Builder *b, Value *const *x, int count, int axis) {
    const Attr attr = attr_int("axis", axis);
    return build_op(b, OP_CONCAT, x, count, &attr, 1);
}

// spec as in op_contract.c, "bmk,bkn->bmn".
Value *build_einsum(Builder *b, Value *x, Value *y, const char *spec) {
    const Attr attr = attr_text("spec", spec);
    return build_op(b, OP_EINSUM, (Value *[]){x, y}, 2, &attr, 1);
}
