// The view of a graph that orders need, with tables by dense number.
//
// Besides data edges there are anti-dependences: a task that writes a state's next version comes
// after those that read the old one, so that it can be written in place. Only those that the
// program order obeys are added: so the edges never make a cycle, and program order is always
// allowed. Cost: linear (edges between the same two tasks are kept once by a stamp).
#include "passes/memory/order_graph.h"

#include "passes/storage_work.h"

#include <string.h>

// Growing lists by owner: pairs are collected, then sorted by counting.
typedef struct {
    Arena *a;
    int (*pair)[2];
    int count, capacity;
} PairList;

// Doubling: linear in all.
static void add_pair(PairList *l, int owner, int item) {
    if (l->count == l->capacity) {
        const int capacity = l->capacity ? 2 * l->capacity : 256;
        l->pair = arena_grow(l->a, l->pair, (size_t)l->count, (size_t)capacity, sizeof *l->pair);
        l->capacity = capacity;
    }
    l->pair[l->count][0] = owner;
    l->pair[l->count++][1] = item;
}

// begin[owner] .. begin[owner + 1] index the items; swap exchanges the two roles.
// Counting sort: items of one owner keep the order in which they were added.
static void group_pairs(const PairList *l, int owners, bool swap, int **begin, int **item) {
    *begin = arena_array(l->a, int, owners + 2);
    *item = arena_array(l->a, int, l->count + 1);
    for (int i = 0; i < l->count; i++)
        (*begin)[l->pair[i][swap ? 1 : 0] + 1]++;
    for (int i = 0; i < owners; i++)
        (*begin)[i + 1] += (*begin)[i];
    int *filled = arena_array(l->a, int, owners + 1);
    for (int i = 0; i < l->count; i++) {
        const int owner = l->pair[i][swap ? 1 : 0];
        (*item)[(*begin)[owner] + filled[owner]++] = l->pair[i][swap ? 0 : 1];
    }
}

typedef struct {
    const Module *m;
    const Graph *g;
    const Tasks *tasks;
    Arena *a;
    const Value **root; // by value id
    int *object_of;     // by root's value id, -1: none
    OrderGraph *og;
    PairList edges, made, reads;
} OrderWork;

// Objects: values that leave their task, but for what is never allocated for the entry.
static void find_objects(OrderWork *w) {
    const Graph *g = w->g;
    // By root: read by another task; goes into state; is a result.
    bool *leaves = arena_array(w->a, bool, g->value_limit + 1);
    bool *in_state = arena_array(w->a, bool, g->value_limit + 1);
    bool *result = arena_array(w->a, bool, g->value_limit + 1);
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        for (int r = 0; r < n->result_count; r++) {
            const Value *v = &n->result[r];
            w->root[v->id] = node_is_view(n) ? w->root[n->input[0]->id] : v;
        }
        for (int k = 0; k < n->input_count; k++)
            if (w->tasks->of[n->input[k]->def->id] != w->tasks->of[n->id])
                leaves[w->root[n->input[k]->id]->id] = true;
        if (n->op == OP_ACCUMULATE) // summed in place, all through the step
            in_state[n->result[0].id] = in_state[n->input[0]->id] = true;
    }
    for (int i = 0; i < g->commit_count; i++)
        in_state[w->root[g->commit[i].value->id]->id] = true;
    for (int i = 0; i < g->result_count; i++)
        leaves[w->root[g->result[i].value->id]->id] = result[w->root[g->result[i].value->id]->id] =
            true;
    // Second walk: only now is it known what leaves its task.
    w->og->object = arena_array(w->a, OrderObject, g->value_limit + 1);
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        const bool leaf = n->op == OP_INPUT || n->op == OP_STATE || n->op == OP_CONSTANT;
        for (int r = 0; r < n->result_count; r++) {
            const Value *v = &n->result[r];
            w->object_of[v->id] = -1;
            // Leaves have their memory anyway; a view is counted with its root.
            if (leaf || w->root[v->id] != v || !leaves[v->id] || in_state[v->id])
                continue;
            w->object_of[v->id] = w->og->object_count;
            add_pair(&w->made, (int)w->tasks->of[n->id], w->og->object_count);
            w->og->object[w->og->object_count++] = (OrderObject){
                .bytes = (int64_t)storage_padded(type_bytes(&v->type)), .kept = result[v->id]};
        }
    }
}

// Data edges, once each, and who reads what, once each.
// The stamps work because readers are visited task by task.
static void find_data_edges(OrderWork *w) {
    int *edge_seen = arena_array(w->a, int, w->tasks->count + 1); // by source: last target + 1
    int *read_seen = arena_array(w->a, int, w->og->object_count + 1);
    for (int t = 0; t < w->tasks->count; t++) {
        const Task *task = &w->tasks->task[t];
        for (int i = 0; i < task->count; i++) {
            const Node *n = task->node[i];
            for (int k = 0; k < n->input_count; k++) {
                const int from = (int)w->tasks->of[n->input[k]->def->id];
                if (from != t && edge_seen[from] != t + 1) {
                    edge_seen[from] = t + 1;
                    add_pair(&w->edges, from, t);
                }
                // Reads inside the task that makes the object count too: it is live while they run.
                const int object = w->object_of[w->root[n->input[k]->id]->id];
                if (object >= 0 && read_seen[object] != t + 1) {
                    read_seen[object] = t + 1;
                    add_pair(&w->reads, t, object);
                }
            }
        }
    }
}

// Readers of a state's old version come before the task that writes its next one.
static void find_anti_edges(OrderWork *w) {
    const Graph *g = w->g;
    int *writer = arena_array(w->a, int, w->m->state_count + 1); // task + 1
    const State **state_of = arena_array(w->a, const State *, g->value_limit + 1);
    for (int i = 0; i < g->commit_count; i++)
        writer[g->commit[i].state->id] = (int)w->tasks->of[g->commit[i].value->def->id] + 1;
    for (int i = 0; i < g->node_count; i++)
        if (g->node[i]->op == OP_STATE)
            state_of[g->node[i]->result[0].id] =
                module_find_state(w->m, node_text(g->node[i], "name", ""));
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        const int reader = (int)w->tasks->of[n->id];
        for (int k = 0; k < n->input_count; k++) {
            const State *s = state_of[w->root[n->input[k]->id]->id];
            // A reader after the writer in program order needs the old version kept; no edge
            // forbids that.
            if (s && writer[s->id] - 1 > reader)
                add_pair(&w->edges, reader, writer[s->id] - 1);
        }
    }
}

OrderGraph *order_graph_create(const Module *m, const Graph *g, const Tasks *tasks, Arena *a) {
    OrderGraph *og = arena_new(a, OrderGraph);
    OrderWork w = {.m = m,
                   .g = g,
                   .tasks = tasks,
                   .a = a,
                   .root = arena_array(a, const Value *, g->value_limit + 1),
                   .object_of = arena_array(a, int, g->value_limit + 1),
                   .og = og,
                   .edges = {.a = a},
                   .made = {.a = a},
                   .reads = {.a = a}};
    og->tasks = tasks;
    og->task_count = tasks->count;
    find_objects(&w);
    find_data_edges(&w);
    find_anti_edges(&w);
    // The same edges from both ends.
    group_pairs(&w.edges, tasks->count, false, &og->succ_begin, &og->succ);
    group_pairs(&w.edges, tasks->count, true, &og->pred_begin, &og->pred);
    group_pairs(&w.made, tasks->count, false, &og->made_begin, &og->made);
    group_pairs(&w.reads, tasks->count, false, &og->read_begin, &og->read);
    int *begin, *reader;
    group_pairs(&w.reads, og->object_count, true, &begin, &reader);
    for (int i = 0; i < og->object_count; i++) {
        og->object[i].reader = reader + begin[i];
        og->object[i].reader_count = begin[i + 1] - begin[i];
    }
    return og;
}
