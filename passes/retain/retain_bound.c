// What no plan can do without, from data dependences alone.
//
//   states                      in the device's memory always
//   sums over micro-batches     from the first to the last
//   while an operator runs:     its operands and results, where it is one that never becomes part
//   of
//                               another kernel (a product, a convolution, attention);
//                               and each value that is made once, by such an operator that must
//                               have run before, and is read by one that must run after
//
// Made once is what the backward pass makes, and attention, whose result is computed once; results
// of attention count only where nothing may be moved away. What may be written over an operand or
// into a state counts as nothing, and values that are parts of others are left out. So the bound is
// below what plans need; it is not always reached.
//
// Cost: operands times values that are made once, / 64.
#include "passes/retain/retain_bound.h"

#include "ir/check.h"
#include "ir/far.h"
#include "passes/retain/retain_build.h"
#include "passes/rewrite.h"
#include "passes/storage.h"

typedef struct {
    const Module *m;
    const Graph *g;
    bool far; // values may be moved
    Arena *a;
    const Value **root; // by value id
    bool *committed;    // by value id of a root: perhaps written into its state
    bool *part;         // by value id of a root: perhaps computed into a concat
    int *number;        // by value id: its number among those made once; -1: it isn't
    const Value **once; // by number
    int once_count;
    size_t words;      // 64-bit words of a set of them
    uint64_t **made;   // by place in the graph: those whose makers it needs
    uint64_t **wanted; // by place: those of which some reader needs it
    int *place;        // by node id
    int64_t *live;     // by place
} BoundWork;

// Never part of a kernel with others, so its operands and results are in memory while it runs.
static bool runs_alone(const Node *n) {
    const OpLowering lowering = op_info(n->op)->lowering;
    return lowering == LOWER_PRODUCT || lowering == LOWER_CONVOLUTION ||
           lowering == LOWER_ATTENTION || lowering == LOWER_SCATTER;
}

static int64_t bytes_of(const BoundWork *w, const Value *v) {
    if (retain_is_leaf(v->def) || value_is_far(w->m, v) || w->committed[v->id] || w->part[v->id])
        return 0;
    return (int64_t)storage_padded(type_bytes(&v->type));
}

static bool is_in(const uint64_t *set, int number) {
    return set[number / 64] >> (number % 64) & 1;
}

static void put_in(uint64_t *set, int number) {
    set[number / 64] |= (uint64_t)1 << (number % 64);
}

static void add_all(const BoundWork *w, uint64_t *set, const uint64_t *other) {
    for (size_t i = 0; i < w->words; i++)
        set[i] |= other[i];
}

static void find_roots(BoundWork *w) {
    const Graph *g = w->g;
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        w->place[n->id] = i;
        for (int r = 0; r < n->result_count; r++)
            w->root[n->result[r].id] = match_view(n) ? w->root[n->input[0]->id] : &n->result[r];
        // Sums over micro-batches are counted as such; what is added to them straight is not.
        for (int k = 0; k < n->input_count; k++)
            if (n->op == OP_CONCAT || n->op == OP_ACCUMULATE)
                w->part[w->root[n->input[k]->id]->id] = true;
        if (n->op == OP_ACCUMULATE)
            w->part[n->result[0].id] = true;
    }
    for (int i = 0; i < g->commit_count; i++)
        w->committed[w->root[g->commit[i].value->id]->id] = true;
}

static bool is_made_once(const BoundWork *w, const Node *n) {
    if (!runs_alone(n))
        return false;
    return n->phase != PHASE_FORWARD || (op_info(n->op)->family == FAMILY_ATTENTION && !w->far);
}

// Values that are made once, by such operators.
static void find_once(BoundWork *w) {
    const Graph *g = w->g;
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        for (int r = 0; r < n->result_count; r++) {
            const Value *v = &n->result[r];
            w->number[v->id] = is_made_once(w, n) && bytes_of(w, v) > 0 ? w->once_count : -1;
            if (w->number[v->id] >= 0)
                w->once[w->once_count++] = v;
        }
    }
    w->words = (size_t)w->once_count / 64 + 1;
}

// Who must run behind makers, and before readers.
static void find_orders(BoundWork *w) {
    const Graph *g = w->g;
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        w->made[i] = arena_array(w->a, uint64_t, w->words);
        w->wanted[i] = arena_array(w->a, uint64_t, w->words);
        for (int k = 0; k < n->input_count; k++) {
            const Node *from = n->input[k]->def;
            add_all(w, w->made[i], w->made[w->place[from->id]]);
            for (int r = 0; r < from->result_count; r++)
                if (w->number[from->result[r].id] >= 0)
                    put_in(w->made[i], w->number[from->result[r].id]);
        }
    }
    for (int i = g->node_count - 1; i >= 0; i--) {
        const Node *n = g->node[i];
        for (int k = 0; k < n->input_count; k++) {
            uint64_t *wanted = w->wanted[w->place[n->input[k]->def->id]];
            add_all(w, wanted, w->wanted[i]);
            for (int o = 0; o < n->input_count && !match_view(n); o++) {
                const int number = w->number[w->root[n->input[o]->id]->id];
                if (number >= 0)
                    put_in(wanted, number);
            }
        }
    }
}

// A value that is made once lives while whatever stands between its maker and a reader runs.
static bool is_spanned(const BoundWork *w, int t, int number) {
    return number >= 0 && is_in(w->made[t], number) && is_in(w->wanted[t], number);
}

static void add_spanning(BoundWork *w, int t) {
    for (int i = 0; i < w->once_count; i++)
        if (is_spanned(w, t, i))
            w->live[t] += bytes_of(w, w->once[i]);
}

// What the operator itself reads and writes, but for what spans it, which is counted.
static void add_own(BoundWork *w, int t) {
    const Node *n = w->g->node[t];
    const bool adds =
        op_info(n->op)->flags & OPF_INPLACE; // the first result over the first operand
    for (int k = adds ? 1 : 0; k < n->input_count; k++) {
        const Value *x = w->root[n->input[k]->id];
        bool seen = is_spanned(w, t, w->number[x->id]);
        for (int i = 0; i < k && !seen; i++)
            seen = w->root[n->input[i]->id] == x;
        w->live[t] += seen ? 0 : bytes_of(w, x);
    }
    for (int r = 0; r < n->result_count; r++)
        w->live[t] += bytes_of(w, &n->result[r]);
}

static uint64_t bound_of_graph(const Module *m, const Graph *g, bool far) {
    Arena *a = arena_create();
    BoundWork w = {.m = m, .g = g, .far = far, .a = a};
    w.root = arena_array(a, const Value *, g->value_limit + 1);
    w.committed = arena_array(a, bool, g->value_limit + 1);
    w.part = arena_array(a, bool, g->value_limit + 1);
    w.number = arena_array(a, int, g->value_limit + 1);
    w.once = arena_array(a, const Value *, g->value_limit + 1);
    w.made = arena_array(a, uint64_t *, g->node_count + 1);
    w.wanted = arena_array(a, uint64_t *, g->node_count + 1);
    w.place = arena_array(a, int, g->node_limit + 1);
    w.live = arena_array(a, int64_t, g->node_count + 1);
    find_roots(&w);
    find_once(&w);
    find_orders(&w);
    int64_t carried = 0, most = 0;
    for (int t = 0; t < g->node_count; t++) {
        const Node *n = g->node[t];
        if (n->op == OP_ACCUMULATE && g->repeat > 1 && !node_sums_far(n))
            carried += (int64_t)storage_padded(type_bytes(&n->result[0].type));
        add_spanning(&w, t);
        if (runs_alone(n))
            add_own(&w, t);
    }
    for (int t = 0; t < g->node_count; t++)
        // Sums live to the end of the last micro-batch, and in the update as long as they are read.
        if (w.live[t] > most && (g->repeat == 1 || g->node[t]->phase != PHASE_UPDATE))
            most = w.live[t];
    arena_release(a);
    return (uint64_t)(most + carried);
}

uint64_t retain_bound_variant(RetainVariant *v, bool far) {
    if (v->bound)
        return v->bound;
    const uint64_t state = storage_state_bytes(v->m);
    uint64_t most = 0;
    for (int e = 0; e < v->m->entry_count; e++) {
        const uint64_t bytes =
            retain_has_choice(v->m->entry[e]) ? bound_of_graph(v->m, v->m->entry[e], far) : 0;
        most = bytes > most ? bytes : most;
    }
    return v->bound = state + most;
}

uint64_t retain_bound(const RetainLadder *l, bool far) {
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < l->variant_count; i++) {
        const uint64_t bytes = retain_bound_variant(&l->variant[i], far);
        least = bytes < least ? bytes : least;
    }
    return least;
}
