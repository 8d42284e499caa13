// Edges that lose nothing.
//
// A task that makes objects and can free none (a weight's cast, a constant, a random mask) is best
// run right before the first task that needs it: in between, every set is the smaller by what it
// makes, and while it runs no more is live than was before the one that needs it. So it may wait
// for everything that is before each of its followers: an edge is drawn from the forerunners of its
// first follower that are ancestors of all the others too. That leaves searches nothing to choose
// about such tasks, of which training steps have hundreds, all ready from the start; and it brings
// out the memory-insensitive tasks that they hid. Cost: edges x n / 64 for the ancestors; beyond a
// stated size only tasks with one follower wait.
#include "passes/memory/order_delay.h"

#include "passes/memory/order_sets.h"

static bool is_follower(const OrderGraph *og, int task, int other) {
    for (int i = og->succ_begin[task]; i < og->succ_begin[task + 1]; i++)
        if (og->succ[i] == other)
            return true;
    return false;
}

// Whether the task's object begins with it and is needed behind it, whatever the order; or is kept.
static bool only_makes(const OrderGraph *og, int task, const OrderObject *o) {
    if (o->flags & OBJECT_KEPT && o->flags & OBJECT_FROM_START)
        return true;
    if (o->flags & OBJECT_FROM_START || (o->user_count < 2 && !(o->flags & OBJECT_KEPT)))
        return false;
    for (int i = 0; i < o->user_count; i++)
        if (o->user[i] != task && !is_follower(og, task, o->user[i]))
            return false;
    return true;
}

static bool can_wait(const OrderGraph *og, int task) {
    if (og->transient[task] > 0 || og->succ_begin[task] == og->succ_begin[task + 1] ||
        og->over_begin[task] < og->over_begin[task + 1])
        return false;
    for (int i = og->use_begin[task]; i < og->use_begin[task + 1]; i++)
        if (!only_makes(og, task, &og->object[og->use[i]]))
            return false;
    return true;
}

// Whether it comes before every follower of the task.
static bool leads_all(const OrderGraph *og, int task, int other, const OrderSets *before) {
    for (int i = og->succ_begin[task] + 1; i < og->succ_begin[task + 1]; i++)
        if (!before->bit || !order_sets_has(before, og->succ[i], other))
            return false;
    return true;
}

// Tasks that wait stand right before the first that needs them; all others as before.
static void number_tasks(const OrderGraph *og, const bool *waits, Arena *a, int *number, int *of) {
    bool *done = arena_array(a, bool, og->task_count + 1);
    int count = 0;
    for (int t = 0; t < og->task_count; t++) {
        if (waits[t])
            continue;
        for (int i = og->pred_begin[t]; i <= og->pred_begin[t + 1]; i++) {
            const int next = i < og->pred_begin[t + 1] ? og->pred[i] : t;
            if (done[next])
                continue;
            done[next] = true;
            number[next] = count;
            of[count++] = next;
        }
    }
}

OrderGraph *order_delay(const OrderGraph *og, Arena *a, int **of) {
    const int n = og->task_count;
    bool *waits = arena_array(a, bool, n + 1);
    int *number = arena_array(a, int, n + 1);
    *of = arena_array(a, int, n + 1);
    for (int t = 0; t < n; t++)
        waits[t] = can_wait(og, t);
    // One that others wait for behind it doesn't wait itself: it would have to be drawn along.
    for (int t = 0; t < n; t++)
        for (int i = og->pred_begin[t]; i < og->pred_begin[t + 1] && waits[t]; i++)
            waits[og->pred[i]] = false;
    number_tasks(og, waits, a, number, *of);
    Arena *scratch = arena_create();
    OrderSets before = {0};
    if (n <= ORDER_SETS_MAX)
        before = order_sets_before(og, scratch);
    OrderBuild *b = order_build_create(n, a);
    for (int i = 0; i < og->object_count; i++) {
        const OrderObject *o = &og->object[i];
        order_build_object(b, o->bytes, o->flags, o->owner);
        for (int k = 0; k < o->user_count; k++)
            order_build_use(b, i, number[o->user[k]]);
    }
    for (int t = 0; t < n; t++) {
        const int first = waits[t] ? og->succ[og->succ_begin[t]] : -1;
        for (int i = og->pred_begin[t]; i < og->pred_begin[t + 1]; i++)
            order_build_edge(b, number[og->pred[i]], number[t]);
        for (int i = first < 0 ? 0 : og->pred_begin[first];
             first >= 0 && i < og->pred_begin[first + 1]; i++) {
            const int p = og->pred[i];
            if (!waits[p] && number[p] < number[t] && leads_all(og, t, p, &before))
                order_build_edge(b, number[p], number[t]);
        }
        for (int i = og->over_begin[t]; i < og->over_begin[t + 1]; i++)
            order_build_takeover(b, number[t], og->over[i]);
        order_build_transient(b, number[t], og->transient[t]);
    }
    arena_release(scratch);
    return order_build_finish(b);
}
