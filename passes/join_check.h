// Joints of a plan that anybody wrote.
#ifndef PLIM_PASSES_JOIN_CHECK_H
#define PLIM_PASSES_JOIN_CHECK_H

#include "ir/diag.h"
#include "runtime/plan.h"

// Whether the kernel of every joint computes what the joint says. The plan is verified. False with
// a diagnostic at loc.
bool join_check(const Plan *p, Diag *d, Loc loc);

#endif
