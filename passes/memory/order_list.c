// Two ways to order tasks: depth first, and by a list of ready tasks with a priority.
//
// The list keeps, for every task, what running it now would add to the live bytes: what it makes
// minus what it is the last to read. That changes only when an object is left with one reader,
// which is then found through the sum of the readers' numbers; the task is pushed again and stale
// heap entries are skipped. Near-linear. Ties go to program order.
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
    int *waiting;        // by task: predecessors not run
    int64_t *growth;     // by task: live bytes it adds if it runs now
    int *readers_left;   // by object
    int64_t *reader_sum; // by object: sum of the numbers of readers left
    bool *done;
} ListWork;

// Eager: all tasks that don't free memory are equal, and so keep program order.
static int64_t list_key(const ListWork *w, int task) {
    if (w->rule == LIST_EAGER && w->growth[task] >= 0)
        return 0;
    return w->growth[task];
}

static void push_ready(ListWork *w, int task) {
    heap_push(&w->heap, (Ready){list_key(w, task), task});
}

// The object's only reader left frees it.
static void credit_last_reader(ListWork *w, int object) {
    const OrderObject *o = &w->og->object[object];
    if (o->kept || w->readers_left[object] != 1)
        return;
    // One reader is left, so the sum of the readers' numbers is its number.
    const int task = (int)w->reader_sum[object];
    w->growth[task] -= o->bytes;
    if (w->waiting[task] == 0 && !w->done[task])
        push_ready(w, task);
}

// Objects that nobody reads are never freed by a reader; they count as made.
static void list_begin(ListWork *w) {
    const OrderGraph *og = w->og;
    for (int t = 0; t < og->task_count; t++) {
        w->waiting[t] = og->pred_begin[t + 1] - og->pred_begin[t];
        for (int i = og->made_begin[t]; i < og->made_begin[t + 1]; i++)
            w->growth[t] += og->object[og->made[i]].bytes;
    }
    for (int o = 0; o < og->object_count; o++) {
        w->readers_left[o] = og->object[o].reader_count;
        for (int i = 0; i < og->object[o].reader_count; i++)
            w->reader_sum[o] += og->object[o].reader[i];
        credit_last_reader(w, o);
    }
    for (int t = 0; t < og->task_count; t++)
        if (w->waiting[t] == 0)
            push_ready(w, t);
}

// What the task was the last but one to read now has a last reader.
static void list_run(ListWork *w, int task) {
    const OrderGraph *og = w->og;
    w->done[task] = true;
    for (int i = og->read_begin[task]; i < og->read_begin[task + 1]; i++) {
        const int object = og->read[i];
        w->readers_left[object]--;
        w->reader_sum[object] -= task;
        credit_last_reader(w, object);
    }
    for (int i = og->succ_begin[task]; i < og->succ_begin[task + 1]; i++)
        if (--w->waiting[og->succ[i]] == 0)
            push_ready(w, og->succ[i]);
}

void order_list(const OrderGraph *og, ListRule rule, Arena *a, int *order) {
    ListWork w = {.og = og,
                  .rule = rule,
                  .heap = {.a = a},
                  .waiting = arena_array(a, int, og->task_count + 1),
                  .growth = arena_array(a, int64_t, og->task_count + 1),
                  .readers_left = arena_array(a, int, og->object_count + 1),
                  .reader_sum = arena_array(a, int64_t, og->object_count + 1),
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
