// Builtins of minimize: optimizers, clipping, and schedules of the learning rate.
//
// A schedule is a factor computed from the step (updates done) and the steps of the run, so it
// multiplies: adamw(lr * warmup_cosine(2000)). `constant(x)` is a first value after `~` and a fixed
// rate elsewhere.
//
// With t updates done of T, a warmup of w and a floor f:
//
//     ramp      min((t + 1) / max(w, 1), 1)
//     progress  p = clamp((t - w) / max(T - w, 1), 0, 1)
//     cosine    (f + (1 - f) (1 + cos(pi p)) / 2) ramp
//     linear    (f + (1 - f) (1 - p)) ramp
//
// All of it is f32 scalar arithmetic of the graph on the inputs step and steps: nothing that
// changes by step is baked into a kernel.
#include "frontend/builtins.h"

#include <string.h>

static Value *scalar(Elab *e, const BuiltinCall *call, double value) {
    return build_constant(elab_at(e, call->loc), type_scalar(DT_F32), value);
}

static Value *minimum(Elab *e, const BuiltinCall *call, Value *x, Value *y) {
    return build_binary(elab_at(e, call->loc), OP_MIN, x, y);
}

static Value *maximum(Elab *e, const BuiltinCall *call, Value *x, Value *y) {
    return build_binary(elab_at(e, call->loc), OP_MAX, x, y);
}

// A number, or a knob of the entry, as an f32 scalar of the graph.
static Value *as_scalar(Elab *e, const BuiltinCall *call, int index, double fallback) {
    if (!builtin_is_given(call, index))
        return scalar(e, call, fallback);
    const Array *x = builtin_array(e, call, index);
    if (!x)
        return NULL;
    if (x->value->type.rank != 0 || x->value->type.dtype == DT_BOOL) {
        builtin_wrong(e, call, index, "a number or a scalar");
        return NULL;
    }
    return build_cast(elab_at(e, call->loc), x->value, DT_F32);
}

// min((step + 1) / warmup, 1): the first update already moves.
static Value *ramp(Elab *e, const BuiltinCall *call, Value *warmup) {
    Builder *b = elab_at(e, call->loc);
    Value *one = scalar(e, call, 1);
    Value *step = build_binary(b, OP_ADD, build_cast(b, elab_step(e), DT_F32), one);
    Value *ratio = build_binary(b, OP_DIV, step, maximum(e, call, warmup, one));
    return minimum(e, call, ratio, one);
}

// How far the run is behind the warmup: 0 .. 1.
static Value *progress(Elab *e, const BuiltinCall *call, Value *warmup) {
    Builder *b = elab_at(e, call->loc);
    Value *one = scalar(e, call, 1), *zero = scalar(e, call, 0);
    Value *step = build_cast(b, elab_step(e), DT_F32),
          *steps = build_cast(b, elab_steps(e), DT_F32);
    Value *left = maximum(e, call, build_binary(b, OP_SUB, steps, warmup), one);
    Value *done = build_binary(b, OP_DIV, build_binary(b, OP_SUB, step, warmup), left);
    return minimum(e, call, maximum(e, call, done, zero), one);
}

// floor + (1 - floor) shape
static Value *above_floor(Elab *e, const BuiltinCall *call, double floor, Value *shape) {
    Builder *b = elab_at(e, call->loc);
    Value *scaled = build_scale(b, shape, 1 - floor);
    return build_binary(b, OP_ADD, scaled, scalar(e, call, floor));
}

// (1 + cos(pi progress)) / 2
static Value *cosine_shape(Elab *e, const BuiltinCall *call, Value *done) {
    Builder *b = elab_at(e, call->loc);
    Value *wave = build_unary(b, OP_COS, build_scale(b, done, 3.141592653589793));
    return build_scale(b, build_binary(b, OP_ADD, wave, scalar(e, call, 1)), 0.5);
}

// warmup_cosine, warmup_linear, cosine, linear: the falling shape above its floor, times the ramp.
static Datum run_schedule(Elab *e, const BuiltinCall *call) {
    const bool warm = strncmp(call->self->name, "warmup", 6) == 0;
    const bool is_cosine = strstr(call->self->name, "cosine") != NULL;
    double floor;
    if (!e->entry)
        return elab_fail(e, call->loc, CODE_MISPLACED, NULL,
                         "a schedule stands outside of an entry");
    if (!builtin_number(e, call, warm ? 1 : 0, 0, &floor))
        return datum_error();
    if (floor < 0 || floor > 1)
        return elab_fail(e, call->loc, CODE_VALUE, NULL, "floor must lie in 0 .. 1, got %g", floor);
    Value *warmup = warm ? as_scalar(e, call, 0, 0) : scalar(e, call, 0);
    if (!warmup)
        return datum_error();
    Builder *b = elab_at(e, call->loc);
    Value *done = progress(e, call, warmup);
    Value *shape =
        is_cosine ? cosine_shape(e, call, done) : build_binary(b, OP_SUB, scalar(e, call, 1), done);
    Value *factor = above_floor(e, call, floor, shape);
    if (warm)
        factor = build_binary(b, OP_MUL, factor, ramp(e, call, warmup));
    return elab_made(e, call->loc, factor);
}

// As a first value and as a rate: both are just a number.
static Datum run_constant(Elab *e, const BuiltinCall *call) {
    double value;
    Init *init = arena_new(e->arena, Init);
    if (!builtin_number(e, call, 0, 0, &value))
        return datum_error();
    *init = (Init){INIT_CONSTANT, value, 0};
    return (Datum){.kind = DATUM_INIT, .as.init = init};
}

// The rate as an f32 scalar. NULL after a diagnostic.
static Value *rate(Elab *e, const BuiltinCall *call) {
    if (call->arg[0].kind == DATUM_INIT && call->arg[0].as.init->kind == INIT_CONSTANT)
        return scalar(e, call, call->arg[0].as.init->a);
    if (datum_is_number(call->arg[0]) && datum_number(call->arg[0]) < 0) {
        builtin_wrong(e, call, 0, "a learning rate of at least 0");
        return NULL;
    }
    return as_scalar(e, call, 0, 0);
}

static bool in_range(Elab *e, const BuiltinCall *call, int index, const char *name, double x,
                     double high) {
    if (x >= 0 && x < high)
        return true;
    elab_fail(e, call->arg_loc[index], CODE_VALUE, NULL, "%s must lie in 0 .. %g, got %g", name,
              high, x);
    return false;
}

static Datum optimizer_datum(const Optimizer *o) {
    return (Datum){.kind = DATUM_OPTIMIZER, .as.optimizer = o};
}

// The rate is a value of the graph, the other numbers are attributes of the minimize.
static Datum run_adamw(Elab *e, const BuiltinCall *call) {
    enum { RATE, BETAS, EPS, DECAY };
    Optimizer *o = arena_new(e->arena, Optimizer);
    *o = (Optimizer){.name = "adamw", .beta1 = 0.9, .beta2 = 0.999};
    if (builtin_is_given(call, BETAS)) {
        const Datum d = call->arg[BETAS];
        if (!datum_is_items(d) || d.as.items->count != 2 || !datum_is_number(d.as.items->at[0]) ||
            !datum_is_number(d.as.items->at[1]))
            return builtin_wrong(e, call, BETAS, "two numbers: (0.9, 0.95)");
        o->beta1 = datum_number(d.as.items->at[0]);
        o->beta2 = datum_number(d.as.items->at[1]);
    }
    if (!builtin_number(e, call, EPS, 1e-8, &o->eps) ||
        !builtin_number(e, call, DECAY, 0, &o->decay) ||
        !in_range(e, call, BETAS, "beta", o->beta1, 1) ||
        !in_range(e, call, BETAS, "beta", o->beta2, 1) ||
        !in_range(e, call, EPS, "eps", o->eps, 1) ||
        !in_range(e, call, DECAY, "decay", o->decay, 1e6))
        return datum_error();
    o->rate = rate(e, call);
    return o->rate ? optimizer_datum(o) : datum_error();
}

static Datum run_sgd(Elab *e, const BuiltinCall *call) {
    enum { RATE, MOMENTUM, NESTEROV, DECAY };
    Optimizer *o = arena_new(e->arena, Optimizer);
    o->name = "sgd";
    if (!builtin_number(e, call, MOMENTUM, 0, &o->momentum) ||
        !builtin_bool(e, call, NESTEROV, false, &o->nesterov) ||
        !builtin_number(e, call, DECAY, 0, &o->decay) ||
        !in_range(e, call, MOMENTUM, "momentum", o->momentum, 1) ||
        !in_range(e, call, DECAY, "decay", o->decay, 1e6))
        return datum_error();
    if (o->nesterov && o->momentum <= 0)
        return elab_fail(e, call->loc, CODE_VALUE, NULL, "nesterov needs a momentum above 0");
    o->rate = rate(e, call);
    return o->rate ? optimizer_datum(o) : datum_error();
}

// 0 clips nothing, so that a size can say so.
static Datum run_global_norm(Elab *e, const BuiltinCall *call) {
    double norm;
    if (!builtin_number(e, call, 0, 0, &norm))
        return datum_error();
    if (!(norm >= 0))
        return elab_fail(e, call->arg_loc[0], CODE_VALUE, NULL, "a norm is not below 0, got %g",
                         norm);
    return (Datum){.kind = DATUM_CLIP, .as.real = norm};
}

const Builtin builtins_training[] = {
    {"adamw", "rate betas? eps? decay?", run_adamw, OP_MINIMIZE},
    {"sgd", "rate momentum? nesterov? decay?", run_sgd, OP_MINIMIZE},
    {"global_norm", "norm", run_global_norm, OP_MINIMIZE},
    {"warmup_cosine", "warmup floor?", run_schedule, OP_COS},
    {"warmup_linear", "warmup floor?", run_schedule, OP_COS},
    {"cosine", "floor?", run_schedule, OP_COS},
    {"linear", "floor?", run_schedule, OP_COS},
    {"constant", "value", run_constant, OP_CONSTANT},
};
const int builtins_training_count = sizeof builtins_training / sizeof builtins_training[0];
