// A part of an order being run, and undone again: what is live, and what each task would cost next.
#ifndef PLIM_PASSES_MEMORY_ORDER_STATE_H
#define PLIM_PASSES_MEMORY_ORDER_STATE_H

#include "passes/memory/order_graph.h"

typedef struct {
    uint64_t low, high;
} OrderKey;

typedef struct {
    const OrderGraph *og;
    int64_t live;      // bytes between two tasks
    int *left;         // by object: users to come
    int64_t *left_sum; // by object: sum of their numbers
    int *waiting;      // by task: predecessors not run
    int64_t *growth;   // by task: how live changes if it runs next
    int *ready;        // tasks that could run next, in no order that means anything
    int ready_count;
    int *ready_at;  // by task: its place in ready, or -1
    OrderKey key;   // of the set of tasks that have run: equal sets have equal keys
    OrderKey *word; // by task: what it changes in the key
    int64_t work;   // elementary steps so far
} OrderState;

// Nothing has run.
OrderState *order_state_create(const OrderGraph *og, Arena *a);
void order_state_run(OrderState *s, int task);  // it must be ready
void order_state_undo(OrderState *s, int task); // the last one that ran
// Live bytes while the task runs, if it runs next.
int64_t order_state_load(const OrderState *s, int task);

#endif
