// Two ways to order tasks: depth first, and by a list of ready tasks with a priority.
//
// The list keeps, for every task, what running it now would add to the live bytes: what it is the
// first to use minus what it is the last to use. That changes only when an object begins, for all
// its users, or is left with one user, which is then found through the sum of the users' numbers;
// the task is pushed again and stale heap entries are skipped. Near-linear. Ties go to program
// order.
#include "ir/check.h"
#include "passes/memory/order_graph.h"

// Pushes a task's unfinished predecessors until there are none, then gives the task out. Sinks are
// taken in program order, so what ends early is computed early.
void order_depth_first(const OrderGraph *og, Arena *a, int *order) {
    int *next = arena_array(a, int, og->task_count + 1); // by task: predecessors looked at
    bool *done = arena_array(a, bool, og->task_count + 1);
    int *stack = arena_array(a, int, og->task_count + 1);
    int count = 0;
    for (int sink = 0; sink < og->task_count; sink++) {
        if (og->succ_begin[sink] != og->succ_begin[sink + 1])
            continue;
        // Invariant: each task on the stack is waited for by the one below it.
        int depth = 0;
        stack[depth++] = sink;
        while (depth > 0) {
            const int task = stack[depth - 1];
            const int at = og->pred_begin[task] + next[task];
            if (done[task]) {
                depth--;
            } else if (at < og->pred_begin[task + 1]) {
                next[task]++;
                if (!done[og->pred[at]])
                    stack[depth++] = og->pred[at];
            } else {
                done[task] = true;
                order[count++] = task;
                depth--;
            }
        }
    }
    CHECK(count == og->task_count);
}

typedef struct {
    // Live bytes it would add, as list_key has it when pushed.
    int64_t key;
    int task;
} Ready;

typedef struct {
    Arena *a;
    Ready *at;
    int count, capacity;
} ReadyHeap;

// Ties: the task that stands first in program order.
static bool before(Ready x, Ready y) {
    return x.key != y.key ? x.key < y.key : x.task < y.task;
}

static void heap_push(ReadyHeap *h, Ready r) {
    if (h->count == h->capacity) {
        const int capacity = h->capacity ? 2 * h->capacity : 256;
        h->at = arena_grow(h->a, h->at, (size_t)h->count, (size_t)capacity, sizeof *h->at);
        h->capacity = capacity;
    }
    int i = h->count++;
    for (; i > 0 && before(r, h->at[(i - 1) / 2]); i = (i - 1) / 2)
        h->at[i] = h->at[(i - 1) / 2];
    h->at[i] = r;
}

static Ready heap_pop(ReadyHeap *h) {
    const Ready top = h->at[0], moved = h->at[--h->count];
    int i = 0;
    for (int child = 1; child < h->count; child = 2 * i + 1) {
        if (child + 1 < h->count && before(h->at[child + 1], h->at[child]))
            child++;
        if (!before(h->at[child], moved))
            break;
        h->at[i] = h->at[child];
        i = child;
    }
    h->at[i] = moved;
    return top;
}

typedef struct {
    const OrderGraph *og;
    ListRule rule;
    ReadyHeap heap;
    int *waiting;      // by task: predecessors not run
    int64_t *growth;   // by task: live bytes it adds if it runs now
    int *users_left;   // by object
    int64_t *user_sum; // by object: sum of the numbers of users left
    bool *done;
} ListWork;

// Eager: less than this is no growth. So scalars that updates wait for come early, and updates can.
enum { SMALL_BYTES = 4096 };

// Eager: all tasks that add memory worth speaking of are equal, and so keep program order.
static int64_t list_key(const ListWork *w, int task) {
    if (w->rule == LIST_EAGER && w->growth[task] >= SMALL_BYTES)
        return SMALL_BYTES;
    return w->growth[task];
}

static void push_ready(ListWork *w, int task) {
    if (w->waiting[task] == 0 && !w->done[task])
        heap_push(&w->heap, (Ready){list_key(w, task), task});
}

// The object's only user left frees it.
static void credit_last_user(ListWork *w, int object) {
    const OrderObject *o = &w->og->object[object];
    if (o->flags & OBJECT_KEPT || w->users_left[object] != 1 || o->bytes == 0)
        return;
    // One user is left, so the sum of the users' numbers is its number.
    const int task = (int)w->user_sum[object];
    w->growth[task] -= o->bytes;
    push_ready(w, task);
}

// An object that is there now costs none of its users anything.
static void credit_begun(ListWork *w, int object) {
    const OrderObject *o = &w->og->object[object];
    for (int i = 0; i < o->user_count && o->bytes > 0; i++) {
        w->growth[o->user[i]] -= o->bytes;
        push_ready(w, o->user[i]);
    }
}

static void list_begin(ListWork *w) {
    const OrderGraph *og = w->og;
    for (int t = 0; t < og->task_count; t++) {
        w->waiting[t] = og->pred_begin[t + 1] - og->pred_begin[t];
        for (int i = og->use_begin[t]; i < og->use_begin[t + 1]; i++)
            if (!(og->object[og->use[i]].flags & OBJECT_FROM_START))
                w->growth[t] += og->object[og->use[i]].bytes;
    }
    for (int t = 0; t < og->task_count; t++)
        push_ready(w, t);
    for (int o = 0; o < og->object_count; o++) {
        w->users_left[o] = og->object[o].user_count;
        for (int i = 0; i < og->object[o].user_count; i++)
            w->user_sum[o] += og->object[o].user[i];
        credit_last_user(w, o);
    }
}

// What the task was the first or the last but one to use is now cheaper for others.
static void list_run(ListWork *w, int task) {
    const OrderGraph *og = w->og;
    w->done[task] = true;
    for (int i = og->use_begin[task]; i < og->use_begin[task + 1]; i++) {
        const int object = og->use[i];
        const OrderObject *o = &og->object[object];
        if (w->users_left[object] == o->user_count && !(o->flags & OBJECT_FROM_START))
            credit_begun(w, object);
        w->users_left[object]--;
        w->user_sum[object] -= task;
        credit_last_user(w, object);
    }
    for (int i = og->succ_begin[task]; i < og->succ_begin[task + 1]; i++) {
        w->waiting[og->succ[i]]--;
        push_ready(w, og->succ[i]);
    }
}

void order_list(const OrderGraph *og, ListRule rule, Arena *a, int *order) {
    ListWork w = {.og = og,
                  .rule = rule,
                  .heap = {.a = a},
                  .waiting = arena_array(a, int, og->task_count + 1),
                  .growth = arena_array(a, int64_t, og->task_count + 1),
                  .users_left = arena_array(a, int, og->object_count + 1),
                  .user_sum = arena_array(a, int64_t, og->object_count + 1),
                  .done = arena_array(a, bool, og->task_count + 1)};
    list_begin(&w);
    int count = 0;
    while (w.heap.count) {
        const Ready r = heap_pop(&w.heap);
        // Stale: run already, or pushed again with a lower key since.
        if (w.done[r.task] || r.key != list_key(&w, r.task))
            continue;
        order[count++] = r.task;
        list_run(&w, r.task);
    }
    CHECK(count == og->task_count);
}
