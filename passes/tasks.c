// Grouping nodes into tasks, and making groups contiguous.
//
// tasks_gather is Kahn's algorithm over groups: among the tasks that are ready, the one whose first
// node stood first goes next. Cost: nodes + operands, and a logarithm for the heap.
#include "passes/tasks.h"

#include "ir/check.h"

#include <string.h>

Tasks *tasks_create(const Graph *g, Arena *a) {
    Tasks *t = arena_new(a, Tasks);
    t->task = arena_array(a, Task, g->node_count + 1);
    t->of = arena_array(a, uint32_t, g->node_limit + 1);
    // Group numbers are small: one flag each says that the group has been seen to its end.
    uint32_t group_limit = 0;
    for (int i = 0; i < g->node_count; i++)
        if (g->node[i]->group >= group_limit)
            group_limit = g->node[i]->group + 1;
    bool *closed = arena_array(a, bool, group_limit + 1);
    for (int i = 0; i < g->node_count;) {
        // Group 0 is none: such a node is a task alone.
        const uint32_t group = g->node[i]->group;
        int end = i + 1;
        while (group && end < g->node_count && g->node[end]->group == group)
            end++;
        // A group that comes again was not contiguous.
        CHECK(!group || !closed[group]);
        closed[group] = true;
        t->task[t->count] = (Task){.node = &g->node[i], .count = end - i};
        for (; i < end; i++)
            t->of[g->node[i]->id] = (uint32_t)t->count;
        t->count++;
    }
    return t;
}

// A min-heap of task numbers: the numbers themselves are the priorities.
typedef struct {
    uint32_t *at;
    int count;
} TaskHeap;

// Sift up.
static void heap_push(TaskHeap *h, uint32_t task) {
    int i = h->count++;
    while (i > 0 && h->at[(i - 1) / 2] > task) {
        h->at[i] = h->at[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->at[i] = task;
}

// Sift down from the top.
// The heap must not be empty.
static uint32_t heap_pop(TaskHeap *h) {
    const uint32_t top = h->at[0];
    const uint32_t moved = h->at[--h->count];
    int i = 0;
    for (;;) {
        int child = 2 * i + 1;
        if (child >= h->count)
            break;
        if (child + 1 < h->count && h->at[child + 1] < h->at[child])
            child++;
        // moved fits above its smaller child.
        if (h->at[child] >= moved)
            break;
        h->at[i] = h->at[child];
        i = child;
    }
    h->at[i] = moved;
    return top;
}

// Numbers tasks by the place of their first node; of[node index] is filled, the count returned.
static uint32_t number_tasks(const Graph *g, uint32_t *of, Arena *scratch) {
    uint32_t group_limit = 1;
    for (int i = 0; i < g->node_count; i++)
        if (g->node[i]->group >= group_limit)
            group_limit = g->node[i]->group + 1;
    uint32_t *of_group = arena_array(scratch, uint32_t, group_limit);
    // UINT32_MAX: no node of the group has come by.
    memset(of_group, 0xff, group_limit * sizeof *of_group);
    uint32_t count = 0;
    for (int i = 0; i < g->node_count; i++) {
        const uint32_t group = g->node[i]->group;
        if (group && of_group[group] != UINT32_MAX) {
            of[i] = of_group[group];
            continue;
        }
        of[i] = count++;
        if (group)
            of_group[group] = of[i];
    }
    return count;
}

// Phases: number the tasks, list the edges between them, then take ready ones in order.
bool tasks_gather(Graph *g, Arena *scratch) {
    const int n = g->node_count;
    uint32_t *of = arena_array(scratch, uint32_t, n + 1);
    const uint32_t count = number_tasks(g, of, scratch);
    uint32_t *task_of_node = arena_array(scratch, uint32_t, g->node_limit + 1); // by node id
    for (int i = 0; i < n; i++)
        task_of_node[g->node[i]->id] = of[i];

    // Edges between tasks, in two passes: count, then fill. Parallel edges are kept and counted.
    int *waiting = arena_array(scratch, int, count + 1);
    int *out_begin = arena_array(scratch, int, count + 2);
    int *member_begin = arena_array(scratch, int, count + 2);
    int edge_count = 0;
    for (int i = 0; i < n; i++) {
        member_begin[of[i] + 1]++;
        for (int k = 0; k < g->node[i]->input_count; k++) {
            const uint32_t from = task_of_node[g->node[i]->input[k]->def->id];
            if (from == of[i])
                continue;
            // waiting counts the edges in, and parallel ones are taken off one by one as well.
            out_begin[from + 1]++;
            waiting[of[i]]++;
            edge_count++;
        }
    }
    // Counts become where each task's part of the lists begins.
    for (uint32_t t = 0; t < count; t++) {
        out_begin[t + 1] += out_begin[t];
        member_begin[t + 1] += member_begin[t];
    }
    uint32_t *edge = arena_array(scratch, uint32_t, edge_count + 1);
    Node **member = arena_array(scratch, Node *, n + 1);
    int *edge_at = arena_array(scratch, int, count + 1);
    int *member_at = arena_array(scratch, int, count + 1);
    for (int i = 0; i < n; i++) {
        member[member_begin[of[i]] + member_at[of[i]]++] = g->node[i];
        for (int k = 0; k < g->node[i]->input_count; k++) {
            const uint32_t from = task_of_node[g->node[i]->input[k]->def->id];
            if (from != of[i])
                edge[out_begin[from] + edge_at[from]++] = of[i];
        }
    }

    // Invariant: the heap holds the tasks not yet done whose inputs all are.
    TaskHeap heap = {.at = arena_array(scratch, uint32_t, count + 1)};
    for (uint32_t t = 0; t < count; t++)
        if (!waiting[t])
            heap_push(&heap, t);
    Node **sorted = arena_array(scratch, Node *, n + 1);
    int done = 0;
    while (heap.count) {
        const uint32_t t = heap_pop(&heap);
        for (int i = member_begin[t]; i < member_begin[t + 1]; i++)
            sorted[done++] = member[i];
        for (int i = out_begin[t]; i < out_begin[t + 1]; i++)
            if (--waiting[edge[i]] == 0)
                heap_push(&heap, edge[i]);
    }
    // What is left waits for itself: a cycle through a group. The graph is still as it was.
    if (done != n)
        return false;
    memcpy(g->node, sorted, (size_t)n * sizeof *sorted);
    return true;
}
