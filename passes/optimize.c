// The update: `apply` becomes clipping, bias corrections and one sgd, momentum or adamw node a
// parameter.
//
// The results of the update nodes are committed to the parameters and to the optimizer's own state,
// which is added to the module (PARAM.m, PARAM.v, f32) with zeros in the entry "init". Gradients
// are f32 whatever type the parameter is stored in.
//
// Clipping by global norm follows PyTorch's clip_grad_norm_: scale = min(1, clip / (norm + 1e-6)).
// The norm is summed by rows first, then over all rows of all gradients at once, so its value does
// not depend on the order of anything.
//
// With update = fused each parameter's update stands as early as it may: its gradient is final and
// nobody reads the old parameter any more. The gradient then dies at once (LOMO, arXiv 2306.09782).
//
// On entry: no minimize is left. On exit: no apply is left. Cost: O(nodes + parameters).
#include "ir/build.h"
#include "ir/check.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

#include <math.h>
#include <string.h>

typedef struct {
    PassCtx *cx;
    Module *m;
    Graph *g;
    bool *committed; // by state id: the entry stores it already
    Builder b;
} Update;

// One apply, taken apart.
typedef struct {
    const Node *node;
    int count; // parameters
    Value *lr;
    Value *const *parameter;
    Value **gradient; // f32
    Value *scale;     // of all gradients, scalar; NULL where nothing is clipped
    Value *c1, *c2;   // 1 - beta^t
} Apply;

static Value *scalar(Update *u, double value) {
    return build_constant(&u->b, type_scalar(DT_F32), value);
}

// The step's input, made where the entry has none.
static Value *step_value(Update *u) {
    for (int i = 0; i < u->g->input_count; i++)
        if (u->g->input[i].source == FROM_STEP)
            return u->g->input[i].value;
    const Type type = type_scalar(DT_I32);
    const NodeOrigin origin = {.loc = u->b.origin.loc, .scope = "", .phase = PHASE_FORWARD};
    Node *n = graph_add_typed(u->g, OP_INPUT, NULL, 0, NULL, 0, &type, 1, origin);
    return graph_add_input(u->g, &n->result[0], FROM_STEP)->value;
}

// 1 - beta^t = -expm1(t log beta), t = step + 1: exact where beta^t is near 1.
static Value *bias_correction(Update *u, Value *t, double beta) {
    if (beta <= 0)
        return scalar(u, 1);
    Value *exponent = build_binary(&u->b, OP_MUL, t, scalar(u, log(beta)));
    return build_unary(&u->b, OP_NEG, build_unary(&u->b, OP_EXPM1, exponent));
}

static void add_corrections(Update *u, Apply *a) {
    Value *one = build_constant(&u->b, type_scalar(DT_I32), 1);
    Value *t = build_cast(&u->b, build_binary(&u->b, OP_ADD, step_value(u), one), DT_F32);
    a->c1 = bias_correction(u, t, node_float(a->node, "beta1", 0.9));
    a->c2 = bias_correction(u, t, node_float(a->node, "beta2", 0.999));
}

// The sums of squares of the rows of g, as a vector.
static Value *row_squares(Update *u, Value *g) {
    const int rank = g->type.rank;
    const int64_t columns = rank ? g->type.dim[rank - 1] : 1;
    const int64_t count = type_count(&g->type);
    const int64_t dim[2] = {columns ? count / columns : 0, columns};
    Value *rows = build_reshape(&u->b, g, 2, dim);
    return build_reduce_sum(&u->b, build_binary(&u->b, OP_MUL, rows, rows), (const int[]){1}, 1);
}

// min(1, clip / (norm + 1e-6))
static Value *clip_scale(Update *u, const Apply *a, double clip) {
    Value **squares = arena_array(u->cx->scratch, Value *, a->count);
    for (int i = 0; i < a->count; i++)
        squares[i] = row_squares(u, a->gradient[i]);
    Value *all = build_concat(&u->b, squares, a->count, 0);
    Value *norm = build_unary(&u->b, OP_SQRT, build_reduce_sum(&u->b, all, (const int[]){0}, 1));
    Value *guarded = build_binary(&u->b, OP_ADD, norm, scalar(u, 1e-6));
    Value *ratio = build_binary(&u->b, OP_DIV, scalar(u, clip), guarded);
    return build_binary(&u->b, OP_MIN, ratio, scalar(u, 1));
}

// Adds `state := 0` to the entry "init".
static void init_zero(Update *u, State *state) {
    Graph *init = module_find_entry(u->m, "init");
    if (!init) {
        init = graph_create(u->m->arena, intern(u->m->names, "init"));
        module_add_entry(u->m, init);
    }
    Builder b = {.g = init, .origin = {.loc = state->loc, .scope = "", .phase = PHASE_FORWARD}};
    graph_add_commit(init, state, build_constant(&b, state->type, 0));
}

// The parameter's optimizer state PARAM.suffix as this entry reads it. NULL after a diagnostic.
static Value *optimizer_state(Update *u, const State *parameter, const char *suffix, State **out) {
    const char *name =
        intern(u->m->names, arena_format(u->cx->scratch, "%s.%s", parameter->name, suffix));
    const Type type = type_with_dtype(parameter->type, DT_F32);
    State *state = module_find_state(u->m, name);
    if (!state) {
        state = module_add_state(u->m, name, type, STATE_OPTIMIZER, parameter->loc);
        init_zero(u, state);
    } else if (state->kind != STATE_OPTIMIZER || !type_equal(&state->type, &type)) {
        diag_error(u->cx->diag, state->loc, 554,
                   "the optimizer needs state named %s, but the model has one of that name", name);
        return NULL;
    }
    *out = state;
    const Attr attr = attr_text("name", name);
    const NodeOrigin origin = {u->b.origin.loc, u->b.origin.scope, PHASE_UPDATE};
    return &graph_add_typed(u->g, OP_STATE, NULL, 0, &attr, 1, &type, 1, origin)->result[0];
}

static void commit(Update *u, State *state, Value *v) {
    graph_add_commit(u->g, state, v);
    u->committed[state->id] = true;
}

// The gradient as sgd and momentum read it: they have no operand for the scale.
static Value *scaled_gradient(Update *u, const Apply *a, int i) {
    Value *g = a->gradient[i];
    return a->scale ? build_binary(&u->b, OP_MUL, g, build_broadcast_like(&u->b, a->scale, g)) : g;
}

static double decay_of(const Apply *a, int i) {
    int count = 0;
    const double *decay = node_floats(a->node, "decay", &count);
    return i < count ? decay[i] : 0;
}

static void update_sgd(Update *u, const Apply *a, int i, State *parameter, Value *w) {
    const Attr attr = attr_float("decay", decay_of(a, i));
    Value *in[3] = {w, scaled_gradient(u, a, i), a->lr};
    commit(u, parameter, build_op(&u->b, OP_SGD, in, 3, &attr, 1));
}

static bool update_momentum(Update *u, const Apply *a, int i, State *parameter, Value *w) {
    State *moment = NULL;
    Value *m = optimizer_state(u, parameter, "m", &moment);
    if (!m)
        return false;
    const Attr attr[3] = {attr_float("decay", decay_of(a, i)),
                          attr_float("momentum", node_float(a->node, "momentum", 0.9)),
                          attr_int("nesterov", node_int(a->node, "nesterov", 0))};
    Value *in[4] = {w, m, scaled_gradient(u, a, i), a->lr};
    Node *n = build_node(&u->b, OP_MOMENTUM, in, 4, attr, 3);
    commit(u, parameter, &n->result[0]);
    commit(u, moment, &n->result[1]);
    return true;
}

static bool update_adamw(Update *u, const Apply *a, int i, State *parameter, Value *w) {
    State *first = NULL, *second = NULL;
    Value *m = optimizer_state(u, parameter, "m", &first);
    Value *v = m ? optimizer_state(u, parameter, "v", &second) : NULL;
    if (!v)
        return false;
    const Attr attr[4] = {attr_float("decay", decay_of(a, i)),
                          attr_float("beta1", node_float(a->node, "beta1", 0.9)),
                          attr_float("beta2", node_float(a->node, "beta2", 0.999)),
                          attr_float("eps", node_float(a->node, "eps", 1e-8))};
    Value *scale = a->scale ? a->scale : scalar(u, 1);
    Value *in[8] = {w, m, v, a->gradient[i], a->lr, scale, a->c1, a->c2};
    Node *n = build_node(&u->b, OP_ADAMW, in, 8, attr, 4);
    commit(u, parameter, &n->result[0]);
    commit(u, first, &n->result[1]);
    commit(u, second, &n->result[2]);
    return true;
}

// The optimizers by the name minimize gives them.
typedef enum { BY_SGD, BY_MOMENTUM, BY_ADAMW, BY_UNKNOWN } Optimizer;

static Optimizer optimizer_of(const Node *apply) {
    static const char *const name[] = {"sgd", "momentum", "adamw"};
    const char *asked = node_text(apply, "optimizer", "");
    int i = 0;
    while (i < BY_UNKNOWN && strcmp(name[i], asked) != 0)
        i++;
    return (Optimizer)i;
}

static bool update_parameter(Update *u, const Apply *a, int i, Optimizer by) {
    const Node *def = a->parameter[i]->def;
    State *parameter =
        def->op == OP_STATE ? module_find_state(u->m, node_text(def, "name", "")) : NULL;
    if (!parameter)
        return diag_error(u->cx->diag, a->node->loc, 555, "apply wants state to change");
    if (u->committed[parameter->id])
        return diag_error(u->cx->diag, a->node->loc, 556,
                          "parameter %s would be stored twice in entry %s", parameter->name,
                          u->g->name);
    u->b.origin.scope = def->scope;
    Value *w = a->parameter[i];
    if (by == BY_ADAMW)
        return update_adamw(u, a, i, parameter, w);
    if (by == BY_MOMENTUM)
        return update_momentum(u, a, i, parameter, w);
    update_sgd(u, a, i, parameter, w);
    return true;
}

static bool is_fused(const Node *apply) {
    return strcmp(node_text(apply, "update", ""), "fused") == 0;
}

// A fused update sees one gradient at a time, once: what needs all of them, or all micro-batches,
// can't be.
static bool check_fused(const Update *u, const Node *apply) {
    if (!is_fused(apply))
        return true;
    if (node_float(apply, "clip", 0) > 0)
        return diag_error(u->cx->diag, apply->loc, 557,
                          "update = fused can't clip by global norm: the norm is known only when "
                          "every gradient is, and each is gone as soon as it is applied");
    if (u->g->repeat > 1)
        return diag_error(u->cx->diag, apply->loc, 558,
                          "update = fused can't accumulate: a gradient is applied as soon as it is "
                          "final, and it is final only after the last of %d micro-batches",
                          (int)u->g->repeat);
    return true;
}

static bool expand_apply(Update *u, const Node *n) {
    const Optimizer by = optimizer_of(n);
    CHECK(by != BY_UNKNOWN); // apply's own row says so
    if (!check_fused(u, n))
        return false;
    Apply a = {.node = n, .count = (n->input_count - 1) / 2, .lr = n->input[0]};
    a.parameter = n->input + 1;
    a.gradient = arena_array(u->cx->scratch, Value *, a.count);
    u->b.origin = node_origin(n);
    u->b.origin.phase = PHASE_UPDATE;
    for (int i = 0; i < a.count; i++)
        a.gradient[i] = build_cast(&u->b, n->input[1 + a.count + i], DT_F32);
    const double clip = node_float(n, "clip", 0);
    a.scale = clip > 0 ? clip_scale(u, &a, clip) : NULL;
    if (by == BY_ADAMW)
        add_corrections(u, &a);
    for (int i = 0; i < a.count; i++)
        if (!update_parameter(u, &a, i, by))
            return false;
    return true;
}

// Arguments and state first, whatever pass added them; the rest as it was.
static void order_leaves(Update *u) {
    Rewrite rw;
    rewrite_begin(&rw, u->g, u->cx->scratch);
    for (int leaves = 1; leaves >= 0; leaves--)
        for (int i = 0; i < rw.old_count; i++)
            if ((rw.old[i]->op == OP_INPUT) == (leaves == 1) && rw.old[i]->op != OP_APPLY)
                rewrite_keep(&rw, rw.old[i]);
    rewrite_end(&rw);
}

// position[node id]: where in the order the last of the nodes stands that must come before n's
// update: its own operands' and all that read the parameter itself, directly or through views.
static void last_readers(const Graph *g, int *last, Arena *scratch) {
    // origin[value id]: the parameter a value is a view of, or itself
    const Value **origin = arena_array(scratch, const Value *, g->value_limit);
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        for (int k = 0; k < n->result_count; k++) {
            const Value *v = &n->result[k];
            origin[v->id] = match_view(n) ? origin[n->input[0]->id] : v;
        }
        for (int k = 0; k < n->input_count && n->phase != PHASE_UPDATE; k++)
            last[origin[n->input[k]->id]->id] = i;
    }
}

// Moves each update node up to where its gradient is final and its parameter read for the last
// time.
static void place_fused(Update *u) {
    Graph *g = u->g;
    Arena *scratch = u->cx->scratch;
    int *last = arena_array(scratch, int, g->value_limit);
    int *place =
        arena_array(scratch, int, g->value_limit); // by value: after the node at this position
    int *after = arena_array(scratch, int, g->node_count);
    int *next = arena_array(scratch, int, g->node_count);
    int *tail = arena_array(scratch, int, g->node_count);
    int *head = arena_array(scratch, int, g->node_count);
    last_readers(g, last, scratch);
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        after[i] = i;
        if (n->phase == PHASE_UPDATE) {
            after[i] = 0;
            for (int k = 0; k < n->input_count; k++) {
                const Value *v = n->input[k];
                const int ready = place[v->id];
                const int read = v->def->op == OP_STATE ? last[v->id] : 0;
                after[i] = ready > after[i] ? ready : after[i];
                after[i] = read > after[i] ? read : after[i];
            }
        }
        for (int k = 0; k < n->result_count; k++)
            place[n->result[k].id] = after[i];
    }
    // Lists by place, each in program order; position 0 is a leaf, so nothing needs to stand before
    // it.
    for (int i = 0; i < g->node_count; i++) {
        const int p = after[i];
        if (p == i)
            continue;
        if (tail[p])
            next[tail[p]] = i;
        else
            head[p] = i;
        tail[p] = i;
    }
    Rewrite rw;
    rewrite_begin(&rw, g, scratch);
    for (int i = 0; i < rw.old_count; i++) {
        if (after[i] == i)
            rewrite_keep(&rw, rw.old[i]);
        for (int k = head[i]; k; k = next[k])
            rewrite_keep(&rw, rw.old[k]);
    }
    rewrite_end(&rw);
}

static PassResult optimize_graph(Module *m, Graph *g, PassCtx *cx) {
    int applies = 0;
    bool fused = false;
    for (int i = 0; i < g->node_count; i++) {
        applies += g->node[i]->op == OP_APPLY;
        fused = fused || (g->node[i]->op == OP_APPLY && is_fused(g->node[i]));
    }
    if (!applies)
        return PASS_SAME;
    Update u = {.cx = cx, .m = m, .g = g, .b = {.g = g}};
    // Each parameter adds two states at most.
    u.committed = arena_array(cx->scratch, bool, 3 * m->state_count + 1);
    for (int i = 0; i < g->commit_count; i++)
        u.committed[g->commit[i].state->id] = true;
    const int count = g->node_count;
    for (int i = 0; i < count; i++)
        if (g->node[i]->op == OP_APPLY && !expand_apply(&u, g->node[i]))
            return PASS_FAILED;
    order_leaves(&u);
    if (fused)
        place_fused(&u);
    return PASS_CHANGED;
}

PassResult pass_optimize(Module *m, PassCtx *cx) {
    PassResult result = PASS_SAME;
    // Optimizer state adds to "init", maybe a new entry: it has nothing to expand itself.
    const int count = m->entry_count;
    for (int i = 0; i < count; i++) {
        const PassResult one = optimize_graph(m, m->entry[i], cx);
        if (one == PASS_FAILED)
            return PASS_FAILED;
        result = one == PASS_CHANGED ? PASS_CHANGED : result;
    }
    return result;
}
