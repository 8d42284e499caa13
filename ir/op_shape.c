// Shape operators: they move elements and compute nothing.
//
// Evaluation goes through one function, copy_block: it walks a block of indices and copies between
// two strided positions. Gradients are other shape operators: slice and pad, split and concat,
// reshape, transpose and their inverses, broadcast and sum.
#include "ir/op_rules.h"

#include "ir/build.h"
#include "ir/check.h"

// Types.

// ints attribute with one entry for each axis of the operand; NULL after a diagnostic.
static const int64_t *axis_ints(const Node *n, const char *name, Diag *d) {
    int count;
    const int64_t *ints = node_ints(n, name, &count);
    static const int64_t none[1] = {0}; // a scalar's
    const int rank = n->input[0]->type.rank;
    if (count == rank)
        return count == 0 ? none : ints;
    diag_error(d, n->loc, 308, "%s wants %d numbers in '%s', one for each axis, got %d",
               op_info(n->op)->name, rank, name, count);
    return NULL;
}

// The result's type from the attribute "shape", in x's element type.
static bool shape_attr(const Node *n, Type *result, Diag *d, Arena *scratch) {
    int rank;
    const int64_t *dim = node_ints(n, "shape", &rank);
    if (rank > RANK_MAX)
        return diag_error(d, n->loc, 306, "%s to %d axes, at most %d are possible",
                          op_info(n->op)->name, rank, RANK_MAX);
    // infer_want_size checks the dims themselves, which may be any integers so far.
    *result = type_make(n->input[0]->type.dtype, rank, dim);
    return infer_want_size(n, result, d, scratch);
}

// x [..] -> shape: any shape with as many elements.
bool infer_reshape(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *x = &n->input[0]->type;
    if (!shape_attr(n, result, d, scratch))
        return false;
    if (type_count(x) == type_count(result))
        return true;
    return diag_error(d, n->loc, 309,
                      "reshape keeps the number of elements, but %s has %lld and %s %lld",
                      type_text(scratch, x), (long long)type_count(x), type_text(scratch, result),
                      (long long)type_count(result));
}

// x [d0, d1, ..] -> [d(perm 0), d(perm 1), ..]; perm names every axis once.
bool infer_transpose(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *x = &n->input[0]->type;
    const int64_t *perm = axis_ints(n, "perm", d);
    if (!perm)
        return false;
    *result = *x;
    uint32_t seen = 0;
    for (int i = 0; i < x->rank; i++) {
        if (!infer_want_axis(n, perm[i], x->rank, d))
            return false;
        // Rank entries, none twice: so every axis once.
        if (seen >> perm[i] & 1)
            return diag_error(d, n->loc, 308, "transpose of %s names axis %lld twice",
                              type_text(scratch, x), (long long)perm[i]);
        seen |= 1u << perm[i];
        result->dim[i] = x->dim[perm[i]];
    }
    return true;
}

// Operand axis i becomes result axis axes[i], stretched where its size is 1. Axes rise, so that a
// broadcast never transposes and its gradient is a sum alone.
bool infer_broadcast(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *x = &n->input[0]->type;
    const int64_t *axes = axis_ints(n, "axes", d);
    if (!axes || !shape_attr(n, result, d, scratch))
        return false;
    for (int i = 0; i < x->rank; i++) {
        if (!infer_want_axis(n, axes[i], result->rank, d))
            return false;
        if (i > 0 && axes[i] <= axes[i - 1])
            return diag_error(d, n->loc, 308, "broadcast's axes must rise, got %lld after %lld",
                              (long long)axes[i], (long long)axes[i - 1]);
        if (x->dim[i] != 1 && x->dim[i] != result->dim[axes[i]])
            return diag_error(d, n->loc, 310,
                              "%s does not broadcast to %s: axis %d is neither 1 nor %lld",
                              type_text(scratch, x), type_text(scratch, result), i,
                              (long long)result->dim[axes[i]]);
    }
    return true;
}

// An empty slice is inside; that its result is empty is refused as everywhere (node_check_sizes).
bool infer_slice(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *x = &n->input[0]->type;
    const int64_t *start = axis_ints(n, "start", d), *stop = axis_ints(n, "stop", d);
    if (!start || !stop)
        return false;
    *result = *x;
    for (int i = 0; i < x->rank; i++) {
        if (start[i] < 0 || stop[i] < start[i] || stop[i] > x->dim[i])
            return diag_error(d, n->loc, 311, "slice %lld..%lld of axis %d is not inside %s",
                              (long long)start[i], (long long)stop[i], i, type_text(scratch, x));
        result->dim[i] = stop[i] - start[i];
    }
    return true;
}

// One result for each size; sizes are at least 1 and add up to the axis.
bool infer_split(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *x = &n->input[0]->type;
    const int64_t axis = node_int(n, "axis", 0);
    int count;
    const int64_t *size = node_ints(n, "sizes", &count);
    if (!infer_want_axis(n, axis, x->rank, d))
        return false;
    // left: elements of the axis that no part has taken.
    int64_t left = x->dim[axis];
    for (int i = 0; i < count; i++) {
        if (size[i] < 1 || size[i] > left)
            return diag_error(
                d, n->loc, 311,
                "part %d of split has size %lld, but %lld are left of axis %lld of %s", i,
                (long long)size[i], (long long)left, (long long)axis, type_text(scratch, x));
        left -= size[i];
        result[i] = *x;
        result[i].dim[axis] = size[i];
    }
    if (count > 0 && left == 0)
        return true;
    return diag_error(d, n->loc, 311, "the parts of split leave %lld of axis %lld of %s",
                      (long long)left, (long long)axis, type_text(scratch, x));
}

// Operands agree in type and in every axis but one, whose sizes add up.
bool infer_concat(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *x = &n->input[0]->type;
    const int64_t axis = node_int(n, "axis", 0);
    if (!infer_want_axis(n, axis, x->rank, d))
        return false;
    *result = *x;
    for (int i = 1; i < n->input_count; i++) {
        const Type *part = &n->input[i]->type;
        // The part with x's size along the axis: then it must equal x.
        Type same = *part;
        if (part->rank == x->rank)
            same.dim[axis] = x->dim[axis];
        if (!type_equal(&same, x))
            return diag_error(d, n->loc, 301,
                              "concat wants operands that differ only in axis %lld, got %s and %s",
                              (long long)axis, type_text(scratch, x), type_text(scratch, part));
        if (part->dim[axis] > DIM_MAX - result->dim[axis])
            return diag_error(d, n->loc, 306, "concat along axis %lld is too long",
                              (long long)axis);
        result->dim[axis] += part->dim[axis];
    }
    return infer_want_size(n, result, d, scratch);
}

// Each addend is bounded before they are added, so the sum can't overflow.
bool infer_pad(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const int64_t *before = axis_ints(n, "before", d), *after = axis_ints(n, "after", d);
    if (!before || !after)
        return false;
    *result = n->input[0]->type;
    for (int i = 0; i < result->rank; i++) {
        if (before[i] < 0 || after[i] < 0 || before[i] > DIM_MAX || after[i] > DIM_MAX)
            return diag_error(d, n->loc, 311,
                              "pad of %lld before and %lld after axis %d is not possible",
                              (long long)before[i], (long long)after[i], i);
        result->dim[i] += before[i] + after[i];
    }
    return infer_want_size(n, result, d, scratch);
}

// (x, start): the size is an attribute, since shapes are static; only where it starts is data.
bool infer_dynamic_slice(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *x = &n->input[0]->type;
    const int64_t axis = node_int(n, "axis", 0), size = node_int(n, "size", 0);
    if (!infer_want_axis(n, axis, x->rank, d) ||
        !infer_want(n, 1, "a start", type_scalar(DT_I32), WANT_EXACT, d, scratch))
        return false;
    if (size < 1 || size > x->dim[axis])
        return diag_error(d, n->loc, 311, "a slice of %lld does not fit axis %lld of %s",
                          (long long)size, (long long)axis, type_text(scratch, x));
    *result = *x;
    result->dim[axis] = size;
    return true;
}

// (x, part, start): part is no longer than x along the axis and equal to it elsewhere.
bool infer_dynamic_update(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *x = &n->input[0]->type, *part = &n->input[1]->type;
    const int64_t axis = node_int(n, "axis", 0);
    if (!infer_want_axis(n, axis, x->rank, d) ||
        !infer_want(n, 2, "a start", type_scalar(DT_I32), WANT_EXACT, d, scratch))
        return false;
    Type same = *part;
    if (part->rank == x->rank)
        same.dim[axis] = x->dim[axis];
    if (!type_equal(&same, x) || part->dim[axis] > x->dim[axis] || part->dim[axis] < 1)
        return diag_error(d, n->loc, 311, "%s can't be stored along axis %lld of %s",
                          type_text(scratch, part), (long long)axis, type_text(scratch, x));
    *result = *x;
    return true;
}

// Dims are the result's axes; the operand's axis perm[i] goes by dim i.
bool map_transpose(const Node *n, IndexMap *out) {
    int perm[RANK_MAX];
    const int rank = node_axes(n, "perm", perm);
    index_map_init(n, &n->result[0].type, out);
    for (int i = 0; i < rank; i++)
        out->axis_dim[0][perm[i]] = (int8_t)i;
    return true;
}

// A stretched axis takes part whole (its one element serves every index).
bool map_broadcast(const Node *n, IndexMap *out) {
    const Type *x = &n->input[0]->type, *y = &n->result[0].type;
    int axes[RANK_MAX];
    node_axes(n, "axes", axes);
    index_map_init(n, y, out);
    for (int i = 0; i < x->rank; i++)
        out->axis_dim[0][i] = (int8_t)(x->dim[i] == y->dim[axes[i]] ? axes[i] : -1);
    return true;
}

// Gradients.

// The same elements, back in the operand's shape.
void grad_reshape(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    const Type *x = &n->input[0]->type;
    dinput[0] = build_reshape(b, dresult[0], x->rank, x->dim);
}

// The inverse permutation.
void grad_transpose(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    int perm[RANK_MAX], inverse[RANK_MAX];
    const int rank = node_axes(n, "perm", perm);
    for (int i = 0; i < rank; i++)
        inverse[perm[i]] = i;
    dinput[0] = build_transpose(b, dresult[0], inverse);
}

// Summed over the axes that were stretched or added.
void grad_broadcast(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    const Type *x = &n->input[0]->type, *y = &n->result[0].type;
    int axes[RANK_MAX], summed[RANK_MAX], count = 0;
    const int rank = node_axes(n, "axes", axes);
    // k: the operand's axis that comes next; axes rise, so one walk over the result's is enough.
    for (int i = 0, k = 0; i < y->rank; i++) {
        const bool kept = k < rank && axes[k] == i && x->dim[k] == y->dim[i];
        k += k < rank && axes[k] == i;
        if (!kept)
            summed[count++] = i;
    }
    // Axes of size 1 were summed away; the reshape puts them back.
    Value *sum = build_reduce_sum(b, dresult[0], summed, count);
    dinput[0] = type_same_shape(&sum->type, x) ? sum : build_reshape(b, sum, x->rank, x->dim);
}

// x amid zeros.
static Value *pad(Builder *b, Value *x, const int64_t *before, const int64_t *after) {
    const Attr attr[] = {attr_ints("before", before, x->type.rank),
                         attr_ints("after", after, x->type.rank)};
    return build_op(b, OP_PAD, &x, 1, attr, 2);
}

// Zeros where nothing was taken.
void grad_slice(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    const Type *x = &n->input[0]->type;
    int count;
    const int64_t *start = node_ints(n, "start", &count), *stop = node_ints(n, "stop", &count);
    int64_t after[RANK_MAX];
    for (int i = 0; i < x->rank; i++)
        after[i] = x->dim[i] - stop[i];
    dinput[0] = pad(b, dresult[0], start, after);
}

// What was padded gets no gradient: the middle is cut out again.
void grad_pad(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    const Type *x = &n->input[0]->type;
    int count;
    const int64_t *before = node_ints(n, "before", &count);
    int64_t stop[RANK_MAX];
    for (int i = 0; i < x->rank; i++)
        stop[i] = before[i] + x->dim[i];
    const Attr attr[] = {attr_ints("start", before, x->rank), attr_ints("stop", stop, x->rank)};
    dinput[0] = build_op(b, OP_SLICE, &dresult[0], 1, attr, 2);
}

// A part nobody read counts as zeros.
void grad_split(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    // dresult[i] is NULL where result i has no gradient.
    Value **part = arena_array(b->g->arena, Value *, n->result_count);
    for (int i = 0; i < n->result_count; i++)
        part[i] = dresult[i] ? dresult[i] : build_constant(b, n->result[i].type, 0);
    dinput[0] = build_concat(b, part, n->result_count, (int)node_int(n, "axis", 0));
}

// Each operand gets its own part.
void grad_concat(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    const int axis = (int)node_int(n, "axis", 0);
    int64_t at = 0;
    for (int i = 0; i < n->input_count; i++) {
        const int64_t size = n->input[i]->type.dim[axis];
        dinput[i] = build_slice(b, dresult[0], axis, at, at + size);
        at += size;
    }
}

static Value *dynamic_update(Builder *b, Value *x, Value *part, Value *start, int64_t axis) {
    const Attr attr = attr_int("axis", axis);
    return build_op(b, OP_DYNAMIC_UPDATE, (Value *[]){x, part, start}, 3, &attr, 1);
}

// Zeros with dy stored where the slice was read.
void grad_dynamic_slice(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *zero = build_constant(b, n->input[0]->type, 0);
    dinput[0] = dynamic_update(b, zero, dresult[0], n->input[1], node_int(n, "axis", 0));
}

// x gets dy but where it was overwritten, part gets dy from there. Both clamp start as the operator
// did.
void grad_dynamic_update(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    const int64_t axis = node_int(n, "axis", 0);
    const Type *part = &n->input[1]->type;
    dinput[0] = dynamic_update(b, dresult[0], build_constant(b, *part, 0), n->input[2], axis);
    const Attr attr[] = {attr_int("axis", axis), attr_int("size", part->dim[axis])};
    dinput[1] = build_op(b, OP_DYNAMIC_SLICE, (Value *[]){dresult[0], n->input[2]}, 2, attr, 2);
}

// Evaluation.

// A position that moves with each axis of a block.
typedef struct {
    double *at;
    int64_t stride[RANK_MAX];
} Cursor;

// At the tensor's first element, moving densely.
static Cursor cursor(const Tensor *t) {
    Cursor out = {.at = t->at};
    type_strides(&t->type, out.stride);
    return out;
}

// to[index] = from[index] for every index of the block.
static void copy_block(const Type *block, const Cursor *to, const Cursor *from) {
    const int64_t count = type_count(block);
    int64_t stride[RANK_MAX];
    type_strides(block, stride);
    for (int64_t i = 0; i < count; i++) {
        int64_t target = 0, source = 0;
        for (int axis = 0; axis < block->rank; axis++) {
            // The dense position i taken apart into the index along each axis.
            const int64_t index = i / stride[axis] % block->dim[axis];
            target += index * to->stride[axis];
            source += index * from->stride[axis];
        }
        to->at[target] = from->at[source];
    }
}

// Row-major order is what reshape keeps.
void evaluate_reshape(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)n, (void)cx;
    const int64_t count = type_count(&out[0].type);
    for (int64_t i = 0; i < count; i++)
        out[0].at[i] = in[0].at[i];
}

// The result is walked densely; the operand's strides are permuted.
void evaluate_transpose(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    const Cursor to = cursor(&out[0]), x = cursor(&in[0]);
    Cursor from = x;
    int perm[RANK_MAX];
    const int rank = node_axes(n, "perm", perm);
    for (int i = 0; i < rank; i++)
        from.stride[i] = x.stride[perm[i]];
    copy_block(&out[0].type, &to, &from);
}

// A stretched axis doesn't move the operand.
void evaluate_broadcast(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    const Cursor to = cursor(&out[0]), x = cursor(&in[0]);
    // Axes of the result that the operand lacks have stride 0.
    Cursor from = {.at = in[0].at};
    int axes[RANK_MAX];
    const int rank = node_axes(n, "axes", axes);
    for (int i = 0; i < rank; i++)
        from.stride[axes[i]] = in[0].type.dim[i] == 1 ? 0 : x.stride[i];
    copy_block(&out[0].type, &to, &from);
}

// From the first element of the slice on.
void evaluate_slice(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    int rank;
    const int64_t *start = node_ints(n, "start", &rank);
    const Cursor to = cursor(&out[0]);
    Cursor from = cursor(&in[0]);
    for (int i = 0; i < rank; i++)
        from.at += start[i] * from.stride[i];
    copy_block(&out[0].type, &to, &from);
}

// One cursor walks over the parts.
void evaluate_split(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    const int64_t axis = node_int(n, "axis", 0);
    Cursor from = cursor(&in[0]);
    for (int i = 0; i < n->result_count; i++) {
        const Cursor to = cursor(&out[i]);
        copy_block(&out[i].type, &to, &from);
        from.at += out[i].type.dim[axis] * from.stride[axis];
    }
}

// One cursor walks over the result.
void evaluate_concat(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    const int64_t axis = node_int(n, "axis", 0);
    Cursor to = cursor(&out[0]);
    for (int i = 0; i < n->input_count; i++) {
        const Cursor from = cursor(&in[i]);
        copy_block(&in[i].type, &to, &from);
        to.at += in[i].type.dim[axis] * to.stride[axis];
    }
}

// The tensor begins as zeros; only the middle is stored.
void evaluate_pad(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    int rank;
    const int64_t *before = node_ints(n, "before", &rank);
    const Cursor from = cursor(&in[0]);
    Cursor to = cursor(&out[0]);
    for (int i = 0; i < rank; i++)
        to.at += before[i] * to.stride[i];
    copy_block(&in[0].type, &to, &from);
}

// As the kernels do it: a start that is out of range is moved, never an error.
static int64_t clamp(double index, int64_t low, int64_t high) {
    return index<(double)low ? low : index>(double) high ? high : (int64_t)index;
}

void evaluate_dynamic_slice(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    const int64_t axis = node_int(n, "axis", 0);
    // starts: the last place where the slice is still inside.
    const int64_t starts = in[0].type.dim[axis] - out[0].type.dim[axis];
    const Cursor to = cursor(&out[0]);
    Cursor from = cursor(&in[0]);
    // in[1] is the start, a scalar; in the evaluator all elements are doubles.
    from.at += clamp(in[1].at[0], 0, starts) * from.stride[axis];
    copy_block(&out[0].type, &to, &from);
}

void evaluate_dynamic_update(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    const int64_t axis = node_int(n, "axis", 0);
    const int64_t starts = in[0].type.dim[axis] - in[1].type.dim[axis];
    const Cursor x = cursor(&in[0]), part = cursor(&in[1]);
    Cursor to = cursor(&out[0]);
    // x first, then the part over it.
    copy_block(&in[0].type, &to, &x);
    to.at += clamp(in[2].at[0], 0, starts) * to.stride[axis];
    copy_block(&in[1].type, &to, &part);
}
