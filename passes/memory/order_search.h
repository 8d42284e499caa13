// Exact search for an order of least load, bounded by counted work.
#ifndef PLIM_PASSES_MEMORY_ORDER_SEARCH_H
#define PLIM_PASSES_MEMORY_ORDER_SEARCH_H

#include "passes/memory/order_graph.h"

typedef struct {
    int64_t load;  // of the order found, or of the one that was there
    int64_t bound; // proved: no order has less
    bool found;    // order was filled with a better one
    int64_t work;  // steps spent
} OrderSearch;

// Looks for an order with load < high, where no order has less than low. Ends when the load equals
// the bound or after about `work` steps. order is filled when a better one is found.
OrderSearch order_search(const OrderGraph *og, int64_t low, int64_t high, int64_t work, int *order);

// An order with load <= limit, found going down from the start with few steps back, or false. Rules
// 0 .. ORDER_RULES - 1 find different ones.
enum { ORDER_RULES = 2 };
bool order_within(const OrderGraph *og, int rule, int64_t limit, int *order);

#endif
