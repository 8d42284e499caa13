// Simplification of shape operators: views of views, views that change nothing, parts of a whole.
// No element is computed here, so no bit can change.
#include "ir/check.h"
#include "passes/simplify.h"

// NULL only where there are no axes; callers then read nothing.
static const int64_t *ints_of(const Node *n, const char *name) {
    int count = 0;
    const int64_t *ints = node_ints(n, name, &count);
    CHECK(ints || n->result[0].type.rank == 0 || n->input[0]->type.rank == 0);
    return ints;
}

// reshape(x, shape of x)  =>  x
static Value *try_reshape_same(Simplify *s, const Node *n) {
    (void)s;
    return n->op == OP_RESHAPE && type_equal(&n->input[0]->type, &n->result[0].type) ? n->input[0]
                                                                                     : NULL;
}

// reshape(reshape(x))  =>  reshape(x)
static Value *try_reshape_reshape(Simplify *s, const Node *n) {
    if (n->op != OP_RESHAPE || n->input[0]->def->op != OP_RESHAPE)
        return NULL;
    const Type *t = &n->result[0].type;
    return build_reshape(&s->b, n->input[0]->def->input[0], t->rank, t->dim);
}

// transpose(x, identity)  =>  x
static Value *try_transpose_same(Simplify *s, const Node *n) {
    (void)s;
    if (n->op != OP_TRANSPOSE)
        return NULL;
    const int64_t *perm = ints_of(n, "perm");
    for (int i = 0; i < n->result[0].type.rank; i++)
        if (perm[i] != i)
            return NULL;
    return n->input[0];
}

// transpose(transpose(x, p), q)  =>  transpose(x, p o q)
static Value *try_transpose_transpose(Simplify *s, const Node *n) {
    if (n->op != OP_TRANSPOSE || n->input[0]->def->op != OP_TRANSPOSE)
        return NULL;
    const Node *inner = n->input[0]->def;
    const int64_t *p = ints_of(inner, "perm"), *q = ints_of(n, "perm");
    int perm[RANK_MAX];
    for (int i = 0; i < n->result[0].type.rank; i++)
        perm[i] = (int)p[q[i]];
    return build_transpose(&s->b, inner->input[0], perm);
}

// broadcast(x, shape of x, axes in order)  =>  x
static Value *try_broadcast_same(Simplify *s, const Node *n) {
    (void)s;
    // Equal shapes leave room for one map of axes only when it keeps their order, which verify
    // demands.
    if (n->op != OP_BROADCAST || !type_equal(&n->input[0]->type, &n->result[0].type))
        return NULL;
    const int64_t *axes = ints_of(n, "axes");
    for (int i = 0; i < n->result[0].type.rank; i++)
        if (axes[i] != i)
            return NULL;
    return n->input[0];
}

// broadcast(broadcast(x, a), b)  =>  broadcast(x, b o a)
static Value *try_broadcast_broadcast(Simplify *s, const Node *n) {
    if (n->op != OP_BROADCAST || n->input[0]->def->op != OP_BROADCAST)
        return NULL;
    const Node *inner = n->input[0]->def;
    const int64_t *a = ints_of(inner, "axes"), *b = ints_of(n, "axes");
    int axes[RANK_MAX] = {0};
    for (int i = 0; i < inner->input[0]->type.rank; i++)
        axes[i] = (int)b[a[i]];
    return build_broadcast(&s->b, inner->input[0], &n->result[0].type, axes);
}

// view(constant)  =>  constant of that shape    but for broadcast(scalar), which is how one is
// written
static Value *try_view_of_constant(Simplify *s, const Node *n) {
    double value;
    if (!match_view(n) || n->result_count != 1 || !match_uniform(n->input[0], &value))
        return NULL;
    const Node *inner = n->input[0]->def;
    if (n->op == OP_BROADCAST && inner->op == OP_CONSTANT && n->input[0]->type.rank == 0)
        return NULL;
    return simplify_uniform(s, &n->result[0].type, value);
}

// slice(x, everything)  =>  x
static Value *try_slice_same(Simplify *s, const Node *n) {
    (void)s;
    return n->op == OP_SLICE && type_equal(&n->input[0]->type, &n->result[0].type) ? n->input[0]
                                                                                   : NULL;
}

// slice(x) with n's bounds moved by offset along each axis.
static Value *slice_moved(Simplify *s, const Node *n, Value *x, const int64_t *offset) {
    const int rank = n->result[0].type.rank;
    const int64_t *start = ints_of(n, "start"), *stop = ints_of(n, "stop");
    int64_t first[RANK_MAX], last[RANK_MAX];
    for (int i = 0; i < rank; i++) {
        first[i] = start[i] + offset[i];
        last[i] = stop[i] + offset[i];
    }
    const Attr attr[2] = {attr_ints("start", first, rank), attr_ints("stop", last, rank)};
    return build_op(&s->b, OP_SLICE, &x, 1, attr, 2);
}

// slice(slice(x, a), b)  =>  slice(x, a + b)
static Value *try_slice_slice(Simplify *s, const Node *n) {
    if (n->op != OP_SLICE || n->input[0]->def->op != OP_SLICE || n->result[0].type.rank == 0)
        return NULL;
    const Node *inner = n->input[0]->def;
    return slice_moved(s, n, inner->input[0], ints_of(inner, "start"));
}

// slice(concat(..., x, ...))  =>  slice(x)    when it lies inside x
static Value *try_slice_concat(Simplify *s, const Node *n) {
    if (n->op != OP_SLICE || n->input[0]->def->op != OP_CONCAT)
        return NULL;
    const Node *whole = n->input[0]->def;
    const int axis = (int)node_int(whole, "axis", 0);
    const int64_t start = ints_of(n, "start")[axis], stop = ints_of(n, "stop")[axis];
    int64_t at = 0;
    for (int i = 0; i < whole->input_count && at <= start; i++) {
        const int64_t size = whole->input[i]->type.dim[axis];
        if (start >= at && stop <= at + size && size > 0) {
            int64_t offset[RANK_MAX] = {0};
            offset[axis] = -at;
            return slice_moved(s, n, whole->input[i], offset);
        }
        at += size;
    }
    return NULL;
}

// concat(x)  =>  x
static Value *try_concat_one(Simplify *s, const Node *n) {
    (void)s;
    return n->op == OP_CONCAT && n->input_count == 1 ? n->input[0] : NULL;
}

// concat(split(x))  =>  x    when all parts are there, in order, along the same axis
static Value *try_concat_split(Simplify *s, const Node *n) {
    (void)s;
    const Node *parts = n->input_count ? n->input[0]->def : NULL;
    if (n->op != OP_CONCAT || parts->op != OP_SPLIT || parts->result_count != n->input_count ||
        node_int(parts, "axis", 0) != node_int(n, "axis", 0))
        return NULL;
    for (int i = 0; i < n->input_count; i++)
        if (n->input[i] != &parts->result[i])
            return NULL;
    return parts->input[0];
}

// pad(x, 0, 0)  =>  x
static Value *try_pad_nothing(Simplify *s, const Node *n) {
    (void)s;
    return n->op == OP_PAD && type_equal(&n->input[0]->type, &n->result[0].type) ? n->input[0]
                                                                                 : NULL;
}

// The first rule that applies; the next sweep finds what it makes possible.
Value *simplify_shape(Simplify *s, const Node *n) {
    static Value *(*const rule[])(Simplify *, const Node *) = {
        try_reshape_same,   try_reshape_reshape,     try_transpose_same,   try_transpose_transpose,
        try_broadcast_same, try_broadcast_broadcast, try_view_of_constant, try_slice_same,
        try_slice_slice,    try_slice_concat,        try_concat_one,       try_concat_split,
        try_pad_nothing};
    Value *by = NULL;
    for (size_t i = 0; !by && i < sizeof rule / sizeof rule[0]; i++)
        by = rule[i](s, n);
    return by;
}

// split(concat(x, y, ...))  =>  x, y, ...    when the parts are the same
// split(x, one part)  =>  x
bool simplify_split(Simplify *s, const Node *n, Value **out) {
    (void)s;
    const Node *whole = n->input[0]->def;
    if (n->op != OP_SPLIT)
        return false;
    if (n->result_count == 1) {
        out[0] = n->input[0];
        return true;
    }
    if (whole->op != OP_CONCAT || whole->input_count != n->result_count ||
        node_int(whole, "axis", 0) != node_int(n, "axis", 0))
        return false;
    for (int i = 0; i < n->result_count; i++) {
        if (!type_equal(&whole->input[i]->type, &n->result[i].type))
            return false;
        out[i] = whole->input[i];
    }
    return true;
}
