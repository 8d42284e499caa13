// Saying why an entry needs as much memory as it does.
#ifndef PLIM_PASSES_MEMORY_ORDER_REMARK_H
#define PLIM_PASSES_MEMORY_ORDER_REMARK_H

#include "passes/memory/memory_solve.h"
#include "passes/memory/order_problem.h"

// Remarks on the order that was taken: its load against the list schedules', bound and gap; what
// runs at its peak and the largest buffers live there; and what program order's peak has beyond
// that.
void order_explain(PassCtx *cx, const Graph *g, const Tasks *tasks, const OrderProblem *p,
                   const MemoryAnswer *answer, const int *order);

#endif
