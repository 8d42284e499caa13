// A graph's tasks as an abstract problem of ordering.
#ifndef PLIM_PASSES_MEMORY_ORDER_PROBLEM_H
#define PLIM_PASSES_MEMORY_ORDER_PROBLEM_H

#include "passes/memory/order_graph.h"
#include "passes/pass.h"
#include "passes/storage.h"
#include "passes/tasks.h"

typedef struct {
    OrderGraph *og;
    const int *source; // by task of og: task of the graph, or -1: a bound between the graph's parts
} OrderProblem;

// Of a graph whose groups are contiguous. Objects are owned by Values. options tell the workspaces
// of products and attention; where they are NULL, these are not counted. Everything lives in a.
OrderProblem order_problem(const Module *m, const Graph *g, const Tasks *tasks,
                           const PassOptions *options, Arena *a);
// By task of the graph: bytes that it needs for itself while it runs, as the problem has them. sp:
// of storage_plan_apart.
const int64_t *order_transients(const StoragePlan *sp, const Graph *g, const Tasks *tasks,
                                const PassOptions *options, Arena *a);

#endif
