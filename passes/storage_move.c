// Storage across two memories: what offload and fetch write.
//
// A move copies one range of bytes, so both sides are laid out alike: far memory as the operand is,
// what lies between its rows included, where nothing but fetch reads it; the copy that comes back
// as far memory is. So whoever reads the copy walks it as it would have walked the original, and
// computes the same bits. Far memory that is cut, joined or committed lies row-major without gaps,
// which keeps its parts ranges. Sums over micro-batches are dense on both sides. Cost: one look at
// a move.
#include "passes/storage_work.h"

#include <string.h>

// Whether something cuts, joins or commits it: then it lies row-major.
static bool is_cut(const StorageWork *w, const Value *v) {
    return w->is_committed[v->id] || w->viewed[v->id];
}

void storage_move(StorageWork *w, int task, const Node *n) {
    const Value *x = n->input[0], *v = &n->result[0];
    if (!w->stored[v->id])
        return; // nobody reads it
    const Place from = w->sp->place[x->id];
    Place to = w->home[v->id];
    if (to.storage == STORAGE_NONE) {
        const Type memory = storage_memory_type(w, x);
        const bool alike = from.storage != STORAGE_NONE && !w->sp->constant[x->id] &&
                           place_is_range(&from, &memory) && (n->op == OP_FETCH || !is_cut(w, v));
        // Not the pitch that its users would bear, but the one that is there.
        w->pitched[v->id] = alike && w->pitched[x->id];
        to = place_dense(storage_of_value(w, v), &v->type);
        if (alike)
            memcpy(to.stride, from.stride, sizeof to.stride);
    }
    storage_set_place(w, v, &to);
    storage_copy(w, n, task_segment(w, task), x, &from, &to);
}

void storage_fetch_sum(StorageWork *w, Step *s, const Node *n) {
    const Value *v = &n->result[0];
    if (!storage_is_far(w, &w->sp->place[v->id]))
        return;
    Place *near = arena_new(w->a, Place);
    *near = place_dense(storage_add(w, &v->type, BUFFER_WORKSPACE, v), &v->type);
    storage_copy(w, n, s->segment, v, &w->sp->place[v->id], near);
    s->out = near;
}

void storage_return_sum(StorageWork *w, const Step *s, const Node *n) {
    const Value *v = &n->result[0];
    if (storage_is_far(w, &w->sp->place[v->id]))
        storage_copy(w, n, s->segment, v, s->out, &w->sp->place[v->id]);
}
