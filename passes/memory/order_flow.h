// What must be live while one task runs, in the best case of all orders: a minimum cut.
#ifndef PLIM_PASSES_MEMORY_ORDER_FLOW_H
#define PLIM_PASSES_MEMORY_ORDER_FLOW_H

#include "passes/memory/order_graph.h"

// The least load any order has while the task runs (or a little less, where takeovers are
// possible); so no order's load is less. *work counts steps down; where it runs out, a smaller
// number that is still a bound is returned.
int64_t order_cut_bound(const OrderGraph *og, int task, int64_t *work, Arena *scratch);

#endif
