// First values of leaves (after `~`), which are also random draws when their first argument is a
// shape: normal(0.02) says how a parameter starts, normal([b, z]) draws numbers in every step.
//
// Also sample, which draws a class a row.
//
// On exit: an Init, which elab_leaf takes; or a tensor from a random leaf of the graph. A draw's
// key is a hash of the scope and of how many draws the scope made before it, so an edit elsewhere
// changes no draw; seed and step are operands, so that each step, and each of its micro-batches,
// draws anew.
#include "frontend/builtins.h"

static Datum init_datum(Elab *e, InitKind kind, double a, double b) {
    Init *init = arena_new(e->arena, Init);
    *init = (Init){kind, a, b};
    return (Datum){.kind = DATUM_INIT, .as.init = init};
}

// By the scope and how many draws it has made before. False after a diagnostic.
static bool draw_key(Elab *e, const BuiltinCall *call, int64_t *out) {
    // The sizes and "init" have no step to draw for.
    if (!e->application || !e->entry) {
        elab_fail(e, call->loc, CODE_MISPLACED, NULL, "a random draw stands outside of an entry");
        return false;
    }
    // Counted over all applications of the scope: two calls of an instance draw differently.
    const char *scope = e->application->scope;
    const int32_t drawn = table_find(&e->draws, scope) + 1;
    table_set(&e->draws, e->arena, scope, drawn);
    *out = elab_key(scope, 1 + drawn);
    return true;
}

// Numbers of that shape, keyed by the scope and how many draws it has made before. With "low" and
// "high", or "mean" and "std". NULL after a diagnostic.
static Value *draw(Elab *e, const BuiltinCall *call, Op op, const Type *type, double a, double b) {
    int64_t key;
    if (!draw_key(e, call, &key))
        return NULL;
    const bool uniform = op == OP_RANDOM_UNIFORM;
    const Attr attr[] = {attr_ints("shape", type->dim, type->rank), attr_int("key", key),
                         attr_float(uniform ? "low" : "mean", a),
                         attr_float(uniform ? "high" : "std", b)};
    Value *seed = elab_seed(e), *step = elab_draw_step(e);
    Value *const in[] = {seed, step};
    return build_op(elab_at(e, call->loc), op, in, 2, attr, 4);
}

// normal([b, z]), uniform(x, low, high): of a list of sizes, or of a tensor's shape.
static Datum run_draw(Elab *e, const BuiltinCall *call, Op op, double a, double b) {
    const Datum d = call->arg[0];
    if (d.kind == DATUM_TENSOR) {
        Array *out = arena_new(e->arena, Array);
        *out = *d.as.array;
        out->value = draw(e, call, op, &d.as.array->value->type, a, b);
        return out->value ? datum_array(out) : elab_made(e, call->loc, NULL);
    }
    const Items *items = d.as.items;
    Type type = type_scalar(DT_F32);
    if (items->count > RANK_MAX)
        return elab_fail(e, call->loc, CODE_RANK, NULL, "a tensor has at most %d axes", RANK_MAX);
    for (int i = 0; i < items->count; i++)
        if (!elab_dim(e, call->arg_loc[0], items->at[i], &type.dim[type.rank++]))
            return datum_error();
    if (!type_check(&type))
        return elab_fail(e, call->loc, CODE_OVERFLOW, NULL,
                         "a tensor of that shape has 2^62 bytes or more");
    return elab_made(e, call->loc, draw(e, call, op, &type, a, b));
}

// normal([b, z]) draws; normal(0.02) describes.
static bool is_shape(const BuiltinCall *call) {
    return datum_is_items(call->arg[0]) || call->arg[0].kind == DATUM_TENSOR;
}

// normal(std), normal(mean, std); normal(shape, mean?, std?)
static Datum run_normal(Elab *e, const BuiltinCall *call) {
    double a, b, c;
    if (is_shape(call)) {
        if (!builtin_number(e, call, 1, 0, &b) || !builtin_number(e, call, 2, 1, &c))
            return datum_error();
        return run_draw(e, call, OP_RANDOM_NORMAL, b, c);
    }
    if (!builtin_number(e, call, 0, 0, &a) || !builtin_number(e, call, 1, 0, &b))
        return datum_error();
    // One number is the deviation, two are mean and deviation.
    const bool pair = builtin_is_given(call, 1);
    if (builtin_is_given(call, 2) || (pair ? b : a) < 0)
        return elab_fail(e, call->loc, CODE_INIT, "normal(std) or normal(mean, std)",
                         "normal wants a deviation of at least 0");
    return init_datum(e, INIT_NORMAL, pair ? a : 0, pair ? b : a);
}

// uniform(low, high); uniform(shape, low, high)
static Datum run_uniform(Elab *e, const BuiltinCall *call) {
    double a, b, c;
    const bool shape = is_shape(call);
    if ((!shape && !builtin_number(e, call, 0, 0, &a)) || !builtin_number(e, call, 1, 0, &b) ||
        !builtin_number(e, call, 2, 1, &c))
        return datum_error();
    const double low = shape ? b : a, high = shape ? c : b;
    if (!(low < high) || (!shape && builtin_is_given(call, 2)))
        return elab_fail(e, call->loc, CODE_INIT, "uniform(low, high)",
                         "uniform wants two numbers, the lower first");
    if (shape)
        return run_draw(e, call, OP_RANDOM_UNIFORM, low, high);
    return init_datum(e, INIT_UNIFORM, low, high);
}

static Datum run_kaiming(Elab *e, const BuiltinCall *call) {
    return init_datum(e, call->self->name[0] == 'k' ? INIT_KAIMING : INIT_XAVIER, 0, 0);
}

// dropout(x, p): where the entry trains, elements become 0 with probability p and the others grow
// by 1 / (1 - p); elsewhere x itself. What the gradient needs is one bool an element.
static Datum run_dropout(Elab *e, const BuiltinCall *call) {
    const Array *x = builtin_float_array(e, call, 0);
    double p;
    if (!x || !builtin_number(e, call, 1, 0, &p))
        return datum_error();
    // Written so that NaN is refused, too.
    if (!(p >= 0 && p < 1))
        return elab_fail(e, call->arg_loc[1], CODE_VALUE, NULL,
                         "dropout wants a probability in 0 .. 1, below 1, got %g", p);
    if (p == 0 || !elab_is_training(e))
        return datum_array(x);
    const Type *type = &x->value->type;
    Value *unit = draw(e, call, OP_RANDOM_UNIFORM, type, 0, 1);
    if (!unit)
        return elab_made(e, call->loc, NULL);
    // One node a statement: the order of the graph must not be the order of C's arguments.
    Builder *b = elab_at(e, call->loc);
    Value *bound = build_constant(b, unit->type, p);
    Value *keep = build_binary(b, OP_LE, bound, unit);
    Value *grown = build_scale(b, x->value, 1 / (1 - p));
    Value *zero = build_constant(b, *type, 0);
    Value *const in[] = {keep, grown, zero};
    Array *out = arena_new(e->arena, Array);
    *out = *x;
    out->value = build_op(b, OP_SELECT, in, 3, NULL, 0);
    return out->value ? datum_array(out) : elab_made(e, call->loc, NULL);
}

// sample(logits [..., v]): i32 [...]. Temperature and top_p are knobs of the entry; a draw's step
// is the number of tokens so far, which the runtime knows.
static Datum run_sample(Elab *e, const BuiltinCall *call) {
    const Array *x = builtin_float_array(e, call, 0);
    if (!x)
        return datum_error();
    if (x->value->type.rank < 1)
        return builtin_wrong(e, call, 0, "logits [..., v]");
    int64_t key;
    Value *temperature = elab_knob(e, call->loc, "temperature", 1);
    Value *top_p = elab_knob(e, call->loc, "top_p", 1);
    if (!temperature || !top_p || !draw_key(e, call, &key))
        return datum_error();
    const Attr attr = attr_int("key", key);
    Value *seed = elab_seed(e), *step = elab_draw_step(e);
    Value *const in[] = {x->value, temperature, top_p, seed, step};
    Array *out = arena_new(e->arena, Array);
    out->value = build_op(elab_at(e, call->loc), OP_SAMPLE, in, 5, &attr, 1);
    for (int i = 0; i + 1 < x->value->type.rank; i++)
        out->factors[i] = x->factors[i];
    return out->value ? datum_array(out) : elab_made(e, call->loc, NULL);
}

const Builtin builtins_leaf[] = {
    {"sample", "logits", run_sample, OP_SAMPLE},
    {"normal", "x y? z?", run_normal, OP_RANDOM_NORMAL},
    {"uniform", "x low? high?", run_uniform, OP_RANDOM_UNIFORM},
    {"dropout", "x p", run_dropout, OP_SELECT},
    {"kaiming", "", run_kaiming, OP_RANDOM_NORMAL},
    {"xavier", "", run_kaiming, OP_RANDOM_NORMAL},
};
const int builtins_leaf_count = sizeof builtins_leaf / sizeof builtins_leaf[0];
