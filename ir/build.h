// Building graphs from C: what gradient rules, the elaborator and rewrites call.
#ifndef PLIM_IR_BUILD_H
#define PLIM_IR_BUILD_H

#include "ir/op.h"

// Appends to g; every node made gets the current origin. A mistake in shapes is the caller's bug in
// passes (CHECK) and the user's in the frontend (diag is then set and build_* returns NULL).
struct Builder {
    Graph *g;
    Diag *diag; // NULL: a wrong shape is our bug
    NodeOrigin origin;
};

// One-result operator. NULL after a diagnostic.
Value *build_op(Builder *b, Op op, Value *const *input, int input_count, const Attr *attr, int attr_count);
Node *build_node(Builder *b, Op op, Value *const *input, int input_count, const Attr *attr, int attr_count);
Value *build_unary(Builder *b, Op op, Value *x);
Value *build_binary(Builder *b, Op op, Value *x, Value *y); // equal shapes
Value *build_constant(Builder *b, Type type, double value); // of that shape (a broadcast scalar)
Value *build_cast(Builder *b, Value *x, DType to);          // x itself where it has the dtype
Value *build_reshape(Builder *b, Value *x, int rank, const int64_t *dim);
Value *build_transpose(Builder *b, Value *x, const int *perm);
Value *build_broadcast(Builder *b, Value *x, const Type *to, const int *axes);
// x (scalar or a suffix shape, or with axes of size 1, NumPy's rules) stretched to the shape of like.
Value *build_broadcast_like(Builder *b, Value *x, const Value *like);
Value *build_scale(Builder *b, Value *x, double factor);
Value *build_reduce_sum(Builder *b, Value *x, const int *axes, int axis_count);
Value *build_slice(Builder *b, Value *x, int axis, int64_t start, int64_t stop);
Value *build_concat(Builder *b, Value *const *x, int count, int axis);
Value *build_einsum(Builder *b, Value *x, Value *y, const char *spec);

#endif
