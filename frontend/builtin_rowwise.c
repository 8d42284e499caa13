// Builtins that work along rows: softmax, norms, cross entropy, rotary. attend has a file of its
// own.
//
// Norms, softmax, cross entropy and rotary are whole operators of the graph, since what
// they save for the backward pass is what memory planning is about. What has no operator
// (log_softmax, normalize with statistics) is made of pointwise operators and reductions.
//
//     rotary(x: f32[.., s, e])  =>  tables cos, sin: f32[s, e/2] from iota; one `rotary`
//
// Equal tables of several layers are shared by pass_simplify. Statements make one node each: C
// leaves open in which order arguments of a call are evaluated, and the graph's order must not
// depend on the compiler.
#include "frontend/builtins.h"

#include <math.h>
#include <string.h>

// Moves an axis to the end, or back.
static Value *swap_last(Elab *e, Loc loc, Value *x, int axis) {
    const int last = x->type.rank - 1;
    if (axis == last)
        return x;
    int perm[RANK_MAX];
    for (int i = 0; i <= last; i++)
        perm[i] = i == axis ? last : i == last ? axis : i;
    return build_transpose(elab_at(e, loc), x, perm);
}

// v as a tensor whose sizes were multiplied together like those of x.
static Datum same_factors(Elab *e, Loc loc, const Array *x, Value *v) {
    if (!v)
        return elab_made(e, loc, NULL);
    Array *out = arena_new(e->arena, Array);
    *out = *x;
    out->value = v;
    return datum_array(out);
}

// The operator works along the last axis: another axis is swapped there and back.
static Datum run_softmax(Elab *e, const BuiltinCall *call) {
    const Array *x = builtin_float_array(e, call, 0);
    int axis;
    if (!x || !builtin_axis(e, call, 1, x->value->type.rank, -1, &axis))
        return datum_error();
    Value *rows = swap_last(e, call->loc, x->value, axis);
    Value *y = rows ? build_unary(elab_at(e, call->loc), OP_SOFTMAX, rows) : NULL;
    return same_factors(e, call->loc, x, y ? swap_last(e, call->loc, y, axis) : NULL);
}

// x - m - log sum e^(x - m)
static Datum run_log_softmax(Elab *e, const BuiltinCall *call) {
    const Array *x = builtin_float_array(e, call, 0);
    int axis;
    if (!x || !builtin_axis(e, call, 1, x->value->type.rank, -1, &axis))
        return datum_error();
    const Type *type = &x->value->type;
    // The axes of x that its reductions keep.
    int kept[RANK_MAX], count = 0;
    for (int i = 0; i < type->rank; i++)
        if (i != axis)
            kept[count++] = i;
    Builder *b = elab_at(e, call->loc);
    // top, sum: x without the axis. The largest is taken off first, so e^low is at most 1.
    Value *top = reduce_axes(e, call->loc, OP_REDUCE_MAX, x->value, 1u << axis);
    Value *low = build_binary(b, OP_SUB, x->value, build_broadcast(b, top, type, kept));
    Value *power = build_unary(b, OP_EXP, low);
    Value *sum = power ? reduce_axes(e, call->loc, OP_REDUCE_SUM, power, 1u << axis) : NULL;
    Value *log = build_broadcast(b, build_unary(b, OP_LOG, sum), type, kept);
    return same_factors(e, call->loc, x, build_binary(b, OP_SUB, low, log));
}

// The first result of a node with several.
static Value *first_result(Elab *e, Loc loc, Op op, Value *const *in, int count, const Attr *attr,
                           int attrs) {
    const Node *n = build_node(elab_at(e, loc), op, in, count, attr, attrs);
    return n ? n->result : NULL;
}

// A weight or bias [d] for x [..., d].
static bool is_row_vector(Elab *e, const BuiltinCall *call, int index, const Array *v,
                          const Array *x) {
    const Type *type = &x->value->type, *have = &v->value->type;
    if (type->rank > 0 && have->rank == 1 && have->dim[0] == type->dim[type->rank - 1])
        return true;
    elab_fail(e, call->arg_loc[index], CODE_OPERAND, NULL,
              "%s of %s wants a vector of its last axis, got %s", call->self->name,
              type_text(e->arena, type), type_text(e->arena, have));
    return false;
}

// x [..., d], weight [d], bias [d].
static Datum run_layer_norm(Elab *e, const BuiltinCall *call) {
    const Array *x = builtin_float_array(e, call, 0), *w = builtin_float_array(e, call, 1);
    const Array *b = builtin_float_array(e, call, 2);
    double eps;
    if (!x || !w || !b || !builtin_number(e, call, 3, 1e-5, &eps) ||
        !is_row_vector(e, call, 1, w, x) || !is_row_vector(e, call, 2, b, x))
        return datum_error();
    const Attr attr = attr_float("eps", eps);
    Value *const in[] = {x->value, w->value, b->value};
    return same_factors(e, call->loc, x, first_result(e, call->loc, OP_LAYERNORM, in, 3, &attr, 1));
}

// x [..., d], weight [d].
static Datum run_rms_norm(Elab *e, const BuiltinCall *call) {
    const Array *x = builtin_float_array(e, call, 0), *w = builtin_float_array(e, call, 1);
    double eps;
    if (!x || !w || !builtin_number(e, call, 2, 1e-6, &eps) || !is_row_vector(e, call, 1, w, x))
        return datum_error();
    const Attr attr = attr_float("eps", eps);
    Value *const in[] = {x->value, w->value};
    return same_factors(e, call->loc, x, first_result(e, call->loc, OP_RMSNORM, in, 2, &attr, 1));
}

// normalize(x): x / sum along the last axis. With statistics: (x - mean) rsqrt(var + eps) weight +
// bias, each a vector of axis 1.
static Datum run_normalize(Elab *e, const BuiltinCall *call) {
    const Array *x = builtin_float_array(e, call, 0);
    if (!x)
        return datum_error();
    const Type *type = &x->value->type;
    Builder *b = elab_at(e, call->loc);
    if (!builtin_is_given(call, 1)) {
        if (type->rank == 0)
            return builtin_wrong(e, call, 0, "a tensor with an axis");
        Value *sum = reduce_axes(e, call->loc, OP_REDUCE_SUM, x->value, 1u << (type->rank - 1));
        // sum has the leading axes of x, in their order.
        int kept[RANK_MAX];
        for (int i = 0; i < type->rank; i++)
            kept[i] = i;
        Value *wide = build_broadcast(b, sum, type, kept);
        return same_factors(e, call->loc, x, build_binary(b, OP_DIV, x->value, wide));
    }
    double eps;
    if (type->rank < 2)
        return builtin_wrong(e, call, 0, "a tensor [n, c, ...] here");
    if (!builtin_is_given(call, 2) || !builtin_number(e, call, 5, 1e-5, &eps))
        return elab_fail(e, call->loc, CODE_MISSING, NULL, "argument var of normalize is missing");
    Value *part[4] = {NULL}; // mean, var, weight, bias
    for (int i = 0; i < 4; i++) {
        if (i >= 2 && !builtin_is_given(call, 1 + i))
            continue;
        const Array *v = builtin_float_array(e, call, 1 + i);
        if (!v)
            return datum_error();
        Value *vector = v->value;
        // 1 / sqrt(var + eps), on the vector and so before it is spread.
        if (i == 1)
            vector = build_unary(
                b, OP_RSQRT, build_binary(b, OP_ADD, vector, build_constant(b, vector->type, eps)));
        part[i] = vector ? spread_axis(e, call->arg_loc[1 + i], vector, type, 1) : NULL;
        if (!part[i])
            return datum_error();
    }
    Value *y = build_binary(b, OP_MUL, build_binary(b, OP_SUB, x->value, part[0]), part[1]);
    if (part[2])
        y = build_binary(b, OP_MUL, y, part[2]);
    if (part[3])
        y = build_binary(b, OP_ADD, y, part[3]);
    return same_factors(e, call->loc, x, y);
}

// The mean of the rows' losses; with mean = false the losses. A negative target counts 0 but as a
// row.
static Datum run_cross_entropy(Elab *e, const BuiltinCall *call) {
    const Array *x = builtin_float_array(e, call, 0), *target = builtin_array(e, call, 1);
    bool mean;
    if (!x || !target || !builtin_bool(e, call, 2, true, &mean))
        return datum_error();
    const Type *type = &x->value->type, *want = &target->value->type;
    bool fits = want->dtype == DT_I32 && type->rank == want->rank + 1;
    for (int i = 0; fits && i < want->rank; i++)
        fits = type->dim[i] == want->dim[i];
    if (!fits)
        return elab_fail(e, call->loc, CODE_OPERAND, "logits are [..., v], targets i32 [...]",
                         "cross_entropy of logits %s and targets %s", type_text(e->arena, type),
                         type_text(e->arena, want));
    Value *const in[] = {x->value, target->value};
    Value *loss = first_result(e, call->loc, OP_CROSS_ENTROPY, in, 2, NULL, 0);
    if (!loss || !mean)
        return elab_made(e, call->loc, loss);
    // Also for a scalar target, which has no axes to sum.
    const unsigned all = (1u << want->rank) - 1;
    Value *sum = reduce_axes(e, call->loc, OP_REDUCE_SUM, loss, all);
    return elab_made(e, call->loc,
                     build_scale(elab_at(e, call->loc), sum, 1 / (double)type_count(want)));
}

// base^(-2i/e) for i < e/2, stretched as Llama 3 does where scaling = (factor, low, high, context)
// is given: frequencies whose wave is longer than context / low are divided by factor, those
// shorter than context / high stay, those between are blended.
static Value *frequencies(Elab *e, const BuiltinCall *call, int64_t half, double base,
                          const double *scaling) {
    Builder *b = elab_at(e, call->loc);
    const Attr attr[] = {attr_ints("shape", &half, 1), attr_int("axis", 0)};
    Value *index = build_cast(b, build_op(b, OP_IOTA, NULL, 0, attr, 2), DT_F32);
    Value *f = build_unary(b, OP_EXP, build_scale(b, index, -log(base) / (double)half));
    if (!scaling || !f)
        return f;
    const double factor = scaling[0], low = scaling[1], high = scaling[2], context = scaling[3];
    // How many waves fit the old context, from low (0) to high (1).
    Value *waves = build_scale(b, f, context / 6.283185307179586);
    Value *smooth = build_binary(b, OP_SUB, waves, build_constant(b, f->type, low));
    smooth = build_scale(b, smooth, 1 / (high - low));
    smooth = build_binary(b, OP_MAX, smooth, build_constant(b, f->type, 0));
    smooth = build_binary(b, OP_MIN, smooth, build_constant(b, f->type, 1));
    // f / factor where smooth is 0, f where it is 1.
    Value *kept = build_scale(b, smooth, 1 - 1 / factor);
    kept = build_binary(b, OP_ADD, kept, build_constant(b, f->type, 1 / factor));
    return build_binary(b, OP_MUL, f, kept);
}

// (factor, low, high, context)
static bool read_scaling(Elab *e, const BuiltinCall *call, int index, double *out) {
    const Datum d = call->arg[index];
    bool fits = datum_is_items(d) && d.as.items->count == 4;
    for (int i = 0; fits && i < 4; i++) {
        fits = datum_is_number(d.as.items->at[i]) && datum_number(d.as.items->at[i]) > 0;
        if (fits)
            out[i] = datum_number(d.as.items->at[i]);
    }
    if (fits && out[2] > out[1])
        return true;
    elab_fail(e, call->arg_loc[index], CODE_VALUE, NULL,
              "scaling is (factor, low, high, context), all above 0 and low below high");
    return false;
}

// The position of each row: 0, 1, 2, ... or as given.
static Value *positions(Elab *e, const BuiltinCall *call, int index, int64_t rows) {
    Builder *b = elab_at(e, call->loc);
    if (!builtin_is_given(call, index)) {
        const Attr attr[] = {attr_ints("shape", &rows, 1), attr_int("axis", 0)};
        return build_cast(b, build_op(b, OP_IOTA, NULL, 0, attr, 2), DT_F32);
    }
    const Array *at = builtin_array(e, call, index);
    if (!at)
        return NULL;
    if (at->value->type.rank != 1 || at->value->type.dim[0] != rows ||
        at->value->type.dtype == DT_BOOL) {
        builtin_wrong(e, call, index, "one position for each row");
        return NULL;
    }
    return build_cast(b, at->value, DT_F32);
}

// Halves of the last axis turned by angles that grow with the position (the second to last axis).
static Datum run_rotary(Elab *e, const BuiltinCall *call) {
    enum { BASE = 1, POSITIONS, SCALING };
    const Array *x = builtin_float_array(e, call, 0);
    double base, scaling[4];
    if (!x || !builtin_number(e, call, BASE, 10000, &base))
        return datum_error();
    const Type *type = &x->value->type;
    if (type->rank < 2 || type->dim[type->rank - 1] % 2 != 0)
        return elab_fail(e, call->loc, CODE_OPERAND, NULL,
                         "rotary wants [..., s, e] with an even e, got %s",
                         type_text(e->arena, type));
    const bool scaled = builtin_is_given(call, SCALING);
    if (base <= 0 || (scaled && !read_scaling(e, call, SCALING, scaling)))
        return base <= 0 ? builtin_wrong(e, call, BASE, "a base above 0") : datum_error();
    const int64_t rows = type->dim[type->rank - 2], half = type->dim[type->rank - 1] / 2;
    const Type table = type_make(DT_F32, 2, (int64_t[]){rows, half});
    Value *at = positions(e, call, POSITIONS, rows);
    if (!at)
        return datum_error();
    Builder *b = elab_at(e, call->loc);
    Value *f = frequencies(e, call, half, base, scaled ? scaling : NULL);
    // One node a statement: in which order C evaluates arguments is open, and the graph's order
    // must not be.
    Value *wide = build_broadcast(b, at, &table, (int[]){0});
    Value *turn = build_broadcast(b, f, &table, (int[]){1});
    Value *angle = build_binary(b, OP_MUL, wide, turn);
    Value *cosine = build_unary(b, OP_COS, angle), *sine = build_unary(b, OP_SIN, angle);
    Value *const in[] = {x->value, cosine, sine};
    const Attr attr = attr_int("inverse", 0);
    return same_factors(e, call->loc, x, build_op(b, OP_ROTARY, in, 3, &attr, 1));
}

const Builtin builtins_rowwise[] = {
    {"softmax", "x axis?", run_softmax, OP_SOFTMAX},
    {"log_softmax", "x axis?", run_log_softmax, OP_SOFTMAX},
    {"layer_norm", "x weight bias eps?", run_layer_norm, OP_LAYERNORM},
    {"rms_norm", "x weight eps?", run_rms_norm, OP_RMSNORM},
    {"normalize", "x mean? var? weight? bias? eps?", run_normalize, OP_MUL},
    {"cross_entropy", "logits targets mean?", run_cross_entropy, OP_CROSS_ENTROPY},
    {"attend", "q k v causal? window? scale? offset? bias? lse? mask? score? cap?", run_attend,
     OP_ATTENTION},
    {"rotary", "x base? positions? scaling?", run_rotary, OP_ROTARY},
};
const int builtins_rowwise_count = sizeof builtins_rowwise / sizeof builtins_rowwise[0];
