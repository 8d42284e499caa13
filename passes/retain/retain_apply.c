// Writing a schedule into a graph: what runs again becomes a clone, what moves an offload and
// fetches.
//
//   RUN t, the first time     t's own nodes, reading the latest copies of their operands
//   RUN t, again              clones of them, in the backward phase
//   STORE v                   offload of v's latest copy
//   FETCH v                   fetch of that, v's latest copy from here on
//   STORE v, cut              concat of its first rows alone, which is a copy; offload of others
//   FETCH v                   concat of that copy, a fetch, and v's maker on the last rows
//
// Leaves come first. A view follows what it looks at: of a copy, a clone of the view is made when
// somebody reads it. Clones have no names: those are the first copies'. A clone has the operator,
// the operands' contents and the attributes of its original, so it has its bits too.
//
// On entry: the schedule is allowed. On exit: clones that nobody reads are gone (a kernel's other
// results). Cost: linear in the graph and the schedule.
#include "passes/retain/retain_apply.h"

#include "ir/check.h"
#include "passes/retain/retain_cut.h"
#include "passes/retain/retain_index.h"
#include "passes/rewrite.h"
#include "passes/storage_work.h"

typedef struct {
    Graph *g;
    Rewrite rw;
    const RetainGraph *rg;
    Node **by_id;       // by node id: the graph's own
    Value **latest;     // by value id of what a task makes: its latest copy
    Value **viewed;     // by value id of a view: the copy of its operand that `view` looks at
    Value **view;       // by value id of a view: the latest made
    bool *kept;         // by node id: stands in the new graph
    bool *ran;          // by task
    Value **far;        // by value of the problem: what moved of it
    Value **near;       // of its first rows, what stayed
    RetainParts *parts; // as it was stored
    uint32_t limit;     // value ids below it are in the tables
} ApplyWork;

static void keep_node(ApplyWork *w, Node *n) {
    if (w->kept[n->id])
        return;
    w->kept[n->id] = true;
    rewrite_keep(&w->rw, n);
}

static Node *clone_node(ApplyWork *w, const Node *n, Value *const *input) {
    Type *type = arena_array(w->rw.scratch, Type, n->result_count + 1);
    for (int i = 0; i < n->result_count; i++)
        type[i] = n->result[i].type;
    NodeOrigin origin = node_origin(n);
    origin.phase = PHASE_BACKWARD;
    return graph_add_typed(w->g, n->op, input, n->input_count, n->attr, n->attr_count, type,
                           n->result_count, origin);
}

// What stands for the value where it is read now. A view's own node serves what it looked at.
static Value *current(ApplyWork *w, Value *v) {
    if (!node_is_view(v->def))
        return w->latest[v->id] ? w->latest[v->id] : v;
    Value *from = current(w, v->def->input[0]);
    if (w->viewed[v->id] == from)
        return w->view[v->id];
    const bool own = from == v->def->input[0];
    Node *n = own ? v->def : clone_node(w, v->def, &from);
    if (own)
        keep_node(w, n);
    for (int i = 0; i < n->result_count; i++) {
        const uint32_t id = v->def->result[i].id;
        w->viewed[id] = from;
        w->view[id] = &n->result[i];
    }
    return w->view[v->id];
}

static void run_node(ApplyWork *w, Node *n, bool again) {
    Value **input = arena_array(w->rw.scratch, Value *, n->input_count + 1);
    for (int i = 0; i < n->input_count; i++)
        input[i] = current(w, n->input[i]);
    Node *made = n;
    if (again) {
        made = clone_node(w, n, input);
    } else {
        for (int i = 0; i < n->input_count; i++)
            n->input[i] = input[i];
        keep_node(w, n);
    }
    for (int i = 0; i < n->result_count; i++)
        w->latest[n->result[i].id] = &made->result[i];
}

static RetainCut cut_of(const Value *owner, RetainParts parts) {
    RetainCut cut = retain_cut(&owner->type, 0);
    cut.parts = parts.all;
    return cut;
}

static void store_value(ApplyWork *w, RetainStep s) {
    const Value *owner = w->rg->problem.value[s.what].owner;
    Value *latest = w->latest[owner->id];
    Builder b = rewrite_builder(w->g, latest->def);
    const RetainParts parts = retain_parts(&w->rg->problem, s);
    const RetainCut cut = cut_of(owner, parts);
    w->parts[s.what] = parts;
    if (parts.near) {
        Value *first = retain_cut_slice(&b, latest, cut, 0, parts.near);
        w->near[s.what] = build_concat(&b, &first, 1, cut.axis);
    }
    if (parts.far < parts.all && parts.far)
        latest = retain_cut_slice(&b, latest, cut, parts.near, parts.far);
    if (parts.far)
        w->far[s.what] = build_unary(&b, OP_OFFLOAD, latest);
}

// What node i of the kernel reads as input k, for the last rows: a slice of what lies outside.
static Value *rows_of_input(ApplyWork *w, Builder *b, const RetainNodes *nodes, Node *const *made,
                            int i, int k, RetainCut cut, int count) {
    const Node *n = w->by_id[nodes->node[i]];
    for (int j = 0; j < i; j++)
        if (nodes->node[j] == n->input[k]->def->id)
            return &made[j]->result[n->input[k]->index];
    Value *x = current(w, n->input[k]);
    return retain_cut_has_rows(n, cut, k) ? retain_cut_slice(b, x, cut, cut.parts - count, count)
                                          : x;
}

// The value's maker on its last `count` parts.
static Value *make_rows(ApplyWork *w, const Value *owner, int maker, RetainCut cut, int count) {
    const RetainNodes *nodes = &w->rg->nodes[maker];
    Node **made = arena_array(w->rw.scratch, Node *, nodes->count + 1);
    Value *out = NULL;
    for (int i = 0; i < nodes->count; i++) {
        const Node *n = w->by_id[nodes->node[i]];
        if (node_is_view(n))
            continue; // those who read it look at what it looks at
        Value **input = arena_array(w->rw.scratch, Value *, n->input_count + 1);
        Builder b = rewrite_builder(w->g, n);
        b.origin.phase = PHASE_BACKWARD;
        for (int k = 0; k < n->input_count; k++)
            input[k] = rows_of_input(w, &b, nodes, made, i, k, cut, count);
        made[i] = retain_cut_node(&b, n, input, cut, count);
        for (int r = 0; r < n->result_count; r++)
            out = n->result[r].id == owner->id ? &made[i]->result[r] : out;
    }
    CHECK(out != NULL);
    return out;
}

static void fetch_value(ApplyWork *w, RetainStep s) {
    const RetainValue *v = &w->rg->problem.value[s.what];
    const Value *owner = v->owner;
    const RetainParts parts = w->parts[s.what];
    const RetainCut cut = cut_of(owner, parts);
    Builder b = rewrite_builder(w->g, w->latest[owner->id]->def);
    b.origin.phase = PHASE_BACKWARD;
    Value *piece[3];
    int count = 0;
    if (parts.near)
        piece[count++] = w->near[s.what];
    if (parts.far)
        piece[count++] = build_unary(&b, OP_FETCH, w->far[s.what]);
    if (parts.again)
        piece[count++] = make_rows(w, owner, v->maker, cut, parts.again);
    w->latest[owner->id] = count == 1 ? piece[0] : build_concat(&b, piece, count, cut.axis);
}

static void apply_begin(ApplyWork *w, Graph *g, const RetainGraph *rg, Arena *scratch) {
    *w = (ApplyWork){.g = g, .rg = rg, .limit = g->value_limit};
    w->by_id = arena_array(scratch, Node *, g->node_limit + 1);
    w->kept = arena_array(scratch, bool, g->node_limit + 1);
    w->latest = arena_array(scratch, Value *, w->limit + 1);
    w->viewed = arena_array(scratch, Value *, w->limit + 1);
    w->view = arena_array(scratch, Value *, w->limit + 1);
    w->ran = arena_array(scratch, bool, rg->problem.task_count + 1);
    w->far = arena_array(scratch, Value *, rg->problem.value_count + 1);
    w->near = arena_array(scratch, Value *, rg->problem.value_count + 1);
    w->parts = arena_array(scratch, RetainParts, rg->problem.value_count + 1);
    for (int i = 0; i < g->node_count; i++)
        w->by_id[g->node[i]->id] = g->node[i];
    rewrite_begin(&w->rw, g, scratch);
    for (int i = 0; i < w->rw.old_count; i++) {
        Node *n = w->rw.old[i];
        if (n->op == OP_INPUT || n->op == OP_STATE || n->op == OP_CONSTANT)
            keep_node(w, n);
    }
}

void retain_apply(Graph *g, const RetainGraph *rg, const RetainSchedule *schedule, Arena *scratch) {
    ApplyWork w;
    apply_begin(&w, g, rg, scratch);
    for (int i = 0; i < schedule->count; i++) {
        const RetainStep s = schedule->step[i];
        if (s.kind == RETAIN_STORE)
            store_value(&w, s);
        else if (s.kind == RETAIN_FETCH)
            fetch_value(&w, s);
        if (s.kind != RETAIN_RUN)
            continue;
        const RetainNodes *nodes = &rg->nodes[s.what];
        for (int k = 0; k < nodes->count; k++)
            run_node(&w, w.by_id[nodes->node[k]], w.ran[s.what]);
        w.ran[s.what] = true;
    }
    // A result is read at the end: its latest copy is the one that is there then. What is committed
    // is written into its state by the first.
    for (int i = 0; i < g->result_count; i++)
        g->result[i].value = current(&w, g->result[i].value);
    for (int i = 0; i < g->commit_count; i++) {
        Value *v = g->commit[i].value;
        if (node_is_view(v->def) && !w.kept[v->def->id])
            g->commit[i].value = current(&w, v);
    }
    graph_drop_dead(g);
}
