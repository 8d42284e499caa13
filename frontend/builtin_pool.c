// Builtins on images [n, c, h, w]: pools, upsampling, and batch normalisation of [n, c, ...].
//
// A window, stride, padding or factor is one number for both h and w, or two: (h, w). Without a
// stride windows stand side by side. What does not fit the image is told by the operator.
#include "frontend/builtins.h"

// n and c come apart as those of x do.
static Datum image(Elab *e, Loc loc, const Array *x, Value *v) {
    if (!v)
        return elab_made(e, loc, NULL);
    Array *out = arena_new(e->arena, Array);
    *out = (Array){.value = v};
    out->factors[0] = x->factors[0];
    out->factors[1] = x->factors[1];
    return datum_array(out);
}

// max_pool(x, window, stride = window, padding = 0), avg_pool.
static Datum run_pool(Elab *e, const BuiltinCall *call) {
    enum { X, WINDOW, STRIDE, PADDING };
    const Array *x = builtin_float_array(e, call, X);
    int64_t window[2], stride[2], padding[2];
    if (!x || !builtin_pair(e, call, WINDOW, 0, window) ||
        !builtin_pair(e, call, builtin_is_given(call, STRIDE) ? STRIDE : WINDOW, 0, stride) ||
        !builtin_pair(e, call, PADDING, 0, padding))
        return datum_error();
    const Attr attr[] = {attr_ints("window", window, 2), attr_ints("stride", stride, 2),
                         attr_ints("padding", padding, 2)};
    Value *in = x->value;
    return image(e, call->loc, x, build_op(elab_at(e, call->loc), call->self->op, &in, 1, attr, 3));
}

// upsample(x, factor): the nearest element.
static Datum run_upsample(Elab *e, const BuiltinCall *call) {
    const Array *x = builtin_float_array(e, call, 0);
    int64_t factor[2];
    if (!x || !builtin_pair(e, call, 1, 1, factor))
        return datum_error();
    const Attr attr = attr_ints("factor", factor, 2);
    Value *in = x->value;
    return image(e, call->loc, x, build_op(elab_at(e, call->loc), OP_UPSAMPLE, &in, 1, &attr, 1));
}

// batch_norm(x, weight, bias, eps): (y, mean, variance) of this batch.
static Datum run_batch_norm(Elab *e, const BuiltinCall *call) {
    const Array *x = builtin_float_array(e, call, 0), *w = builtin_float_array(e, call, 1);
    const Array *b = builtin_float_array(e, call, 2);
    double eps;
    if (!x || !w || !b || !builtin_number(e, call, 3, 1e-5, &eps))
        return datum_error();
    const Attr attr = attr_float("eps", eps);
    Value *const in[] = {x->value, w->value, b->value};
    const Node *n = build_node(elab_at(e, call->loc), OP_BATCHNORM, in, 3, &attr, 1);
    if (!n)
        return elab_made(e, call->loc, NULL);
    Datum *part = arena_array(e->arena, Datum, 3);
    for (int i = 0; i < 3; i++) {
        Array *out = arena_new(e->arena, Array);
        if (i == 0)
            *out = *x;
        else
            out->factors[0] = x->factors[1];
        out->value = &n->result[i];
        part[i] = datum_array(out);
    }
    return datum_items(e->arena, DATUM_TUPLE, part, 3);
}

const Builtin builtins_pool[] = {
    {"max_pool", "x window stride? padding?", run_pool, OP_MAX_POOL},
    {"avg_pool", "x window stride? padding?", run_pool, OP_AVG_POOL},
    {"upsample", "x factor", run_upsample, OP_UPSAMPLE},
    {"batch_norm", "x weight bias eps?", run_batch_norm, OP_BATCHNORM},
};
const int builtins_pool_count = sizeof builtins_pool / sizeof builtins_pool[0];
