// What no order of a graph can go below.
#ifndef PLIM_TESTS_BENCH_GRAPH_BOUND_H
#define PLIM_TESTS_BENCH_GRAPH_BOUND_H

#include "passes/memory/order_graph.h"

// Bytes live at most in every order, at least. *task gets one where it is reached.
int64_t graph_bound(const OrderGraph *og, Arena *a, int *task);

#endif
