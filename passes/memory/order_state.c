// Running tasks one by one, and back.
//
// live is what is begun and not ended: a function of the set of tasks that have run alone. What a
// task would add to it changes only where an object begins (for all its users) or is left with one
// user (for that one, found through the sum of the users' numbers), so both are kept up to date at
// a cost linear in the objects' users over a whole order. The set's key is the exclusive or of two
// random words a task, so that it costs nothing to keep; searches take equal keys for equal sets
// (128 bits: a mistake is less likely than a broken machine).
#include "passes/memory/order_state.h"

// splitmix64: the words of a task.
static uint64_t mixed(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void flip_key(OrderState *s, int task) {
    s->key.low ^= s->word[task].low;
    s->key.high ^= s->word[task].high;
}

static void add_ready(OrderState *s, int task) {
    s->ready_at[task] = s->ready_count;
    s->ready[s->ready_count++] = task;
}

static void remove_ready(OrderState *s, int task) {
    const int at = s->ready_at[task], last = s->ready[--s->ready_count];
    s->ready[at] = last;
    s->ready_at[last] = at;
    s->ready_at[task] = -1;
}

// An object that has begun costs none of its users anything (sign -1), or does so again (1).
static void change_begin(OrderState *s, const OrderObject *o, int sign) {
    s->live -= sign * o->bytes;
    s->work += o->user_count;
    for (int i = 0; i < o->user_count; i++)
        s->growth[o->user[i]] += sign * o->bytes;
}

// Its only user left will free it (sign -1), or is not the only one any more (1).
static void change_last(OrderState *s, int object, int sign) {
    const OrderObject *o = &s->og->object[object];
    if (s->left[object] == 1 && !(o->flags & OBJECT_KEPT))
        s->growth[s->left_sum[object]] += sign * o->bytes;
}

OrderState *order_state_create(const OrderGraph *og, Arena *a) {
    OrderState *s = arena_new(a, OrderState);
    *s = (OrderState){.og = og,
                      .left = arena_array(a, int, og->object_count + 1),
                      .left_sum = arena_array(a, int64_t, og->object_count + 1),
                      .waiting = arena_array(a, int, og->task_count + 1),
                      .growth = arena_array(a, int64_t, og->task_count + 1),
                      .word = arena_array(a, OrderKey, og->task_count + 1),
                      .ready = arena_array(a, int, og->task_count + 1),
                      .ready_at = arena_array(a, int, og->task_count + 1)};
    for (int i = 0; i < og->object_count; i++) {
        const OrderObject *o = &og->object[i];
        s->left[i] = o->user_count;
        for (int k = 0; k < o->user_count; k++) {
            s->left_sum[i] += o->user[k];
            s->growth[o->user[k]] += o->bytes;
        }
        change_last(s, i, -1);
        if (o->flags & OBJECT_FROM_START && (o->user_count > 0 || o->flags & OBJECT_KEPT))
            change_begin(s, o, -1);
    }
    for (int t = 0; t < og->task_count; t++) {
        s->waiting[t] = og->pred_begin[t + 1] - og->pred_begin[t];
        s->ready_at[t] = -1;
        s->word[t] = (OrderKey){mixed(2 * (uint64_t)t), mixed(2 * (uint64_t)t + 1)};
        if (s->waiting[t] == 0)
            add_ready(s, t);
    }
    return s;
}

static bool begins_with_first_user(const OrderState *s, int object) {
    const OrderObject *o = &s->og->object[object];
    return s->left[object] == o->user_count && !(o->flags & OBJECT_FROM_START);
}

void order_state_run(OrderState *s, int task) {
    const OrderGraph *og = s->og;
    remove_ready(s, task);
    for (int i = og->use_begin[task]; i < og->use_begin[task + 1]; i++) {
        const int object = og->use[i];
        const OrderObject *o = &og->object[object];
        if (begins_with_first_user(s, object))
            change_begin(s, o, -1);
        s->left[object]--;
        s->left_sum[object] -= task;
        change_last(s, object, -1);
        if (s->left[object] == 0 && !(o->flags & OBJECT_KEPT))
            s->live -= o->bytes;
    }
    for (int i = og->succ_begin[task]; i < og->succ_begin[task + 1]; i++)
        if (--s->waiting[og->succ[i]] == 0)
            add_ready(s, og->succ[i]);
    flip_key(s, task);
    s->work += 4 + og->use_begin[task + 1] - og->use_begin[task] + og->succ_begin[task + 1] -
               og->succ_begin[task];
}

// Everything the other way round.
void order_state_undo(OrderState *s, int task) {
    const OrderGraph *og = s->og;
    flip_key(s, task);
    for (int i = og->succ_begin[task + 1] - 1; i >= og->succ_begin[task]; i--)
        if (s->waiting[og->succ[i]]++ == 0)
            remove_ready(s, og->succ[i]);
    for (int i = og->use_begin[task + 1] - 1; i >= og->use_begin[task]; i--) {
        const int object = og->use[i];
        const OrderObject *o = &og->object[object];
        if (s->left[object] == 0 && !(o->flags & OBJECT_KEPT))
            s->live += o->bytes;
        change_last(s, object, 1);
        s->left[object]++;
        s->left_sum[object] += task;
        if (begins_with_first_user(s, object))
            change_begin(s, o, 1);
    }
    add_ready(s, task);
    s->work += 4 + og->use_begin[task + 1] - og->use_begin[task] + og->succ_begin[task + 1] -
               og->succ_begin[task];
}

// Bytes that results of the task take over from operands it is the last to use.
static int64_t saved_by_takeovers(const OrderState *s, int task) {
    enum { MADE_MAX = 64 };
    const OrderGraph *og = s->og;
    int taken[MADE_MAX], taken_count = 0, made = -1;
    int64_t saved = 0;
    for (int i = og->over_begin[task]; i < og->over_begin[task + 1]; i++) {
        const OrderTakeover t = og->over[i];
        // A result's chances stand side by side; the first that is open is taken.
        bool open = t.made != made && begins_with_first_user(s, t.made) && s->left[t.over] == 1 &&
                    !(og->object[t.over].flags & OBJECT_KEPT);
        for (int k = 0; k < taken_count && open; k++)
            open = taken[k] != t.over;
        // More results than anyone has seen: the rest counts in full.
        if (!open || taken_count == MADE_MAX)
            continue;
        taken[taken_count++] = t.over;
        made = t.made;
        saved += og->object[t.made].bytes;
    }
    return saved;
}

// Everything it is the first to use is there, nothing is freed yet.
int64_t order_state_load(const OrderState *s, int task) {
    const OrderGraph *og = s->og;
    int64_t load = s->live + og->transient[task];
    for (int i = og->use_begin[task]; i < og->use_begin[task + 1]; i++)
        if (begins_with_first_user(s, og->use[i]))
            load += og->object[og->use[i]].bytes;
    if (og->over_begin[task] < og->over_begin[task + 1])
        load -= saved_by_takeovers(s, task);
    return load;
}
