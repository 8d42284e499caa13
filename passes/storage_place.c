// Where a result lies that has no home: in the storage of an operand that dies there, or in memory
// of its own; and in which order its axes stand there.
//
// The axes' order follows the operands', so that both are walked the same way; attention and
// products choose their own. An operand's storage is taken over where bytes, type and strides agree
// with what the result would have on its own, and everything the task reads from there is read at
// the same elements. Where takeovers are only listed (StorageTakeovers), each that could be is.
// Cost: operands squared a task.
#include "passes/storage_work.h"

#include "ir/op.h"

// Axis order as strides tell it; count -1 where an axis is broadcast.
static AxisOrder axes_of_place(const Place *p, const Type *t) {
    AxisOrder out = {.count = (int8_t)t->rank};
    int order[RANK_MAX];
    place_axis_order(p, t, order);
    for (int i = 0; i < t->rank; i++) {
        out.axis[i] = (int8_t)order[i];
        if (t->dim[i] > 1 && p->stride[i] == 0)
            out.count = -1;
    }
    return out;
}

// A place is taken: its storage is busy until the last reader of the value. Where that is a view,
// what it looks at has said so for its own storage; a view that had to be copied speaks for the
// copy alone.
void storage_set_place(StorageWork *w, const Value *v, const Place *p) {
    w->sp->place[v->id] = *p;
    w->axes[v->id] = axes_of_place(p, &v->type);
    storage_read_until(w, p->storage, w->last_use[v->id]);
    Storage *s = &w->sp->storage[p->storage];
    s->leaving = s->leaving || w->leaving[v->id];
}

static bool is_rowwise(const Node *n) {
    return op_info(n->op)->lowering == LOWER_ROWS;
}

// Depends on types, operators and operands' axes only, never on the order of nodes.
AxisOrder storage_axes(const StorageWork *w, const Node *n, int result) {
    const Value *v = &n->result[result];
    const OpLowering lowering = op_info(n->op)->lowering;
    // [batch, heads, positions, dim] lies as [batch, positions, heads, dim]: what follows mostly
    // joins the heads of a position, and then needs no copy.
    if (lowering == LOWER_ATTENTION && v->type.rank == 4 && n->op != OP_ATTENTION_GRAD_BIAS)
        return (AxisOrder){.count = 4, .axis = {0, 2, 1, 3}};
    // States are dense, as are results of templates that choose nothing.
    if (w->is_committed[v->id] || (lowering != LOWER_SCALAR && lowering != LOWER_ROWS))
        return (AxisOrder){0};
    // The first operand of the result's shape leads: then both are walked the same way.
    for (int i = 0; i < n->input_count; i++) {
        const Value *x = n->input[i];
        AxisOrder axes = w->axes[x->id];
        if (!type_same_shape(&x->type, &v->type) || w->sp->constant[x->id] || axes.count < 0)
            continue;
        // Rows stay rows: the last axis is the fastest.
        if (is_rowwise(n) && axes.count > 0) {
            int at = 0;
            for (int k = 0; k < axes.count; k++)
                if (axes.axis[k] != v->type.rank - 1)
                    axes.axis[at++] = axes.axis[k];
            axes.axis[at] = (int8_t)(v->type.rank - 1);
        }
        return axes;
    }
    return (AxisOrder){0};
}

static Place place_by_axes(uint32_t storage, const Type *t, AxisOrder axes) {
    // Not known, or broadcast: row-major.
    if (axes.count <= 0)
        return place_dense(storage, t);
    int order[RANK_MAX];
    for (int i = 0; i < t->rank; i++)
        order[i] = axes.axis[i];
    return place_ordered(storage, t, order);
}

// Not states, inputs and accumulators, which others expect to find; nor what leaves for far memory,
// as the result would have to wait for that. And sizes must agree.
bool storage_is_free(const StorageWork *w, uint32_t storage, int32_t time, const Type *t) {
    const Storage *s = &w->sp->storage[storage];
    return !s->state && s->input < 0 && !s->carried && !s->leaving && s->bytes == type_bytes(t) &&
           s->dtype == t->dtype && (w->apart || w->busy[storage] <= time);
}

void storage_list_takeover(StorageWork *w, uint32_t result, uint32_t operand) {
    StorageTakeovers *l = w->apart;
    for (int i = l->count - 1; i >= 0 && l->item[i].result == result; i--)
        if (l->item[i].operand == operand)
            return;
    if (l->count == l->capacity) {
        const int capacity = l->capacity ? 2 * l->capacity : 64;
        l->item = arena_grow(w->a, l->item, (size_t)l->count, (size_t)capacity, sizeof *l->item);
        l->capacity = capacity;
    }
    l->item[l->count++] = (StorageTakeover){w->task, result, operand};
}

// Whether everything the task reads from the storage of p is read at p: parts of a concat share its
// storage without being views of it.
static bool reads_only_at(const StorageWork *w, const Task *t, const Place *p, const Type *type) {
    for (int i = 0; i < t->count; i++)
        for (int k = 0; k < t->node[i]->input_count; k++) {
            const Value *x = t->node[i]->input[k];
            // Only a read of the same elements at the same index comes before their overwriting.
            const Place *q = &w->sp->place[x->id];
            if (q->storage == p->storage &&
                (!type_equal(&x->type, type) || !place_equal(p, q, type)))
                return false;
        }
    return true;
}

// The place of an input of the task that v may take over, from input number *at on, counted through
// the task; *at moves past it.
// The first that is fit, in the order of operands. Costs operands squared, which are few.
static bool find_overwritten(const StorageWork *w, int task, const Value *v, AxisOrder axes,
                             int *at, Place *out) {
    const Task *t = &w->tasks->task[task];
    const Type memory = storage_memory_type(w, v);
    int number = 0;
    for (int i = 0; i < t->count; i++)
        for (int k = 0; k < t->node[i]->input_count; k++, number++) {
            const Value *x = t->node[i]->input[k];
            const Place *p = &w->sp->place[x->id];
            if (number < *at || p->storage == STORAGE_NONE || w->sp->constant[x->id])
                continue;
            // Strides must be those v would have in memory of its own: see storage.c.
            const Place want = place_by_axes(p->storage, &memory, axes);
            if (storage_is_free(w, p->storage, w->time_of[task], &memory) &&
                type_equal(&x->type, &v->type) && place_equal(p, &want, &v->type) &&
                reads_only_at(w, t, p, &v->type) && storage_may_overwrite(w, task, x, v)) {
                *out = *p;
                *at = number + 1;
                return true;
            }
        }
    return false;
}

// Gradients, and copies of far states, are told apart for people: plans show memory by kind.
uint32_t storage_of_value(StorageWork *w, const Value *v) {
    PlanBufferKind kind = w->is_gradient[v->id] ? BUFFER_GRADIENTS : BUFFER_ACTIVATIONS;
    if (v->def->op == OP_FETCH && w->root[v->def->input[0]->id]->def->op == OP_STATE)
        kind = w->sp->storage[w->sp->place[v->def->input[0]->id].storage].kind;
    const Type memory = storage_memory_type(w, v);
    return storage_add(w, &memory, kind, v);
}

Place storage_free_place(StorageWork *w, int task, const Value *v, AxisOrder axes) {
    Place p;
    int at = 0;
    // Columns that lie apart make no rows.
    if (axes.count > 0 && axes.axis[axes.count - 1] != v->type.rank - 1)
        w->pitched[v->id] = false;
    if (!w->apart && find_overwritten(w, task, v, axes, &at, &p))
        return p;
    const Type memory = storage_memory_type(w, v);
    const Place fresh = place_by_axes(storage_of_value(w, v), &memory, axes);
    while (w->apart && find_overwritten(w, task, v, axes, &at, &p))
        storage_list_takeover(w, fresh.storage, p.storage);
    return fresh;
}
