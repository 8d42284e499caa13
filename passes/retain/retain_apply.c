// Writing a schedule into a graph: what runs again becomes a clone, what moves an offload and
// fetches.
//
//   RUN t, the first time     t's own nodes, reading the latest copies of their operands
//   RUN t, again              clones of them, in the backward phase
//   STORE v                   offload of v's latest copy
//   FETCH v                   fetch of that, v's latest copy from here on
//
// Leaves come first. A view follows what it looks at: of a copy, a clone of the view is made when
// somebody reads it. Clones have no names: those are the first copies'. A clone has the operator,
// the operands' contents and the attributes of its original, so it has its bits too.
//
// On entry: the schedule is allowed. On exit: clones that nobody reads are gone (a kernel's other
// results). Cost: linear in the graph and the schedule.
#include "passes/retain/retain_apply.h"

#include "ir/check.h"
#include "passes/rewrite.h"
#include "passes/storage_work.h"

typedef struct {
    Graph *g;
    Rewrite rw;
    const RetainGraph *rg;
    Node **by_id;   // by node id: the graph's own
    Value **latest; // by value id of what a task makes: its latest copy
    Value **viewed; // by value id of a view: the copy of its operand that `view` looks at
    Value **view;   // by value id of a view: the latest made
    bool *kept;     // by node id: stands in the new graph
    bool *ran;      // by task
    Value **far;    // by value of the problem
    uint32_t limit; // value ids below it are in the tables
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

static void move_value(ApplyWork *w, RetainStep s) {
    const Value *owner = w->rg->problem.value[s.what].owner;
    Value *latest = w->latest[owner->id];
    Builder b = rewrite_builder(w->g, latest->def);
    if (s.kind == RETAIN_STORE) {
        w->far[s.what] = build_unary(&b, OP_OFFLOAD, latest);
        return;
    }
    b.origin.phase = PHASE_BACKWARD;
    w->latest[owner->id] = build_unary(&b, OP_FETCH, w->far[s.what]);
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
        if (s.kind != RETAIN_RUN) {
            move_value(&w, s);
            continue;
        }
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
