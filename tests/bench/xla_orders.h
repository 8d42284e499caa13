// Orders of others: XLA's three memory schedules, and the plain greedy list.
#ifndef PLIM_TESTS_BENCH_XLA_ORDERS_H
#define PLIM_TESTS_BENCH_XLA_ORDERS_H

#include "passes/memory/order_graph.h"

typedef enum {
    XLA_LIST,        // most bytes freed first, then most users, then ready last
    XLA_DEPTH_FIRST, // post-order, operands with more users behind them first, then larger ones
    XLA_POST_ORDER,  // operands as they stand
    GREEDY_LIST      // least live bytes added first, then program order
} BaselineOrder;

// order[position] = task.
void baseline_order(const OrderGraph *og, BaselineOrder which, Arena *a, int *order);

#endif
