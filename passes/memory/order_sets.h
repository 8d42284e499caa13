// For every task of a problem of ordering, the set of those before or behind it, as bits.
#ifndef PLIM_PASSES_MEMORY_ORDER_SETS_H
#define PLIM_PASSES_MEMORY_ORDER_SETS_H

#include "passes/memory/order_graph.h"

#include <stddef.h>

// Tasks it is meant for at most: n sets of n bits are 32 MiB then.
enum { ORDER_SETS_MAX = 16384 };

typedef struct {
    size_t words; // of one set
    uint64_t *bit;
} OrderSets;

// Each task's ancestors, or descendants, and itself.
OrderSets order_sets_before(const OrderGraph *og, Arena *a);
OrderSets order_sets_behind(const OrderGraph *og, Arena *a);
// Adds the task's set.
void order_sets_join(const OrderSets *s, uint64_t *into, int task);
// Whether the other one is in the task's set.
bool order_sets_has(const OrderSets *s, int task, int other);

#endif
