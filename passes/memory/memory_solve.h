// Order and layout together: the order whose buffers need the least memory once they are packed.
#ifndef PLIM_PASSES_MEMORY_MEMORY_SOLVE_H
#define PLIM_PASSES_MEMORY_MEMORY_SOLVE_H

#include "passes/memory/order_solve.h"

typedef struct {
    OrderAnswer order;    // the order of least load, which is not always the one taken
    int64_t load, height; // of the order taken: its live bytes, and its packed buffers
    const char *how;      // what it came from, as in OrderAnswer, or "packed best"
    bool optimal;         // proved: no order can be packed lower
    int packed;           // orders that were packed
} MemoryAnswer;

// Problems of so many tasks that use memory are searched through all orders: the answer is optimal
// where packing is.
enum { MEMORY_TASKS_ALL = 8 };

// Fills order[position] = task. The height is never more than that of any list schedule as packed
// with the same effort. Deterministic. Where the order of least load is above the options' limit
// nothing is packed, and the height is the load.
MemoryAnswer memory_solve(const OrderGraph *og, const OrderOptions *options, Arena *scratch,
                          int *order);

#endif
