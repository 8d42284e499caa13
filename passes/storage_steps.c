// Walking the tasks in order: a storage for every result, and a step for everything that must run.
//
// Where a result lies storage_place.c says, unless it has a home (storage_home.c); operators that
// add to a base (scatter_add, einsum_add) take the base's place or copy it first.
// Constants are not stored: kernels have them as numbers, and only templates that need memory get
// them written out.
#include "passes/storage_work.h"

#include "ir/check.h"
#include "ir/convolution.h"
#include "ir/op_lower.h"
#include "passes/lower_product.h"
#include "passes/lower_space.h"

#include <string.h>

// Steps are collected by segment and joined at the end.
// The result is good until the next push.
static Step *push_step(StorageWork *w, Step step) {
    StepList *l = &w->list[step.segment];
    if (l->count == l->capacity) {
        const int capacity = l->capacity ? 2 * l->capacity : 64;
        l->step = arena_grow(w->a, l->step, (size_t)l->count, (size_t)capacity, sizeof(Step));
        l->capacity = capacity;
    }
    l->step[l->count] = step;
    l->step[l->count].task = step.segment == STEP_PROLOGUE ? -1 : w->task;
    return &l->step[l->count++];
}

// Copied, for the callers' lists are on the stack.
static const uint32_t *touch_list(StorageWork *w, const uint32_t *storage, int count) {
    uint32_t *list = arena_array(w->a, uint32_t, count + 1);
    for (int i = 0; i < count; i++)
        list[i] = storage[i];
    return list;
}

static bool constant_is_zero(const Node *n) {
    return node_float(n, "value", 1) == 0;
}

bool storage_is_far(const StorageWork *w, const Place *p) {
    return p->storage != STORAGE_NONE && w->sp->storage[p->storage].far;
}

// One step: within a memory, or of one range between two.
static void push_copy(StorageWork *w, const Node *for_node, StepSegment segment, const Value *value,
                      const Place *from, const Place *to) {
    const Node *constant = w->sp->constant[value->id];
    Step s = {.kind = STEP_COPY,
              .segment = segment,
              .value = value,
              .type = &value->type,
              .from = *from,
              .to = *to,
              .for_node = for_node};
    if (constant) {
        s.from.storage = STORAGE_NONE;
        // A fill is a memset of bytes one after another; strided zeros are copied as a number.
        if (constant_is_zero(constant) && place_is_dense(to, &value->type))
            s.kind = STEP_FILL;
    }
    const uint32_t touch[2] = {to->storage, s.from.storage};
    s.touch_count = s.from.storage == STORAGE_NONE ? 1 : 2;
    s.touch = touch_list(w, touch, s.touch_count);
    push_step(w, s);
}

// One range of bytes from one memory to the other.
static void push_move(StorageWork *w, const Node *for_node, StepSegment segment, const Value *value,
                      const Place *from, const Place *to) {
    const uint32_t touch[2] = {to->storage, from->storage};
    push_step(w, (Step){.kind = STEP_COPY,
                        .segment = segment,
                        .value = value,
                        .type = &value->type,
                        .from = *from,
                        .to = *to,
                        .for_node = for_node,
                        .touch_count = 2,
                        .touch = touch_list(w, touch, 2)});
}

// What moves is near on one side and laid out alike on both. Anything else goes through memory of
// the device's that is laid out as the far side.
void storage_copy(StorageWork *w, const Node *for_node, StepSegment segment, const Value *value,
                  const Place *from, const Place *to) {
    const bool constant = w->sp->constant[value->id] != NULL;
    const bool in = !constant && storage_is_far(w, from), out = storage_is_far(w, to);
    if (!in && !out) {
        push_copy(w, for_node, segment, value, from, to);
        return;
    }
    Place alike = *to;
    memcpy(alike.stride, from->stride, sizeof alike.stride);
    const Type memory = storage_memory_type(w, value);
    CHECK(place_is_range(in ? from : to, &value->type) || place_is_range(in ? from : to, &memory));
    if (in != out && !constant && place_equal(&alike, to, &value->type)) {
        push_move(w, for_node, segment, value, from, to);
        return;
    }
    Place between = in ? *from : *to;
    between.storage = storage_add(w, &value->type, BUFFER_WORKSPACE, value);
    between.offset = 0;
    if (in) {
        push_move(w, for_node, segment, value, from, &between);
        storage_copy(w, for_node, segment, value, &between, to);
    } else {
        push_copy(w, for_node, segment, value, from, &between);
        push_move(w, for_node, segment, value, &between, to);
    }
}

// Zeros in all of a storage.
// value names the storage and gives its type; nothing of it is read.
static void push_fill(StorageWork *w, const Node *for_node, StepSegment segment, uint32_t storage,
                      const Value *value) {
    push_step(w, (Step){.kind = STEP_FILL,
                        .segment = segment,
                        .value = value,
                        .type = &value->type,
                        .to = place_dense(storage, &value->type),
                        .for_node = for_node,
                        .touch_count = 1,
                        .touch = touch_list(w, &storage, 1)});
}

// The carried storage of an accumulator, made and zero-filled once.
static Place accumulator_place(StorageWork *w, const Value *v) {
    if (w->sp->place[v->id].storage != STORAGE_NONE)
        return w->sp->place[v->id];
    const uint32_t storage = storage_add(w, &v->type, BUFFER_GRADIENTS, v);
    // With one micro-batch the sum is done when the step is: nothing is carried.
    w->sp->storage[storage].carried = w->g->repeat > 1;
    const Place sum = place_dense(storage, &v->type);
    if (!storage_is_far(w, &sum)) {
        push_fill(w, v->def, STEP_PROLOGUE, storage, v);
        return sum;
    }
    // Zeros go there from the device's memory.
    const Place zeros = place_dense(storage_add(w, &v->type, BUFFER_WORKSPACE, v), &v->type);
    push_fill(w, v->def, STEP_PROLOGUE, zeros.storage, v);
    push_move(w, v->def, STEP_PROLOGUE, v, &zeros, &sum);
    return sum;
}

// Accumulator, home, or else: in this order.
static void choose_place(StorageWork *w, int task, const Node *n, int result) {
    const Value *v = &n->result[result];
    const AxisOrder axes = storage_axes(w, n, result);
    Place p;
    if (n->op == OP_ACCUMULATE)
        p = accumulator_place(w, v);
    else if (w->direct[v->id])
        p = accumulator_place(w, w->accumulator[v->id]);
    else if (w->home[v->id].storage != STORAGE_NONE)
        p = w->home[v->id];
    else
        p = storage_free_place(w, task, v, axes);
    // The accumulator's own node runs no kernel: it gets its place here.
    if (w->direct[v->id])
        storage_set_place(w, w->accumulator[v->id], &p);
    storage_set_place(w, v, &p);
}

// Whether something must be written for the result.
static bool result_is_written(const StorageWork *w, const Node *n, int result) {
    const OpLowering lowering = op_info(n->op)->lowering;
    // Templates have no form without a result: one that nobody reads is written as well.
    const bool template =
        lowering == LOWER_PRODUCT || lowering == LOWER_ATTENTION || lowering == LOWER_CONVOLUTION;
    return w->stored[n->result[result].id] || template;
}

static void add_touch(uint32_t *list, int *count, uint32_t storage) {
    for (int i = 0; i < *count; i++)
        if (list[i] == storage)
            return;
    if (storage != STORAGE_NONE)
        list[(*count)++] = storage;
}

// Everything a step of these nodes reads and writes.
static void set_touches(StorageWork *w, Step *s) {
    // At most so many different ones.
    int limit = 0;
    for (int i = 0; i < s->node_count; i++)
        limit += s->node[i]->input_count + s->node[i]->result_count;
    uint32_t *list = arena_array(w->a, uint32_t, limit + 1);
    for (int i = 0; i < s->node_count; i++) {
        const Node *n = s->node[i];
        for (int k = 0; k < n->input_count; k++)
            add_touch(list, &s->touch_count, step_input(w->sp, s, n, k).storage);
        for (int r = 0; r < n->result_count; r++)
            add_touch(list, &s->touch_count, step_result(w->sp, s, n, r).storage);
    }
    s->touch = list;
}

// A dense copy of input i for this one step, axes in the given order.
static void copy_input(StorageWork *w, Step *s, const Node *n, int i, const int *order) {
    const Value *v = n->input[i];
    int count = 0;
    for (int k = 0; k < s->node_count; k++)
        count += s->node[k]->input_count;
    // A new list: an earlier copy of the step may still hold the one before.
    Place *in = arena_array(w->a, Place, count);
    for (int k = 0, at = 0; k < s->node_count; k++)
        for (int j = 0; j < s->node[k]->input_count; j++, at++)
            in[at] = s->in ? s->in[at] : w->sp->place[s->node[k]->input[j]->id];
    const uint32_t storage = storage_add(w, &v->type, BUFFER_WORKSPACE, v);
    Place *copy = &in[step_input_number(s, n, i)];
    *copy = place_ordered(storage, &v->type, order);
    storage_copy(w, n, s->segment, v, &w->sp->place[v->id], copy);
    s->in = in;
}

// Templates that want what the strides of an operand don't give.
static void copy_for_template(StorageWork *w, Step *s, const Node *n) {
    const OpInfo *info = op_info(n->op);
    int order[RANK_MAX];
    if (info->lowering == LOWER_ATTENTION) {
        for (int i = 0; i < n->input_count; i++) {
            const Type *t = &n->input[i]->type;
            const Place *p = &w->sp->place[n->input[i]->id];
            // Row-major copies.
            for (int k = 0; k < t->rank; k++)
                order[k] = k;
            // q, k, v, out and dout need the head dim contiguous, the log-sum-exp all of it.
            const bool fine = t->rank == 4 ? storage_suits_attention(p, t) : place_is_dense(p, t);
            if (!fine)
                copy_input(w, s, n, i, order);
        }
        return;
    }
    // Images are dense, weights altogether.
    if (info->lowering == LOWER_CONVOLUTION) {
        ConvolutionPart part[3];
        convolution_parts(n, part);
        for (int i = 0; i < 2; i++) {
            const Type *t = &n->input[i]->type;
            const Place *p = &w->sp->place[n->input[i]->id];
            for (int k = 0; k < t->rank; k++)
                order[k] = k;
            if (!(part[i] == CONVOLVE_W ? place_is_dense(p, t) : place_is_batch(p, t)))
                copy_input(w, s, n, i, order);
        }
        return;
    }
    // The inner axes are one dim of the kernel: they must join.
    if (info->family == FAMILY_REDUCE) {
        const ReduceForm form = reduce_form(n);
        const Value *x = n->input[0];
        int64_t stride;
        if (!w->sp->constant[x->id] &&
            !place_join(&w->sp->place[x->id], &x->type, form.inner, form.inner_count, &stride)) {
            reduce_copy_order(&form, order);
            copy_input(w, s, n, 0, order);
        }
    }
}

// Pools walk h and w of their images as one axis.
static void copy_for_pool(StorageWork *w, Step *s, const Node *n) {
    static const int order[4] = {0, 1, 2, 3}, plane[2] = {2, 3};
    for (int i = 0; i < n->input_count; i++) {
        const Value *x = n->input[i];
        int64_t stride;
        if (!place_join(&w->sp->place[x->id], &x->type, plane, 2, &stride))
            copy_input(w, s, n, i, order);
    }
}

// A product: operands and result are copied where strides can't be walked as batch, m, n and k.
static void push_product(StorageWork *w, Step s, const Node *n) {
    const int first = product_first_input(n);
    const Place *a = &w->sp->place[n->input[first]->id];
    const Place *b = &w->sp->place[n->input[first + 1]->id];
    const Place result = w->sp->place[n->result[0].id];
    // A bit each for a, b and c.
    const unsigned copies = product_copies(n, a, b, &result);
    int order[RANK_MAX];
    for (int i = 0; i < 2; i++)
        if (copies & (1u << i)) {
            product_copy_order(n, i, order);
            copy_input(w, &s, n, first + i, order);
        }
    // The product goes to a dense place, and from there to where the result is wanted.
    if (copies & 4u) {
        product_copy_order(n, 2, order);
        const Value *v = &n->result[0];
        Place *out = arena_new(w->a, Place);
        *out = place_ordered(storage_add(w, &v->type, BUFFER_WORKSPACE, v), &v->type, order);
        s.out = out;
        // The dense place begins as what is added to.
        if (s.accumulate)
            storage_copy(w, n, s.segment, v, &result, out);
    }
    if (s.accumulate)
        storage_fetch_sum(w, &s, n);
    // Last: only now are all places of the step known.
    set_touches(w, &s);
    push_step(w, s);
    if (s.accumulate)
        storage_return_sum(w, &s, n);
    if (copies & 4u)
        storage_copy(w, n, s.segment, &n->result[0], s.out, &result);
}

// einsum_add(0, a, b)  =>  the product alone (how a product of bf16 gives f32)
static bool adds_to_zero(const StorageWork *w, const Node *n) {
    const Node *base = n->op == OP_EINSUM_ADD ? w->sp->constant[n->input[0]->id] : NULL;
    return base && constant_is_zero(base);
}

// Adding straight into an accumulator needs the product to reach it by strides.
static void confirm_direct(StorageWork *w, const Node *n) {
    const Value *v = &n->result[0];
    if (!w->direct[v->id])
        return;
    const int first = product_first_input(n);
    const Place sum = place_dense(0, &v->type);
    if (product_copies(n, &w->sp->place[n->input[first]->id],
                       &w->sp->place[n->input[first + 1]->id], &sum) &
        4u)
        w->direct[v->id] = false;
}

// Whether the summand of an einsum_add that is marked `row` needs no writing out: the result can be
// had from the operands, or copies of them, and one row.
static bool adds_row(const StorageWork *w, const Node *n) {
    const Value *base = n->input[0], *v = &n->result[0];
    if (node_int(n, "row", 0) != 1 || w->sp->place[base->id].storage == STORAGE_NONE)
        return false;
    const Type memory = storage_memory_type(w, v);
    const Place result = place_dense(0, &memory);
    Place in[2] = {w->sp->place[n->input[1]->id], w->sp->place[n->input[2]->id]};
    const unsigned copies = product_copies(n, &in[0], &in[1], &result);
    int order[RANK_MAX];
    for (int i = 0; i < 2; i++)
        if (copies & (1u << i)) {
            product_copy_order(n, i, order);
            in[i] = place_ordered(0, &n->input[1 + i]->type, order);
        }
    ProductForm form;
    return !(copies & 4u) && product_form(n, &in[0], &in[1], &result, &form) &&
           product_takes_row(n, &form, &w->sp->place[base->id], &result);
}

// scatter_add, einsum_add and dynamic_update: the result begins as the base.
static void place_over_base(StorageWork *w, int task, const Node *n) {
    const Value *base = n->input[0], *v = &n->result[0];
    const Place *p = &w->sp->place[base->id];
    // A state's next version, mostly over the version before: nothing to copy then.
    const Place home = w->home[v->id];
    if (home.storage != STORAGE_NONE) {
        if (w->sp->constant[base->id] || !place_equal(p, &home, &v->type))
            storage_copy(w, n, task_segment(w, task), base, p, &home);
        storage_set_place(w, v, &home);
        return;
    }
    // Nobody reads the base afterwards, and the step itself reads nothing else of its storage.
    bool alone = !w->sp->constant[base->id] && p->storage != STORAGE_NONE &&
                 storage_is_free(w, p->storage, w->time_of[task], &v->type);
    for (int i = 1; i < n->input_count; i++)
        alone = alone && w->sp->place[n->input[i]->id].storage != p->storage;
    alone =
        alone && p->offset == 0 && place_is_dense(p, &v->type) && type_equal(&base->type, &v->type);
    if (alone && !w->apart) {
        storage_set_place(w, v, p);
        return;
    }
    // Otherwise a copy of the base comes first and is added to.
    const Place fresh = place_dense(storage_of_value(w, v), &v->type);
    if (alone)
        storage_list_takeover(w, fresh.storage, p->storage);
    storage_copy(w, n, task_segment(w, task), base, p, &fresh);
    storage_set_place(w, v, &fresh);
}

// Dead operators leave nothing behind.
static bool anything_to_do(const StorageWork *w, const Task *t) {
    for (int i = 0; i < t->count; i++)
        for (int r = 0; r < t->node[i]->result_count; r++)
            if (result_is_written(w, t->node[i], r))
                return true;
    return false;
}

// An executable task: results get places, then comes its step.
static void run_task(StorageWork *w, int task) {
    const Task *t = &w->tasks->task[task];
    const Node *n = t->node[0];
    const OpLowering lowering = op_info(n->op)->lowering;
    const bool row = n->op == OP_EINSUM_ADD && adds_row(w, n);
    const bool adds = n->op == OP_EINSUM_ADD && !row && !adds_to_zero(w, n);
    if (adds) // over its base, which is dense
        w->pitched[n->result[0].id] = false;
    // Such operators stand alone: n is the task.
    const bool over_base = adds || lowering == LOWER_SCATTER || lowering == LOWER_PART;
    if (lowering == LOWER_PRODUCT)
        confirm_direct(w, n);
    for (int i = 0; i < t->count; i++)
        for (int r = 0; r < t->node[i]->result_count; r++) {
            w->axes[t->node[i]->result[r].id] = storage_axes(w, t->node[i], r);
            // In registers, or never read.
            if (!result_is_written(w, t->node[i], r))
                continue;
            if (over_base)
                place_over_base(w, task, t->node[i]);
            else
                choose_place(w, task, t->node[i], r);
        }
    if (!anything_to_do(w, t))
        return;
    Step s = {.kind = STEP_NODES,
              .segment = task_segment(w, task),
              .node = t->node,
              .node_count = t->count,
              // A group is named after its last operator.
              .for_node = t->node[t->count - 1]};
    s.row = row;
    s.accumulate = adds || (lowering == LOWER_PRODUCT && w->direct[n->result[0].id]);
    if (lowering == LOWER_PRODUCT) {
        push_product(w, s, n);
        return;
    }
    // A group reads its operands by strides that its kernel can walk: fusion has seen to it, but
    // not to what is read by index.
    if (t->count == 1)
        copy_for_template(w, &s, n);
    for (int i = 0; i < t->count; i++)
        if (op_info(t->node[i]->op)->family == FAMILY_CHANNEL)
            copy_for_pool(w, &s, t->node[i]);
    if (n->op == OP_ACCUMULATE)
        storage_fetch_sum(w, &s, n);
    set_touches(w, &s);
    push_step(w, s);
    if (n->op == OP_ACCUMULATE)
        storage_return_sum(w, &s, n);
}

// All results of a split at once.
static void place_views(StorageWork *w, int task, const Node *n) {
    const Place *in = &w->sp->place[n->input[0]->id];
    if (in->storage == STORAGE_NONE) // a constant: kernels have it as a number
        return;
    for (int r = 0; r < n->result_count; r++) {
        const Value *v = &n->result[r];
        Place p;
        // A reshape of memory whose axes don't join.
        if (!place_view(n, r, in, &p)) {
            // The operand, walked in row-major order, fills the result: the copy has the operand's
            // shape.
            const Place fresh = place_dense(storage_of_value(w, v), &n->input[0]->type);
            storage_copy(w, n, task_segment(w, task), n->input[0], in, &fresh);
            p = place_dense(fresh.storage, &v->type);
        }
        storage_set_place(w, v, &p);
    }
}

// Parts that are at home already need nothing.
static void run_concat(StorageWork *w, int task, const Node *n) {
    const Value *v = &n->result[0];
    // Given by storage_choose_homes; else it has memory of its own.
    Place whole = w->home[v->id];
    if (whole.storage == STORAGE_NONE)
        whole = place_dense(storage_of_value(w, v), &v->type);
    storage_set_place(w, v, &whole);
    for (int i = 0; i < n->input_count; i++) {
        const Value *x = n->input[i];
        const Place part = place_concat_part(n, i, &whole);
        // Computed elsewhere, or a constant: the part is written now.
        if (w->sp->constant[x->id] || !place_equal(&w->sp->place[x->id], &part, &x->type))
            storage_copy(w, n, task_segment(w, task), x, &w->sp->place[x->id], &part);
    }
}

// Zeros everywhere, then the operand inside.
static void run_pad(StorageWork *w, int task, const Node *n) {
    const Value *v = &n->result[0];
    const Place whole = place_dense(storage_of_value(w, v), &v->type);
    const Place inside = place_pad_inside(n, &whole);
    storage_set_place(w, v, &whole);
    push_fill(w, n, task_segment(w, task), whole.storage, v);
    storage_copy(w, n, task_segment(w, task), n->input[0], &w->sp->place[n->input[0]->id], &inside);
}

// Inputs have their place; states get theirs; constants only where a template needs them.
static void place_leaf(StorageWork *w, int task, const Node *n) {
    const Value *v = &n->result[0];
    if (n->op == OP_STATE) {
        const State *s = module_find_state(w->m, node_text(n, "name", ""));
        const Place p = place_dense(storage_of_state(w, s), &v->type);
        storage_set_place(w, v, &p);
    } else if (n->op == OP_CONSTANT && w->constant_needed[v->id]) {
        const Place p = place_dense(storage_of_value(w, v), &v->type);
        storage_set_place(w, v, &p);
        storage_copy(w, n, task_segment(w, task), v, &p, &p);
    }
}

// Which of the few kinds of task this is.
static void visit_task(StorageWork *w, int task) {
    const Task *t = &w->tasks->task[task];
    const Node *n = t->node[0];
    if (t->count > 1)
        run_task(w, task);
    else if (n->op == OP_STATE || n->op == OP_INPUT || n->op == OP_CONSTANT)
        place_leaf(w, task, n);
    else if (op_info(n->op)->family == FAMILY_MOVE)
        storage_move(w, task, n);
    else if (node_is_view(n))
        place_views(w, task, n);
    else if (n->op == OP_CONCAT)
        run_concat(w, task, n);
    else if (n->op == OP_PAD)
        run_pad(w, task, n);
    else if (n->op == OP_ACCUMULATE && w->direct[n->input[0]->id])
        return; // the product has added to it
    else
        run_task(w, task);
}

// Inputs have storages whether they are read or not: the runtime writes them.
static void place_inputs(StorageWork *w) {
    for (int i = 0; i < w->g->input_count; i++) {
        const Input *in = &w->g->input[i];
        const uint32_t storage = storage_add(w, &in->value->type, BUFFER_INPUTS, in->value);
        Storage *s = &w->sp->storage[storage];
        s->input = i;
        // A slot for each micro-batch, side by side.
        if (source_by_slot(in->source))
            CHECK(size_mul(s->bytes, (size_t)w->g->repeat, &s->bytes));
        w->sp->input_storage[i] = storage;
        const Place p = place_dense(storage, &in->value->type);
        storage_set_place(w, in->value, &p);
    }
}

// accumulate(einsum(a, b)), f32 and read nowhere else  =>  the product adds to the accumulator
static void find_direct(StorageWork *w) {
    const Graph *g = w->g;
    w->is_gradient = arena_array(w->a, bool, g->value_limit + 1);
    w->accumulator = arena_array(w->a, const Value *, g->value_limit + 1);
    const int *uses = graph_use_counts(g, w->a);
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        if (op_info(n->op)->family != FAMILY_UPDATE)
            continue;
        // What an update reads in the shape of its result; it only names memory for people.
        for (int k = 0; k < n->input_count; k++)
            if (type_same_shape(&n->input[k]->type, &n->result[0].type))
                w->is_gradient[w->root[n->input[k]->id]->id] = true;
        // A group's kernel adds by itself; other readers would need the product on its own.
        const Value *x = n->input[0];
        const bool product = x->def->op == OP_EINSUM || adds_to_zero(w, x->def);
        if (n->op != OP_ACCUMULATE || n->group || !product || uses[x->id] != 1 ||
            x->type.dtype != DT_F32)
            continue;
        w->direct[x->id] = true;
        w->accumulator[x->id] = &n->result[0];
    }
}

// Results must be dense, and must not be in a state that is about to change.
static void finish_results(StorageWork *w, StepSegment segment) {
    for (int i = 0; i < w->g->result_count; i++) {
        const Value *v = w->g->result[i].value;
        Place p = w->sp->place[v->id];
        const Node *def = w->root[v->id]->def;
        // Constants have no memory so far; the form of strided results no caller knows.
        bool copy = w->sp->constant[v->id] || p.storage == STORAGE_NONE;
        copy = copy || !place_is_dense(&p, &v->type);
        // The old version is asked for and would be overwritten.
        if (!copy && def->op == OP_STATE)
            copy = w->state_committed[w->sp->storage[p.storage].state->id];
        if (copy) {
            const Place to = place_dense(storage_of_value(w, v), &v->type);
            storage_copy(w, v->def, segment, v, &p, &to);
            p = to;
        }
        w->sp->result[i] = p;
    }
}

// Commits without a home. Old versions that move to another state go through a copy, so that no
// state is overwritten before it is read.
static void finish_commits(StorageWork *w, StepSegment segment) {
    const Graph *g = w->g;
    // First all copies out of states, then all copies into them.
    Place *from = arena_array(w->a, Place, g->commit_count + 1);
    for (int i = 0; i < g->commit_count; i++) {
        const Value *v = g->commit[i].value;
        const Node *def = w->root[v->id]->def;
        const uint32_t storage = storage_of_state(w, g->commit[i].state);
        from[i] = w->sp->place[v->id];
        const Place old = place_dense(storage, &v->type);
        if (w->committed[i] || def->op != OP_STATE || place_equal(&from[i], &old, &v->type))
            continue;
        const uint32_t copy = storage_add(w, &v->type, BUFFER_WORKSPACE, v);
        const Place to = place_dense(copy, &v->type);
        storage_copy(w, v->def, segment, v, &from[i], &to);
        from[i] = to;
    }
    for (int i = 0; i < g->commit_count; i++) {
        const Value *v = g->commit[i].value;
        const Place to = place_dense(storage_of_state(w, g->commit[i].state), &v->type);
        if (!w->committed[i] && !place_equal(&from[i], &to, &v->type))
            storage_copy(w, v->def, segment, v, &from[i], &to);
    }
}

// What remains at the end belongs to the last segment that runs.
void storage_make_steps(StorageWork *w) {
    find_direct(w);
    place_inputs(w);
    for (int time = 0; time < w->tasks->count; time++) {
        w->task = w->task_at[time];
        visit_task(w, w->task);
    }
    w->task = w->tasks->count;
    const StepSegment segment = w->g->repeat > 1 ? STEP_UPDATE : STEP_BODY;
    finish_results(w, segment);
    finish_commits(w, segment);
}
