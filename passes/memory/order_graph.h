// The problem of ordering, abstract: tasks, what must precede what, and the memory they use.
//
// Tasks are numbered in program order, which is always allowed: edges lead from lower to higher
// numbers. An object is memory that lives from the first of its users to run to the last one,
// whichever those are. An order is order[position] = task; it is allowed when no task comes before
// one of its predecessors.
#ifndef PLIM_PASSES_MEMORY_ORDER_GRAPH_H
#define PLIM_PASSES_MEMORY_ORDER_GRAPH_H

#include "ir/arena.h"
#include "passes/memory/pack.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    OBJECT_FROM_START = 1, // there before the first task: an argument, a sum over micro-batches
    OBJECT_KEPT = 2        // there after the last one: a result
};

typedef struct {
    int64_t bytes;
    int flags;
    int user_count;
    const int *user;   // tasks that make, write or read it: each once, rising
    const void *owner; // whom to name it after, or NULL; orders don't look at it
} OrderObject;

// The task makes `made`; where it is the last user of `over` (of the same bytes), made takes over
// its memory: the two never count at once.
typedef struct {
    int made, over;
} OrderTakeover;

typedef struct {
    int task_count;
    const int *pred_begin, *pred; // by task: tasks that come first, each once, rising
    const int *succ_begin, *succ;
    int object_count;
    const OrderObject *object;
    const int *use_begin, *use; // by task: objects it uses, each once
    const int
        *over_begin; // by task: its takeovers; of one object made, the first possible is taken
    const OrderTakeover *over;
    const int64_t *transient; // by task: bytes it needs for itself while it runs
} OrderGraph;

// A problem said piece by piece; what is said twice counts once. Everything lives in a.
typedef struct OrderBuild OrderBuild;
OrderBuild *order_build_create(int task_count, Arena *a);
int order_build_object(OrderBuild *b, int64_t bytes, int flags, const void *owner); // its number
void order_build_use(OrderBuild *b, int object, int task);
void order_build_edge(OrderBuild *b, int from, int to); // from < to
void order_build_takeover(OrderBuild *b, int task, OrderTakeover t);
void order_build_transient(OrderBuild *b, int task, int64_t bytes); // the largest said counts
OrderGraph *order_build_finish(OrderBuild *b);

bool order_is_allowed(const OrderGraph *og, const int *order, Arena *scratch);
// The largest sum of live bytes under this order; *at, where not NULL, gets a position where it is
// reached.
int64_t order_load(const OrderGraph *og, const int *order, Arena *scratch, int *at);
// The buffers of this order, for packing: positions are times. Objects that share memory are one.
// The array is in a.
PackItem *order_items(const OrderGraph *og, const int *order, Arena *a, int *count);

// Candidates: each fills order[position] = task.
void order_program(const OrderGraph *og, int *order);
void order_depth_first(const OrderGraph *og, Arena *a, int *order);
// Always the ready task that adds least to what is live; eager: only tasks that add next to nothing
// jump the queue, all others keep program order.
typedef enum { LIST_LEAST, LIST_EAGER } ListRule;
void order_list(const OrderGraph *og, ListRule rule, Arena *a, int *order);

#endif
