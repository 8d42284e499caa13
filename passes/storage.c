// Choosing storage: which values share bytes, and the steps (kernels, copies, fills) that fill
// them.
//
// On entry: a graph whose node order is final and whose groups are contiguous. In six phases:
//   1. values: which are stored at all, the root each view looks at, the last task that reads each
//   value;
//   2. homes: a concat lies as its only reader joins it, its operands are computed straight into
//      its parts, a committed value straight into its state where every reader of the old version
//      comes first (passes/storage_home.c);
//   3. pitches: long rows of odd length begin at multiples of 16 bytes (passes/storage_pitch.c);
//   4. tasks in order, body before update: a storage for every result, in place of a dying input
//   where that
//      is sound, and the copies that strides can't spare (passes/storage_steps.c);
//   5. the end: results made dense, commits that had no home copied;
//   6. live ranges of storages in steps.
// Strides never depend on the order of the nodes, so kernels don't either: an in-place result takes
// a storage only where it would have had the same strides anyway. Cost: linear.
#include "passes/storage.h"

#include "ir/check.h"
#include "ir/far.h"
#include "ir/op_lower.h"
#include "passes/storage_work.h"

#include <string.h>

uint32_t storage_add(StorageWork *w, const Type *t, PlanBufferKind kind, const Value *owner) {
    StoragePlan *sp = w->sp;
    if (sp->storage_count == sp->storage_capacity) {
        const int capacity = sp->storage_capacity ? 2 * sp->storage_capacity : 64;
        sp->storage = arena_grow(w->a, sp->storage, (size_t)sp->storage_count, (size_t)capacity,
                                 sizeof *sp->storage);
        // By storage as well, so it grows along.
        w->busy =
            arena_grow(w->a, w->busy, (size_t)sp->storage_count, (size_t)capacity, sizeof *w->busy);
        sp->storage_capacity = capacity;
    }
    sp->storage[sp->storage_count] =
        (Storage){.bytes = type_bytes(t),
                  .dtype = t->dtype,
                  .kind = kind,
                  .input = -1,
                  // Copies for a while are the device's.
                  .far = owner && kind != BUFFER_WORKSPACE && w->far[owner->id],
                  .owner = owner,
                  .first = INT32_MAX,
                  .last = -1};
    w->busy[sp->storage_count] = -1;
    return (uint32_t)sp->storage_count++;
}

void storage_read_until(StorageWork *w, uint32_t storage, int32_t time) {
    if (time > w->busy[storage])
        w->busy[storage] = time;
}

// One for all reads and commits of the state in this entry, made at first use.
uint32_t storage_of_state(StorageWork *w, const State *s) {
    uint32_t *storage = &w->sp->state_storage[s->id];
    if (*storage == STORAGE_NONE) {
        const PlanBufferKind kind = s->kind == STATE_PARAM       ? BUFFER_WEIGHTS
                                    : s->kind == STATE_OPTIMIZER ? BUFFER_OPTIMIZER
                                                                 : BUFFER_STATE;
        *storage = storage_add(w, &s->type, kind, NULL);
        w->sp->storage[*storage].state = s;
        w->sp->storage[*storage].far = s->far;
    }
    return *storage;
}

// Costs no step where strides can say it.
bool node_is_view(const Node *n) {
    return n->op == OP_RESHAPE || n->op == OP_TRANSPOSE || n->op == OP_BROADCAST ||
           n->op == OP_SLICE || n->op == OP_SPLIT;
}

// Values that only operators of one group read live in registers.
static void find_stored(StorageWork *w) {
    const Graph *g = w->g;
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        for (int k = 0; k < n->input_count; k++) {
            const Node *def = n->input[k]->def;
            w->used[n->input[k]->id] = true;
            w->viewed[n->input[k]->id] =
                w->viewed[n->input[k]->id] || node_is_view(n) || n->op == OP_CONCAT;
            if (w->tasks->of[def->id] != w->tasks->of[n->id])
                w->stored[n->input[k]->id] = true;
        }
    }
    for (int i = 0; i < g->result_count; i++)
        w->stored[g->result[i].value->id] = w->used[g->result[i].value->id] = true;
    for (int i = 0; i < g->commit_count; i++)
        w->stored[g->commit[i].value->id] = w->used[g->commit[i].value->id] = true;
}

// Templates and by-source inputs need their operand in memory; everything else takes a constant as
// such.
static bool needs_memory(const Node *n, int input) {
    const OpLowering lowering = op_info(n->op)->lowering;
    // The base of scatter_add or dynamic_update is copied to the result's place, so a constant will
    // do.
    if (lowering == LOWER_SCATTER || lowering == LOWER_PART)
        return input != 0 && op_input_is_source(n->op, input);
    return lowering == LOWER_ATTENTION || lowering == LOWER_CONVOLUTION ||
           (lowering == LOWER_PRODUCT && n->op == OP_EINSUM) ||
           (n->op == OP_EINSUM_ADD && input > 0) || op_input_is_source(n->op, input);
}

// Roots of views, and constants seen through views.
// Operands stand before their users: a view of a view has its root at once.
static void find_roots(StorageWork *w) {
    const Graph *g = w->g;
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        for (int r = 0; r < n->result_count; r++) {
            const Value *v = &n->result[r];
            w->far[v->id] = node_keeps_far(n) ? w->far[n->input[0]->id] : value_is_far(w->m, v);
            w->root[v->id] = node_is_view(n) ? w->root[n->input[0]->id] : v;
            if (n->op == OP_CONSTANT)
                w->sp->constant[v->id] = n;
            else if (node_is_view(n))
                w->sp->constant[v->id] = w->sp->constant[n->input[0]->id];
        }
        if (n->op == OP_OFFLOAD)
            w->leaving[w->root[n->input[0]->id]->id] = true;
        for (int k = 0; k < n->input_count; k++)
            if (needs_memory(n, k))
                w->constant_needed[w->root[n->input[k]->id]->id] = true;
    }
}

// Tasks in the order they will run: body, then update.
static void find_times(StorageWork *w) {
    int time = 0;
    for (int update = 0; update < 2; update++)
        for (int t = 0; t < w->tasks->count; t++)
            if ((task_segment(w, t) == STEP_UPDATE) == (update == 1)) {
                w->time_of[t] = time;
                w->task_at[time++] = t;
            }
}

void storage_read_at_end(StorageWork *w, const Value *v) {
    w->last_use[v->id] = STORAGE_END;
    while (node_is_view(v->def)) {
        v = v->def->input[0];
        w->last_use[v->id] = STORAGE_END;
    }
}

// A view reads nothing by itself: its readers count for what it looks at as well. They stand behind
// it, so that backwards they are known when it is met.
static void find_last_uses(StorageWork *w) {
    const Graph *g = w->g;
    memset(w->last_use, 0xff, g->value_limit * sizeof *w->last_use); // -1: nobody
    for (int i = g->node_count - 1; i >= 0; i--) {
        const Node *n = g->node[i];
        int32_t time = w->time_of[w->tasks->of[n->id]];
        if (node_is_view(n)) {
            time = -1;
            for (int r = 0; r < n->result_count; r++)
                if (w->last_use[n->result[r].id] > time)
                    time = w->last_use[n->result[r].id];
        }
        for (int k = 0; k < n->input_count; k++) {
            int32_t *last = &w->last_use[n->input[k]->id];
            if (time > *last)
                *last = time;
        }
    }
    // Results are read by the caller, after every task.
    for (int i = 0; i < g->result_count; i++)
        storage_read_at_end(w, g->result[i].value);
}

// With repeat 1 all is body: there is nothing to run apart.
StepSegment task_segment(const StorageWork *w, int task) {
    return w->g->repeat > 1 && w->tasks->task[task].node[0]->phase == PHASE_UPDATE ? STEP_UPDATE
                                                                                   : STEP_BODY;
}

static StorageWork *work_create(const Module *m, const Graph *g, const Tasks *tasks, Arena *a) {
    StorageWork *w = arena_new(a, StorageWork);
    const uint32_t values = g->value_limit + 1;
    *w = (StorageWork){.m = m, .g = g, .tasks = tasks, .a = a, .sp = arena_new(a, StoragePlan)};
    w->root = arena_array(a, const Value *, values);
    w->last_use = arena_array(a, int32_t, values);
    w->home = arena_array(a, Place, values);
    w->axes = arena_array(a, AxisOrder, values);
    w->used = arena_array(a, bool, values);
    w->stored = arena_array(a, bool, values);
    w->viewed = arena_array(a, bool, values);
    w->constant_needed = arena_array(a, bool, values);
    w->committed = arena_array(a, bool, g->commit_count + 1);
    w->direct = arena_array(a, bool, values);
    w->far = arena_array(a, bool, values);
    w->pitched = arena_array(a, bool, values);
    w->leaving = arena_array(a, bool, values);
    w->time_of = arena_array(a, int32_t, tasks->count + 1);
    w->task_at = arena_array(a, int32_t, tasks->count + 1);
    StoragePlan *sp = w->sp;
    sp->g = g;
    sp->place = arena_array(a, Place, values);
    sp->constant = arena_array(a, const Node *, values);
    sp->state_storage = arena_array(a, uint32_t, m->state_count + 1);
    sp->input_storage = arena_array(a, uint32_t, g->input_count + 1);
    sp->result = arena_array(a, Place, g->result_count + 1);
    // 0xff in every byte is STORAGE_NONE.
    memset(sp->state_storage, 0xff, (size_t)m->state_count * sizeof *sp->state_storage);
    for (uint32_t i = 0; i < values; i++)
        w->home[i].storage = sp->place[i].storage = STORAGE_NONE;
    return w;
}

// Steps of the three segments, one after another.
static void join_segments(StorageWork *w) {
    StoragePlan *sp = w->sp;
    int count = 0;
    for (int s = 0; s < STEP_SEGMENT_COUNT; s++)
        count += w->list[s].count;
    sp->step = arena_array(w->a, Step, count + 1);
    for (int s = 0; s < STEP_SEGMENT_COUNT; s++) {
        if (w->list[s].count)
            memcpy(sp->step + sp->step_count, w->list[s].step,
                   (size_t)w->list[s].count * sizeof(Step));
        sp->step_count += w->list[s].count;
        sp->segment_end[s] = sp->step_count;
    }
}

// Live ranges. What the body finds when it begins must outlast every micro-batch, read or not: it
// lives to the body's end.
static void find_ranges(StorageWork *w) {
    StoragePlan *sp = w->sp;
    const int body_end = sp->segment_end[STEP_BODY];
    const int last_step = sp->step_count ? sp->step_count - 1 : 0;
    for (int i = 0; i < sp->step_count; i++)
        for (int k = 0; k < sp->step[i].touch_count; k++) {
            Storage *s = &sp->storage[sp->step[i].touch[k]];
            s->first = i < s->first ? i : s->first;
            s->last = i > s->last ? i : s->last;
        }
    for (int i = 0; i < sp->storage_count; i++) {
        Storage *s = &sp->storage[i];
        // The runtime writes inputs before the first step.
        if (s->input >= 0)
            s->first = 0;
        if (s->input >= 0 && s->last < 0)
            s->last = 0;
        const bool outlasts = s->input >= 0 || s->carried;
        if (outlasts && w->g->repeat > 1 && s->last < body_end)
            s->last = body_end - 1;
    }
    for (int i = 0; i < w->g->result_count; i++) {
        // A result that is an input or a state may have been touched by no step.
        Storage *s = &sp->storage[sp->result[i].storage];
        s->last = last_step;
        if (s->first > s->last)
            s->first = 0;
    }
}

// The phases of the file's head, in order.
static StoragePlan *run_phases(StorageWork *w) {
    find_stored(w);
    find_roots(w);
    find_times(w);
    find_last_uses(w);
    storage_choose_homes(w);
    storage_choose_pitches(w);
    storage_make_steps(w);
    join_segments(w);
    find_ranges(w);
    return w->sp;
}

StoragePlan *storage_plan(const Module *m, const Graph *g, const Tasks *tasks, Arena *a) {
    return run_phases(work_create(m, g, tasks, a));
}

StoragePlan *storage_plan_apart(const Module *m, const Graph *g, const Tasks *tasks, Arena *a,
                                StorageTakeovers *out) {
    StorageWork *w = work_create(m, g, tasks, a);
    w->apart = out;
    return run_phases(w);
}

int step_input_number(const Step *s, const Node *n, int i) {
    // A group has few nodes.
    for (int k = 0; k < s->node_count; k++) {
        if (s->node[k] == n)
            return i;
        i += s->node[k]->input_count;
    }
    UNREACHABLE();
}

Place step_input(const StoragePlan *sp, const Step *s, const Node *n, int i) {
    if (!s->in)
        return sp->place[n->input[i]->id];
    return s->in[step_input_number(s, n, i)];
}

Place step_result(const StoragePlan *sp, const Step *s, const Node *n, int i) {
    return s->out ? s->out[i] : sp->place[n->result[i].id];
}

bool step_is_move(const StoragePlan *sp, const Step *s) {
    return s->kind == STEP_COPY && s->from.storage != STORAGE_NONE &&
           sp->storage[s->from.storage].far != sp->storage[s->to.storage].far;
}

bool storage_is_stored(const StoragePlan *sp, const Value *v) {
    return sp->place[v->id].storage != STORAGE_NONE;
}

size_t storage_padded(size_t bytes) {
    return (bytes + STORAGE_ALIGNMENT - 1) / STORAGE_ALIGNMENT * STORAGE_ALIGNMENT;
}

uint64_t storage_state_bytes(const Module *m) {
    uint64_t sum = 0;
    for (int i = 0; i < m->state_count; i++)
        sum += m->state[i]->far ? 0 : storage_padded(type_bytes(&m->state[i]->type));
    return sum;
}

uint64_t storage_load(const StoragePlan *sp) {
    int64_t live = 0, most = 0;
    int64_t *change = NULL;
    Arena *scratch = arena_create();
    change = arena_array(scratch, int64_t, sp->step_count + 2);
    for (int i = 0; i < sp->storage_count; i++) {
        const Storage *s = &sp->storage[i];
        if (s->state || s->far || s->first > s->last)
            continue;
        // Bytes that come to life at a step and those that die after one.
        change[s->first] += (int64_t)storage_padded(s->bytes);
        change[s->last + 1] -= (int64_t)storage_padded(s->bytes);
    }
    for (int i = 0; i <= sp->step_count; i++) {
        live += change[i];
        most = live > most ? live : most;
    }
    arena_release(scratch);
    return (uint64_t)most;
}
