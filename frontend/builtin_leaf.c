// First values of leaves (after `~`), which are also random draws when their first argument is a
// shape: normal(0.02) says how a parameter starts, normal([b, z]) draws numbers in every step.
//
// On exit: an Init, which elab_leaf takes; or a tensor from a random leaf of the graph. A draw's
// key is a hash of the scope and of how many draws the scope made before it, so an edit elsewhere
// changes no draw; seed and step are operands, so that each step draws anew.
#include "frontend/builtins.h"

static Datum init_datum(Elab *e, InitKind kind, double a, double b) {
    Init *init = arena_new(e->arena, Init);
    *init = (Init){kind, a, b};
    return (Datum){.kind = DATUM_INIT, .as.init = init};
}

// A draw of the shape, keyed by scope and how many draws the scope has made before.
static Datum draw(Elab *e, const BuiltinCall *call, Op op, const char *first, const char *second,
                  double a, double b) {
    Type type;
    const Datum d = call->arg[0];
    if (d.kind == DATUM_TENSOR) {
        type = d.as.array->value->type;
    } else {
        const Items *items = d.as.items;
        type = type_scalar(DT_F32);
        if (items->count > RANK_MAX)
            return elab_fail(e, call->loc, CODE_RANK, NULL, "a tensor has at most %d axes",
                             RANK_MAX);
        for (int i = 0; i < items->count; i++)
            if (!elab_dim(e, call->arg_loc[0], items->at[i], &type.dim[type.rank++]))
                return datum_error();
    }
    // The sizes and "init" have no step to draw for.
    if (!e->application || !e->entry)
        return elab_fail(e, call->loc, CODE_MISPLACED, NULL,
                         "a random draw stands outside of an entry");
    if (!type_check(&type))
        return elab_fail(e, call->loc, CODE_OVERFLOW, NULL,
                         "a tensor of that shape has 2^62 bytes or more");
    const int64_t key = elab_key(e->application->scope, 1 + e->application->draws++);
    const Attr attr[] = {attr_ints("shape", type.dim, type.rank), attr_int("key", key),
                         attr_float(first, a), attr_float(second, b)};
    Value *seed = elab_seed(e), *step = elab_step(e);
    Value *const in[] = {seed, step};
    return elab_made(e, call->loc, build_op(elab_at(e, call->loc), op, in, 2, attr, 4));
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
        return draw(e, call, OP_RANDOM_NORMAL, "mean", "std", b, c);
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
        return draw(e, call, OP_RANDOM_UNIFORM, "low", "high", low, high);
    return init_datum(e, INIT_UNIFORM, low, high);
}

static Datum run_kaiming(Elab *e, const BuiltinCall *call) {
    return init_datum(e, call->self->name[0] == 'k' ? INIT_KAIMING : INIT_XAVIER, 0, 0);
}

const Builtin builtins_leaf[] = {
    {"normal", "x y? z?", run_normal, OP_RANDOM_NORMAL},
    {"uniform", "x low? high?", run_uniform, OP_RANDOM_UNIFORM},
    {"kaiming", "", run_kaiming, OP_RANDOM_NORMAL},
    {"xavier", "", run_kaiming, OP_RANDOM_NORMAL},
};
const int builtins_leaf_count = sizeof builtins_leaf / sizeof builtins_leaf[0];
