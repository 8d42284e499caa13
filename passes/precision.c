// bf16 compute with f32 masters: which values of an entry are held in bf16.
//
// Runs before autodiff: gradients of a cast are casts, so backward nodes come out in the right
// types by themselves, and parameter gradients arrive in f32 at the f32 masters.
//
// One walk forwards. A value is *low* once its bf16 version stands for it. What each kind of
// operator does is decided by its row of the table:
//   contraction, attention      take bf16 operands: this is where the speed is
//   lookup in a parameter       rows of an embedding are activations: low at once, the table stays
//   f32 pointwise, shape, rowwise   low where an operand is; parameters of norms stay f32 where the
//   row allows reduce                      f32: statistics and losses leaves, updates, the rest f32
// A rule may say the precision of what is computed with a parameter (State.precision): it wins over
// the entry's. Where the minimizes of an entry differ, what one in f32 depends on stays in f32.
// A pointwise operator with a constant that bf16 can't hold computes in f32 and narrows its result,
// so that scales are not rounded. Parameters are cast once, through views where they are free;
// results, commits and minimize see the types they saw before. Cost: O(nodes).
#include "ir/check.h"
#include "ir/evaluate.h"
#include "passes/narrow.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

#include <string.h>

typedef struct {
    PassCtx *cx;
    const Module *m;
    Graph *g;
    bool all;   // the entry is in bf16; else only what a parameter's rule says
    bool *wide; // by value id: a minimize in f32 depends on it; NULL: none does
    Rewrite rw;
    Value **low;    // by value id: the bf16 version of an f32 value, or NULL
    bool *is_low;   // by value id: bf16 is its natural form
    bool *only_low; // by value id: and it exists in no other
    Builder b;
} Precision;

static bool is_low(const Precision *p, const Value *v) {
    return v->id < p->rw.limit && p->is_low[v->id];
}

// A view of one operand whose cast may as well be done before it, so that equal casts are shared.
static bool casts_through(const Node *n) {
    return n->op == OP_RESHAPE || n->op == OP_TRANSPOSE || n->op == OP_BROADCAST;
}

// NULL where no bf16 version is there yet; integers and bools stand for themselves.
static Value *known_low(const Precision *p, Value *v) {
    if (v->type.dtype != DT_F32)
        return rewrite_resolve(&p->rw, v);
    return v->id < p->rw.limit ? p->low[v->id] : NULL;
}

static void remember_low(const Precision *p, const Value *v, Value *low) {
    if (v->id < p->rw.limit)
        p->low[v->id] = low;
}

// The bf16 version of an f32 value; other types as they are. Casts are put before a few views.
static Value *want_low(Precision *p, Value *v) {
    enum { VIEWS_MAX = 8 };
    Value *view[VIEWS_MAX];
    int views = 0;
    while (!known_low(p, v) && casts_through(v->def) && views < VIEWS_MAX) {
        view[views++] = v;
        v = v->def->input[0];
    }
    Value *low = known_low(p, v);
    if (!low) {
        low = build_cast(&p->b, rewrite_resolve(&p->rw, v), DT_BF16);
        remember_low(p, v, low);
    }
    while (views > 0) {
        const Node *n = view[--views]->def;
        low = build_op(&p->b, n->op, &low, 1, n->attr, n->attr_count);
        remember_low(p, view[views], low);
    }
    return low;
}

// The value in the type it had in the text.
static Value *want_full(Precision *p, Value *v) {
    // Widened once: from here on the value exists in both forms.
    if (v->id < p->rw.limit && p->only_low[v->id]) {
        p->only_low[v->id] = false;
        rewrite_replace(&p->rw, v, build_cast(&p->b, p->low[v->id], DT_F32));
    }
    return rewrite_resolve(&p->rw, v);
}

// n as it is, on operands in the types of the text.
static void keep_full(Precision *p, Node *n) {
    for (int i = 0; i < n->input_count; i++)
        want_full(p, n->input[i]);
    rewrite_keep(&p->rw, n);
}

// n with these operands; results of another type than before are low from here on.
static void replace_node(Precision *p, const Node *n, Value *const *in) {
    const Node *made = build_node(&p->b, n->op, in, n->input_count, n->attr, n->attr_count);
    for (int i = 0; i < n->result_count; i++) {
        Value *old = &n->result[i], *by = &made->result[i];
        if (type_equal(&old->type, &by->type)) {
            rewrite_replace(&p->rw, old, by);
        } else {
            p->low[old->id] = by;
            p->is_low[old->id] = p->only_low[old->id] = true;
            by->name = old->name;
            old->name = NULL;
        }
    }
}

// Whether the operator takes operands of these types.
static bool infers(Precision *p, const Node *n, Value **in) {
    Arena *scratch = p->cx->scratch;
    // Asked of a copy, whose complaints nobody reads.
    Node stub = *n;
    Diag *quiet = diag_create(scratch);
    stub.input = in;
    Type *result = arena_array(scratch, Type, n->result_count);
    return op_info(n->op)->infer(&stub, result, quiet, scratch);
}

// The first low_count operands low, the others in f32.
static Value **operands(Precision *p, const Node *n, int low_count) {
    Value **in = arena_array(p->cx->scratch, Value *, n->input_count);
    for (int i = 0; i < n->input_count; i++)
        in[i] = i < low_count ? want_low(p, n->input[i]) : want_full(p, n->input[i]);
    return in;
}

// Each operand in the form it has by itself.
static Value **natural_operands(Precision *p, const Node *n) {
    Value **in = arena_array(p->cx->scratch, Value *, n->input_count);
    for (int i = 0; i < n->input_count; i++)
        in[i] = is_low(p, n->input[i]) ? want_low(p, n->input[i]) : want_full(p, n->input[i]);
    return in;
}

// All operands low, where the operator takes them so. Gradient operators (of grad, in the forward)
// also read statistics, which are f32: then each as it is, or as many as will do. All in f32 always
// fit.
static void make_low(Precision *p, const Node *n) {
    int low = n->input_count;
    Value **in = operands(p, n, low);
    if (!infers(p, n, in))
        in = natural_operands(p, n);
    while (low > 0 && !infers(p, n, in))
        in = operands(p, n, --low);
    replace_node(p, n, in);
}

// The first operand low; parameters and tables in f32 where the operator allows that.
static void make_first_low(Precision *p, const Node *n) {
    Value **in = operands(p, n, 1);
    if (infers(p, n, in))
        replace_node(p, n, in);
    else
        make_low(p, n);
}

// Computed in f32, its results narrowed at once.
static void keep_and_narrow(Precision *p, Node *n) {
    keep_full(p, n);
    for (int i = 0; i < n->result_count; i++) {
        Value *v = &n->result[i];
        if (v->type.dtype == DT_F32) {
            p->low[v->id] = build_cast(&p->b, v, DT_BF16);
            p->is_low[v->id] = true;
        }
    }
}

static bool any_low(const Precision *p, const Node *n) {
    for (int i = 0; i < n->input_count; i++)
        if (is_low(p, n->input[i]))
            return true;
    return false;
}

// Also through views: a broadcast constant is one.
static bool has_inexact_constant(const Node *n) {
    for (int i = 0; i < n->input_count; i++) {
        double value;
        if (n->input[i]->type.dtype == DT_F32 && match_uniform(n->input[i], &value) &&
            dtype_round(DT_BF16, value) != value)
            return true;
    }
    return false;
}

// An f32 state as the table of a lookup.
static bool reads_parameter(const Node *n) {
    const Value *v = match_viewed(n->input[0]);
    return v->def->op == OP_STATE && v->type.dtype == DT_F32;
}

static void visit_pointwise(Precision *p, Node *n) {
    if (!any_low(p, n) || n->op == OP_CAST)
        keep_full(p, n);
    else if (has_inexact_constant(n))
        keep_and_narrow(p, n);
    else
        make_low(p, n);
}

static void visit_indexed(Precision *p, Node *n, bool low) {
    if (op_info(n->op)->lowering != LOWER_SCALAR)
        keep_full(p, n); // sums by index
    else if (low && reads_parameter(n))
        keep_and_narrow(p, n);
    else if (any_low(p, n))
        make_first_low(p, n);
    else
        keep_full(p, n);
}

static void visit_shape(Precision *p, Node *n) {
    // What is written into keeps its type: a cache is state.
    const bool writes = (op_info(n->op)->flags & OPF_INPLACE) != 0;
    if (writes ? is_low(p, n->input[0]) : any_low(p, n))
        make_low(p, n);
    else
        keep_full(p, n);
}

// q, k and v; an offset or a table stays whole.
static void visit_attention(Precision *p, Node *n, bool low) {
    if (!low)
        keep_full(p, n);
    else if (n->op == OP_ATTENTION)
        replace_node(p, n, operands(p, n, 3));
    else
        make_low(p, n); // a gradient that grad made
}

// What the rules say of the parameters that n reads, directly or through views and casts; NULL:
// nothing. f32 wins.
static const char *said_precision(const Precision *p, const Node *n) {
    const char *said = NULL;
    for (int i = 0; i < n->input_count; i++) {
        const Value *v = n->input[i];
        while (match_view(v->def) || v->def->op == OP_CAST)
            v = v->def->input[0];
        if (v->def->op != OP_STATE)
            continue;
        const State *s = module_find_state(p->m, node_text(v->def, "name", ""));
        if (s && s->precision && (!said || strcmp(s->precision, "f32") == 0))
            said = s->precision;
    }
    return said;
}

static void visit(Precision *p, Node *n) {
    p->b.origin = node_origin(n);
    const char *said = said_precision(p, n);
    const bool low = said ? strcmp(said, "bf16") == 0 : p->all;
    const bool wide = p->wide && n->result_count > 0 && p->wide[n->result[0].id];
    // Backward and update nodes keep the types they have in the text.
    if (n->phase != PHASE_FORWARD || (said && !low) || wide) {
        keep_full(p, n);
        return;
    }
    switch (op_info(n->op)->family) {
    case FAMILY_CONTRACTION:
    case FAMILY_CONVOLUTION:
        if (low)
            make_low(p, n);
        else
            keep_full(p, n);
        break;
    case FAMILY_ATTENTION:
        visit_attention(p, n, low);
        break;
    case FAMILY_POINTWISE:
        visit_pointwise(p, n);
        break;
    case FAMILY_SHAPE:
        visit_shape(p, n);
        break;
    case FAMILY_ROWWISE:
    case FAMILY_CHANNEL:
        if (any_low(p, n))
            make_first_low(p, n);
        else
            keep_full(p, n);
        break;
    case FAMILY_INDEXED:
        visit_indexed(p, n, low);
        break;
    case FAMILY_LEAF:
    case FAMILY_REDUCE:
    case FAMILY_UPDATE:
    case FAMILY_MOVE:
    case FAMILY_TRAINING:
        keep_full(p, n);
        break;
    }
}

// A minimize's own precision; NULL: n is none.
static const char *precision_of(const Node *n) {
    return op_info(n->op)->family == FAMILY_TRAINING ? node_text(n, "precision", "f32") : NULL;
}

// What the command line says, or else one of the entry's minimizes.
static bool asks_bf16(const Graph *g, const PassCtx *cx) {
    if (cx->options && cx->options->precision)
        return strcmp(cx->options->precision, "bf16") == 0;
    for (int i = 0; i < g->node_count; i++) {
        const char *said = precision_of(g->node[i]);
        if (said && strcmp(said, "bf16") == 0)
            return true;
    }
    return false;
}

// Marks what the minimizes in f32 are computed from, where the text decides. NULL where there is
// none.
static bool *mark_wide(const Graph *g, const PassCtx *cx) {
    if (cx->options && cx->options->precision)
        return NULL;
    bool *wide = arena_array(cx->scratch, bool, g->value_limit);
    bool any = false;
    for (int i = g->node_count - 1; i >= 0; i--) {
        const Node *n = g->node[i];
        const char *said = precision_of(n);
        bool needed = said && strcmp(said, "f32") == 0;
        any = any || needed;
        for (int k = 0; k < n->result_count; k++)
            needed = needed || wide[n->result[k].id];
        for (int k = 0; needed && k < n->input_count; k++)
            wide[n->input[k]->id] = true;
    }
    return any ? wide : NULL;
}

// Whether a rule asks for bf16 with some parameter, whatever the entry does.
static bool any_low_state(const Module *m) {
    for (int i = 0; i < m->state_count; i++)
        if (m->state[i]->precision && strcmp(m->state[i]->precision, "bf16") == 0)
            return true;
    return false;
}

static PassResult lower_graph(const Module *m, Graph *g, PassCtx *cx) {
    const bool all = asks_bf16(g, cx);
    // First values are made in full.
    if ((!all && !any_low_state(m)) || strcmp(g->name, "init") == 0)
        return PASS_SAME;
    Precision p = {.cx = cx, .m = m, .g = g, .all = all, .b = {.g = g}};
    p.wide = all ? mark_wide(g, cx) : NULL;
    rewrite_begin(&p.rw, g, cx->scratch);
    p.low = arena_array(cx->scratch, Value *, p.rw.limit);
    p.is_low = arena_array(cx->scratch, bool, p.rw.limit);
    p.only_low = arena_array(cx->scratch, bool, p.rw.limit);
    for (int i = 0; i < p.rw.old_count; i++)
        visit(&p, p.rw.old[i]);
    for (int i = 0; i < g->result_count; i++)
        want_full(&p, g->result[i].value);
    for (int i = 0; i < g->commit_count; i++)
        want_full(&p, g->commit[i].value);
    rewrite_end(&p.rw);
    graph_drop_dead(g);
    return PASS_CHANGED;
}

PassResult pass_precision(Module *m, PassCtx *cx) {
    PassResult result = PASS_SAME;
    for (int i = 0; i < m->entry_count; i++)
        if (lower_graph(m, m->entry[i], cx) == PASS_CHANGED)
            result = PASS_CHANGED;
    // Where --precision says bf16 for all entries, what none of them updates need not be f32.
    const bool all =
        cx->options && cx->options->precision && strcmp(cx->options->precision, "bf16") == 0;
    if (all && narrow_states(m, cx) == PASS_CHANGED)
        result = PASS_CHANGED;
    return result;
}
