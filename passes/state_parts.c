// Parts of states: what lets an update that runs slice by slice write each slice where the state
// is.
//
// The old version of a part may be overwritten once those who read that part have run; readers of
// other parts don't matter. Places are exact, overlap is judged by the range of bytes between a
// place's first and last element. Cost: O(nodes), and for a part the readers of its state.
#include "passes/state_parts.h"

#include "passes/rewrite.h"

const StateReader **state_readers(const Module *m, const Graph *g, Arena *a) {
    const StateReader **first = arena_array(a, const StateReader *, m->state_count + 1);
    const State **state = arena_array(a, const State *, g->value_limit + 1); // by value id
    Place *place = arena_array(a, Place, g->value_limit + 1);
    bool *anywhere = arena_array(a, bool, g->value_limit + 1);
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        if (n->op == OP_STATE) {
            const Value *v = &n->result[0];
            state[v->id] = module_find_state(m, node_text(n, "name", ""));
            place[v->id] = place_dense(0, &v->type);
            continue;
        }
        const Value *in = n->input_count ? n->input[0] : NULL;
        for (int r = 0; match_view(n) && r < n->result_count && state[in->id]; r++) {
            const uint32_t v = n->result[r].id;
            state[v] = state[in->id];
            anywhere[v] = anywhere[in->id] || !place_view(n, r, &place[in->id], &place[v]);
        }
        for (int k = 0; k < n->input_count && !match_view(n); k++) {
            const State *s = state[n->input[k]->id];
            if (!s)
                continue;
            StateReader *reader = arena_new(a, StateReader);
            *reader = (StateReader){.node = n,
                                    .input = k,
                                    .place = place[n->input[k]->id],
                                    .anywhere = anywhere[n->input[k]->id],
                                    .next = first[s->id]};
            first[s->id] = reader;
        }
    }
    return first;
}

static int count_parts(const Value *v) {
    int count = 0;
    for (int i = 0; v->def->op == OP_CONCAT && i < v->def->input_count; i++)
        count += count_parts(v->def->input[i]);
    return v->def->op == OP_CONCAT ? count : 1;
}

static void list_parts(const Value *v, const Place *at, StatePart *out, int *count) {
    if (v->def->op != OP_CONCAT) {
        out[(*count)++] = (StatePart){v, *at};
        return;
    }
    // Running offsets: place_concat_part would count from the first one each time.
    Place place = *at;
    const int64_t axis = node_int(v->def, "axis", 0);
    for (int i = 0; i < v->def->input_count; i++) {
        list_parts(v->def->input[i], &place, out, count);
        place.offset += v->def->input[i]->type.dim[axis] * at->stride[axis];
    }
}

StatePart *state_parts(const Value *v, Arena *a, int *count) {
    StatePart *out = arena_array(a, StatePart, count_parts(v));
    const Place whole = place_dense(0, &v->type);
    *count = 0;
    list_parts(v, &whole, out, count);
    return out;
}

bool state_part_is_read(const StatePart *part, const StateReader *reader) {
    if (reader->anywhere)
        return true;
    const Type *t = &reader->node->input[reader->input]->type;
    const int64_t end = part->place.offset + place_span(&part->place, &part->value->type);
    return reader->place.offset < end &&
           part->place.offset < reader->place.offset + place_span(&reader->place, t);
}
