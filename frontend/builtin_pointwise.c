// Builtins that work element by element. On compile-time numbers exp, log, sqrt, ... give numbers.
//
// Each function takes its arguments as builtin_call has sorted them. Operands of different shapes
// are broadcast by arith.c; sizes keep their factors. A number where a tensor is meant becomes a
// constant.
#include "frontend/builtins.h"

#include "ir/check.h"

#include <math.h>

// On numbers. NaN for functions that exist on tensors only, which the caller reports.
static double fold_unary(Op op, double x) {
    switch ((int)op) {
    case OP_EXP:
        return exp(x);
    case OP_LOG:
        return log(x);
    case OP_SQRT:
        return sqrt(x);
    case OP_RSQRT:
        return 1 / sqrt(x);
    case OP_SIN:
        return sin(x);
    case OP_COS:
        return cos(x);
    case OP_TANH:
        return tanh(x);
    default:
        return (double)NAN;
    }
}

// exp, sqrt, gelu, ...: a number gives a number, a float tensor one operator.
static Datum run_unary(Elab *e, const BuiltinCall *call) {
    const Datum d = call->arg[0];
    if (datum_is_number(d)) {
        const double value = fold_unary(call->self->op, datum_number(d));
        // Also gelu(2), erf(1), ...: what can't be folded came out as NaN.
        if (!isfinite(value))
            return elab_fail(e, call->loc, CODE_VALUE, NULL, "%s of %g is no finite number",
                             call->self->name, datum_number(d));
        return datum_float(value);
    }
    const Array *x = builtin_float_array(e, call, 0);
    if (!x)
        return datum_error();
    Array *out = arena_new(e->arena, Array);
    // The shape stays, and with it the factors of its sizes.
    *out = *x;
    out->value = build_unary(elab_at(e, call->loc), call->self->op, x->value);
    return out->value ? datum_array(out) : elab_made(e, call->loc, NULL);
}

// abs, sign: also of i32 tensors and of numbers.
static Datum run_signed(Elab *e, const BuiltinCall *call) {
    const Datum d = call->arg[0];
    const bool is_abs = call->self->op == OP_ABS;
    if (d.kind == DATUM_INT) {
        const int64_t w = d.as.whole;
        if (is_abs)
            // By arith_negate, since the smallest number has no opposite.
            return w < 0 ? arith_negate(e, call->loc, d) : d;
        return datum_int((w > 0) - (w < 0));
    }
    if (d.kind == DATUM_FLOAT)
        return datum_float(is_abs ? fabs(d.as.real) : (d.as.real > 0) - (d.as.real < 0));
    const Array *x = builtin_array(e, call, 0);
    if (!x)
        return datum_error();
    if (x->value->type.dtype == DT_BOOL)
        return builtin_wrong(e, call, 0, "numbers");
    Array *out = arena_new(e->arena, Array);
    *out = *x;
    out->value = build_unary(elab_at(e, call->loc), call->self->op, x->value);
    return out->value ? datum_array(out) : elab_made(e, call->loc, NULL);
}

// At compile time only: makes a size of a number that was computed as a float.
static Datum run_floor(Elab *e, const BuiltinCall *call) {
    const Datum d = call->arg[0];
    if (d.kind == DATUM_INT)
        return d;
    if (d.kind != DATUM_FLOAT)
        return builtin_wrong(e, call, 0, "a compile-time number");
    const double whole = floor(d.as.real);
    // Also false for NaN. Below 9e15 a double holds every whole number exactly.
    if (!(fabs(whole) < 9e15))
        return elab_fail(e, call->loc, CODE_VALUE, NULL, "floor of %g does not fit", d.as.real);
    return datum_int((int64_t)whole);
}

// The smaller or larger of two, or the largest along axes.
static Datum run_extreme(Elab *e, const BuiltinCall *call) {
    const Datum x = call->arg[0], y = call->arg[1];
    // One of the two comes back as it was: a whole number stays whole and a size keeps its factors.
    if (datum_is_number(x) && datum_is_number(y)) {
        const bool first = call->self->op == OP_MIN ? datum_number(x) <= datum_number(y)
                                                    : datum_number(x) >= datum_number(y);
        return first ? x : y;
    }
    return arith_pointwise(e, call->loc, call->self->op, x, y);
}

// max(x, y) by element; max(x) over all axes; max(x, axis = i) over one.
static Datum run_max(Elab *e, const BuiltinCall *call) {
    if (builtin_is_given(call, 1))
        return run_extreme(e, call);
    const Array *x = builtin_float_array(e, call, 0);
    if (!x)
        return datum_error();
    const int rank = x->value->type.rank;
    // A bit for each axis: all of them.
    unsigned axes = (1u << rank) - 1;
    int axis;
    if (builtin_is_given(call, 2)) {
        if (!builtin_axis(e, call, 2, rank, 0, &axis))
            return datum_error();
        axes = 1u << axis;
    }
    return elab_made(e, call->loc, reduce_axes(e, call->loc, OP_REDUCE_MAX, x->value, axes));
}

// min(max(x, low), high)
static Datum run_clamp(Elab *e, const BuiltinCall *call) {
    // In this order: where low > high the result is high.
    const Datum low = arith_pointwise(e, call->loc, OP_MAX, call->arg[0], call->arg[1]);
    return arith_pointwise(e, call->loc, OP_MIN, low, call->arg[2]);
}

// where(c, a, b)
static Datum run_where(Elab *e, const BuiltinCall *call) {
    // Decided at compile time: the side that is not chosen need not fit.
    if (call->arg[0].kind == DATUM_BOOL)
        return call->arg[call->arg[0].as.truth ? 1 : 2];
    const Array *c = builtin_array(e, call, 0);
    if (!c)
        return datum_error();
    if (c->value->type.dtype != DT_BOOL)
        return builtin_wrong(e, call, 0, "a bool tensor");
    // A number takes the other side's type.
    Datum side[2] = {call->arg[1], call->arg[2]};
    DType dtype = DT_F32;
    for (int i = 0; i < 2; i++)
        if (side[i].kind == DATUM_TENSOR)
            dtype = side[i].as.array->value->type.dtype;
    const Array *x[2];
    for (int i = 0; i < 2; i++) {
        x[i] = dtype_is_float(dtype) ? arith_float_tensor(e, call->loc, side[i])
                                     : arith_tensor(e, call->loc, side[i]);
        if (!x[i])
            return datum_error();
    }
    // f32 and bf16 meet in f32.
    if (x[0]->value->type.dtype != x[1]->value->type.dtype && dtype_is_float(dtype))
        dtype = DT_F32;
    Array shape = {0};
    Type type;
    Array *out = arena_new(e->arena, Array);
    if (!arith_common_shape(e, call->loc, x[0], x[1], &type, out->factors))
        return datum_error();
    // The joint shape of all three, by way of a stand-in of the first two.
    shape.value = build_constant(elab_at(e, call->loc), type_with_dtype(type, DT_F32), 0);
    if (!arith_common_shape(e, call->loc, c, &shape, &type, out->factors))
        return datum_error();
    Value *operand[3] = {arith_shaped(e, call->loc, datum_array(c), &type)};
    for (int i = 0; i < 2; i++) {
        Value *v = arith_shaped(e, call->loc, datum_array(x[i]), &type);
        // Floats are brought to one type; i32 and bool must agree already, which is checked below.
        operand[1 + i] =
            v && dtype_is_float(v->type.dtype) ? build_cast(elab_at(e, call->loc), v, dtype) : v;
    }
    if (!operand[0] || !operand[1] || !operand[2])
        return datum_error();
    if (operand[1]->type.dtype != operand[2]->type.dtype)
        return elab_fail(e, call->loc, CODE_DTYPE, NULL, "where chooses between %s and %s",
                         dtype_name(operand[1]->type.dtype), dtype_name(operand[2]->type.dtype));
    out->value = build_op(elab_at(e, call->loc), OP_SELECT, operand, 3, NULL, 0);
    return out->value ? datum_array(out) : elab_made(e, call->loc, NULL);
}

// cast(x, f32), which f32(x) stands for.
static Datum run_cast(Elab *e, const BuiltinCall *call) {
    const Array *x = builtin_array(e, call, 0);
    if (!x)
        return datum_error();
    if (call->arg[1].kind != DATUM_DTYPE)
        return builtin_wrong(e, call, 1, "an element type");
    Array *out = arena_new(e->arena, Array);
    *out = *x;
    out->value = build_cast(elab_at(e, call->loc), x->value, call->arg[1].as.dtype);
    return out->value ? datum_array(out) : elab_made(e, call->loc, NULL);
}

// a + t (b - a)
static Datum run_mix(Elab *e, const BuiltinCall *call) {
    for (int i = 0; i < 2; i++)
        if (call->arg[i].kind == DATUM_INSTANCE)
            return elab_fail(e, call->arg_loc[i], CODE_UNSUPPORTED, NULL,
                             "mix of instances is not supported yet");
    // By arithmetic, which serves numbers, tensors and their broadcasts alike.
    const Datum step = arith_binary(e, call->loc, BINARY_SUB, call->arg[1], call->arg[0]);
    const Datum part = arith_binary(e, call->loc, BINARY_MUL, step, call->arg[2]);
    return arith_binary(e, call->loc, BINARY_ADD, call->arg[0], part);
}

// The value without its gradient.
static Datum run_stop(Elab *e, const BuiltinCall *call) {
    const Array *x = builtin_array(e, call, 0);
    // What is not float has no gradient to stop.
    if (!x || !dtype_is_float(x->value->type.dtype))
        return x ? datum_array(x) : datum_error();
    Array *out = arena_new(e->arena, Array);
    *out = *x;
    out->value = build_unary(elab_at(e, call->loc), OP_STOP, x->value);
    return out->value ? datum_array(out) : elab_made(e, call->loc, NULL);
}

// The last column is what run_unary and the other shared functions make; elsewhere it is not read.
const Builtin builtins_pointwise[] = {
    {"exp", "x", run_unary, OP_EXP},
    {"log", "x", run_unary, OP_LOG},
    {"sqrt", "x", run_unary, OP_SQRT},
    {"rsqrt", "x", run_unary, OP_RSQRT},
    {"sin", "x", run_unary, OP_SIN},
    {"cos", "x", run_unary, OP_COS},
    {"tanh", "x", run_unary, OP_TANH},
    {"erf", "x", run_unary, OP_ERF},
    {"sigmoid", "x", run_unary, OP_SIGMOID},
    {"relu", "x", run_unary, OP_RELU},
    {"relu6", "x", run_unary, OP_RELU6},
    {"hard_sigmoid", "x", run_unary, OP_HARD_SIGMOID},
    {"hard_swish", "x", run_unary, OP_HARD_SWISH},
    {"silu", "x", run_unary, OP_SILU},
    {"gelu", "x", run_unary, OP_GELU},
    {"gelu_erf", "x", run_unary, OP_GELU_ERF},
    {"abs", "x", run_signed, OP_ABS},
    {"sign", "x", run_signed, OP_SIGN},
    {"floor", "x", run_floor, OP_ABS},
    {"min", "x y", run_extreme, OP_MIN},
    {"max", "x y? axis?", run_max, OP_MAX},
    {"clamp", "x low high", run_clamp, OP_MIN},
    {"where", "condition x y", run_where, OP_SELECT},
    {"cast", "x to", run_cast, OP_CAST},
    {"mix", "x y t", run_mix, OP_ADD},
    {"stop", "x", run_stop, OP_STOP},
};
const int builtins_pointwise_count = sizeof builtins_pointwise / sizeof builtins_pointwise[0];
