// Reverse mode: every `minimize` becomes the gradients of its parameters and an `apply` that names
// them.
//
// For a minimize of loss L over parameters p the nodes that p reaches are marked in one walk
// forwards. One walk backwards from L then asks each marked node's gradient rule for the gradients
// of its operands, given those of its results; a value with several users gets their sum, in the
// order in which the walk meets them, so equal graphs give equal sums. The gradient of L itself is
// 1 / repeat: summed over the micro-batches of a step, the gradients are those of the mean loss.
//
// On entry: any verified graph. On exit: no minimize is left; forward nodes come first, then
// backward ones, then those of the update (apply and the learning rate's own arithmetic, which is
// copied into the update phase since the update runs once a step). With repeat > 1 gradients and
// scalar float results pass through `accumulate`. Cost: O(nodes) for each minimize. The rules are
// the operators' own (OpInfo.gradient); this file knows what to ask and when.
#include "ir/build.h"
#include "ir/check.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

typedef struct {
    PassCtx *cx;
    const Module *m;
    Graph *g;
    Node **forward; // the entry's nodes before anything was added
    int forward_count;
    uint32_t limit;   // value ids of the forward nodes are below it
    bool *active;     // by value id: a wanted parameter reaches it
    Value **gradient; // by value id: the sum so far
    Node **apply;     // one a minimize, placed at the end
    int apply_count;
    Builder b;
} Sweep;

// add(x, scatter_add(zeros, i, u))  =>  scatter_add(x, i, u)
// A table's gradient by indices is *defined* as added to what is there already: one buffer, not
// two.
static Value *sum_scatter(Builder *b, Value *x, const Value *scattered) {
    const Node *s = scattered->def;
    double base;
    if (s->op != OP_SCATTER_ADD || !match_uniform(s->input[0], &base) || base != 0)
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

// Marks what the wanted parameters (inputs 2.. of the minimize) reach.
static void mark_active(Sweep *s, const Node *minimize) {
    for (int i = 2; i < minimize->input_count; i++)
        s->active[minimize->input[i]->id] = true;
    for (int i = 0; i < s->forward_count; i++) {
        const Node *n = s->forward[i];
        bool reached = false;
        for (int k = 0; k < n->input_count; k++)
            reached = reached || s->active[n->input[k]->id];
        for (int k = 0; reached && k < n->result_count; k++)
            s->active[n->result[k].id] = dtype_is_float(n->result[k].type.dtype);
    }
}

// The gradients of n's operands, from those of its results. False after a diagnostic.
static bool differentiate(Sweep *s, const Node *n) {
    Arena *scratch = s->cx->scratch;
    bool wanted = false, given = false;
    Value **dresult = arena_array(scratch, Value *, n->result_count);
    for (int i = 0; i < n->result_count; i++) {
        dresult[i] = s->gradient[n->result[i].id];
        given = given || dresult[i];
    }
    for (int i = 0; i < n->input_count; i++)
        wanted = wanted || s->active[n->input[i]->id];
    if (!given || !wanted)
        return true;
    const OpInfo *info = op_info(n->op);
    if (!node_has_gradient(n)) {
        diag_error(s->cx->diag, n->loc, 550,
                   "operator %s%s has no gradient, and the loss depends on "
                   "a parameter through it",
                   info->name, info->gradient ? " of this form (with an offset)" : "");
        diag_help(s->cx->diag, "keep it out of the loss, or stop the gradient before it");
        return false;
    }
    s->b.origin = node_origin(n);
    s->b.origin.phase = PHASE_BACKWARD;
    Value **dinput = arena_array(scratch, Value *, n->input_count);
    info->gradient(&s->b, n, dresult, dinput);
    for (int i = 0; i < n->input_count; i++)
        add_gradient(s, n->input[i], dinput[i]);
    return true;
}

// The forward list holds operands before users: backwards, a gradient is complete when met.
static bool sweep_back(Sweep *s, const Node *minimize) {
    Value *loss = minimize->input[0];
    s->b.origin = node_origin(minimize);
    s->b.origin.phase = PHASE_BACKWARD;
    if (s->active[loss->id])
        s->gradient[loss->id] = build_constant(&s->b, loss->type, 1.0 / s->g->repeat);
    for (int i = s->forward_count - 1; i >= 0; i--)
        if (!differentiate(s, s->forward[i]))
            return false;
    return true;
}

// A copy of v's arithmetic in the update phase: the learning rate's schedule runs once a step,
// after the last micro-batch. NULL after a diagnostic where it depends on a micro-batch's data.
static Value *copy_to_update(Sweep *s, Value *v, Loc loc) {
    Arena *scratch = s->cx->scratch;
    bool *needed = arena_array(scratch, bool, s->limit);
    Value **copy = arena_array(scratch, Value *, s->limit);
    needed[v->id] = true;
    // What v needs, backwards; then copies of it, forwards.
    for (int i = s->forward_count - 1; i >= 0; i--) {
        const Node *n = s->forward[i];
        for (int k = 0; k < n->result_count; k++)
            for (int in = 0; needed[n->result[k].id] && in < n->input_count; in++)
                needed[n->input[in]->id] = true;
    }
    for (int i = 0; i < s->forward_count; i++) {
        const Node *n = s->forward[i];
        bool wanted = false;
        for (int k = 0; k < n->result_count; k++)
            wanted = wanted || needed[n->result[k].id];
        if (!wanted || n->op == OP_INPUT || n->op == OP_STATE)
            continue;
        Value **in = arena_array(scratch, Value *, n->input_count);
        for (int k = 0; k < n->input_count; k++)
            in[k] = copy[n->input[k]->id] ? copy[n->input[k]->id] : n->input[k];
        s->b.origin = node_origin(n);
        s->b.origin.phase = PHASE_UPDATE;
        Node *made = build_node(&s->b, n->op, in, n->input_count, n->attr, n->attr_count);
        for (int k = 0; k < n->result_count; k++)
            copy[n->result[k].id] = &made->result[k];
    }
    for (int i = 0; i < s->g->input_count; i++) {
        const Input *in = &s->g->input[i];
        if (in->source == FROM_DATA && needed[in->value->id]) {
            diag_error(s->cx->diag, loc, 551, "the learning rate depends on a batch's data");
            diag_help(s->cx->diag, "it may depend on knobs, the step and constants");
            return NULL;
        }
    }
    return copy[v->id] ? copy[v->id] : v;
}

// The state a parameter operand of minimize reads.
static const char *parameter_name(const Value *v) {
    return v->def->op == OP_STATE ? node_text(v->def, "name", "?") : "?";
}

// A parameter's gradient as the update reads it.
static Value *final_gradient(Sweep *s, Value *d) {
    // f32 sums over the micro-batches, whatever the gradient's dtype.
    if (s->g->repeat == 1)
        return d;
    return build_unary(&s->b, OP_ACCUMULATE, build_cast(&s->b, d, DT_F32));
}

// apply(lr, reached parameters..., their gradients...) in place of the minimize.
static bool add_apply(Sweep *s, const Node *minimize) {
    Arena *scratch = s->cx->scratch;
    const int wanted = minimize->input_count - 2;
    Value **in = arena_array(scratch, Value *, 2 * wanted + 1);
    int decay_count = 0, reached = 0;
    const double *decay = node_floats(minimize, "decay", &decay_count);
    double *kept = arena_array(scratch, double, wanted);
    Value **gradient = arena_array(scratch, Value *, wanted);
    s->b.origin = node_origin(minimize);
    s->b.origin.phase = PHASE_BACKWARD;
    for (int i = 0; i < wanted; i++) {
        Value *p = minimize->input[2 + i];
        if (!s->gradient[p->id]) {
            diag_warning(s->cx->diag, minimize->loc, 552,
                         "the loss does not depend on parameter %s: it will not be trained",
                         parameter_name(p));
            continue;
        }
        gradient[reached] = final_gradient(s, s->gradient[p->id]);
        kept[reached] = i < decay_count ? decay[i] : 0;
        in[1 + reached++] = p;
    }
    if (reached == 0)
        return diag_error(s->cx->diag, minimize->loc, 553,
                          "the loss depends on none of the parameters to be trained");
    in[0] = copy_to_update(s, minimize->input[1], minimize->loc);
    if (!in[0])
        return false;
    for (int i = 0; i < reached; i++)
        in[1 + reached + i] = gradient[i];
    s->b.origin = node_origin(minimize);
    s->b.origin.phase = PHASE_UPDATE;
    // The same attributes, but one decay for each parameter that is left.
    Attr *attr = arena_grow(scratch, minimize->attr, (size_t)minimize->attr_count,
                            (size_t)minimize->attr_count, sizeof(Attr));
    const Attr *old_decay = node_attr(minimize, "decay");
    if (old_decay) {
        attr[old_decay - minimize->attr].as.floats = kept;
        attr[old_decay - minimize->attr].count = reached;
    }
    s->apply[s->apply_count++] =
        build_node(&s->b, OP_APPLY, in, 1 + 2 * reached, attr, minimize->attr_count);
    return true;
}

// All reads of one state become one value, so that its gradient is one sum.
static void share_states(Sweep *s) {
    Value **first = arena_array(s->cx->scratch, Value *, s->m->state_count);
    Value **by = arena_array(s->cx->scratch, Value *, s->g->value_limit);
    bool any = false;
    for (int i = 0; i < s->g->node_count; i++) {
        const Node *n = s->g->node[i];
        if (n->op != OP_STATE)
            continue;
        const State *state = module_find_state(s->m, node_text(n, "name", ""));
        CHECK(state);
        if (first[state->id]) {
            by[n->result[0].id] = first[state->id];
            any = true;
        } else {
            first[state->id] = &n->result[0];
        }
    }
    if (any)
        graph_remap(s->g, by);
}

// A scalar result of a step is the mean over its micro-batches.
static void accumulate_results(Sweep *s) {
    for (int i = 0; i < s->g->result_count; i++) {
        Value *v = s->g->result[i].value;
        if (s->g->repeat == 1 || v->type.rank != 0 || !dtype_is_float(v->type.dtype) ||
            v->def->op == OP_ACCUMULATE || v->def->op == OP_INPUT || v->def->op == OP_STATE ||
            v->def->phase == PHASE_UPDATE)
            continue;
        s->b.origin = node_origin(v->def);
        s->b.origin.phase = PHASE_BACKWARD;
        Value *share = build_scale(&s->b, build_cast(&s->b, v, DT_F32), 1.0 / s->g->repeat);
        s->g->result[i].value = build_unary(&s->b, OP_ACCUMULATE, share);
    }
}

// Forward, backward, update: a stable partition, without the minimizes.
static void order_phases(Sweep *s) {
    Rewrite rw;
    rewrite_begin(&rw, s->g, s->cx->scratch);
    for (int phase = PHASE_FORWARD; phase <= PHASE_UPDATE; phase++)
        for (int i = 0; i < rw.old_count; i++)
            if ((int)rw.old[i]->phase == phase && rw.old[i]->op != OP_MINIMIZE &&
                rw.old[i]->op != OP_APPLY)
                rewrite_keep(&rw, rw.old[i]);
    for (int i = 0; i < s->apply_count; i++)
        rewrite_keep(&rw, s->apply[i]);
    rewrite_end(&rw);
    graph_drop_dead(s->g);
}

static bool run_minimize(Sweep *s, const Node *minimize) {
    s->active = arena_array(s->cx->scratch, bool, s->limit);
    s->gradient = arena_array(s->cx->scratch, Value *, s->limit);
    mark_active(s, minimize);
    return sweep_back(s, minimize) && add_apply(s, minimize);
}

static PassResult differentiate_graph(const Module *m, Graph *g, PassCtx *cx) {
    Sweep s = {.cx = cx, .m = m, .g = g, .b = {.g = g}};
    int minimizes = 0;
    for (int i = 0; i < g->node_count; i++)
        minimizes += g->node[i]->op == OP_MINIMIZE;
    if (!minimizes)
        return PASS_SAME;
    share_states(&s);
    s.forward_count = g->node_count;
    s.forward = arena_grow(cx->scratch, g->node, (size_t)g->node_count, (size_t)g->node_count,
                           sizeof(Node *));
    s.limit = g->value_limit;
    s.apply = arena_array(cx->scratch, Node *, minimizes);
    for (int i = 0; i < s.forward_count; i++)
        if (s.forward[i]->op == OP_MINIMIZE && !run_minimize(&s, s.forward[i]))
            return PASS_FAILED;
    accumulate_results(&s);
    order_phases(&s);
    return PASS_CHANGED;
}

PassResult pass_autodiff(Module *m, PassCtx *cx) {
    PassResult result = PASS_SAME;
    for (int i = 0; i < m->entry_count; i++) {
        const PassResult one = differentiate_graph(m, m->entry[i], cx);
        if (one == PASS_FAILED)
            return PASS_FAILED;
        result = one == PASS_CHANGED ? PASS_CHANGED : result;
    }
    return result;
}
