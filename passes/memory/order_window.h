// Making an order better where it needs most.
#ifndef PLIM_PASSES_MEMORY_ORDER_WINDOW_H
#define PLIM_PASSES_MEMORY_ORDER_WINDOW_H

#include "passes/memory/order_graph.h"

typedef struct {
    int size;      // tasks of the first windows; 0: ORDER_WINDOW
    int64_t bound; // low enough
    int64_t work;  // elementary steps of search at most
} OrderWindowOptions;
enum { ORDER_WINDOW = 24 };

typedef struct {
    int64_t load; // of the order
    int windows;  // searched
    int64_t work; // steps spent
} OrderWindows;

// Searches windows of an allowed order around its peak and keeps what is better. Never makes the
// load larger. Deterministic.
OrderWindows order_improve(const OrderGraph *og, OrderWindowOptions options, Arena *scratch,
                           int *order);

#endif
