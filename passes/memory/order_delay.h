// Waiting for the moment: tasks that only make memory run no earlier than they are needed.
#ifndef PLIM_PASSES_MEMORY_ORDER_DELAY_H
#define PLIM_PASSES_MEMORY_ORDER_DELAY_H

#include "passes/memory/order_graph.h"

// The problem with more edges, and tasks renumbered so that program order is still allowed:
// of[task of the result] = task of og. Its least load is that of og, and its program order has no
// larger load than og's.
OrderGraph *order_delay(const OrderGraph *og, Arena *a, int **of);

#endif
