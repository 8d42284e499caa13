// XLA's ListScheduler, DFSMemoryScheduler and PostOrderScheduler (hlo_memory_scheduler), as their
// source describes them, on tasks instead of instructions.
//
// List: of the ready tasks the one that frees most (bytes of objects it is the last to read, minus
// bytes it makes); tasks that make only scalars go first of all; ties by the number of users, then
// the one that became ready last. Depth first: post-order from the results, visiting first the
// operand with more extra users (users but one, summed over all that lead to it), then the one with
// more bytes behind it, both capped by the graph's totals. Post-order: operands in program
// order.
// Edges are the same as ours, so all orders keep updates in place. Cost: ready tasks are scanned:
// ready x tasks.
#include "tests/bench/xla_orders.h"

#include "ir/check.h"
#include "passes/storage.h"

#include <stdlib.h>

typedef struct {
    const OrderGraph *og;
    int *waiting;    // by task: predecessors not run
    int *users_left; // by object
    int ready_count;
    int *ready; // in the order in which they became ready
    bool *scalar;
} List;

// What the task is the last to use, less what it is the first to use.
static int64_t bytes_freed(const List *l, int task) {
    const OrderGraph *og = l->og;
    int64_t freed = 0;
    for (int i = og->use_begin[task]; i < og->use_begin[task + 1]; i++) {
        const OrderObject *o = &og->object[og->use[i]];
        const int left = l->users_left[og->use[i]];
        if (!(o->flags & OBJECT_KEPT) && left == 1)
            freed += o->bytes;
        if (!(o->flags & OBJECT_FROM_START) && left == o->user_count)
            freed -= o->bytes;
    }
    return freed;
}

// Objects begin with their first user in program order.
static bool is_made_by(const OrderGraph *og, int object, int task) {
    const OrderObject *o = &og->object[object];
    return !(o->flags & OBJECT_FROM_START) && o->user[0] == task;
}

// Whether it makes something, and nothing above a scalar's room.
static bool makes_scalars(const OrderGraph *og, int task) {
    int made = 0;
    for (int i = og->use_begin[task]; i < og->use_begin[task + 1]; i++)
        if (is_made_by(og, og->use[i], task)) {
            if (og->object[og->use[i]].bytes > STORAGE_ALIGNMENT)
                return false;
            made++;
        }
    return made > 0;
}

// Whether the ready task comes before the best so far, which became ready earlier.
static bool goes_first(const List *l, BaselineOrder which, int task, int best) {
    const int64_t freed = bytes_freed(l, task), most = bytes_freed(l, best);
    if (which == GREEDY_LIST)
        return freed != most ? freed > most : task < best;
    if (l->scalar[task] || l->scalar[best])
        return l->scalar[task];
    if (freed != most)
        return freed > most;
    const OrderGraph *og = l->og;
    return og->succ_begin[task + 1] - og->succ_begin[task] >=
           og->succ_begin[best + 1] - og->succ_begin[best];
}

static void list_order(const OrderGraph *og, BaselineOrder which, Arena *a, int *order) {
    List l = {.og = og,
              .waiting = arena_array(a, int, og->task_count + 1),
              .users_left = arena_array(a, int, og->object_count + 1),
              .ready = arena_array(a, int, og->task_count + 1),
              .scalar = arena_array(a, bool, og->task_count + 1)};
    for (int o = 0; o < og->object_count; o++)
        l.users_left[o] = og->object[o].user_count;
    for (int t = 0; t < og->task_count; t++) {
        l.scalar[t] = makes_scalars(og, t);
        l.waiting[t] = og->pred_begin[t + 1] - og->pred_begin[t];
        if (l.waiting[t] == 0)
            l.ready[l.ready_count++] = t;
    }
    int count = 0;
    while (l.ready_count) {
        int best = 0;
        for (int i = 1; i < l.ready_count; i++)
            if (goes_first(&l, which, l.ready[i], l.ready[best]))
                best = i;
        const int task = l.ready[best];
        // The others keep their order.
        for (int i = best + 1; i < l.ready_count; i++)
            l.ready[i - 1] = l.ready[i];
        l.ready_count--;
        order[count++] = task;
        for (int i = og->use_begin[task]; i < og->use_begin[task + 1]; i++)
            l.users_left[og->use[i]]--;
        for (int i = og->succ_begin[task]; i < og->succ_begin[task + 1]; i++)
            if (--l.waiting[og->succ[i]] == 0)
                l.ready[l.ready_count++] = og->succ[i];
    }
    CHECK(count == og->task_count);
}

// What XLA's depth-first schedule sorts operands by.
typedef struct {
    int64_t extra_users, bytes;
    int task;
} Rank;

static int compare_ranks(const void *a, const void *b) {
    const Rank *x = a, *y = b;
    if (x->extra_users != y->extra_users)
        return x->extra_users > y->extra_users ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return (x->task > y->task) - (x->task < y->task);
}

// By task; program order is one in which predecessors come first.
static Rank *find_ranks(const OrderGraph *og, Arena *a) {
    Rank *rank = arena_array(a, Rank, og->task_count + 1);
    int64_t total = 0;
    for (int t = 0; t < og->task_count; t++) {
        const int users = og->succ_begin[t + 1] - og->succ_begin[t];
        Rank *r = &rank[t];
        *r = (Rank){.extra_users = users ? users - 1 : 0, .task = t};
        for (int i = og->use_begin[t]; i < og->use_begin[t + 1]; i++)
            r->bytes += is_made_by(og, og->use[i], t) ? og->object[og->use[i]].bytes : 0;
        total += r->bytes;
        for (int i = og->pred_begin[t]; i < og->pred_begin[t + 1]; i++) {
            r->extra_users += rank[og->pred[i]].extra_users;
            r->bytes += rank[og->pred[i]].bytes;
            // Capped at every operand, so that sums can't overflow.
            if (r->extra_users > og->task_count)
                r->extra_users = og->task_count;
            if (r->bytes > total)
                r->bytes = total;
        }
    }
    return rank;
}

// Predecessors of every task in the order in which they are visited.
static int *visiting_order(const OrderGraph *og, BaselineOrder which, Arena *a) {
    const int edges = og->pred_begin[og->task_count];
    int *pred = arena_array(a, int, edges + 1);
    for (int i = 0; i < edges; i++)
        pred[i] = og->pred[i];
    if (which == XLA_POST_ORDER)
        return pred;
    const Rank *rank = find_ranks(og, a);
    Rank *sorted = arena_array(a, Rank, edges + 1);
    for (int t = 0; t < og->task_count; t++) {
        const int begin = og->pred_begin[t], count = og->pred_begin[t + 1] - begin;
        for (int i = 0; i < count; i++)
            sorted[i] = rank[pred[begin + i]];
        qsort(sorted, (size_t)count, sizeof *sorted, compare_ranks);
        for (int i = 0; i < count; i++)
            pred[begin + i] = sorted[i].task;
    }
    return pred;
}

// The results hang off one root in XLA, whose operands they are: tasks without users, visited as
// any other operands.
static int *find_sinks(const OrderGraph *og, BaselineOrder which, Arena *a, int *count) {
    const Rank *rank = find_ranks(og, a);
    Rank *sink = arena_array(a, Rank, og->task_count + 1);
    *count = 0;
    for (int t = 0; t < og->task_count; t++)
        if (og->succ_begin[t] == og->succ_begin[t + 1])
            sink[(*count)++] = rank[t];
    if (which == XLA_DEPTH_FIRST)
        qsort(sink, (size_t)*count, sizeof *sink, compare_ranks);
    int *task = arena_array(a, int, *count + 1);
    for (int i = 0; i < *count; i++)
        task[i] = sink[i].task;
    return task;
}

static void post_order(const OrderGraph *og, BaselineOrder which, Arena *a, int *order) {
    const int *pred = visiting_order(og, which, a);
    int sink_count;
    const int *sink = find_sinks(og, which, a, &sink_count);
    int *next = arena_array(a, int, og->task_count + 1);
    bool *done = arena_array(a, bool, og->task_count + 1);
    int *stack = arena_array(a, int, og->task_count + 1);
    int count = 0;
    for (int i = 0; i < sink_count; i++) {
        int depth = 0;
        stack[depth++] = sink[i];
        while (depth > 0) {
            const int task = stack[depth - 1];
            const int at = og->pred_begin[task] + next[task];
            if (!done[task] && at < og->pred_begin[task + 1]) {
                next[task]++;
                if (!done[pred[at]])
                    stack[depth++] = pred[at];
                continue;
            }
            if (!done[task])
                order[count++] = task;
            done[task] = true;
            depth--;
        }
    }
    CHECK(count == og->task_count);
}

void baseline_order(const OrderGraph *og, BaselineOrder which, Arena *a, int *order) {
    switch (which) {
    case XLA_LIST:
    case GREEDY_LIST:
        list_order(og, which, a, order);
        return;
    case XLA_DEPTH_FIRST:
    case XLA_POST_ORDER:
        post_order(og, which, a, order);
        return;
    }
}
