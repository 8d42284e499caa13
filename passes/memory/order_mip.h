// Ordering as an integer program, after MODeL (arXiv 2210.12924).
#ifndef PLIM_PASSES_MEMORY_ORDER_MIP_H
#define PLIM_PASSES_MEMORY_ORDER_MIP_H

#include "passes/memory/order_graph.h"
#include "passes/mip/mip_solve.h"

typedef struct {
    const OrderGraph *og;
    const char *name; // of the program: letters, digits, _ and .
    const int *start; // an allowed order to begin with, or NULL
    MipLimits limits; // a program that would have more entries is not even built
} OrderMipProblem;

typedef struct {
    const int *order;     // allowed; NULL where none was found
    int64_t load;         // of order, by order_load
    int64_t bound;        // no order needs less; 0 where nothing is known
    bool optimal;         // load == bound
    int64_t nodes;        // of the search; 0 where the program was too large or solved before it
    const char *degraded; // what the solver did wrong, or NULL: see MipAnswer
} OrderMipAnswer;

// At most `children` at a time (0: one a processor); answers don't depend on their number, and live
// in a.
void order_mip_solve(const OrderMipProblem *problem, int count, int children, Arena *a,
                     OrderMipAnswer *answer);

// The program alone; NULL where it has more entries than the limits allow.
Mip *order_mip_program(const OrderMipProblem *problem, Arena *a);

#endif
