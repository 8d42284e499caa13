// The start of an entry's rewriting: its tables, the values that show far states, and what is
// committed.
//
// On entry: the graph is whole, and which states move is known. On exit: its nodes are in rw.old,
// and nothing is built yet; what else is known is found by the files that build it.
//
// The idea: views of a far state (reshape, slice and the like) are found with it, for they are not
// computed where they stand but again on each fetch. Cost: O(nodes + states + values).
#include "passes/far_entry.h"

static FarCopies copies_create(const Module *m, const Graph *g, Arena *a) {
    return (FarCopies){.fetched = arena_array(a, Value *, m->state_count + 1),
                       .fetch_count = arena_array(a, int, m->state_count + 1),
                       .view = arena_array(a, Value *, g->value_limit + 1),
                       .view_fetch = arena_array(a, int, g->value_limit + 1)};
}

static void create_tables(FarEntry *far) {
    const Module *m = far->m;
    const Graph *g = far->g;
    Arena *a = far->cx->scratch;
    far->state_of = arena_array(a, const State *, g->value_limit + 1);
    far->is_committed = arena_array(a, bool, g->value_limit + 1);
    far->use_count = graph_use_counts(g, a);
    far->bytes_before = arena_array(a, int64_t, g->node_count + 1);
    far->readers = arena_array(a, FarReaders, m->state_count + 1);
    far->body_copies = copies_create(m, g, a);
    far->update_copies = copies_create(m, g, a);
    far->tile_rows = arena_array(a, int64_t, m->state_count + 1);
    far->uncast_state = arena_array(a, Value *, g->value_limit + 1);
    far->waits = arena_array(a, bool, g->value_limit + 1);
    far->sent_copy = arena_array(a, Value *, g->value_limit + 1);
    far->is_made = arena_array(a, bool, g->value_limit + 1);
    far->made_tile_rows = arena_array(a, int64_t, g->value_limit + 1);
    far->square_sums = arena_array(a, Node *, g->value_limit + 1);
    far->sum = arena_array(a, FarSum *, g->value_limit + 1);
    far->sum_of = arena_array(a, const Node *, g->value_limit + 1);
    far->sum_under = arena_array(a, const Value *, g->value_limit + 1);
    far->host_scalar = arena_array(a, Value *, g->value_limit + 1);
}

static void find_states(FarEntry *far) {
    for (int i = 0; i < far->rw.old_count; i++) {
        const Node *n = far->rw.old[i];
        const State *s = NULL;
        if (n->op == OP_STATE) {
            s = module_find_state(far->m, node_text(n, "name", ""));
            s = s && far->moved[s->id] ? s : NULL;
        } else if (match_view(n)) {
            s = far->state_of[n->input[0]->id];
        }
        for (int k = 0; s && k < n->result_count; k++)
            far->state_of[n->result[k].id] = s;
    }
}

static void find_commits(FarEntry *far) {
    for (int i = 0; i < far->g->commit_count; i++)
        far->is_committed[far->g->commit[i].value->id] = true;
}

void far_entry_init(FarEntry *far) {
    create_tables(far);
    rewrite_begin(&far->rw, far->g, far->cx->scratch);
    find_states(far);
    find_commits(far);
}

bool far_entry_is_old(const FarEntry *far, const Value *v) {
    return v->id < far->rw.limit;
}

const State *far_entry_state(const FarEntry *far, const Value *v) {
    return far_entry_is_old(far, v) ? far->state_of[v->id] : NULL;
}
