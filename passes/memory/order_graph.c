// Orders in the abstract: building the problem, and what an order needs.
//
// Everything said to a build is kept as pairs and grouped by counting when it is finished, so that
// building is linear. An order is walked once: an object begins with its first user and ends with
// its last. A result that takes over another's memory counts from then on in its place; it does so
// in every order where it can, as the choice of storage does (passes/storage_steps.c).
#include "passes/memory/order_graph.h"

#include "ir/check.h"

#include <string.h>

// Growing lists by owner: pairs are collected, then sorted by counting.
typedef struct {
    int (*pair)[2];
    int count, capacity;
} PairList;

struct OrderBuild {
    Arena *a;
    OrderGraph *og;
    OrderObject *object;
    int object_capacity;
    int64_t *transient;
    PairList edge, use; // (from, to), (object, task)
    PairList over;      // (task, index of takeover)
    OrderTakeover *takeover;
    int takeover_count, takeover_capacity;
};

// Doubling: linear in all.
static void add_pair(Arena *a, PairList *l, int owner, int item) {
    if (l->count == l->capacity) {
        const int capacity = l->capacity ? 2 * l->capacity : 256;
        l->pair = arena_grow(a, l->pair, (size_t)l->count, (size_t)capacity, sizeof *l->pair);
        l->capacity = capacity;
    }
    l->pair[l->count][0] = owner;
    l->pair[l->count++][1] = item;
}

// begin[owner] .. begin[owner + 1] index the items, in the order in which they were added; swap
// exchanges the two roles.
static void group_pairs(Arena *a, const PairList *l, int owners, bool swap, const int **begin_out,
                        const int **item_out) {
    int *begin = arena_array(a, int, owners + 2);
    int *item = arena_array(a, int, l->count + 1);
    for (int i = 0; i < l->count; i++)
        begin[l->pair[i][swap ? 1 : 0] + 1]++;
    for (int i = 0; i < owners; i++)
        begin[i + 1] += begin[i];
    int *filled = arena_array(a, int, owners + 1);
    for (int i = 0; i < l->count; i++) {
        const int owner = l->pair[i][swap ? 1 : 0];
        item[begin[owner] + filled[owner]++] = l->pair[i][swap ? 0 : 1];
    }
    *begin_out = begin;
    *item_out = item;
}

// The same pairs, each once, in order of the second and then of the first: grouped either way they
// come out rising.
static void sort_pairs(Arena *a, PairList *l, int owners, int items) {
    const int *begin, *item, *begin_of_item, *owner;
    group_pairs(a, l, owners, false, &begin, &item);
    PairList once = {.pair = NULL};
    int *seen = arena_array(a, int, items + 1); // by item: last owner + 1
    for (int i = 0; i < owners; i++)
        for (int k = begin[i]; k < begin[i + 1]; k++)
            if (seen[item[k]] != i + 1) {
                seen[item[k]] = i + 1;
                add_pair(a, &once, i, item[k]);
            }
    group_pairs(a, &once, items, true, &begin_of_item, &owner);
    for (int i = 0, at = 0; i < items; i++)
        for (int k = begin_of_item[i]; k < begin_of_item[i + 1]; k++, at++) {
            once.pair[at][0] = owner[k];
            once.pair[at][1] = i;
        }
    *l = once;
}

OrderBuild *order_build_create(int task_count, Arena *a) {
    OrderBuild *b = arena_new(a, OrderBuild);
    b->a = a;
    b->og = arena_new(a, OrderGraph);
    b->og->task_count = task_count;
    b->transient = arena_array(a, int64_t, task_count + 1);
    return b;
}

int order_build_object(OrderBuild *b, int64_t bytes, int flags, const void *owner) {
    OrderGraph *og = b->og;
    if (og->object_count == b->object_capacity) {
        const int capacity = b->object_capacity ? 2 * b->object_capacity : 256;
        b->object = arena_grow(b->a, b->object, (size_t)og->object_count, (size_t)capacity,
                               sizeof *b->object);
        b->object_capacity = capacity;
    }
    b->object[og->object_count] = (OrderObject){.bytes = bytes, .flags = flags, .owner = owner};
    return og->object_count++;
}

void order_build_use(OrderBuild *b, int object, int task) {
    add_pair(b->a, &b->use, object, task);
}

void order_build_edge(OrderBuild *b, int from, int to) {
    CHECK(from < to);
    add_pair(b->a, &b->edge, from, to);
}

void order_build_takeover(OrderBuild *b, int task, OrderTakeover t) {
    CHECK(b->object[t.made].bytes == b->object[t.over].bytes);
    if (b->takeover_count == b->takeover_capacity) {
        const int capacity = b->takeover_capacity ? 2 * b->takeover_capacity : 256;
        b->takeover = arena_grow(b->a, b->takeover, (size_t)b->takeover_count, (size_t)capacity,
                                 sizeof *b->takeover);
        b->takeover_capacity = capacity;
    }
    order_build_use(b, t.made, task);
    order_build_use(b, t.over, task);
    b->takeover[b->takeover_count] = t;
    add_pair(b->a, &b->over, task, b->takeover_count++);
}

void order_build_transient(OrderBuild *b, int task, int64_t bytes) {
    if (bytes > b->transient[task])
        b->transient[task] = bytes;
}

OrderGraph *order_build_finish(OrderBuild *b) {
    OrderGraph *og = b->og;
    const int tasks = og->task_count;
    sort_pairs(b->a, &b->edge, tasks, tasks);
    sort_pairs(b->a, &b->use, og->object_count, tasks);
    // The same pairs from both ends.
    group_pairs(b->a, &b->edge, tasks, false, &og->succ_begin, &og->succ);
    group_pairs(b->a, &b->edge, tasks, true, &og->pred_begin, &og->pred);
    group_pairs(b->a, &b->use, tasks, true, &og->use_begin, &og->use);
    const int *begin, *user;
    group_pairs(b->a, &b->use, og->object_count, false, &begin, &user);
    for (int i = 0; i < og->object_count; i++) {
        b->object[i].user = user + begin[i];
        b->object[i].user_count = begin[i + 1] - begin[i];
    }
    const int *number;
    group_pairs(b->a, &b->over, tasks, false, &og->over_begin, &number);
    OrderTakeover *over = arena_array(b->a, OrderTakeover, b->takeover_count + 1);
    for (int i = 0; i < b->takeover_count; i++)
        over[i] = b->takeover[number[i]];
    og->over = over;
    og->object = b->object;
    og->transient = b->transient;
    return og;
}

bool order_is_allowed(const OrderGraph *og, const int *order, Arena *scratch) {
    bool *done = arena_array(scratch, bool, og->task_count + 1);
    for (int i = 0; i < og->task_count; i++) {
        const int task = order[i];
        if (task < 0 || task >= og->task_count || done[task])
            return false;
        for (int k = og->pred_begin[task]; k < og->pred_begin[task + 1]; k++)
            if (!done[og->pred[k]])
                return false;
        done[task] = true;
    }
    return true;
}

// An order being walked.
typedef struct {
    const OrderGraph *og;
    int *left;   // by object: users to come
    int *shares; // by object: whose memory it took over, or -1
    bool *taken; // by object: another one has its memory
} OrderWalk;

static OrderWalk walk_begin(const OrderGraph *og, Arena *scratch) {
    OrderWalk w = {.og = og,
                   .left = arena_array(scratch, int, og->object_count + 1),
                   .shares = arena_array(scratch, int, og->object_count + 1),
                   .taken = arena_array(scratch, bool, og->object_count + 1)};
    for (int i = 0; i < og->object_count; i++) {
        w.left[i] = og->object[i].user_count;
        w.shares[i] = -1;
    }
    return w;
}

// Whether it takes memory at all: an argument that nobody uses doesn't.
static bool is_there_first(const OrderObject *o) {
    return (o->flags & OBJECT_FROM_START) && (o->user_count > 0 || (o->flags & OBJECT_KEPT));
}

static bool is_begun(const OrderWalk *w, int object) {
    const OrderObject *o = &w->og->object[object];
    return w->left[object] < o->user_count || (o->flags & OBJECT_FROM_START);
}

// Whose memory each object that the task makes takes over; returns the bytes saved. Called before
// the task is counted.
static int64_t walk_takeovers(OrderWalk *w, int task) {
    const OrderGraph *og = w->og;
    int64_t saved = 0;
    for (int i = og->over_begin[task]; i < og->over_begin[task + 1]; i++) {
        const OrderTakeover t = og->over[i];
        const bool dies = w->left[t.over] == 1 && !(og->object[t.over].flags & OBJECT_KEPT);
        if (w->shares[t.made] >= 0 || is_begun(w, t.made) || w->taken[t.over] || !dies)
            continue;
        w->shares[t.made] = t.over;
        w->taken[t.over] = true;
        saved += og->object[t.made].bytes;
    }
    return saved;
}

int64_t order_load(const OrderGraph *og, const int *order, Arena *scratch, int *at) {
    OrderWalk w = walk_begin(og, scratch);
    int64_t live = 0, most = 0;
    for (int i = 0; i < og->object_count; i++)
        if (is_there_first(&og->object[i]))
            live += og->object[i].bytes;
    if (at)
        *at = 0;
    for (int p = 0; p < og->task_count; p++) {
        const int task = order[p];
        const int64_t saved = walk_takeovers(&w, task);
        int64_t freed = 0;
        for (int i = og->use_begin[task]; i < og->use_begin[task + 1]; i++) {
            const int object = og->use[i];
            const OrderObject *o = &og->object[object];
            if (!is_begun(&w, object))
                live += o->bytes;
            if (--w.left[object] == 0 && !(o->flags & OBJECT_KEPT))
                freed += o->bytes;
        }
        const int64_t running = live + og->transient[task] - saved;
        if (running > most) {
            most = running;
            if (at)
                *at = p;
        }
        live -= freed;
    }
    return most;
}

PackItem *order_items(const OrderGraph *og, const int *order, Arena *a, int *count) {
    OrderWalk w = walk_begin(og, a);
    PackItem *item = arena_array(a, PackItem, og->object_count + og->task_count + 1);
    int *item_of = arena_array(a, int, og->object_count + 1);
    *count = 0;
    for (int i = 0; i < og->object_count; i++) {
        const OrderObject *o = &og->object[i];
        item_of[i] = -1;
        if (is_there_first(o) && o->bytes > 0) {
            item_of[i] = (*count)++;
            item[item_of[i]].size = (uint64_t)o->bytes;
        }
    }
    for (int p = 0; p < og->task_count; p++) {
        const int task = order[p];
        walk_takeovers(&w, task);
        for (int i = og->use_begin[task]; i < og->use_begin[task + 1]; i++) {
            const int object = og->use[i];
            w.left[object]--;
            if (og->object[object].bytes == 0)
                continue;
            if (item_of[object] < 0 && w.shares[object] >= 0) {
                CHECK(item_of[w.shares[object]] >= 0); // it was there before the task
                item_of[object] = item_of[w.shares[object]];
            } else if (item_of[object] < 0) {
                item_of[object] = (*count)++;
                item[item_of[object]] =
                    (PackItem){.size = (uint64_t)og->object[object].bytes, .first = (uint32_t)p};
            }
            item[item_of[object]].last = (uint32_t)p;
        }
        if (og->transient[task] > 0)
            item[(*count)++] = (PackItem){
                .size = (uint64_t)og->transient[task], .first = (uint32_t)p, .last = (uint32_t)p};
    }
    for (int i = 0; i < og->object_count; i++)
        if (og->object[i].flags & OBJECT_KEPT && item_of[i] >= 0 && og->task_count > 0)
            item[item_of[i]].last = (uint32_t)og->task_count - 1;
    return item;
}

void order_program(const OrderGraph *og, int *order) {
    for (int i = 0; i < og->task_count; i++)
        order[i] = i;
}
