// attend: scaled dot-product attention over queries [..., h, s, e], keys [..., g, t, e] and values
// [..., g, t, f], where g divides h. Axes in front of the heads are batch axes.
//
// It is one node of the operator `attention` over folded batch axes, whose scores are never in
// memory:
//
//     [a, b, h, s, e]  =>  reshape to [a b, h, s, e]; attention; reshape back
//
// Masks that frontend/visibility.h can read become a table, biases that frontend/slopes.h can read
// an operand of slopes. Another bias or mask is an operand [b, h, s, t], 1 for each axis whose
// scores share it. Of masks joined by `and` each part goes its own way:
//
//     same_document(ids) and shown[b, 1, 1, t]  =>  a table of ids; an operand shown
//
// A query that sees no key gives 0. `score` is refused.
#include "frontend/builtins.h"

#include "frontend/slopes.h"
#include "frontend/visibility.h"
#include "ir/kernel.h"

#include <math.h>

typedef struct {
    Elab *e;
    const BuiltinCall *call;
    const Array *q, *k, *v;
    int lead; // axes in front of the heads
    bool causal;
    int64_t window; // 0: none
    double scale;
    double cap; // of the scores; 0: none
    Value
        *offset;  // position of the first query, i32[]; NULL: the last query is beside the last key
    Value *table; // of the mask, i32[b, n]; NULL: there is none
    bool interval;      // the table has begins and ends
    Value *slopes;      // of the bias, f32[h]; NULL: there is none
    Value *bias, *mask; // what is neither slopes nor table: [b|1, h|1, s|1, t|1]; NULL: nothing
} Attend;

// The places of the parameters in the table's row.
enum { CAUSAL = 3, WINDOW, SCALE, OFFSET, BIAS, LSE, MASK, SCORE, CAP };

// An axis behind the batch axes: 0 heads, 1 rows, 2 width.
static int64_t size_of(const Attend *w, const Array *x, int axis) {
    return x->value->type.dim[w->lead + axis];
}

// Checked here, so that the message speaks of q, k and v and not of operands.
static bool check_shapes(Attend *w) {
    const Type *q = &w->q->value->type, *k = &w->k->value->type, *v = &w->v->value->type;
    bool fits = q->rank >= 4 && k->rank == q->rank && v->rank == q->rank;
    w->lead = q->rank - 3;
    for (int i = 0; fits && i < w->lead; i++)
        fits = q->dim[i] == k->dim[i] && k->dim[i] == v->dim[i];
    fits = fits && size_of(w, w->k, 0) == size_of(w, w->v, 0) &&
           size_of(w, w->q, 0) % size_of(w, w->k, 0) == 0 &&
           size_of(w, w->k, 1) == size_of(w, w->v, 1) && size_of(w, w->q, 2) == size_of(w, w->k, 2);
    if (!fits)
        elab_fail(w->e, w->call->loc, CODE_OPERAND,
                  "q is [b, h, s, e], k [b, g, t, e], v [b, g, t, f], and g divides h",
                  "attend of q %s, k %s, v %s", type_text(w->e->arena, q),
                  type_text(w->e->arena, k), type_text(w->e->arena, v));
    return fits;
}

// offset = pos: a whole number or an i32 scalar. NULL after a diagnostic.
static Value *read_offset(const Attend *w) {
    const Array *offset = builtin_array(w->e, w->call, OFFSET);
    if (!offset)
        return NULL;
    const Type *t = &offset->value->type;
    if (t->rank != 0 || t->dtype != DT_I32) {
        builtin_wrong(w->e, w->call, OFFSET, "an i32 scalar here, the first query's position");
        return NULL;
    }
    if (!w->causal) {
        elab_fail(w->e, w->call->arg_loc[OFFSET], CODE_VALUE, "write causal = true",
                  "an offset says which keys a causal query sees");
        return NULL;
    }
    return offset->value;
}

static bool read_numbers(Attend *w) {
    Elab *e = w->e;
    const BuiltinCall *call = w->call;
    // The scale's default is 1 / sqrt(e), e being the width of a head.
    const double width = (double)size_of(w, w->q, 2);
    if (!builtin_bool(e, call, CAUSAL, false, &w->causal) ||
        !builtin_int(e, call, WINDOW, 0, &w->window) ||
        !builtin_number(e, call, SCALE, 1 / sqrt(width), &w->scale) ||
        !builtin_number(e, call, CAP, 0, &w->cap))
        return false;
    if (!attention_cap_good(w->cap)) {
        elab_fail(e, call->arg_loc[CAP], CODE_VALUE, "0 is none; else it is 0.001 to 1000000",
                  "a cap of %g", w->cap);
        return false;
    }
    if (w->window < 0) {
        elab_fail(e, call->arg_loc[WINDOW], CODE_VALUE, NULL, "a window of %lld keys",
                  (long long)w->window);
        return false;
    }
    if (w->window > 0 && !w->causal) {
        elab_fail(e, call->arg_loc[WINDOW], CODE_VALUE, "write causal = true",
                  "a window counts back from the last key that a causal query sees");
        return false;
    }
    return !builtin_is_given(call, OFFSET) || (w->offset = read_offset(w)) != NULL;
}

// x with its axes from `lead` on, behind as many others as `in_front` has.
static Value *with_lead(const Attend *w, Value *x, int lead, const Type *in_front, int count) {
    int64_t dim[RANK_MAX];
    int rank = 0;
    for (; rank < count; rank++)
        dim[rank] = in_front->dim[rank];
    for (int i = lead; i < x->type.rank; i++)
        dim[rank++] = x->type.dim[i];
    return build_reshape(elab_at(w->e, w->call->loc), x, rank, dim);
}

// One operator, [out, log-sum-exp] in its results. NULL after a diagnostic.
static Value *make_attention(const Attend *w, Value **lse) {
    Type folded = type_scalar(DT_F32);
    folded.dim[folded.rank++] = 1;
    for (int i = 0; i < w->lead; i++)
        folded.dim[0] *= w->q->value->type.dim[i]; // of a type that has been checked
    Value *const behind[4] = {w->table ? w->table : w->offset, w->slopes, w->bias, w->mask};
    Value *in[7] = {w->q->value, w->k->value, w->v->value};
    int inputs = 3;
    for (int i = 0; i < 4; i++)
        if (behind[i])
            in[inputs++] = behind[i];
    for (int i = 0; i < 3 && w->lead > 1; i++)
        if (!(in[i] = with_lead(w, in[i], w->lead, &folded, 1)))
            return NULL;
    Attr attr[5] = {attr_int("causal", w->causal), attr_int("window", w->window),
                    attr_float("scale", w->scale)};
    int count = 3;
    if (w->interval)
        attr[count++] = attr_int("interval", 1);
    if (w->cap > 0)
        attr[count++] = attr_float("cap", w->cap);
    const Node *n = build_node(elab_at(w->e, w->call->loc), OP_ATTENTION, in, inputs, attr, count);
    if (!n)
        return NULL;
    *lse = &n->result[1];
    if (w->lead == 1)
        return &n->result[0];
    *lse = with_lead(w, *lse, 1, &w->q->value->type, w->lead);
    return with_lead(w, &n->result[0], 1, &w->q->value->type, w->lead);
}

// What masks and biases are broadcast to, batch axes folded.
static AttentionFrame frame_of(const Attend *w) {
    AttentionFrame frame = {1, size_of(w, w->q, 0), size_of(w, w->q, 1), size_of(w, w->k, 1)};
    for (int i = 0; i < w->lead; i++)
        frame.batch *= w->q->value->type.dim[i]; // of a type that has been checked
    return frame;
}

// The table of what a mask lets queries see, if the operator can take one; NULL for any other mask.
static Value *find_table(const Attend *w, Value *mask, bool *interval) {
    const AttentionFrame frame = frame_of(w);
    Builder *b = elab_at(w->e, w->call->loc);
    Visibility seen;
    if (w->offset || mask->type.dtype != DT_BOOL || mask->type.rank > (w->lead == 1 ? 4 : 3) ||
        !visibility_find(b, &frame, mask, &seen))
        return NULL;
    return visibility_table(b, &frame, &seen, interval);
}

// Whether the axes of more than one element stand as in the frame.
static bool is_in_order(const Side *s) {
    int last = -1;
    for (int i = 0; i < s->value->type.rank; i++) {
        if (s->value->type.dim[i] > 1 && s->axis[i] <= last)
            return false;
        last = s->value->type.dim[i] > 1 ? s->axis[i] : last;
    }
    return true;
}

// x [b|1, h|1, s|1, t|1], of a mask what it was before it was broadcast: a bias may be what
// somebody asks a gradient by.
static Value *as_pairs(Builder *b, Side x) {
    int64_t dim[FRAME_RANK] = {1, 1, 1, 1};
    const Side inner = side_look_through(x);
    if (x.value->type.dtype == DT_BOOL && is_in_order(&inner))
        x = inner;
    for (int i = 0; i < x.value->type.rank; i++)
        if (x.value->type.dim[i] > 1)
            dim[x.axis[i]] = x.value->type.dim[i];
    return build_reshape(b, x.value, FRAME_RANK, dim);
}

// Several batch axes of a bias or a mask, [..., h|1, s|1, t|1], as one: all of them, or 1.
static Value *fold_batch(const Attend *w, Loc loc, Value *x) {
    const int own = x->type.rank - 3; // batch axes of x
    Type wide = type_make(x->type.dtype, w->lead, w->q->value->type.dim);
    Type folded = type_make(x->type.dtype, 1, (int64_t[]){1});
    bool shared = true;
    for (int i = 0; i < own; i++)
        shared = shared && x->type.dim[i] == 1;
    for (int i = own; i < x->type.rank; i++)
        wide.dim[wide.rank++] = x->type.dim[i];
    if (shared)
        return with_lead(w, x, own, &folded, 1);
    folded.dim[0] = frame_of(w).batch;
    x = arith_shaped(w->e, loc, datum_tensor(w->e->arena, x), &wide);
    return x ? with_lead(w, x, w->lead, &folded, 1) : NULL;
}

// A bias or a mask as an operand of its own. NULL after a diagnostic.
static Value *find_pairs(const Attend *w, int parameter, Value *x) {
    const Loc loc = w->call->arg_loc[parameter];
    const AttentionFrame frame = frame_of(w);
    Type scores = w->q->value->type;
    scores.dtype = x->type.dtype;
    scores.dim[scores.rank - 1] = frame.keys;
    if (!arith_shaped(w->e, loc, datum_tensor(w->e->arena, x), &scores)) // for its diagnostic
        return NULL;
    if (w->lead > 1 && x->type.rank > 3 && !(x = fold_batch(w, loc, x)))
        return NULL;
    Side s;
    return side_begin(&frame, x, &s) ? as_pairs(elab_at(w->e, loc), s) : NULL;
}

static Value *join(const Attend *w, Value *x, Value *y) {
    return x ? build_binary(elab_at(w->e, w->call->loc), OP_AND, x, y) : y;
}

// Of what is joined by `and`, what a table can tell, and the rest.
static void split_mask(const Attend *w, Value *mask, Value **listed, Value **rest) {
    bool interval;
    if (find_table(w, mask, &interval)) {
        *listed = join(w, *listed, mask);
    } else if (mask->def->op == OP_AND) {
        split_mask(w, mask->def->input[0], listed, rest);
        split_mask(w, mask->def->input[1], listed, rest);
    } else {
        *rest = join(w, *rest, mask);
    }
}

// False after a diagnostic.
static bool read_mask(Attend *w) {
    if (!builtin_is_given(w->call, MASK))
        return true;
    const Array *mask = builtin_array(w->e, w->call, MASK);
    if (!mask)
        return false;
    if (mask->value->type.dtype != DT_BOOL) {
        builtin_wrong(w->e, w->call, MASK, "a bool tensor, true where a query sees a key");
        return false;
    }
    if ((w->table = find_table(w, mask->value, &w->interval)) != NULL)
        return true;
    Value *listed = NULL, *rest = NULL;
    split_mask(w, mask->value, &listed, &rest);
    w->table = listed ? find_table(w, listed, &w->interval) : NULL;
    if (listed && !w->table) // each can be told, but not both
        rest = mask->value;
    return !rest || (w->mask = find_pairs(w, MASK, rest)) != NULL;
}

// False after a diagnostic. What slopes leave out of a bias shows in the log-sum-exp alone.
static bool read_bias(Attend *w, bool lse) {
    if (!builtin_is_given(w->call, BIAS))
        return true;
    const Array *bias = builtin_float_array(w->e, w->call, BIAS);
    if (!bias)
        return false;
    if (!lse && bias->value->type.rank <= (w->lead == 1 ? 4 : 3)) {
        const AttentionFrame frame = frame_of(w);
        w->slopes = slopes_find(elab_at(w->e, w->call->loc), &frame, bias->value);
    }
    return w->slopes || (w->bias = find_pairs(w, BIAS, bias->value)) != NULL;
}

// attend(q, k, v, causal, window, scale, offset, bias, lse, mask, score, cap): the output, or
// (output, lse).
Datum run_attend(Elab *e, const BuiltinCall *call) {
    const Array *qkv[3];
    for (int i = 0; i < 3; i++)
        if (!(qkv[i] = builtin_float_array(e, call, i)))
            return datum_error();
    Attend w = {.e = e, .call = call, .q = qkv[0], .k = qkv[1], .v = qkv[2]};
    bool lse;
    if (!check_shapes(&w) || !read_numbers(&w) || !builtin_bool(e, call, LSE, false, &lse))
        return datum_error();
    if (builtin_is_given(call, SCORE))
        return elab_fail(e, call->arg_loc[SCORE], CODE_UNSUPPORTED,
                         "bias = adds to the scores, mask = hides some, each a tensor that "
                         "broadcasts to [b, h, s, t]; cap = x bounds them by x tanh(score / x)",
                         "attend takes no function of the scores yet");
    if (!read_bias(&w, lse) || !read_mask(&w))
        return datum_error();
    Value *sum = NULL;
    Array *out = arena_new(e->arena, Array);
    out->value = make_attention(&w, &sum);
    if (!out->value)
        return elab_made(e, call->loc, NULL);
    // Out [..., h, s, f]: the axes of q, but the width of v.
    for (int i = 0; i < w.lead + 2; i++)
        out->factors[i] = w.q->factors[i];
    out->factors[w.lead + 2] = w.v->factors[w.lead + 2];
    if (!lse)
        return datum_array(out);
    Datum *pair = arena_array(e->arena, Datum, 2);
    pair[0] = datum_array(out);
    pair[1] = datum_tensor(e->arena, sum);
    return datum_items(e->arena, DATUM_TUPLE, pair, 2);
}
