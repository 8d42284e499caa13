// Rewriting a graph in one walk: see rewrite.h. Every function is O(1) amortised; begin and end are
// O(nodes).
#include "passes/rewrite.h"

#include "ir/check.h"

void rewrite_begin(Rewrite *rw, Graph *g, Arena *scratch) {
    *rw = (Rewrite){.g = g, .scratch = scratch, .old = g->node, .old_count = g->node_count};
    rw->limit = g->value_limit;
    rw->by = arena_array(scratch, Value *, rw->limit);
    // A fresh list: the old one is still being read.
    // A little room for nodes that passes build in place of others.
    g->node_capacity = g->node_count + g->node_count / 4 + 16;
    g->node = arena_array(g->arena, Node *, g->node_capacity);
    g->node_count = 0;
}

Value *rewrite_resolve(const Rewrite *rw, Value *v) {
    // Replacements are resolved when they are entered, but one may itself be replaced later.
    // Values built since rewrite_begin have ids from limit on and replace, but are never replaced.
    while (v->id < rw->limit && rw->by[v->id])
        v = rw->by[v->id];
    return v;
}

void rewrite_resolve_inputs(Rewrite *rw, Node *n) {
    for (int i = 0; i < n->input_count; i++)
        n->input[i] = rewrite_resolve(rw, n->input[i]);
}

void rewrite_keep(Rewrite *rw, Node *n) {
    Graph *g = rw->g;
    rewrite_resolve_inputs(rw, n);
    // The same list as a Builder appends to: kept and new nodes come in the order of the walk.
    if (g->node_count == g->node_capacity) {
        const int capacity = 2 * g->node_capacity + 16;
        g->node =
            arena_grow(g->arena, g->node, (size_t)g->node_count, (size_t)capacity, sizeof(Node *));
        g->node_capacity = capacity;
    }
    g->node[g->node_count++] = n;
}

void rewrite_replace(Rewrite *rw, Value *old, Value *by) {
    // Replaced at most once, and never by itself, so that following replacements comes to an end.
    CHECK(old->id < rw->limit && !rw->by[old->id]);
    by = rewrite_resolve(rw, by);
    CHECK(by != old);
    rw->by[old->id] = by;
    // Names in the user's text outlive what simplification does to their values.
    if (!by->name) {
        by->name = old->name;
        old->name = NULL;
    }
}

void rewrite_end(Rewrite *rw) {
    Graph *g = rw->g;
    for (int i = 0; i < g->result_count; i++)
        g->result[i].value = rewrite_resolve(rw, g->result[i].value);
    for (int i = 0; i < g->commit_count; i++)
        g->commit[i].value = rewrite_resolve(rw, g->commit[i].value);
}

Builder rewrite_builder(Graph *g, const Node *n) {
    return (Builder){.g = g, .origin = node_origin(n)};
}

bool match_view(const Node *n) {
    return n->op == OP_RESHAPE || n->op == OP_TRANSPOSE || n->op == OP_BROADCAST ||
           n->op == OP_SLICE || n->op == OP_SPLIT;
}

const Value *match_viewed(const Value *v) {
    enum { VIEWS_MAX = 8 }; // so that a long chain costs no more than its length
    for (int i = 0; i < VIEWS_MAX && match_view(v->def); i++)
        // Stopping early only means that a view is not seen through.
        v = v->def->input[0];
    return v;
}

bool match_uniform(const Value *v, double *value) {
    v = match_viewed(v);
    if (v->def->op != OP_CONSTANT)
        return false;
    *value = node_float(v->def, "value", 0);
    return true;
}
