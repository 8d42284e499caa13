// A graph's tasks as an abstract problem of ordering.
#ifndef PLIM_PASSES_MEMORY_ORDER_PROBLEM_H
#define PLIM_PASSES_MEMORY_ORDER_PROBLEM_H

#include "passes/memory/order_graph.h"
#include "passes/storage.h"

typedef struct {
    OrderGraph *og;
    const int *source; // by task of og: task of the graph, or -1: a bound between the graph's parts
} OrderProblem;

// Of a graph whose groups are contiguous. Objects are owned by Values, and live in a with the rest.
OrderProblem order_problem(const Module *m, const Graph *g, const Tasks *tasks, Arena *a);

#endif
