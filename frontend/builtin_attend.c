// attend: scaled dot-product attention over queries [..., h, s, e], keys [..., g, t, e] and values
// [..., g, t, f], where g divides h. Axes in front of the heads are batch axes.
//
// Two ways. What the operator `attention` knows (causal, window, offset, a cap, a table of what
// each query sees) is one node over folded batch axes, whose scores are never in memory:
//
//     [a, b, h, s, e]  =>  reshape to [a b, h, s, e]; attention; reshape back
//
// Masks that frontend/visibility.h can read become a table, biases that frontend/slopes.h can read
// an operand of slopes. Another bias or mask is a composition, and a remark says what its scores
// take:
//
//     scores = q k^T scale, or cap tanh(q k^T scale / cap); scores += bias; weights =
//     softmax(scores where seen); out = weights v
//
// Gradients, that of the bias included, are those of the parts. A query that sees no key gives 0 in
// both ways. `score` and `lse` with a bias or mask are refused.
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
    Value *table; // of the mask, i32[b, n]; NULL: there is none, or it is composed
    bool interval; // the table has begins and ends
    Value *slopes; // of the bias, f32[h]; NULL: there is none, or it is composed
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
static Value *fused(const Attend *w, Value **lse) {
    Type folded = type_scalar(DT_F32);
    folded.dim[folded.rank++] = 1;
    for (int i = 0; i < w->lead; i++)
        folded.dim[0] *= w->q->value->type.dim[i]; // of a type that has been checked
    Value *in[5] = {w->q->value, w->k->value, w->v->value, w->table ? w->table : w->offset};
    int inputs = in[3] ? 4 : 3;
    if (w->slopes)
        in[inputs++] = w->slopes;
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

// The product of x [..., g, r, s, x] and y [..., g, t, e] as [..., g, r, s, t] (spec "s e, t e"),
// or of weights and values. Heads become g groups of r on the way.
static Value *grouped_product(const Attend *w, Value *x, Value *y, const char *x_axes,
                              const char *y_axes, const char *out_axes) {
    Arena *a = w->e->arena;
    const int64_t groups = y->type.dim[w->lead], heads = x->type.dim[w->lead];
    Type split = type_make(x->type.dtype, w->lead, x->type.dim);
    split.dim[split.rank++] = groups;
    const bool grouped = groups != heads;
    if (grouped && x->type.rank == RANK_MAX) {
        elab_fail(w->e, w->call->loc, CODE_RANK, "merge batch axes by arrange",
                  "attend of grouped heads with a bias or mask takes at most %d axes",
                  RANK_MAX - 1);
        return NULL;
    }
    if (grouped) {
        split.dim[split.rank++] = heads / groups;
        x = with_lead(w, x, w->lead + 1, &split, split.rank);
    }
    char lead[RANK_MAX + 1] = "";
    for (int i = 0; i < w->lead; i++)
        lead[i] = (char)('h' + i); // none of the letters below
    const char *spec = arena_format(a, "%sg%s%s,%sg%s->%sg%s%s", lead, grouped ? "r" : "", x_axes,
                                    lead, y_axes, lead, grouped ? "r" : "", out_axes);
    Value *out = x ? build_einsum(elab_at(w->e, w->call->loc), x, y, spec) : NULL;
    split.dim[w->lead] = heads;
    return out && grouped ? with_lead(w, out, w->lead + 2, &split, w->lead + 1) : out;
}

// Where query i, at position i + offset, sees key j: bool[s, t].
static Value *causal_mask(const Attend *w) {
    const int64_t dim[2] = {size_of(w, w->q, 1), size_of(w, w->k, 1)};
    Builder *b = elab_at(w->e, w->call->loc);
    const Type square = type_make(DT_I32, 2, dim);
    const Attr rows[] = {attr_ints("shape", dim, 2), attr_int("axis", 0)};
    const Attr columns[] = {attr_ints("shape", dim, 2), attr_int("axis", 1)};
    Value *query = build_op(b, OP_IOTA, NULL, 0, rows, 2);
    Value *key = build_op(b, OP_IOTA, NULL, 0, columns, 2);
    const double most = (double)(dim[1] - dim[0]);
    Value *shift = build_constant(b, type_scalar(DT_I32), most);
    if (w->offset) {
        // Clamped so that the last query has a key beside it, as the operator does.
        shift = build_binary(b, OP_MIN, w->offset, shift);
        shift = build_binary(b, OP_MAX, shift, build_constant(b, type_scalar(DT_I32), 0));
    }
    Value *at = build_binary(b, OP_ADD, query, build_broadcast(b, shift, &square, NULL));
    Value *seen = build_binary(b, OP_LE, key, at);
    if (w->window == 0)
        return seen;
    Value *end = build_binary(b, OP_ADD, key, build_constant(b, square, (double)w->window));
    return build_binary(b, OP_AND, seen, build_binary(b, OP_LT, at, end));
}

// The elements of the scores that count, as a bool of their shape; *out NULL where all do. False
// after a diagnostic.
static bool find_seen(const Attend *w, const Type *scores, Value **out) {
    Elab *e = w->e;
    const Loc loc = w->call->arg_loc[MASK];
    *out = NULL;
    if (builtin_is_given(w->call, MASK)) {
        const Array *mask = builtin_array(e, w->call, MASK);
        if (!mask)
            return false;
        if (mask->value->type.dtype != DT_BOOL) {
            builtin_wrong(e, w->call, MASK, "a bool tensor, true where a query sees a key");
            return false;
        }
        if (!(*out = arith_shaped(e, loc, datum_array(mask), scores)))
            return false;
    }
    if (!w->causal)
        return true;
    Value *causal = causal_mask(w);
    causal = causal ? arith_shaped(e, loc, datum_tensor(e->arena, causal), scores) : NULL;
    if (*out && causal)
        causal = build_binary(elab_at(e, w->call->loc), OP_AND, *out, causal);
    return (*out = causal) != NULL;
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

// Scores of products of queries and keys.
static Value *capped(const Attend *w, Value *product) {
    Builder *b = elab_at(w->e, w->call->loc);
    if (w->cap == 0)
        return build_scale(b, product, w->scale);
    Value *t = build_unary(b, OP_TANH, build_scale(b, product, w->scale / w->cap));
    return build_scale(b, t, w->cap);
}

// The composition, for what the operator does not know. NULL after a diagnostic.
static Value *composed(const Attend *w) {
    Elab *e = w->e;
    Value *scores = grouped_product(w, w->q->value, w->k->value, "se", "te", "st");
    if (!scores)
        return NULL;
    const Type type = scores->type;
    scores = capped(w, scores);
    if (builtin_is_given(w->call, BIAS)) {
        const Array *bias = builtin_float_array(e, w->call, BIAS);
        Value *wide =
            bias ? arith_shaped(e, w->call->arg_loc[BIAS], datum_array(bias), &type) : NULL;
        if (!wide)
            return NULL;
        Builder *b = elab_at(e, w->call->loc);
        scores = build_binary(b, OP_ADD, scores, build_cast(b, wide, type.dtype));
    }
    Value *seen;
    if (!find_seen(w, &type, &seen))
        return NULL;
    Builder *b = elab_at(e, w->call->loc);
    // Far below every score, but finite: a row without keys stays free of NaN until it is cleared.
    if (seen) {
        Value *hidden = build_constant(b, type, -1e30);
        scores = build_op(b, OP_SELECT, (Value *[]){seen, scores, hidden}, 3, NULL, 0);
    }
    Value *weights = build_unary(b, OP_SOFTMAX, scores);
    if (seen) {
        Value *zero = build_constant(b, type, 0);
        weights = build_op(b, OP_SELECT, (Value *[]){seen, weights, zero}, 3, NULL, 0);
    }
    elab_remark(e, "attend with a %s keeps its scores %s in memory, %lld bytes",
                builtin_is_given(w->call, BIAS) ? "bias" : "mask", type_text(e->arena, &type),
                (long long)type_bytes(&type));
    return grouped_product(w, weights, w->v->value, "st", "tf", "sf");
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
    const Array *mask = builtin_is_given(call, MASK) ? builtin_array(e, call, MASK) : NULL;
    if (builtin_is_given(call, MASK) && !mask)
        return datum_error();
    const Array *bias = builtin_is_given(call, BIAS) ? builtin_float_array(e, call, BIAS) : NULL;
    if (builtin_is_given(call, BIAS) && !bias)
        return datum_error();
    // What slopes leave out of a bias shows in the log-sum-exp alone.
    if (bias && !lse && bias->value->type.rank <= (w.lead == 1 ? 4 : 3)) {
        const AttentionFrame frame = frame_of(&w);
        w.slopes = slopes_find(elab_at(e, call->loc), &frame, bias->value);
    }
    if (mask && (!bias || w.slopes))
        w.table = find_table(&w, mask->value, &w.interval);
    const bool parts = (bias && !w.slopes) || (mask && !w.table);
    if (parts && lse)
        return elab_fail(e, call->arg_loc[LSE], CODE_UNSUPPORTED, NULL,
                         "attend with a bias or mask does not give its log-sum-exp yet");
    Value *sum = NULL;
    Array *out = arena_new(e->arena, Array);
    out->value = parts ? composed(&w) : fused(&w, &sum);
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
