// x[...]: elements of lists; slices, single positions, runtime positions and gathers of tensors;
// and the same on the left of `<-`.
//
//     x[1 .. 3, -1]      =>  slice, reshape            fixed positions
//     x[.., n .. n + 4]  =>  dynamic_slice {size = 4}  a start known at run time
//     table[tokens]      =>  gather                    an i32 tensor alone
//     s[a .. b] <- y     =>  dynamic_update            the state's next version
//
// Fixed positions are checked against the axis; runtime ones are clamped by the operators. A
// runtime range must be written start .. start + n, which is compared as text, so that its length
// is certain.
#include "frontend/elaborate.h"

#include "ir/check.h"

// One index on one axis.
typedef struct {
    Loc loc;
    int64_t lo, size; // static
    Value *start;     // i32[]: runtime start of size elements, or NULL
    bool drop;        // a single position: the axis vanishes
} AxisIndex;

// -1 is the last.
static bool resolve_position(Elab *e, Loc loc, int64_t at, int64_t dim, int64_t *out) {
    *out = at < 0 ? at + dim : at;
    if (*out >= 0 && *out < dim)
        return true;
    elab_fail(e, loc, CODE_INDEX, NULL, "index %lld is outside of 0 .. %lld", (long long)at,
              (long long)dim);
    return false;
}

// An end of a range: absent, from the start, or from the end where negative. dim itself is allowed.
static bool end_position(Elab *e, Loc loc, Datum d, int64_t dim, int64_t fallback, int64_t *out) {
    if (d.kind == DATUM_ABSENT) {
        *out = fallback;
        return true;
    }
    if (d.kind != DATUM_INT) {
        elab_fail(e, loc, d.kind == DATUM_TENSOR ? CODE_INDEX : CODE_KIND,
                  d.kind == DATUM_TENSOR ? "write start .. start + n with a fixed n" : NULL,
                  "a range needs whole numbers, got %s", datum_describe(e->arena, d));
        return false;
    }
    *out = d.as.whole < 0 ? d.as.whole + dim : d.as.whole;
    if (*out >= 0 && *out <= dim)
        return true;
    elab_fail(e, loc, CODE_INDEX, NULL, "%lld is outside of 0 .. %lld", (long long)d.as.whole,
              (long long)dim);
    return false;
}

// d is a tensor. NULL after a diagnostic where it is not a single whole number.
static Value *position_tensor(Elab *e, Loc loc, Datum d) {
    Value *v = d.as.array->value;
    if (v->type.rank == 0 && v->type.dtype == DT_I32)
        return v;
    elab_fail(e, loc, CODE_INDEX, NULL, "a position is an i32 scalar, got %s",
              type_text(e->arena, &v->type));
    return NULL;
}

// start .. start + n, with a runtime start and a fixed n.
static bool runtime_range(Elab *e, const Expr *expr, int64_t dim, AxisIndex *out) {
    const Expr *hi = expr->right;
    Datum size = datum_absent();
    // As text: the value of start is not known, but start + n less start is n.
    if (hi && hi->kind == EXPR_BINARY && hi->op == BINARY_ADD && expr_same(hi->left, expr->left))
        size = elab_expr(e, hi->right);
    if (size.kind == DATUM_ERROR)
        return false;
    if (size.kind != DATUM_INT || size.as.whole < 1 || size.as.whole > dim) {
        elab_fail(e, expr->loc, CODE_INDEX, "write start .. start + n with a fixed n of at least 1",
                  "how many elements the range has must be known, at most %lld", (long long)dim);
        return false;
    }
    out->size = size.as.whole;
    return true;
}

// a .. b, with either end left out; or a start known at run time.
static bool range_index(Elab *e, const Expr *expr, int64_t dim, AxisIndex *out) {
    const Datum lo = expr->left ? elab_expr(e, expr->left) : datum_absent();
    if (lo.kind == DATUM_ERROR)
        return false;
    if (lo.kind == DATUM_TENSOR) {
        out->start = position_tensor(e, expr->loc, lo);
        return out->start && runtime_range(e, expr, dim, out);
    }
    const Datum hi = expr->right ? elab_expr(e, expr->right) : datum_absent();
    int64_t stop;
    if (hi.kind == DATUM_ERROR || !end_position(e, expr->loc, lo, dim, 0, &out->lo) ||
        !end_position(e, expr->loc, hi, dim, dim, &stop))
        return false;
    if (stop <= out->lo) {
        elab_fail(e, expr->loc, CODE_INDEX, NULL,
                  "the range %lld .. %lld of an axis of %lld is empty", (long long)out->lo,
                  (long long)stop, (long long)dim);
        return false;
    }
    out->size = stop - out->lo;
    return true;
}

static bool axis_index(Elab *e, const Expr *expr, int64_t dim, AxisIndex *out) {
    *out = (AxisIndex){.loc = expr->loc, .size = dim};
    if (expr->kind == EXPR_RANGE)
        return range_index(e, expr, dim, out);
    const Datum d = elab_expr(e, expr);
    out->size = 1;
    out->drop = true;
    if (d.kind == DATUM_INT)
        return resolve_position(e, expr->loc, d.as.whole, dim, &out->lo);
    if (d.kind == DATUM_TENSOR)
        return (out->start = position_tensor(e, expr->loc, d)) != NULL;
    if (d.kind != DATUM_ERROR)
        elab_fail(e, expr->loc, CODE_KIND, NULL,
                  "an index is a number, a range or an i32 tensor, got %s",
                  datum_describe(e->arena, d));
    return false;
}

// The indices of all axes: a missing tail and `...` mean whole axes. -1 after a diagnostic, else
// the rank.
static int axis_indices(Elab *e, const Expr *expr, const Type *type, AxisIndex *out) {
    const Args *args = &expr->args;
    int rest = 0;
    for (int i = 0; i < args->count; i++) {
        rest += args->at[i].value->kind == EXPR_ELLIPSIS;
        if (args->at[i].name) {
            elab_fail(e, args->at[i].loc, CODE_SYNTAX, NULL, "an index has no name");
            return -1;
        }
    }
    if (rest > 1 || args->count - rest > type->rank) {
        elab_fail(e, expr->loc, CODE_INDEX, NULL, "%s can't take %d indices",
                  type_text(e->arena, type), args->count);
        return -1;
    }
    int axis = 0;
    for (int i = 0; i < args->count; i++) {
        const Expr *index = args->at[i].value;
        if (index->kind == EXPR_ELLIPSIS) {
            // `...` takes the axes that the other indices leave.
            for (const int end = axis + type->rank - (args->count - 1); axis < end; axis++)
                out[axis] = (AxisIndex){.loc = index->loc, .size = type->dim[axis]};
        } else if (axis_index(e, index, type->dim[axis], &out[axis])) {
            axis++;
        } else {
            return -1;
        }
    }
    for (; axis < type->rank; axis++)
        out[axis] = (AxisIndex){.loc = expr->loc, .size = type->dim[axis]};
    return axis;
}

// All axes with fixed positions in one slice; none where the whole tensor is meant.
static Value *static_slice(Elab *e, Loc loc, Value *x, const AxisIndex *index) {
    int64_t start[RANK_MAX], stop[RANK_MAX];
    bool whole = true;
    for (int i = 0; i < x->type.rank; i++) {
        // An axis with a runtime start is left whole here; runtime_slices cuts it.
        start[i] = index[i].start ? 0 : index[i].lo;
        stop[i] = index[i].start ? x->type.dim[i] : index[i].lo + index[i].size;
        whole = whole && stop[i] - start[i] == x->type.dim[i];
    }
    if (whole)
        return x;
    const Attr attr[] = {attr_ints("start", start, x->type.rank),
                         attr_ints("stop", stop, x->type.rank)};
    return build_op(elab_at(e, loc), OP_SLICE, &x, 1, attr, 2);
}

// One operator for each axis with a runtime start.
static Value *runtime_slices(Elab *e, Loc loc, Value *x, const AxisIndex *index) {
    for (int i = 0; x && i < x->type.rank; i++) {
        if (!index[i].start)
            continue;
        const Attr attr[] = {attr_int("axis", i), attr_int("size", index[i].size)};
        x = build_op(elab_at(e, loc), OP_DYNAMIC_SLICE, (Value *[]){x, index[i].start}, 2, attr, 2);
    }
    return x;
}

// x[2, .., n]: slice [1, d, rows], dynamic_slice [1, d, 1], reshape [d].
static Datum tensor_slice(Elab *e, const Expr *expr, const Array *x) {
    AxisIndex index[RANK_MAX];
    const Type type = x->value->type;
    if (axis_indices(e, expr, &type, index) < 0)
        return datum_error();
    Array *out = arena_new(e->arena, Array);
    out->value = static_slice(e, expr->loc, x->value, index);
    out->value = out->value ? runtime_slices(e, expr->loc, out->value, index) : NULL;
    int rank = 0;
    int64_t dim[RANK_MAX];
    for (int i = 0; i < type.rank; i++) {
        if (index[i].drop)
            continue;
        // A part of an axis is no product of the factors any more.
        out->factors[rank] = index[i].size == type.dim[i] ? x->factors[i] : NULL;
        dim[rank++] = index[i].size;
    }
    if (out->value && rank < type.rank)
        out->value = build_reshape(elab_at(e, expr->loc), out->value, rank, dim);
    return out->value ? datum_array(out) : elab_made(e, expr->loc, NULL);
}

// table[tokens]: rows of the first axis.
static Datum tensor_gather(Elab *e, const Expr *expr, const Array *table, const Array *index) {
    const Type *type = &table->value->type, *at = &index->value->type;
    if (at->dtype != DT_I32)
        return elab_fail(e, expr->loc, CODE_DTYPE, NULL, "an index tensor is i32, got %s",
                         type_text(e->arena, at));
    if (type->rank == 0 || type->rank - 1 + at->rank > RANK_MAX)
        return elab_fail(e, expr->loc, CODE_RANK, NULL, "%s can't be indexed by %s",
                         type_text(e->arena, type), type_text(e->arena, at));
    Array *out = arena_new(e->arena, Array);
    out->value = build_op(elab_at(e, expr->loc), OP_GATHER, (Value *[]){table->value, index->value},
                          2, NULL, 0);
    for (int i = 0; i < at->rank; i++)
        out->factors[i] = index->factors[i];
    for (int i = 1; i < type->rank; i++)
        out->factors[at->rank + i - 1] = table->factors[i];
    return out->value ? datum_array(out) : elab_made(e, expr->loc, NULL);
}

static Datum list_index(Elab *e, const Expr *expr, Datum list) {
    const Items *items = list.as.items;
    if (expr->args.count != 1)
        return elab_fail(e, expr->loc, CODE_INDEX, NULL, "a list takes one index, got %d",
                         expr->args.count);
    const Expr *index = expr->args.at[0].value;
    if (index->kind != EXPR_RANGE) {
        const Datum d = elab_expr(e, index);
        int64_t at;
        if (d.kind == DATUM_ERROR)
            return d;
        if (d.kind != DATUM_INT)
            return elab_fail(e, index->loc, CODE_KIND, NULL,
                             "a list's index is a whole number, got %s",
                             datum_describe(e->arena, d));
        return resolve_position(e, index->loc, d.as.whole, items->count, &at) ? items->at[at]
                                                                              : datum_error();
    }
    const Datum lo = index->left ? elab_expr(e, index->left) : datum_absent();
    const Datum hi = index->right ? elab_expr(e, index->right) : datum_absent();
    int64_t start, stop;
    if (lo.kind == DATUM_ERROR || hi.kind == DATUM_ERROR ||
        !end_position(e, index->loc, lo, items->count, 0, &start) ||
        !end_position(e, index->loc, hi, items->count, items->count, &stop))
        return datum_error();
    // An empty part of a list is a list, while an empty part of a tensor is refused.
    const int count = stop > start ? (int)(stop - start) : 0;
    return datum_items(e->arena, list.kind, items->at + start, count);
}

// Lists, tensors by positions and ranges, tensors by an i32 tensor.
Datum elab_index(Elab *e, const Expr *expr) {
    const Datum left = elab_expr(e, expr->left);
    if (left.kind == DATUM_ERROR)
        return left;
    if (datum_is_items(left))
        return list_index(e, expr, left);
    if (left.kind != DATUM_TENSOR)
        return elab_fail(e, expr->loc, CODE_KIND, NULL, "%s can't be indexed",
                         datum_describe(e->arena, left));
    if (expr->args.count == 0)
        return elab_fail(e, expr->loc, CODE_INDEX, NULL, "an index is missing between [ and ]");
    // A single index that is a tensor with axes gathers rows.
    const Expr *only = expr->args.at[0].value;
    if (expr->args.count == 1 && only->kind != EXPR_RANGE && only->kind != EXPR_ELLIPSIS &&
        only->kind != EXPR_INT) {
        const Datum index = elab_expr(e, only);
        if (index.kind == DATUM_ERROR)
            return index;
        if (index.kind == DATUM_TENSOR)
            return tensor_gather(e, expr, left.as.array, index.as.array);
    }
    return tensor_slice(e, expr, left.as.array);
}

static Value *constant_i32(Elab *e, Loc loc, int64_t value) {
    return build_constant(elab_at(e, loc), type_scalar(DT_I32), (double)value);
}

// x with part stored at the indices of axes from `axis` on. part has all axes of x.
static Value *update_axes(Elab *e, const AxisIndex *index, int axis, Value *x, Value *part) {
    // Axes that are stored to whole need no update of their own.
    while (x && part && axis < x->type.rank && !index[axis].start &&
           index[axis].size == x->type.dim[axis])
        axis++;
    if (!x || !part || axis == x->type.rank)
        return part;
    const Loc loc = index[axis].loc;
    Value *start = index[axis].start ? index[axis].start : constant_i32(e, loc, index[axis].lo);
    // The rows of this axis that change; within them the later axes.
    bool later = false;
    for (int i = axis + 1; i < x->type.rank; i++)
        later = later || index[i].start || index[i].size != x->type.dim[i];
    if (later) {
        const Attr attr[] = {attr_int("axis", axis), attr_int("size", index[axis].size)};
        Value *rows =
            build_op(elab_at(e, loc), OP_DYNAMIC_SLICE, (Value *[]){x, start}, 2, attr, 2);
        part = update_axes(e, index, axis + 1, rows, part);
    }
    const Attr attr = attr_int("axis", axis);
    return build_op(elab_at(e, loc), OP_DYNAMIC_UPDATE, (Value *[]){x, part, start}, 3, &attr, 1);
}

// The stored value may be broadcast to the part; dropped axes come back as size 1.
Value *elab_update_part(Elab *e, const Expr *target, Value *old, Datum value) {
    AxisIndex index[RANK_MAX];
    if (axis_indices(e, target, &old->type, index) < 0)
        return NULL;
    // whole: the part with all axes. shown: without the dropped ones, as the user sees it.
    Type whole = old->type, shown = type_scalar(old->type.dtype);
    for (int i = 0; i < old->type.rank; i++) {
        whole.dim[i] = index[i].size;
        if (!index[i].drop)
            shown.dim[shown.rank++] = index[i].size;
    }
    Value *part = arith_shaped(e, target->loc, value, &shown);
    if (part && part->type.dtype != old->type.dtype) {
        elab_fail(e, target->loc, CODE_STORE, "f32(x), bf16(x) and i32(x) convert",
                  "%s is stored to %s", dtype_name(part->type.dtype), dtype_name(old->type.dtype));
        return NULL;
    }
    if (part && shown.rank != whole.rank)
        part = build_reshape(elab_at(e, target->loc), part, whole.rank, whole.dim);
    return part ? update_axes(e, index, 0, old, part) : NULL;
}
