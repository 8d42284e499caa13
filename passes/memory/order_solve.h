// The best order that can be found for an abstract problem, with a bound.
#ifndef PLIM_PASSES_MEMORY_ORDER_SOLVE_H
#define PLIM_PASSES_MEMORY_ORDER_SOLVE_H

#include "passes/memory/order_graph.h"

// List schedules, in the order of preference among equals.
typedef enum {
    ORDER_PROGRAM,
    ORDER_DEPTH_FIRST,
    ORDER_LIST,
    ORDER_EAGER,
    ORDER_LIST_COUNT
} OrderList;
const char *order_list_name(OrderList which);
void order_list_make(const OrderGraph *og, OrderList which, Arena *scratch, int *order);

// Zero is the default of each.
typedef struct {
    int64_t work;  // elementary steps of search at most; 0: ORDER_WORK
    int64_t limit; // of the load; once the bound is above it, the search ends. 0: none
    bool plain;    // where lists alone keep the limit, nothing is searched
} OrderOptions;
#define ORDER_WORK 20000000LL

typedef struct {
    int64_t load;    // of the order
    int64_t bound;   // proved: no order has less
    int64_t early;   // a bound known before any search, whatever the options
    bool plain;      // nothing was searched, though there may be less
    bool exact;      // load == bound
    const char *how; // the list schedule it is, or "searched"
    int64_t list_load[ORDER_LIST_COUNT];
    int segments; // independent parts
    int searched; // of them: those that no list schedule was good enough for
    int repeated; // of them: those solved by looking like another
    int windows;  // stretches of orders that were searched
    int64_t work; // steps of search spent
} OrderAnswer;

// Fills order[position] = task. Never worse than any list schedule; the same problem and options
// give the same order on every machine. NULL options: all zero.
OrderAnswer order_solve(const OrderGraph *og, const OrderOptions *options, Arena *scratch,
                        int *order);

#endif
