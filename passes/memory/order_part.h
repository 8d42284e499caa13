// Smaller problems inside a problem of ordering: without tasks that use no memory, and segments
// that can be ordered on their own.
#ifndef PLIM_PASSES_MEMORY_ORDER_PART_H
#define PLIM_PASSES_MEMORY_ORDER_PART_H

#include "passes/memory/order_graph.h"

// The problem without tasks that use no memory; of[task of the result] = task of og. Any order of
// it is extended by order_expand, at the same load.
OrderGraph *order_contract(const OrderGraph *og, Arena *a, int **of);
// Fills order for og from an order of the contracted problem: other tasks run as soon as they can.
void order_expand(const OrderGraph *og, const int *of, const int *small_order, int small_count,
                  Arena *scratch, int *order);

// Tasks begin .. end - 1 in program order, which in every order stand at these positions: the last
// of them has every other task of the problem before or behind it.
typedef struct {
    int begin, end;
    int64_t base;   // bytes that live all through and that none of its tasks uses
    OrderGraph *og; // its tasks, numbered from 0; what it finds and leaves is FROM_START and KEPT
    uint64_t hash;  // equal for equal problems
} OrderSegment;

OrderSegment *order_segments(const OrderGraph *og, Arena *a, int *count);
// The same tasks, edges and objects, but for what objects are named after.
bool order_graph_equal(const OrderGraph *x, const OrderGraph *y);

// No order of og has a smaller load: what must be live while each task runs, whatever the order.
int64_t order_bound(const OrderGraph *og, Arena *scratch);

#endif
