// Reverse mode: every `minimize` becomes the gradients of its parameters and an `apply` that names
// them.
//
// The gradients themselves are made by ir/reverse.c, which the language's grad() uses too. The
// gradient of the loss itself is 1 / repeat: summed over the micro-batches of a step, the gradients
// are those of the mean loss. Every minimize sees the state as it was when the entry began.
//
// On entry: any verified graph. On exit: no minimize is left; forward nodes come first, then
// backward ones, then those of the update (apply and the learning rate's own arithmetic, which is
// copied into the update phase since the update runs once a step). With repeat > 1 gradients and
// scalar float results pass through `accumulate`. Cost: O(nodes) for each minimize.
#include "ir/build.h"
#include "ir/check.h"
#include "ir/name_map.h"
#include "ir/reverse.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

typedef struct {
    PassCtx *cx;
    const Module *m;
    Graph *g;
    Node **forward; // the entry's nodes before anything was added
    int forward_count;
    uint32_t limit; // value ids of the forward nodes are below it
    Node **apply;   // one a minimize, placed at the end
    int apply_count;
    NameMap *names; // of the graph's values
    Builder b;
} Sweep;

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
        if (source_by_slot(in->source) && needed[in->value->id]) {
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

// What lives through the micro-batches has a name: plans of a model before and after a change are
// compared by names. Where two values want one (a parameter that two minimizes change), the second
// has a number only.
static Value *accumulate_as(Sweep *s, Value *share, const char *of, const char *what) {
    Value *sum = build_unary(&s->b, OP_ACCUMULATE, share);
    const char *name =
        intern(s->m->names, arena_format(s->cx->scratch, "%s.%s", of ? of : "result", what));
    if (!name_map_add(s->names, name, sum))
        sum->name = name;
    return sum;
}

// A parameter's gradient as the update reads it.
static Value *final_gradient(Sweep *s, const Value *parameter, Value *d) {
    // f32 sums over the micro-batches, whatever the gradient's dtype.
    if (s->g->repeat == 1)
        return d;
    return accumulate_as(s, build_cast(&s->b, d, DT_F32), parameter_name(parameter), "grad");
}

// apply(lr, reached parameters..., their gradients...) in place of the minimize.
static bool add_apply(Sweep *s, const Node *minimize, Value *const *found) {
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
        if (!found[i]) {
            diag_warning(s->cx->diag, minimize->loc, 552,
                         "the loss does not depend on parameter %s: it will not be trained",
                         parameter_name(p));
            continue;
        }
        gradient[reached] = final_gradient(s, p, found[i]);
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

static void collect_names(Sweep *s) {
    s->names = name_map_create(s->cx->scratch);
    for (int i = 0; i < s->g->node_count; i++)
        for (int k = 0; k < s->g->node[i]->result_count; k++) {
            Value *v = &s->g->node[i]->result[k];
            if (v->name)
                name_map_add(s->names, v->name, v);
        }
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
        s->g->result[i].value = accumulate_as(s, share, s->g->result[i].name, "mean");
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
    const Reverse r = {.g = s->g,
                       .diag = s->cx->diag,
                       .scratch = s->cx->scratch,
                       .node = s->forward,
                       .node_count = s->forward_count,
                       .phase = PHASE_BACKWARD};
    const int wanted = minimize->input_count - 2;
    Value **gradient = arena_array(s->cx->scratch, Value *, wanted + 1);
    return reverse_gradients(&r, minimize->loc, minimize->input[0], 1.0 / s->g->repeat,
                             minimize->input + 2, wanted, gradient) == REVERSE_DONE &&
           add_apply(s, minimize, gradient);
}

static PassResult differentiate_graph(const Module *m, Graph *g, PassCtx *cx) {
    Sweep s = {.cx = cx, .m = m, .g = g, .b = {.g = g}};
    int minimizes = 0;
    for (int i = 0; i < g->node_count; i++)
        minimizes += g->node[i]->op == OP_MINIMIZE;
    if (!minimizes)
        return PASS_SAME;
    collect_names(&s);
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
