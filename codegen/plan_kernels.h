// The kernels of a plan, out of its text.
#ifndef PLIM_CODEGEN_PLAN_KERNELS_H
#define PLIM_CODEGEN_PLAN_KERNELS_H

#include "ir/kernel.h"
#include "runtime/plan.h"

// Parses, verifies and holds against the plan every kernel; p has passed plan_verify. By kernel
// index, named k0, k1, ..., in a. NULL after a diagnostic.
Kernel **plan_kernels(Arena *a, Diag *d, const Plan *p);

#endif
