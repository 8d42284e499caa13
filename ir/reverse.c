// Reverse mode: the gradients of one value by others, as nodes added to the graph.
//
// The values that the wanted ones reach are marked in one walk forwards. One walk backwards from y
// then asks each marked node's gradient rule for the gradients of its operands, given those of its
// results; a value with several users gets their sum, in the order in which the walk meets them, so
// equal graphs give equal sums. The rules are the operators' own (OpInfo.gradient); this file knows
// what to ask and when.
//
// On entry: a verified graph, without results of nodes that are not in r->node among what y is
// computed from x by. On exit: nodes of phase r->phase behind those that were there. Nothing is
// removed: what rules make for operands that nobody asked about is left to graph_drop_dead. The
// gradients are ordinary values, so they can be differentiated again where the operators they are
// made of have rules. Cost: O(nodes).
#include "ir/reverse.h"

#include "ir/check.h"

typedef struct {
    const Reverse *r;
    uint32_t limit;   // value ids of the given nodes are below it
    bool *active;     // by value id: a wanted value reaches it
    Value **gradient; // by value id: the sum so far
    Builder b;
} Sweep;

// A constant, or a view of one, that is zero.
static bool is_zero(const Value *v) {
    while (op_info(v->def->op)->lowering == LOWER_VIEW && v->def->op != OP_CONCAT)
        v = v->def->input[0];
    return v->def->op == OP_CONSTANT && node_float(v->def, "value", 0) == 0;
}

// add(x, scatter_add(zeros, i, u))  =>  scatter_add(x, i, u)
// A table's gradient by indices is *defined* as added to what is there already: one buffer, not
// two.
static Value *sum_scatter(Builder *b, Value *x, const Value *scattered) {
    const Node *s = scattered->def;
    if (s->op != OP_SCATTER_ADD || !is_zero(s->input[0]))
        return NULL;
    Value *in[3] = {x, s->input[1], s->input[2]};
    return build_op(b, OP_SCATTER_ADD, in, 3, NULL, 0);
}

// Either side may be the scattered one.
static Value *sum_gradients(Builder *b, Value *x, Value *y) {
    Value *sum = sum_scatter(b, x, y);
    if (!sum)
        sum = sum_scatter(b, y, x);
    return sum ? sum : build_binary(b, OP_ADD, x, y);
}

enum { WIDEN_DEPTH_MAX = 8 };

// The f32 value that d rounds to bf16, computed without that rounding: products and sums are summed
// in f32 anyway. NULL where d is computed in another way.
static Value *widen(Builder *b, const Value *d, int depth) {
    const Node *n = d->def;
    if (depth == WIDEN_DEPTH_MAX)
        return NULL;
    if (n->op == OP_EINSUM) {
        Value *zero = build_constant(b, type_with_dtype(d->type, DT_F32), 0);
        Value *in[3] = {zero, n->input[0], n->input[1]};
        return build_op(b, OP_EINSUM_ADD, in, 3, n->attr, n->attr_count);
    }
    if (n->op == OP_REDUCE_SUM) {
        Value *in = build_cast(b, n->input[0], DT_F32);
        return build_op(b, n->op, &in, 1, n->attr, n->attr_count);
    }
    // A convolution's weight gradient is f32 before it is cast to its operand's type.
    if (n->op == OP_CAST && n->input[0]->type.dtype == DT_F32)
        return n->input[0];
    // These pass on what their operands are, so each operand must be widened too.
    if (n->op != OP_RESHAPE && n->op != OP_TRANSPOSE && n->op != OP_ADD)
        return NULL;
    Value *in[2] = {0};
    for (int i = 0; i < n->input_count; i++) {
        in[i] = widen(b, n->input[i], depth + 1);
        if (!in[i])
            return NULL;
    }
    return build_op(b, n->op, in, n->input_count, n->attr, n->attr_count);
}

// A parameter's gradient that comes out of bf16 arithmetic: f32 up to the last sum.
static Value *wide_gradient(Builder *b, const Value *v, Value *d) {
    const bool narrowed = d->def->op == OP_CAST && d->def->input[0]->type.dtype == DT_BF16;
    if (v->def->op != OP_STATE || v->type.dtype != DT_F32 || !narrowed)
        return d;
    Value *wide = widen(b, d->def->input[0], 0);
    return wide ? wide : d;
}

static void add_gradient(Sweep *s, const Value *v, Value *d) {
    // Rules give no gradient to operands such as indices; nobody asks for those of inactive ones.
    if (!d || !s->active[v->id])
        return;
    d = wide_gradient(&s->b, v, build_cast(&s->b, d, v->type.dtype));
    CHECK(type_equal(&d->type, &v->type));
    Value *sum = s->gradient[v->id];
    s->gradient[v->id] = sum ? sum_gradients(&s->b, sum, d) : d;
}

// Marks what the wanted values reach. Where the derivative is zero wherever it exists (stop, sign)
// nothing is reached, and no rule is needed behind.
static void mark_active(Sweep *s, Value *const *x, int count) {
    for (int i = 0; i < count; i++)
        s->active[x[i]->id] = true;
    for (int i = 0; i < s->r->node_count; i++) {
        const Node *n = s->r->node[i];
        bool reached = false;
        for (int k = 0; k < n->input_count; k++)
            reached = reached || s->active[n->input[k]->id];
        if (!reached || (op_info(n->op)->flags & OPF_FLAT))
            continue;
        for (int k = 0; k < n->result_count; k++)
            s->active[n->result[k].id] = dtype_is_float(n->result[k].type.dtype);
    }
}

// Whether n's rule gives all gradients that are asked for: attention's has none of slopes.
static bool is_covered(const Sweep *s, const Node *n) {
    const int slopes = attention_slopes(n);
    return node_has_gradient(n) && !(slopes >= 0 && s->active[n->input[slopes]->id]);
}

// The gradients of n's operands, from those of its results. False after a diagnostic.
static bool differentiate(Sweep *s, const Node *n) {
    bool wanted = false, given = false;
    for (int i = 0; i < n->result_count; i++)
        given = given || s->gradient[n->result[i].id];
    for (int i = 0; i < n->input_count; i++)
        wanted = wanted || s->active[n->input[i]->id];
    if (!given || !wanted || (op_info(n->op)->flags & OPF_FLAT))
        return true;
    const OpInfo *info = op_info(n->op);
    if (!is_covered(s, n)) {
        diag_error(
            s->r->diag, n->loc, 550,
            "operator %s%s has no gradient, and what is differentiated depends on what it is "
            "differentiated by through it",
            info->name,
            !info->gradient        ? ""
            : node_has_gradient(n) ? " of these slopes"
                                   : " of this form (with an offset)");
        diag_help(s->r->diag, "keep it out of there, or stop the gradient before it");
        return false;
    }
    Value **dresult = arena_array(s->r->scratch, Value *, n->result_count);
    for (int i = 0; i < n->result_count; i++)
        dresult[i] = s->gradient[n->result[i].id];
    s->b.origin = node_origin(n);
    s->b.origin.phase = s->r->phase;
    Value **dinput = arena_array(s->r->scratch, Value *, n->input_count);
    info->gradient(&s->b, n, dresult, dinput);
    for (int i = 0; i < n->input_count; i++)
        add_gradient(s, n->input[i], dinput[i]);
    return true;
}

// The list holds operands before users: backwards, a gradient is complete when met.
ReverseResult reverse_gradients(const Reverse *r, Loc loc, Value *y, double seed, Value *const *x,
                                int count, Value **out) {
    Sweep s = {.r = r, .limit = r->g->value_limit, .b = {.g = r->g}};
    s.active = arena_array(r->scratch, bool, s.limit);
    s.gradient = arena_array(r->scratch, Value *, s.limit);
    mark_active(&s, x, count);
    s.b.origin = node_origin(y->def);
    s.b.origin.loc = loc;
    s.b.origin.phase = r->phase;
    if (s.active[y->id])
        s.gradient[y->id] = build_constant(&s.b, y->type, seed);
    for (int i = r->node_count - 1; i >= 0; i--) {
        if (!differentiate(&s, r->node[i]))
            return REVERSE_FAILED;
        if (r->operators_max && r->g->node_count > r->operators_max)
            return REVERSE_LIMIT;
    }
    for (int i = 0; i < count; i++)
        out[i] = s.gradient[x[i]->id];
    return REVERSE_DONE;
}
