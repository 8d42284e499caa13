// The builtin conv: one operator, its settings written as people write them.
//
//     conv(x, w, stride = 2, padding = 1)            one number for height and width
//     conv(x, w, padding = (1, 2))                   one each
//     conv(x, w, padding = ((0, 1), (0, 1)))         before and after, for each
//
// Shapes are the operator's to check; its messages stand at the call.
#include "frontend/builtins.h"

enum { X, W, STRIDE, PADDING, DILATION, GROUPS };

bool builtin_pair(Elab *e, const BuiltinCall *call, int index, int64_t fallback, int64_t out[2]) {
    out[0] = out[1] = fallback;
    if (!builtin_is_given(call, index))
        return true;
    const Datum given = call->arg[index];
    const Items *items = datum_is_items(given) ? given.as.items : NULL;
    if (items && items->count == 2 && items->at[0].kind == DATUM_INT &&
        items->at[1].kind == DATUM_INT) {
        for (int i = 0; i < 2; i++)
            out[i] = items->at[i].as.whole;
        return true;
    }
    if (given.kind == DATUM_INT) {
        out[0] = out[1] = given.as.whole;
        return true;
    }
    builtin_wrong(e, call, index, "a whole number here, or one each for height and width");
    return false;
}

bool builtin_padding(Elab *e, const BuiltinCall *call, int index, int64_t before[2],
                     int64_t after[2]) {
    const Datum given = call->arg[index];
    const Items *items = datum_is_items(given) ? given.as.items : NULL;
    if (!items || items->count != 2 || !datum_is_items(items->at[0])) {
        if (!builtin_pair(e, call, index, 0, before))
            return false;
        after[0] = before[0];
        after[1] = before[1];
        return true;
    }
    for (int i = 0; i < 2; i++) {
        const Items *pair = datum_is_items(items->at[i]) ? items->at[i].as.items : NULL;
        if (!pair || pair->count != 2 || pair->at[0].kind != DATUM_INT ||
            pair->at[1].kind != DATUM_INT) {
            builtin_wrong(e, call, index, "((top, bottom), (left, right)) here");
            return false;
        }
        before[i] = pair->at[0].as.whole;
        after[i] = pair->at[1].as.whole;
    }
    return true;
}

// bf16 with f32 gives f32, as everywhere.
static void make_equal(Elab *e, Loc loc, Value *in[2]) {
    if (in[0]->type.dtype == in[1]->type.dtype)
        return;
    for (int i = 0; i < 2; i++)
        in[i] = build_cast(elab_at(e, loc), in[i], DT_F32);
}

// x [n, c, h, w], w [m, c / groups, kh, kw].
static Datum run_conv(Elab *e, const BuiltinCall *call) {
    const Array *x = builtin_float_array(e, call, X), *w = builtin_float_array(e, call, W);
    int64_t stride[2], before[2], after[2], dilation[2], groups;
    if (!x || !w || !builtin_pair(e, call, STRIDE, 1, stride) ||
        !builtin_padding(e, call, PADDING, before, after) ||
        !builtin_pair(e, call, DILATION, 1, dilation) || !builtin_int(e, call, GROUPS, 1, &groups))
        return datum_error();
    const Attr attr[] = {attr_ints("stride", stride, 2), attr_ints("before", before, 2),
                         attr_ints("after", after, 2), attr_ints("dilation", dilation, 2),
                         attr_int("groups", groups)};
    Value *in[2] = {x->value, w->value};
    make_equal(e, call->loc, in);
    Array *out = arena_new(e->arena, Array);
    out->value = build_op(elab_at(e, call->loc), OP_CONV2D, in, 2, attr, 5);
    if (!out->value)
        return elab_made(e, call->loc, NULL);
    out->factors[0] = x->factors[0];
    out->factors[1] = w->factors[0];
    return datum_array(out);
}

// pair(3) and pair((3, 3)) are (3, 3): for sizes that may be given either way.
static Datum run_pair(Elab *e, const BuiltinCall *call) {
    int64_t size[2];
    if (!builtin_pair(e, call, 0, 0, size))
        return datum_error();
    Datum *out = arena_array(e->arena, Datum, 2);
    for (int i = 0; i < 2; i++)
        out[i] = datum_int(size[i]);
    return datum_items(e->arena, DATUM_TUPLE, out, 2);
}

const Builtin builtins_convolve[] = {
    {"conv", "x w stride? padding? dilation? groups?", run_conv, OP_CONV2D},
    {"pair", "size", run_pair, OP_CONSTANT},
};
const int builtins_convolve_count = sizeof builtins_convolve / sizeof builtins_convolve[0];
