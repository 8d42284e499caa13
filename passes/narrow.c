// Parameters that are only read as bf16 are stored as bf16: a program that generates then reads
// half the bytes for each token.
//
// Every use must round the same element to bf16 first: a cast, or rows looked up that are cast. So
// rounding once, when weights are loaded or made, gives the same bits as rounding at each use.
//
// On entry: after precision has put its casts. On exit: such states are bf16, their casts gone, and
// "init" rounds what it commits. A parameter that an entry changes (a commit, or a minimize that
// autodiff has not expanded yet) or that is a result stays f32. Cost: O(nodes + uses).
#include "passes/narrow.h"

#include "passes/rewrite.h"

#include <string.h>

typedef enum { UNREAD, NARROW, WIDE } Reading;

static bool is_first_values(const Graph *g) {
    return strcmp(g->name, "init") == 0;
}

// All uses of v are casts to bf16.
static bool only_cast(const Value *v, const Users *users, const int *uses) {
    for (int i = 0; i < users[v->id].count; i++) {
        const Node *n = users[v->id].node[i];
        if (n->op != OP_CAST || n->result[0].type.dtype != DT_BF16)
            return false;
    }
    // A result or commit is a use without a node.
    return uses[v->id] == users[v->id].count;
}

// All uses of the state's value round it first.
static bool read_narrow(const Value *v, const Users *users, const int *uses) {
    if (uses[v->id] != users[v->id].count)
        return false;
    for (int i = 0; i < users[v->id].count; i++) {
        const Node *n = users[v->id].node[i];
        const bool cast = n->op == OP_CAST && n->result[0].type.dtype == DT_BF16;
        const bool rows = n->op == OP_GATHER && only_cast(&n->result[0], users, uses);
        if (!cast && !rows)
            return false;
    }
    return true;
}

static State *state_read(const Module *m, const Node *n) {
    return n->op == OP_STATE ? module_find_state(m, node_text(n, "name", "")) : NULL;
}

static void find_readings(const Module *m, const Graph *g, Arena *scratch, Reading *reading) {
    const Users *users = graph_users(g, scratch);
    const int *uses = graph_use_counts(g, scratch);
    for (int i = 0; i < g->commit_count; i++)
        reading[g->commit[i].state->id] = WIDE;
    for (int i = 0; i < g->node_count; i++) {
        const State *s = state_read(m, g->node[i]);
        if (!s || reading[s->id] == WIDE)
            continue;
        const bool param = s->kind == STATE_PARAM && s->type.dtype == DT_F32;
        const bool narrow = param && read_narrow(&g->node[i]->result[0], users, uses);
        reading[s->id] = narrow ? NARROW : WIDE;
    }
}

// cast(v)  =>  v    v is bf16 now
static void drop_casts(const Value *v, const Users *users, Value **by, Value *now) {
    for (int i = 0; i < users[v->id].count; i++)
        if (users[v->id].node[i]->op == OP_CAST)
            by[users[v->id].node[i]->result[0].id] = now;
}

static void narrow_reads(const Module *m, Graph *g, Arena *scratch, const Reading *reading) {
    const Users *users = graph_users(g, scratch);
    Value **by = arena_array(scratch, Value *, g->value_limit);
    for (int i = 0; i < g->node_count; i++) {
        Node *n = g->node[i];
        const State *s = state_read(m, n);
        if (!s || reading[s->id] != NARROW)
            continue;
        Value *v = &n->result[0];
        v->type.dtype = DT_BF16;
        drop_casts(v, users, by, v);
        for (int k = 0; k < users[v->id].count; k++) {
            Node *rows = users[v->id].node[k];
            if (rows->op != OP_GATHER)
                continue;
            rows->result[0].type.dtype = DT_BF16;
            drop_casts(&rows->result[0], users, by, &rows->result[0]);
        }
    }
    graph_remap(g, by);
    graph_drop_dead(g);
}

static void narrow_first_values(Graph *g, const Reading *reading) {
    for (int i = 0; i < g->commit_count; i++) {
        Commit *c = &g->commit[i];
        if (reading[c->state->id] != NARROW)
            continue;
        Builder b = rewrite_builder(g, c->value->def);
        c->value = build_cast(&b, c->value, DT_BF16);
    }
}

PassResult narrow_states(Module *m, PassCtx *cx) {
    Reading *reading = arena_array(cx->scratch, Reading, m->state_count + 1);
    for (int i = 0; i < m->entry_count; i++)
        if (!is_first_values(m->entry[i]))
            find_readings(m, m->entry[i], cx->scratch, reading);
    PassResult result = PASS_SAME;
    for (int i = 0; i < m->state_count; i++)
        if (reading[i] == NARROW) {
            m->state[i]->type.dtype = DT_BF16;
            remark_add(cx, "precision", m->state[i]->name,
                       "stored as bf16: nothing updates it and every use rounds it to bf16");
            result = PASS_CHANGED;
        }
    for (int i = 0; result == PASS_CHANGED && i < m->entry_count; i++) {
        if (is_first_values(m->entry[i]))
            narrow_first_values(m->entry[i], reading);
        else
            narrow_reads(m, m->entry[i], cx->scratch, reading);
    }
    return result;
}
