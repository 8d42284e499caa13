// Builtins that reduce axes: sum and mean by axis numbers or by a pattern ("b s e -> e"), moments,
// unbiased.
//
// Axes are a set of bits here. The graph's reduce drops its axes, so a mean that must be broadcast
// again is given the axes it kept. Any set of axes may be asked for: pass_legalize makes them what
// kernels can do.
//
//     mean(x: f32[2,3,4], "b s d -> d")  =>  reduce_sum {axes = [0,1]}; mul 1/6
#include "frontend/builtins.h"

#include <string.h>

Value *reduce_axes(Elab *e, Loc loc, Op op, Value *x, unsigned axes) {
    int64_t axis[RANK_MAX];
    int count = 0;
    for (int i = 0; i < x->type.rank; i++)
        if (axes >> i & 1)
            axis[count++] = i;
    // A pattern that keeps every axis reduces nothing.
    if (count == 0)
        return x;
    const Attr attr = attr_ints("axes", axis, count);
    return build_op(elab_at(e, loc), op, &x, 1, &attr, 1);
}

Value *spread_axis(Elab *e, Loc loc, Value *x, const Type *to, int axis) {
    // A scalar fits every axis.
    if (x->type.rank == 0)
        return build_broadcast(elab_at(e, loc), x, to, NULL);
    if (x->type.rank != 1 || x->type.dim[0] != to->dim[axis]) {
        elab_fail(e, loc, CODE_OPERAND, NULL, "%s does not fit axis %d of %s",
                  type_text(e->arena, &x->type), axis, type_text(e->arena, to));
        return NULL;
    }
    return build_broadcast(elab_at(e, loc), x, to, &axis);
}

// How many axes `...` stands for; -1 after a diagnostic.
static int rest_count(Elab *e, Loc loc, const Pattern *p, const Type *type) {
    int rest = 0;
    for (int i = 0; i < p->count; i++)
        rest += pattern_is_rest(&p->axis[i]);
    const int named = p->count - rest;
    // At most one `...`; without it the names must be as many as the axes.
    if (rest > 1 || (rest == 0 ? named != type->rank : named > type->rank)) {
        elab_fail(e, loc, CODE_AXES, NULL, "the pattern has %d axes, but the tensor is %s", named,
                  type_text(e->arena, type));
        return -1;
    }
    return type->rank - named;
}

// "n c ... -> c": the axes on the left that the right leaves out. Order must be kept.
static bool pattern_axes(Elab *e, Loc loc, const char *text, const Type *type, unsigned *axes) {
    size_t left_bytes;
    const char *right_text;
    Pattern left, right;
    if (!pattern_sides(e, loc, text, &left_bytes, &right_text) ||
        !pattern_parse(e, loc, text, left_bytes, &left) ||
        !pattern_parse(e, loc, right_text, strlen(right_text), &right))
        return false;
    const int rest = rest_count(e, loc, &left, type);
    if (rest < 0)
        return false;
    *axes = 0;
    // kept walks along the right side, axis along the tensor's axes.
    int axis = 0, kept = 0;
    for (int i = 0; i < left.count; i++) {
        const int width = pattern_is_rest(&left.axis[i]) ? rest : 1;
        // Literal sizes have no name, so two of them are never taken for the same axis.
        if (kept < right.count && left.axis[i].name && right.axis[kept].name == left.axis[i].name)
            kept++;
        else
            for (int k = 0; k < width; k++)
                *axes |= 1u << (axis + k);
        axis += width;
    }
    if (kept < right.count) {
        elab_fail(e, loc, CODE_AXES, "keep the axes in their order; arrange moves them",
                  "the right side of \"%s\" is no part of its left side", text);
        return false;
    }
    return true;
}

// Axes as nothing (all), a number, a list of numbers, or a pattern.
static bool read_axes(Elab *e, const BuiltinCall *call, int index, const Type *type,
                      unsigned *axes) {
    const Datum d = call->arg[index];
    *axes = (1u << type->rank) - 1;
    if (!builtin_is_given(call, index))
        return true;
    if (d.kind == DATUM_TEXT)
        return pattern_axes(e, call->arg_loc[index], d.as.text, type, axes);
    const Items one = {1, &d};
    const Items *items = datum_is_items(d) ? d.as.items : &one;
    *axes = 0;
    for (int i = 0; i < items->count; i++) {
        // One element at a time, as if it stood alone: builtin_axis has the checks and the
        // messages.
        BuiltinCall single = *call;
        single.arg[index] = items->at[i];
        int axis;
        if (!builtin_axis(e, &single, index, type->rank, 0, &axis))
            return false;
        *axes |= 1u << axis;
    }
    return true;
}

// How many elements of x make one of the result.
static int64_t reduced_count(const Type *type, unsigned axes) {
    int64_t count = 1;
    for (int i = 0; i < type->rank; i++)
        count *= axes >> i & 1 ? type->dim[i] : 1;
    return count;
}

// sum over the axes, times scale. The axes that stay keep their factors.
static Datum reduced(Elab *e, Loc loc, const Array *x, unsigned axes, double scale) {
    Array *out = arena_new(e->arena, Array);
    out->value = reduce_axes(e, loc, OP_REDUCE_SUM, x->value, axes);
    int axis = 0;
    for (int i = 0; i < x->value->type.rank; i++)
        if (!(axes >> i & 1))
            out->factors[axis++] = x->factors[i];
    if (out->value)
        out->value = build_scale(elab_at(e, loc), out->value, scale);
    return out->value ? datum_array(out) : elab_made(e, loc, NULL);
}

// sum([a, b, ...]): the elements of the list added as `+` adds them; mean divides by their number.
static Datum list_sum(Elab *e, const BuiltinCall *call, bool is_mean) {
    const Items *items = call->arg[0].as.items;
    if (builtin_is_given(call, 1))
        return builtin_wrong(e, call, 1, "no axes where it adds up a list");
    if (items->count == 0)
        return builtin_wrong(e, call, 0, "a list with something in it");
    Datum sum = items->at[0];
    if (sum.kind != DATUM_TENSOR && !datum_is_number(sum))
        return builtin_wrong(e, call, 0, "a list of tensors or numbers");
    for (int i = 1; i < items->count; i++)
        sum = arith_binary(e, call->loc, BINARY_ADD, sum, items->at[i]);
    return is_mean ? arith_binary(e, call->loc, BINARY_DIV, sum, datum_int(items->count)) : sum;
}

// sum, and mean as sum times 1 / n.
static Datum run_sum(Elab *e, const BuiltinCall *call) {
    const bool is_mean = strcmp(call->self->name, "mean") == 0;
    if (datum_is_items(call->arg[0]))
        return list_sum(e, call, is_mean);
    const Array *x = builtin_float_array(e, call, 0);
    unsigned axes;
    if (!x || !read_axes(e, call, 1, &x->value->type, &axes))
        return datum_error();
    const double scale = is_mean ? 1 / (double)reduced_count(&x->value->type, axes) : 1;
    return reduced(e, call->loc, x, axes, scale);
}

// (mean, variance) over axes; the variance is that of the whole population.
static Datum run_moments(Elab *e, const BuiltinCall *call) {
    const Array *x = builtin_float_array(e, call, 0);
    unsigned axes;
    if (!x || !read_axes(e, call, 1, &x->value->type, &axes))
        return datum_error();
    const Type *type = &x->value->type;
    const double scale = 1 / (double)reduced_count(type, axes);
    const Datum mean = reduced(e, call->loc, x, axes, scale);
    if (mean.kind == DATUM_ERROR)
        return mean;
    // The numbers in x of the axes that stay: where the mean is broadcast back to.
    int kept[RANK_MAX], count = 0;
    for (int i = 0; i < type->rank; i++)
        if (!(axes >> i & 1))
            kept[count++] = i;
    // wide, off: the shape of x; off = x - mean.
    Builder *b = elab_at(e, call->loc);
    Value *wide = build_broadcast(b, mean.as.array->value, type, kept);
    Value *off = build_binary(b, OP_SUB, x->value, wide);
    Array square = *x;
    square.value = build_binary(b, OP_MUL, off, off);
    if (!square.value)
        return elab_made(e, call->loc, NULL);
    Datum *pair = arena_array(e->arena, Datum, 2);
    pair[0] = mean;
    pair[1] = reduced(e, call->loc, &square, axes, scale);
    return datum_items(e->arena, DATUM_TUPLE, pair, 2);
}

// The sample variance of x's elements from the population variance: times n / (n - 1).
static Datum run_unbiased(Elab *e, const BuiltinCall *call) {
    const Array *variance = builtin_float_array(e, call, 0), *x = builtin_array(e, call, 1);
    if (!variance || !x)
        return datum_error();
    // How many elements of x made one variance.
    const double n =
        (double)type_count(&x->value->type) / (double)type_count(&variance->value->type);
    const double factor = n > 1 ? n / (n - 1) : 1;
    return arith_binary(e, call->loc, BINARY_MUL, datum_array(variance), datum_float(factor));
}

const Builtin builtins_reduce[] = {
    {"sum", "x axes?", run_sum, OP_REDUCE_SUM},
    {"mean", "x axes?", run_sum, OP_REDUCE_SUM},
    {"moments", "x axes?", run_moments, OP_REDUCE_SUM},
    {"unbiased", "variance x", run_unbiased, OP_MUL},
};
const int builtins_reduce_count = sizeof builtins_reduce / sizeof builtins_reduce[0];
