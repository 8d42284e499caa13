// The ranks that run one plan on GPUs, as NCCL joins them: what collectives go through.
#ifndef PLIM_RUNTIME_COMMUNICATOR_H
#define PLIM_RUNTIME_COMMUNICATOR_H

#include "runtime/nccl.h"
#include "runtime/plan.h"

typedef struct Communicator Communicator;

// Added to statuses of NCCL, to tell them from CUDA's and cuBLASLt's.
enum { NCCL_ERROR = 1 << 21 };

// Joins the plan's ranks; *out stays NULL where the plan has no collectives. A context is current.
// PLIM_MACHINE where NCCL is missing or fails, PLIM_BAD_INPUT where the launcher started another
// number of processes. *out is released also after a failure.
PlimStatus communicator_new(const Plan *p, Communicator **out, PlimError *error);
// After the graphs that hold its collectives. NULL is allowed.
void communicator_release(Communicator *c);

// Puts a collective on the stream, which may be captured: 0, or NCCL_ERROR and NCCL's status.
int communicator_start(Communicator *c, const PlanInstr *instr, void *const *operand,
                       CuStream stream);
// What went wrong on the GPU since: 0, or as above. NULL is allowed.
int communicator_state(Communicator *c);
// Of a status from one of these.
const char *communicator_error_text(const Communicator *c, int status);

#endif
