// Edges that lose nothing.
//
// A task that makes an object nobody else begins, while what it reads stays live for another reader
// w anyway, may wait until everything has run that comes before each of its followers and before
// each such w: until then running it frees nothing, every set is the smaller by what it makes, and
// while it runs no more is live than there would have been. So edges are drawn from the last of
// those common ancestors. Casts of weights, constants and random masks wait for the tasks that need
// them, values computed again for the backward pass wait for it: training steps have hundreds of
// them, all ready long before, and a search that need not choose about them is left with few
// branches. Tasks with bytes of their own don't wait: their peak would move. Cost: edges x n / 64;
// beyond a stated number of tasks nothing waits.
#include "passes/memory/order_delay.h"

#include "passes/memory/order_sets.h"

#include <string.h>

// Edges drawn to one task at most.
enum { EDGES_MAX = 4 };

typedef struct {
    const OrderGraph *og;
    OrderSets before;
    bool *waits;
    int *anchor;      // by task that waits: in program order it stands right before this one
    uint64_t *common; // scratch: one set
} Delay;

static bool is_follower(const OrderGraph *og, int task, int other) {
    for (int i = og->succ_begin[task]; i < og->succ_begin[task + 1]; i++)
        if (og->succ[i] == other)
            return true;
    return false;
}

typedef enum { ROLE_MAKES, ROLE_READS, ROLE_UNCLEAR } Role;

// Makes: begins with the task in every order, and outlasts it. Reads: has begun before it.
static Role role_of(const Delay *d, int task, const OrderObject *o) {
    if (o->flags & OBJECT_FROM_START)
        return ROLE_READS;
    bool others = o->flags & OBJECT_KEPT, follow = true;
    for (int i = 0; i < o->user_count; i++) {
        const int user = o->user[i];
        if (user != task && order_sets_has(&d->before, task, user))
            return ROLE_READS;
        others = others || user != task;
        follow = follow && (user == task || is_follower(d->og, task, user));
    }
    return others && follow ? ROLE_MAKES : ROLE_UNCLEAR;
}

static bool may_wait(const Delay *d, int task) {
    const OrderGraph *og = d->og;
    if (og->transient[task] > 0 || og->succ_begin[task] == og->succ_begin[task + 1])
        return false;
    bool makes = false;
    for (int i = og->use_begin[task]; i < og->use_begin[task + 1]; i++) {
        const Role role = role_of(d, task, &og->object[og->use[i]]);
        if (role == ROLE_UNCLEAR)
            return false;
        makes = makes || role == ROLE_MAKES;
    }
    return makes;
}

// The last reader behind it in program order that doesn't wait itself, or -1.
static int keeper_of(const Delay *d, int task, const OrderObject *o) {
    for (int i = o->user_count - 1; i >= 0 && o->user[i] > task; i--)
        if (!d->waits[o->user[i]])
            return o->user[i];
    return -1;
}

// Only tasks before the other one stay in the set.
static void keep_common(Delay *d, int task, int other) {
    uint64_t *set = d->common;
    for (size_t i = 0; i < d->before.words; i++)
        set[i] &= d->before.bit[(size_t)other * d->before.words + i];
    set[other / 64] &= ~((uint64_t)1 << (other % 64));
    d->anchor[task] = other < d->anchor[task] ? other : d->anchor[task];
}

// Fills common with what the task may wait for, and its anchor. False: it can't wait.
static bool find_common(Delay *d, int task) {
    const OrderGraph *og = d->og;
    memset(d->common, 0xff, d->before.words * sizeof *d->common);
    d->anchor[task] = og->task_count;
    for (int i = og->succ_begin[task]; i < og->succ_begin[task + 1]; i++)
        keep_common(d, task, og->succ[i]);
    for (int i = og->use_begin[task]; i < og->use_begin[task + 1]; i++) {
        const OrderObject *o = &og->object[og->use[i]];
        if (o->flags & OBJECT_KEPT || role_of(d, task, o) == ROLE_MAKES)
            continue;
        const int keeper = keeper_of(d, task, o);
        if (keeper < 0)
            return false;
        keep_common(d, task, keeper);
    }
    return true;
}

// Edges from the last tasks of the set, which the others are mostly before.
static void add_edges(const Delay *d, int task, const int *number, OrderBuild *b) {
    int from[EDGES_MAX], count = 0;
    for (size_t w = d->before.words; w-- > 0 && count < EDGES_MAX;)
        for (uint64_t rest = d->common[w]; rest && count < EDGES_MAX;) {
            const int bit = 63 - __builtin_clzll(rest), p = (int)w * 64 + bit;
            rest &= ~((uint64_t)1 << bit);
            bool last = p < d->og->task_count && p != task && !d->waits[p];
            for (int i = 0; i < count && last; i++)
                last = !order_sets_has(&d->before, from[i], p);
            if (!last)
                continue;
            from[count++] = p;
            order_build_edge(b, number[p], number[task]);
        }
}

// Tasks that wait stand right before their anchors; all others as before.
static void number_tasks(const Delay *d, Arena *a, int *number, int *of) {
    const int n = d->og->task_count;
    int *first = arena_array(a, int, n + 1), *next = arena_array(a, int, n + 1); // lists by anchor
    for (int t = n - 1; t >= 0; t--)
        if (d->waits[t]) {
            next[t] = first[d->anchor[t]];
            first[d->anchor[t]] = t + 1;
        }
    int count = 0;
    for (int t = 0; t < n; t++) {
        if (d->waits[t])
            continue;
        for (int k = first[t]; k > 0; k = next[k - 1]) {
            number[k - 1] = count;
            of[count++] = k - 1;
        }
        number[t] = count;
        of[count++] = t;
    }
}

static void find_waiting(Delay *d) {
    const OrderGraph *og = d->og;
    for (int t = 0; t < og->task_count; t++)
        d->waits[t] = may_wait(d, t);
    // One that others wait for behind it doesn't wait itself: it would have to be drawn along.
    for (int t = 0; t < og->task_count; t++)
        for (int i = og->pred_begin[t]; i < og->pred_begin[t + 1] && d->waits[t]; i++)
            d->waits[og->pred[i]] = false;
    for (int t = 0; t < og->task_count; t++)
        d->waits[t] = d->waits[t] && find_common(d, t);
    // Tasks that stopped waiting may be keepers now: anchors are those of what is left.
    for (int t = 0; t < og->task_count; t++)
        if (d->waits[t])
            find_common(d, t);
}

static void copy_task(const OrderGraph *og, int task, const int *number, OrderBuild *b) {
    for (int i = og->pred_begin[task]; i < og->pred_begin[task + 1]; i++)
        order_build_edge(b, number[og->pred[i]], number[task]);
    for (int i = og->over_begin[task]; i < og->over_begin[task + 1]; i++)
        order_build_takeover(b, number[task], og->over[i]);
    order_build_transient(b, number[task], og->transient[task]);
}

OrderGraph *order_delay(const OrderGraph *og, Arena *a, int **of) {
    const int n = og->task_count;
    Arena *scratch = arena_create();
    Delay d = {.og = og,
               .waits = arena_array(scratch, bool, n + 1),
               .anchor = arena_array(scratch, int, n + 1)};
    if (n <= ORDER_SETS_MAX) {
        d.before = order_sets_before(og, scratch);
        d.common = arena_array(scratch, uint64_t, d.before.words + 1);
        find_waiting(&d);
    }
    int *number = arena_array(scratch, int, n + 1);
    *of = arena_array(a, int, n + 1);
    number_tasks(&d, scratch, number, *of);
    OrderBuild *b = order_build_create(n, a);
    for (int i = 0; i < og->object_count; i++) {
        const OrderObject *o = &og->object[i];
        order_build_object(b, o->bytes, o->flags, o->owner);
        for (int k = 0; k < o->user_count; k++)
            order_build_use(b, i, number[o->user[k]]);
    }
    for (int t = 0; t < n; t++) {
        copy_task(og, t, number, b);
        if (d.waits[t] && find_common(&d, t))
            add_edges(&d, t, number, b);
    }
    arena_release(scratch);
    return order_build_finish(b);
}
