// What orders are made of: tasks, what must precede what, and the memory objects they make and
// read.
#ifndef PLIM_PASSES_MEMORY_ORDER_GRAPH_H
#define PLIM_PASSES_MEMORY_ORDER_GRAPH_H

#include "ir/module.h"
#include "passes/tasks.h"

// A stored value and all views of it.
typedef struct {
    int64_t bytes; // 0 where it lies in state or is free otherwise
    bool kept;     // a result: never freed
    int reader_count;
    const int *reader; // tasks, each once
} OrderObject;

typedef struct {
    const Tasks *tasks;
    int task_count;
    int *pred_begin, *pred; // tasks that come first: data, and readers of a state before its writer
    int *succ_begin, *succ;
    int object_count;
    OrderObject *object;
    int *made_begin, *made; // by task: objects it makes
    int *read_begin, *read; // by task: objects it reads
} OrderGraph;

// In the graph's present order, which is one of those allowed.
OrderGraph *order_graph_create(const Module *m, const Graph *g, const Tasks *tasks, Arena *a);

// Candidates: each fills order[position] = task.
void order_depth_first(const OrderGraph *og, Arena *a, int *order);
// Always the ready task that adds least to what is live; eager: only tasks that make memory smaller
// jump the queue, all others keep program order.
typedef enum { LIST_LEAST, LIST_EAGER } ListRule;
void order_list(const OrderGraph *og, ListRule rule, Arena *a, int *order);

#endif
