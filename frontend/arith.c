// Arithmetic on what expressions are worth: compile-time numbers are folded with checked integers;
// tensors are brought to one element type and one shape (NumPy's rules) and become a pointwise
// operator.
//
// Element types: i32 with a float gives the float; bf16 with f32 gives f32; a plain number takes
// the tensor's type, except that a fraction makes an i32 tensor f32. i32 / i32 is f32, as 1 / 2 is
// 0.5.
//
// On entry: two evaluated operands, of which DATUM_ERROR has been reported. On exit: a number, a
// list, a bool or a tensor; or DATUM_ERROR after one message at the operator.
//
//     2 * heads                =>  8, folded
//     x: f32[2,4] + 1          =>  add x, constant f32[2,4]: a number fills the shape
//     x: f32[2,4] + w: f32[4]  =>  add x, broadcast w {axes = [1]}
//     x > 0                    =>  lt constant 0, x
//
// Sizes keep their factors through broadcasts: the result's axis is known by the side that has the
// axis. What it does not do: simplify. x * 1 makes an operator; pass_simplify removes it.
#include "frontend/elaborate.h"

#include "ir/check.h"

static const char *const binary_text[] = {"or", "and", "==", "!=", "<", "<=", ">",
                                          ">=", "+",   "-",  "*",  "/", "@"}; // by BinaryOp

static bool is_tensor(Datum d) {
    return d.kind == DATUM_TENSOR;
}

// Whole numbers: checked in 64 bits. An exact quotient stays whole, any other becomes a fraction: 6
// / 2 is 3 and 7 / 2 is 3.5, so a size that does not divide is caught where it is used as a size.
static Datum fold_int(Elab *e, Loc loc, BinaryOp op, int64_t x, int64_t y) {
    int64_t out = 0;
    bool overflow = false;
    switch ((int)op) {
    case BINARY_ADD:
        overflow = __builtin_add_overflow(x, y, &out);
        break;
    case BINARY_SUB:
        overflow = __builtin_sub_overflow(x, y, &out);
        break;
    case BINARY_MUL:
        overflow = __builtin_mul_overflow(x, y, &out);
        break;
    case BINARY_DIV:
        if (y == 0)
            return elab_fail(e, loc, CODE_VALUE, NULL, "%lld is divided by zero", (long long)x);
        // The lowest integer over -1 is the one quotient that does not exist.
        if (y == -1)
            overflow = __builtin_sub_overflow((int64_t)0, x, &out);
        else if (x % y != 0)
            return datum_float((double)x / (double)y);
        else
            out = x / y;
        break;
    default:
        UNREACHABLE();
    }
    if (overflow)
        return elab_fail(e, loc, CODE_OVERFLOW, NULL, "%lld %s %lld does not fit 64 bits",
                         (long long)x, binary_text[op], (long long)y);
    return datum_int(out);
}

// NaN is equal to nothing, itself included, as at run time.
static bool compare(BinaryOp op, double x, double y) {
    switch ((int)op) {
    case BINARY_EQ:
        return x == y;
    case BINARY_NE:
        return x != y;
    case BINARY_LT:
        return x < y;
    case BINARY_LE:
        return x <= y;
    case BINARY_GT:
        return x > y;
    default:
        return x >= y;
    }
}

static bool is_comparison(BinaryOp op) {
    return op >= BINARY_EQ && op <= BINARY_GE;
}

// Two compile-time numbers, at least one of them a fraction unless handed on to fold_int.
static Datum fold_number(Elab *e, Loc loc, BinaryOp op, Datum x, Datum y) {
    if (op == BINARY_MATMUL || op == BINARY_OR || op == BINARY_AND)
        return elab_fail(e, loc, CODE_KIND, NULL, "%s does not work on numbers", binary_text[op]);
    if (x.kind == DATUM_INT && y.kind == DATUM_INT && is_comparison(op)) {
        // Exact, where doubles would round.
        const int order = (x.as.whole > y.as.whole) - (x.as.whole < y.as.whole);
        return datum_bool(compare(op, order, 0));
    }
    if (x.kind == DATUM_INT && y.kind == DATUM_INT)
        return fold_int(e, loc, op, x.as.whole, y.as.whole);
    const double a = datum_number(x), b = datum_number(y);
    if (is_comparison(op))
        return datum_bool(compare(op, a, b));
    switch ((int)op) {
    case BINARY_ADD:
        return datum_float(a + b);
    case BINARY_SUB:
        return datum_float(a - b);
    case BINARY_MUL:
        return datum_float(a * b);
    default:
        if (b == 0)
            return elab_fail(e, loc, CODE_VALUE, NULL, "%g is divided by zero", a);
        return datum_float(a / b);
    }
}

// == and != of everything that is no number and no tensor.
static bool same_datum(Datum x, Datum y) {
    if (x.kind != y.kind)
        return false;
    switch ((int)x.kind) {
    case DATUM_NONE:
        return true;
    case DATUM_BOOL:
        return x.as.truth == y.as.truth;
    case DATUM_TEXT:
        return x.as.text == y.as.text; // interned
    case DATUM_DTYPE:
        return x.as.dtype == y.as.dtype;
    case DATUM_FUNCTION:
        return x.as.function == y.as.function;
    case DATUM_BUILTIN:
        return x.as.builtin == y.as.builtin;
    default:
        return false;
    }
}

// [a] + [b]. Copies, so that lists never change; the copying is counted as work.
static Datum join_lists(Elab *e, Loc loc, Datum x, Datum y) {
    const int64_t count = (int64_t)x.as.items->count + y.as.items->count;
    // An element copied is cheaper than an expression, so four count as one.
    if (!elab_spend(e, loc, count / 4))
        return datum_error();
    if (count > ITEMS_MAX)
        return elab_fail(e, loc, CODE_WORK, NULL, "a list of more than %d elements", ITEMS_MAX);
    Datum *at = arena_array(e->arena, Datum, count + 1);
    for (int i = 0; i < count; i++)
        at[i] = i < x.as.items->count ? x.as.items->at[i] : y.as.items->at[i - x.as.items->count];
    return datum_items(e->arena, x.kind, at, (int)count);
}

const Array *arith_tensor(Elab *e, Loc loc, Datum d) {
    if (d.kind == DATUM_TENSOR)
        return d.as.array;
    if (d.kind == DATUM_ERROR)
        return NULL;
    Type type = type_scalar(DT_F32);
    double value = 0;
    if (datum_is_number(d)) {
        type.dtype = d.kind == DATUM_INT ? DT_I32 : DT_F32;
        value = datum_number(d);
        // Too large for i32: rounded to f32.
        if (d.kind == DATUM_INT && (d.as.whole > INT32_MAX || d.as.whole < INT32_MIN))
            type.dtype = DT_F32;
    } else if (d.kind == DATUM_BOOL) {
        type.dtype = DT_BOOL;
        value = d.as.truth;
    } else {
        elab_fail(e, loc, CODE_KIND, NULL, "a tensor is needed here, got %s",
                  datum_describe(e->arena, d));
        return NULL;
    }
    const Datum made = elab_made(e, loc, build_constant(elab_at(e, loc), type, value));
    return made.kind == DATUM_TENSOR ? made.as.array : NULL;
}

const Array *arith_float_tensor(Elab *e, Loc loc, Datum d) {
    if (d.kind == DATUM_INT)
        d = datum_float((double)d.as.whole);
    const Array *x = arith_tensor(e, loc, d);
    if (x && !dtype_is_float(x->value->type.dtype)) {
        elab_fail(e, loc, CODE_DTYPE, "f32(x) makes one", "a float tensor is needed here, got %s",
                  type_text(e->arena, &x->value->type));
        return NULL;
    }
    return x;
}

// Aligned at the last axes. A size of 1 stretches, and an axis keeps the factors of the side it
// came from.
bool arith_common_shape(Elab *e, Loc loc, const Array *x, const Array *y, Type *out,
                        const Factors **factors) {
    const Type *a = &x->value->type, *b = &y->value->type;
    *out = type_scalar(a->dtype);
    out->rank = a->rank > b->rank ? a->rank : b->rank;
    // i counts axes from the last; a side that has no such axis counts as 1 there.
    for (int i = 1; i <= out->rank; i++) {
        const int64_t m = i <= a->rank ? a->dim[a->rank - i] : 1;
        const int64_t n = i <= b->rank ? b->dim[b->rank - i] : 1;
        if (m != n && m != 1 && n != 1) {
            elab_fail(e, loc, CODE_BROADCAST, NULL, "shapes %s and %s do not fit each other",
                      type_text(e->arena, a), type_text(e->arena, b));
            return false;
        }
        const int axis = out->rank - i;
        out->dim[axis] = m == 1 ? n : m;
        const Factors *fx = i <= a->rank && m != 1 ? x->factors[a->rank - i] : NULL;
        factors[axis] = fx ? fx : i <= b->rank && n != 1 ? y->factors[b->rank - i] : NULL;
    }
    return true;
}

// x stretched to the shape of to (which it fits).
static Value *stretch(Elab *e, Loc loc, Value *x, const Type *to) {
    if (type_same_shape(&x->type, to))
        return x;
    int axes[RANK_MAX];
    for (int i = 0; i < x->type.rank; i++)
        axes[i] = to->rank - x->type.rank + i;
    const Type type = type_with_dtype(*to, x->type.dtype);
    return build_broadcast(elab_at(e, loc), x, &type, axes);
}

Value *arith_shaped(Elab *e, Loc loc, Datum d, const Type *shape) {
    if (datum_is_number(d))
        return build_constant(elab_at(e, loc), *shape, datum_number(d));
    const Array *x = arith_tensor(e, loc, d);
    if (!x)
        return NULL;
    const Type *have = &x->value->type;
    bool fits = have->rank <= shape->rank;
    for (int i = 1; fits && i <= have->rank; i++) {
        const int64_t size = have->dim[have->rank - i];
        fits = size == 1 || size == shape->dim[shape->rank - i];
    }
    if (!fits) {
        elab_fail(e, loc, CODE_BROADCAST, NULL, "%s does not fit the shape of %s",
                  type_text(e->arena, have), type_text(e->arena, shape));
        return NULL;
    }
    return stretch(e, loc, x->value, shape);
}

// The element type both sides are brought to. False after a diagnostic.
static bool common_dtype(Elab *e, Loc loc, const char *what, Datum x, Datum y, DType *out) {
    if (is_tensor(x) && is_tensor(y)) {
        const DType a = x.as.array->value->type.dtype, b = y.as.array->value->type.dtype;
        if (a == b)
            *out = a;
        else
            *out = a == DT_F32 || b == DT_F32 ? DT_F32 : DT_BF16;
        if (a != b && (a == DT_BOOL || b == DT_BOOL)) {
            elab_fail(e, loc, CODE_DTYPE, "f32(x) makes numbers of a bool tensor",
                      "%s of %s and %s", what, dtype_name(a), dtype_name(b));
            return false;
        }
        return true;
    }
    const Datum tensor = is_tensor(x) ? x : y, other = is_tensor(x) ? y : x;
    const DType dtype = tensor.as.array->value->type.dtype;
    const bool fits = dtype == DT_BOOL ? other.kind == DATUM_BOOL : datum_is_number(other);
    if (!fits) {
        elab_fail(e, loc, dtype == DT_BOOL && datum_is_number(other) ? CODE_DTYPE : CODE_KIND,
                  dtype == DT_BOOL ? "f32(x) makes numbers of a bool tensor" : NULL,
                  "%s of %s and %s", what, datum_describe(e->arena, x),
                  datum_describe(e->arena, y));
        return false;
    }
    *out = dtype == DT_I32 && other.kind == DATUM_FLOAT ? DT_F32 : dtype;
    return true;
}

// The operand in that element type; a number fills the other operand's shape.
static const Array *typed_operand(Elab *e, Loc loc, Datum d, Datum other, DType dtype) {
    if (is_tensor(d)) {
        if (d.as.array->value->type.dtype == dtype)
            return d.as.array;
        Array *cast = arena_new(e->arena, Array);
        *cast = *d.as.array;
        cast->value = build_cast(elab_at(e, loc), cast->value, dtype);
        return cast->value ? cast : NULL;
    }
    // A constant in the other side's shape spares a broadcast.
    const double value = d.kind == DATUM_BOOL ? d.as.truth : datum_number(d);
    const Type type = type_with_dtype(other.as.array->value->type, dtype);
    const Datum made = elab_made(e, loc, build_constant(elab_at(e, loc), type, value));
    return made.kind == DATUM_TENSOR ? made.as.array : NULL;
}

// One pointwise operator of two operands of equal element type.
static Datum pointwise(Elab *e, Loc loc, Op op, const Array *x, const Array *y) {
    Array *out = arena_new(e->arena, Array);
    Type shape;
    if (!x || !y || !arith_common_shape(e, loc, x, y, &shape, out->factors))
        return datum_error();
    Value *a = stretch(e, loc, x->value, &shape), *b = stretch(e, loc, y->value, &shape);
    out->value = build_binary(elab_at(e, loc), op, a, b);
    return out->value ? datum_array(out) : elab_made(e, loc, NULL);
}

// Brings both sides to one element type and makes the operator. `what` is how the user wrote it.
static Datum pointwise_typed(Elab *e, Loc loc, const char *what, Op op, Datum x, Datum y) {
    DType dtype;
    if (!common_dtype(e, loc, what, x, y, &dtype))
        return datum_error();
    const bool logic = op == OP_AND || op == OP_OR;
    // Logic wants bools and everything else numbers, but bools may be compared for equality.
    if (logic != (dtype == DT_BOOL) && !((op == OP_EQ || op == OP_NE) && dtype == DT_BOOL))
        return elab_fail(e, loc, CODE_DTYPE,
                         logic ? "compare first, as in x > 0" : "f32(x) makes numbers",
                         "%s does not work on %s tensors", what, dtype_name(dtype));
    if (op == OP_DIV && dtype == DT_I32)
        dtype = DT_F32;
    const Array *a = typed_operand(e, loc, x, y, dtype);
    const Array *b = typed_operand(e, loc, y, x, dtype);
    return pointwise(e, loc, op, a, b);
}

Datum arith_pointwise(Elab *e, Loc loc, Op op, Datum x, Datum y) {
    if (x.kind == DATUM_ERROR || y.kind == DATUM_ERROR)
        return datum_error();
    // Neither side is a tensor: the first is made one, since the types are chosen by a tensor.
    if (!is_tensor(x) && !is_tensor(y)) {
        const Array *a = arith_tensor(e, loc, x);
        if (!a)
            return datum_error();
        x = datum_array(a);
    }
    return pointwise_typed(e, loc, op_info(op)->name, op, x, y);
}

// [..., m, k] @ [k, n], or with equal leading sizes on both sides.
static Datum matmul(Elab *e, Loc loc, Datum x, Datum y) {
    DType dtype;
    if (!is_tensor(x) || !is_tensor(y))
        return elab_fail(e, loc, CODE_KIND, NULL, "@ multiplies tensors, got %s and %s",
                         datum_describe(e->arena, x), datum_describe(e->arena, y));
    if (!common_dtype(e, loc, "@", x, y, &dtype))
        return datum_error();
    const Type *a = &x.as.array->value->type, *b = &y.as.array->value->type;
    const bool batched = b->rank > 2;
    if (a->rank < 1 || b->rank < 2 || (batched && a->rank != b->rank) ||
        a->dim[a->rank - 1] != b->dim[b->rank - 2])
        return elab_fail(e, loc, CODE_PRODUCT, "einsum names its axes",
                         "the sizes of %s @ %s do not fit", type_text(e->arena, a),
                         type_text(e->arena, b));
    // In letters: left a, b, .., the last axis of left is summed with right's second to last, and z
    // is right's last.
    char left[RANK_MAX + 1] = {0}, right[RANK_MAX + 1] = {0}, out[RANK_MAX + 1] = {0};
    for (int i = 0; i < a->rank; i++)
        left[i] = out[i] = (char)('a' + i);
    for (int i = 0; batched && i < b->rank - 2; i++) {
        right[i] = left[i];
        if (a->dim[i] != b->dim[i])
            return elab_fail(e, loc, CODE_PRODUCT, NULL, "the leading sizes of %s @ %s differ",
                             type_text(e->arena, a), type_text(e->arena, b));
    }
    right[b->rank - 2] = left[a->rank - 1];
    right[b->rank - 1] = out[a->rank - 1] = 'z';
    const Array *p = typed_operand(e, loc, x, y, dtype), *q = typed_operand(e, loc, y, x, dtype);
    if (!p || !q)
        return datum_error();
    Array *made = arena_new(e->arena, Array);
    made->value = build_einsum(elab_at(e, loc), p->value, q->value,
                               arena_format(e->arena, "%s,%s->%s", left, right, out));
    for (int i = 0; i < a->rank; i++)
        made->factors[i] = i + 1 < a->rank ? p->factors[i] : q->factors[b->rank - 1];
    return made->value ? datum_array(made) : elab_made(e, loc, NULL);
}

// a > b is b < a.
// There is no operator for > and >=.
static Datum tensor_binary(Elab *e, Loc loc, BinaryOp op, Datum x, Datum y) {
    static const Op by_op[] = {OP_OR, OP_AND, OP_EQ,  OP_NE,  OP_LT,  OP_LE,
                               OP_LT, OP_LE,  OP_ADD, OP_SUB, OP_MUL, OP_DIV};
    if (op == BINARY_MATMUL)
        return matmul(e, loc, x, y);
    if (op == BINARY_GT || op == BINARY_GE)
        return pointwise_typed(e, loc, binary_text[op], by_op[op], y, x);
    return pointwise_typed(e, loc, binary_text[op], by_op[op], x, y);
}

// Sorts by what the sides are: numbers fold, none and texts compare, lists join, tensors make
// operators.
Datum arith_binary(Elab *e, Loc loc, BinaryOp op, Datum x, Datum y) {
    if (x.kind == DATUM_ERROR || y.kind == DATUM_ERROR)
        return datum_error();
    if (datum_is_number(x) && datum_is_number(y))
        return fold_number(e, loc, op, x, y);
    const bool none = x.kind == DATUM_NONE || y.kind == DATUM_NONE;
    // A tensor is never equal to none, and this is known at compile time.
    if ((op == BINARY_EQ || op == BINARY_NE) && (none || (!is_tensor(x) && !is_tensor(y))))
        return datum_bool(same_datum(x, y) == (op == BINARY_EQ));
    if (op == BINARY_ADD && x.kind == y.kind && datum_is_items(x))
        return join_lists(e, loc, x, y);
    const bool simple = datum_is_number(x) || x.kind == DATUM_BOOL || is_tensor(x);
    const bool plain = datum_is_number(y) || y.kind == DATUM_BOOL || is_tensor(y);
    if (simple && plain && (is_tensor(x) || is_tensor(y)))
        return tensor_binary(e, loc, op, x, y);
    return elab_fail(e, loc, CODE_KIND, NULL, "%s does not work on %s and %s", binary_text[op],
                     datum_describe(e->arena, x), datum_describe(e->arena, y));
}

Datum arith_negate(Elab *e, Loc loc, Datum x) {
    if (x.kind == DATUM_INT)
        return fold_int(e, loc, BINARY_SUB, 0, x.as.whole);
    if (x.kind == DATUM_FLOAT)
        return datum_float(-x.as.real);
    if (!is_tensor(x))
        return x.kind == DATUM_ERROR ? x
                                     : elab_fail(e, loc, CODE_KIND, NULL, "- does not work on %s",
                                                 datum_describe(e->arena, x));
    if (x.as.array->value->type.dtype == DT_BOOL)
        return elab_fail(e, loc, CODE_DTYPE, "f32(x) makes numbers",
                         "- does not work on bool tensors");
    Array *out = arena_new(e->arena, Array);
    *out = *x.as.array;
    out->value = build_unary(elab_at(e, loc), OP_NEG, out->value);
    return out->value ? datum_array(out) : elab_made(e, loc, NULL);
}

Datum arith_not(Elab *e, Loc loc, Datum x) {
    if (x.kind == DATUM_BOOL)
        return datum_bool(!x.as.truth);
    if (x.kind == DATUM_ERROR)
        return x;
    if (!is_tensor(x) || x.as.array->value->type.dtype != DT_BOOL)
        return elab_fail(e, loc, CODE_KIND, NULL,
                         "not works on true, false and bool tensors, got %s",
                         datum_describe(e->arena, x));
    return elab_made(e, loc, build_unary(elab_at(e, loc), OP_NOT, x.as.array->value));
}
