// Parameters and caches that are only read as bf16 are stored as bf16: a program that generates
// then reads half the bytes for each token.
//
// Every use must round the same element to bf16 first: a cast, or rows looked up that are cast. So
// rounding once, when weights are loaded or made, gives the same bits as rounding at each use.
//
// On entry: after precision has put its casts. On exit: such states are bf16, their casts gone, and
// "init" rounds what it commits. A parameter that an entry changes (a commit, or a minimize that
// autodiff has not expanded yet) or that is a result stays f32. Transient state (a cache) may
// change, as long as what is stored to it was bf16 before it was widened:
//
//   u = dynamic_update(state, cast(k, f32), at)        u = dynamic_update(state, k, at)
//   cast(u, bf16); commit u                      =>    u; commit u
//
// Cost: O(nodes + uses).
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

static bool is_cache(const State *s) {
    return s->kind == STATE_TRANSIENT && s->type.dtype == DT_F32;
}

static void find_readings(const Module *m, const Graph *g, Arena *scratch, Reading *reading) {
    const Users *users = graph_users(g, scratch);
    const int *uses = graph_use_counts(g, scratch);
    for (int i = 0; i < g->commit_count; i++)
        if (!is_cache(g->commit[i].state))
            reading[g->commit[i].state->id] = WIDE;
    for (int i = 0; i < g->node_count; i++) {
        const State *s = state_read(m, g->node[i]);
        if (!s || is_cache(s) || reading[s->id] == WIDE)
            continue;
        const bool param = s->kind == STATE_PARAM && s->type.dtype == DT_F32;
        const bool narrow = param && read_narrow(&g->node[i]->result[0], users, uses);
        reading[s->id] = narrow ? NARROW : WIDE;
    }
}

// An f32 value that holds what bf16 held.
static bool is_widened(const Value *v) {
    return v->def->op == OP_CAST && v->def->input[0]->type.dtype == DT_BF16 &&
           v->type.dtype == DT_F32;
}

static bool is_update_of_version(const Node *n, State *const *version) {
    return n->op == OP_DYNAMIC_UPDATE && version[n->input[0]->id] && is_widened(n->input[1]);
}

// version[value id]: the cache that the value is a version of, read or updated in this entry.
static State **find_versions(const Module *m, const Graph *g, Arena *scratch) {
    State **version = arena_array(scratch, State *, g->value_limit + 1);
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        State *s = state_read(m, n);
        if (s && is_cache(s))
            version[n->result[0].id] = s;
        else if (is_update_of_version(n, version))
            version[n->result[0].id] = version[n->input[0]->id];
    }
    return version;
}

// After find_readings, which leaves caches wide.
static void find_cache_readings(const Module *m, const Graph *g, Arena *scratch, Reading *reading) {
    State *const *version = find_versions(m, g, scratch);
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        const bool cast = n->op == OP_CAST && n->result[0].type.dtype == DT_BF16;
        // An update's own part and place are no versions: casts made the one, i32 is the other.
        for (int k = 0; k < n->input_count; k++) {
            const State *s = version[n->input[k]->id];
            if (s && !cast && !is_update_of_version(n, version))
                reading[s->id] = WIDE;
        }
    }
    for (int i = 0; i < g->result_count; i++)
        if (version[g->result[i].value->id])
            reading[version[g->result[i].value->id]->id] = WIDE;
    for (int i = 0; i < g->commit_count; i++) {
        const Commit *c = &g->commit[i];
        const State *from = version[c->value->id];
        if (is_cache(c->state) && from != c->state && !is_widened(c->value))
            reading[c->state->id] = WIDE;
        if (from && from != c->state)
            reading[from->id] = WIDE;
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
        if (!s || s->kind == STATE_TRANSIENT || reading[s->id] != NARROW)
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

static void narrow_caches(const Module *m, Graph *g, Arena *scratch, const Reading *reading) {
    const Users *users = graph_users(g, scratch);
    State *const *version = find_versions(m, g, scratch);
    Value **by = arena_array(scratch, Value *, g->value_limit);
    for (int i = 0; i < g->node_count; i++) {
        Node *n = g->node[i];
        const State *s = n->result_count > 0 ? version[n->result[0].id] : NULL;
        if (!s || reading[s->id] != NARROW)
            continue;
        if (n->op == OP_DYNAMIC_UPDATE)
            n->input[1] = n->input[1]->def->input[0];
        n->result[0].type.dtype = DT_BF16;
        drop_casts(&n->result[0], users, by, &n->result[0]);
    }
    for (int i = 0; i < g->commit_count; i++) {
        Commit *c = &g->commit[i];
        if (c->state->kind == STATE_TRANSIENT && reading[c->state->id] == NARROW &&
            is_widened(c->value))
            c->value = c->value->def->input[0];
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
    for (int i = 0; i < m->state_count; i++)
        if (is_cache(m->state[i]))
            reading[i] = NARROW; // until an entry says otherwise
    for (int i = 0; i < m->entry_count; i++)
        if (!is_first_values(m->entry[i])) {
            find_readings(m, m->entry[i], cx->scratch, reading);
            find_cache_readings(m, m->entry[i], cx->scratch, reading);
        }
    for (int i = 0; i < m->entry_count; i++) {
        if (is_first_values(m->entry[i])) {
            narrow_first_values(m->entry[i], reading);
        } else {
            narrow_reads(m, m->entry[i], cx->scratch, reading);
            narrow_caches(m, m->entry[i], cx->scratch, reading);
        }
    }
    // Last: the walks above tell caches by their old type.
    PassResult result = PASS_SAME;
    for (int i = 0; i < m->state_count; i++) {
        State *s = m->state[i];
        if (reading[i] != NARROW)
            continue;
        remark_add(cx, "precision", s->name,
                   is_cache(s)
                       ? "stored as bf16: what entries store to it was bf16"
                       : "stored as bf16: nothing updates it and every use rounds it to bf16");
        s->type.dtype = DT_BF16;
        result = PASS_CHANGED;
    }
    return result;
}
