// Fetches by region: a state comes in once for all readers that stand near each other.
//
//   y = einsum(x, w)                             w1 = fetch(w);  y = einsum(x, w1)
//   ... other far state, at least as large  =>   ...
//   dx = einsum(dy, w)                           w2 = fetch(w);  dx = einsum(dy, w2)
//
// Between two readers of a state that stand next to each other is a gap: the bytes of far state
// that others read. Where a gap is at least as large as the state, keeping its copy would cost more
// than it saves, so a region ends there. A loop over few weights would so fetch them each time
// round: of one state only the FAR_FETCHES_MAX - 1 widest gaps count. Update nodes have fetches of
// their own, for they run once in however many micro-batches.
//
// On entry: far_entry_init has run; far_fetch_plan, before the walk starts. On exit: readers that
// were asked about read copies, of which views are made anew for each fetch. Fetching whole is all
// that is done: a lookup of a few rows of a table fetches the table. Cost: O(operands).
#include "passes/far_fetches.h"

static bool reads_in_body(const Node *n) {
    return !match_view(n) && n->phase != PHASE_UPDATE;
}

// Keeps the widest gaps in order.
static void note_gap(FarReaders *r, int64_t gap) {
    for (int i = 0; i < FAR_FETCHES_MAX; i++)
        if (gap > r->widest_gap[i]) {
            const int64_t narrower = r->widest_gap[i];
            r->widest_gap[i] = gap;
            gap = narrower;
        }
}

static void sum_bytes_before(FarEntry *far) {
    for (int i = 0; i < far->rw.old_count; i++) {
        const Node *n = far->rw.old[i];
        far->bytes_before[i + 1] = far->bytes_before[i];
        for (int k = 0; reads_in_body(n) && k < n->input_count; k++) {
            const State *s = far_entry_state(far, n->input[k]);
            if (s)
                far->bytes_before[i + 1] += (int64_t)type_bytes(&s->type);
        }
    }
}

static void find_gaps(FarEntry *far) {
    for (int i = 0; i < far->rw.old_count; i++) {
        const Node *n = far->rw.old[i];
        for (int k = 0; reads_in_body(n) && k < n->input_count; k++) {
            const State *s = far_entry_state(far, n->input[k]);
            if (!s)
                continue;
            FarReaders *r = &far->readers[s->id];
            if (r->after_last)
                note_gap(r, far->bytes_before[i] - far->bytes_before[r->after_last]);
            r->after_last = i + 1;
        }
    }
}

void far_fetch_plan(FarEntry *far) {
    sum_bytes_before(far);
    find_gaps(far);
    for (int i = 0; i < far->m->state_count; i++)
        far->readers[i].after_last = 0; // the walk starts over
}

// Whether the reader at the position wants a fetch of its own.
static bool starts_region(const FarEntry *far, const State *s, int position) {
    const FarReaders *r = &far->readers[s->id];
    if (!r->after_last)
        return true;
    const int64_t gap = far->bytes_before[position] - far->bytes_before[r->after_last];
    return gap >= (int64_t)type_bytes(&s->type) && gap > r->widest_gap[FAR_FETCHES_MAX - 1];
}

// The state itself, whatever view of it v is.
static Value *whole_state(Value *v) {
    while (v->def->op != OP_STATE)
        v = v->def->input[0];
    return v;
}

Value *far_fetch_value(FarEntry *far, Value *v, const Node *reader, int position) {
    const State *s = far->state_of[v->id];
    const bool update = reader->phase == PHASE_UPDATE;
    FarCopies *c = update ? &far->update_copies : &far->body_copies;
    Value **fetched = &c->fetched[s->id];
    // A copy that is made in a later phase than the reader's comes too late for it.
    const bool wanted = *fetched == NULL || (*fetched)->def->phase > reader->phase ||
                        (!update && starts_region(far, s, position));
    Builder b = rewrite_builder(far->g, v->def);
    b.origin.phase = reader->phase;
    if (wanted) {
        *fetched = build_unary(&b, OP_FETCH, whole_state(v));
        c->fetch_count[s->id]++;
        far->counts.fetches++;
    }
    if (!update)
        far->readers[s->id].after_last = position + 1;
    if (v->def->op == OP_STATE)
        return *fetched;
    if (c->view_fetch[v->id] == c->fetch_count[s->id])
        return c->view[v->id];
    // The view's operand has been looked up for this reader: no region starts anew.
    Value *in = far_fetch_value(far, v->def->input[0], reader, position);
    const Node *made = build_node(&b, v->def->op, &in, 1, v->def->attr, v->def->attr_count);
    for (int k = 0; k < made->result_count; k++) {
        c->view[v->def->result[k].id] = &made->result[k];
        c->view_fetch[v->def->result[k].id] = c->fetch_count[s->id];
    }
    return c->view[v->id];
}

void far_fetch_inputs(FarEntry *far, Node *n, int position) {
    for (int k = 0; k < n->input_count; k++)
        if (far_entry_state(far, n->input[k]))
            n->input[k] = far_fetch_value(far, n->input[k], n, position);
}
