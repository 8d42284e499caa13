// Homes: values that are computed straight to where they are wanted.
//
// A committed value may be written over its state where every reader of the old version has run
// before (the writer itself may read it element by element), and where the body, which runs once a
// micro-batch, doesn't read it again. Where it is a concat, that is asked of each of its parts. A
// concat's operand may be computed into its part of the result: we walk up from the operand through
// reshapes and transposes, undoing each on the place, until the operator that computes it. Concats
// are visited last to first, so that a concat inside a concat already knows where it is. One that
// has no home itself lies as its only reader joins it:
//
//     s [3, b, h, n, e] = concat(q, k, v)    strides of [b, n, 3, h, e]
//     t [b, n, 3, h, e] = transpose(s)       a view
//     y [b, n, 3 h e]   = reshape(t)         a view, and q, k and v lie row between row
#include "passes/storage_work.h"

#include "ir/check.h"
#include "ir/op_lower.h"

// Kernels whose results may lie over an operand that is read at the same index: all stores of a
// scalar program come after all its loads, those of a row's last pass included (ir/kernel.h).
static bool writes_after_reading(const Node *n) {
    const OpLowering lowering = op_info(n->op)->lowering;
    return lowering == LOWER_SCALAR || lowering == LOWER_ROWS;
}

// dynamic_update writes into what x holds: x must be what it starts from, and not its part as well.
static bool updates_in_place(const StorageWork *w, const Node *n, const Value *x) {
    const Value *base = n->input[0];
    const Place *p = &w->sp->place[base->id], *q = &w->sp->place[x->id];
    bool fine = base == x || (type_equal(&base->type, &x->type) && q->storage != STORAGE_NONE &&
                              place_equal(p, q, &x->type));
    for (int k = 1; k < n->input_count; k++)
        fine = fine && w->root[n->input[k]->id] != w->root[x->id];
    return fine;
}

// False also where the task does not read x at all: then there is nothing to take over.
bool storage_may_overwrite(const StorageWork *w, int task, const Value *x, const Value *v) {
    const Task *t = &w->tasks->task[task];
    if (op_info(v->def->op)->lowering == LOWER_PART)
        return type_equal(&x->type, &v->type) && updates_in_place(w, v->def, x);
    if (!type_equal(&x->type, &v->type) || !writes_after_reading(v->def))
        return false;
    bool read = false;
    for (int i = 0; i < t->count; i++) {
        const Node *n = t->node[i];
        const OpLowering lowering = op_info(n->op)->lowering;
        if (lowering != LOWER_SCALAR && lowering != LOWER_ROWS)
            return false;
        for (int k = 0; k < n->input_count; k++) {
            if (w->root[n->input[k]->id] != w->root[x->id])
                continue;
            read = true;
            // Updates that share a kernel may run at once.
            if (n != v->def && op_info(n->op)->family == FAMILY_UPDATE &&
                op_info(v->def->op)->family == FAMILY_UPDATE)
                return false;
            // Another view of it would be read at other indices.
            const Place *p = &w->sp->place[n->input[k]->id], *q = &w->sp->place[x->id];
            const bool same =
                n->input[k] == x || (type_equal(&n->input[k]->type, &x->type) &&
                                     q->storage != STORAGE_NONE && place_equal(p, q, &x->type));
            if (!same || op_input_is_source(n->op, k))
                return false;
        }
    }
    return read;
}

// Whether every reader of the state's old version has run when v is written, or is v's own task.
static bool old_version_is_dead(const StorageWork *w, const State *s, const Value *v) {
    const int task = (int)w->tasks->of[v->def->id];
    const int32_t time = w->time_of[task];
    // A body task runs again with the next micro-batch, which must find the old version.
    const bool repeats = w->g->repeat > 1 && task_segment(w, task) == STEP_BODY;
    for (const Value *old = w->old[s->id]; old; old = w->next_old[old->id]) {
        const int32_t last = w->last_use[old->id];
        if (last < 0)
            continue;
        if (repeats || last > time || (last == time && !storage_may_overwrite(w, task, old, v)))
            return false;
    }
    return true;
}

// Something that runs and can write any strides.
static bool is_computed(const Node *n) {
    switch (op_info(n->op)->lowering) {
    case LOWER_SCALAR:
    case LOWER_ROWS:
    case LOWER_COLUMNS:
    case LOWER_PRODUCT:
    case LOWER_CONVOLUTION:
    case LOWER_ATTENTION:
    case LOWER_PART:
    case LOWER_MOVE:
        return n->op != OP_CONSTANT && n->op != OP_ACCUMULATE && n->op != OP_EINSUM_ADD;
    case LOWER_NONE:
    case LOWER_VIEW:
    case LOWER_SCATTER:
    case LOWER_EXPANDED:
        return false;
    }
    return false;
}

// Whether the reader, which is in the part's own task, reads just what the part overwrites, index
// by index.
static bool reads_under(const StatePart *part, const StateReader *reader) {
    const Type *t = &reader->node->input[reader->input]->type;
    return !reader->anywhere && type_equal(t, &part->value->type) &&
           place_equal(&reader->place, &part->place, t) && writes_after_reading(reader->node) &&
           writes_after_reading(part->value->def) &&
           !op_input_is_source(reader->node->op, reader->input);
}

// A next version in parts: whether each can be computed where the state is, because all who read
// that part of the old version have run, or are its own task.
static bool parts_fit(const StorageWork *w, const State *s, const Value *v) {
    for (const Value *old = w->old[s->id]; old; old = w->next_old[old->id])
        if (w->last_use[old->id] == STORAGE_END)
            return false;
    int count;
    const StatePart *part = state_parts(v, w->a, &count);
    for (int i = 0; i < count; i++) {
        const Value *x = part[i].value;
        const int task = (int)w->tasks->of[x->def->id];
        const bool repeats = w->g->repeat > 1 && task_segment(w, task) == STEP_BODY;
        if (repeats || !is_computed(x->def) || w->home[x->id].storage != STORAGE_NONE)
            return false;
        for (const StateReader *r = w->readers[s->id]; r; r = r->next) {
            const int32_t time = w->time_of[w->tasks->of[r->node->id]];
            if (time >= w->time_of[task] && state_part_is_read(&part[i], r) &&
                (time > w->time_of[task] || !reads_under(&part[i], r)))
                return false;
        }
    }
    return true;
}

// Whether the commit's value can be computed straight into the state, apart from who reads the old
// version.
static bool may_have_home(const StorageWork *w, const Value *v) {
    return w->root[v->id] == v && (is_computed(v->def) || v->def->op == OP_CONCAT);
}

// Two walks: what will be copied at the end first, then what can be computed in place.
static void choose_commit_homes(StorageWork *w) {
    const Graph *g = w->g;
    // Commits that are copies at the end read their value then; known first, for they keep old
    // versions alive.
    for (int i = 0; i < g->commit_count; i++) {
        const Value *v = g->commit[i].value;
        if (!may_have_home(w, v))
            storage_read_at_end(w, v);
    }
    for (int i = 0; i < g->commit_count; i++) {
        const Commit *c = &g->commit[i];
        const Value *v = c->value;
        if (!may_have_home(w, v))
            continue;
        // A value committed to two states has its home in the first.
        const bool homeless = w->home[v->id].storage == STORAGE_NONE;
        if (homeless && (v->def->op == OP_CONCAT ? parts_fit(w, c->state, v)
                                                 : old_version_is_dead(w, c->state, v))) {
            w->home[v->id] = place_dense(storage_of_state(w, c->state), &v->type);
            w->committed[i] = true;
        } else {
            w->last_use[v->id] = STORAGE_END;
        }
    }
}

// The operator result that must be computed at *place for the operand to be there, or NULL.
static const Value *walk_up(const Value *v, Place *place) {
    while (node_is_view(v->def)) {
        Place up;
        if (!place_unview(v->def, place, &up))
            return NULL;
        *place = up;
        v = v->def->input[0];
    }
    return v;
}

bool storage_suits_attention(const Place *p, const Type *t) {
    enum { VECTOR = 8 }; // elements, 16 bytes of bf16
    if (t->rank != 4 || (t->dim[3] > 1 && p->stride[3] != 1))
        return false;
    bool wide = t->dtype == DT_BF16 && t->dim[3] % VECTOR == 0;
    for (int i = 0; i < 3; i++)
        wide = wide && (t->dim[i] == 1 || p->stride[i] % VECTOR == 0);
    return !wide || p->offset % VECTOR == 0;
}

// What the templates want of a place they write.
static bool suits_template(const Node *n, const Value *v, const Place *place) {
    if (op_info(n->op)->lowering == LOWER_COLUMNS || op_info(n->op)->lowering == LOWER_MOVE)
        return place_is_dense(place, &v->type);
    if (op_info(n->op)->lowering == LOWER_CONVOLUTION)
        return n->op == OP_CONV2D_WEIGHT_GRAD ? place_is_dense(place, &v->type)
                                              : place_is_batch(place, &v->type);
    if (op_info(n->op)->lowering != LOWER_ATTENTION)
        return true;
    return storage_suits_attention(place, &v->type);
}

// Whether the ranges that the two places span have bytes in common.
static bool ranges_meet(const Place *x, const Type *of_x, const Place *y, const Type *of_y) {
    return x->storage == y->storage && x->offset < y->offset + place_span(y, of_y) &&
           y->offset < x->offset + place_span(x, of_x);
}

// One kernel's results may lie between each other's rows, where a plan can show it.
static bool meets_result(const StorageWork *w, const Task *t, const Value *v, const Place *place) {
    for (int i = 0; i < t->count; i++)
        for (int r = 0; r < t->node[i]->result_count; r++) {
            const Value *other = &t->node[i]->result[r];
            if (other != v && !place_apart(&w->home[other->id], &other->type, place, &v->type))
                return true;
        }
    return false;
}

// Nothing happens where the part can't be computed there: it is copied later.
static void choose_part_home(StorageWork *w, const Node *concat, int part, const Place *whole) {
    Place place = place_concat_part(concat, part, whole);
    const Value *v = walk_up(concat->input[part], &place);
    if (!v || w->home[v->id].storage != STORAGE_NONE || w->is_committed[v->id])
        return;
    // What the forward leaves of a value for the backward pass to complete: at home it would hold
    // the room of the whole all the while.
    if (v->def->phase == PHASE_FORWARD && concat->phase == PHASE_BACKWARD)
        return;
    const bool inner = v->def->op == OP_CONCAT;
    if ((!inner && !is_computed(v->def)) || !suits_template(v->def, v, &place))
        return;
    // It would begin as a copy of its base there, among parts that it may read.
    if (op_info(v->def->op)->lowering == LOWER_PART)
        return;
    const uint32_t task = w->tasks->of[v->def->id], user = w->tasks->of[concat->id];
    if (task_segment(w, (int)task) != task_segment(w, (int)user) ||
        meets_result(w, &w->tasks->task[task], v, &place))
        return;
    w->home[v->id] = place;
}

// Who reads a value, but for moves; of values alike by the first.
typedef struct {
    const uint32_t *first; // storage_first_alike
    const Node **reader;   // one of them, or NULL
    bool *others;          // one is no reshape or transpose, or does something else than another
} Readers;

// Copies count together, as if one had all their readers: then a value lies the same way, and what
// computes it has the same strides and gives the same bits, whatever a budget does.
static Readers find_readers(StorageWork *w) {
    const Graph *g = w->g;
    Readers r = {.first = storage_first_alike(w),
                 .reader = arena_array(w->a, const Node *, g->value_limit + 1),
                 .others = arena_array(w->a, bool, g->value_limit + 1)};
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        for (int k = 0; op_info(n->op)->family != FAMILY_MOVE && k < n->input_count; k++) {
            const uint32_t x = r.first[n->input[k]->id];
            const bool shapes = n->op == OP_RESHAPE || n->op == OP_TRANSPOSE;
            const Node *known = r.reader[x];
            r.others[x] = r.others[x] || !shapes ||
                          (known && r.first[known->result[0].id] != r.first[n->result[0].id]);
            r.reader[x] = n;
        }
    }
    for (int i = 0; i < g->result_count; i++)
        r.others[r.first[g->result[i].value->id]] = true;
    for (int i = 0; i < g->commit_count; i++)
        r.others[r.first[g->commit[i].value->id]] = true;
    return r;
}

// Where x must lie for its reader to find it row-major: a reshape, behind transposes and others,
// that would have to copy it where x lies at *now. False where there is none such.
static bool find_wanted(const Readers *r, const Value *x, const Place *now, Place *out) {
    const Node *n = r->reader[r->first[x->id]];
    Place next, wanted;
    if (!n || r->others[r->first[x->id]] || !type_equal(&n->input[0]->type, &x->type))
        return false;
    if (!place_view(n, 0, now, &next)) {
        *out = place_dense(STORAGE_NONE, &x->type);
        return true;
    }
    return find_wanted(r, &n->result[0], &next, &wanted) && place_unview(n, &wanted, out);
}

// As its reader wants it, or row-major: also where its rows would not stay in one piece, for those
// who write them want that.
static Place concat_place(StorageWork *w, const Readers *r, const Value *v) {
    const int last = v->type.rank - 1;
    Place dense = place_dense(STORAGE_NONE, &v->type), p;
    if (w->far[v->id] || !find_wanted(r, v, &dense, &p) ||
        (v->type.dim[last] > 1 && p.stride[last] != 1))
        p = dense;
    p.storage = storage_add(w, &v->type, BUFFER_ACTIVATIONS, v);
    return p;
}

static bool any_concat(const Graph *g) {
    for (int i = 0; i < g->node_count; i++)
        if (g->node[i]->op == OP_CONCAT)
            return true;
    return false;
}

static void choose_concat_homes(StorageWork *w) {
    const Graph *g = w->g;
    if (!any_concat(g))
        return;
    const Readers readers = find_readers(w);
    for (int i = g->node_count - 1; i >= 0; i--) {
        const Node *n = g->node[i];
        if (n->op != OP_CONCAT)
            continue;
        const Value *v = &n->result[0];
        Place whole = w->home[v->id];
        if (whole.storage == STORAGE_NONE)
            whole = w->home[v->id] = concat_place(w, &readers, v);
        storage_read_until(w, whole.storage, w->last_use[v->id]);
        for (int k = 0; k < n->input_count; k++)
            choose_part_home(w, n, k, &whole);
    }
}

// Whether the task reads a part that the place, for a result of it, interleaves with. What it makes
// itself it does not read.
static bool reads_between(const StorageWork *w, const Value *v) {
    const uint32_t task = w->tasks->of[v->def->id];
    const Task *t = &w->tasks->task[task];
    for (int i = 0; i < t->count; i++)
        for (int k = 0; k < t->node[i]->input_count; k++) {
            const Value *x = w->root[t->node[i]->input[k]->id];
            if (w->tasks->of[x->def->id] != task &&
                ranges_meet(&w->home[x->id], &x->type, &w->home[v->id], &v->type))
                return true;
        }
    return false;
}

// Last, for readers may have got their homes before what they read. Such a part is copied then.
static void drop_parts_among_operands(StorageWork *w) {
    for (int i = 0; i < w->g->node_count; i++) {
        const Node *n = w->g->node[i];
        for (int r = 0; r < n->result_count && n->op != OP_CONCAT; r++) {
            Place *home = &w->home[n->result[r].id];
            if (home->storage != STORAGE_NONE && !w->is_committed[n->result[r].id] &&
                reads_between(w, &n->result[r]))
                home->storage = STORAGE_NONE;
        }
    }
}

// Which `state` nodes read which state, and which values are committed as they are.
static void find_state_values(StorageWork *w) {
    const Graph *g = w->g;
    w->old = arena_array(w->a, const Value *, w->m->state_count + 1);
    w->next_old = arena_array(w->a, const Value *, g->value_limit + 1);
    w->is_committed = arena_array(w->a, bool, g->value_limit + 1);
    w->state_committed = arena_array(w->a, bool, w->m->state_count + 1);
    w->readers = state_readers(w->m, g, w->a);
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        if (n->op != OP_STATE)
            continue;
        const State *s = module_find_state(w->m, node_text(n, "name", ""));
        CHECK(s != NULL);
        w->next_old[n->result[0].id] = w->old[s->id];
        w->old[s->id] = &n->result[0];
    }
    for (int i = 0; i < g->commit_count; i++) {
        w->is_committed[g->commit[i].value->id] = true;
        w->state_committed[g->commit[i].state->id] = true;
    }
}

void storage_choose_homes(StorageWork *w) {
    find_state_values(w);
    choose_commit_homes(w);
    choose_concat_homes(w);
    drop_parts_among_operands(w);
}
