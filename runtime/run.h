// Executing a plan: one arena a space, kernels on a worker pool, streams as threads with events.
#ifndef PLIM_RUNTIME_RUN_H
#define PLIM_RUNTIME_RUN_H

#include "runtime/plan.h"

// Generated code: see ir/kernel.h for the meaning of each argument.
typedef void PlimKernelFn(void *const *operand, const int64_t *imm, int64_t begin, int64_t end,
                          void *workspace);

typedef struct PlimRun PlimRun;

// Allocates the arenas and everything else; nothing is allocated afterwards. The plan has passed
// plan_verify and outlives the run; kernel has a function per plan kernel (NULL for library
// products). threads is at least 1 and at most plan->workers.
PlimStatus run_new(const Plan *p, PlimKernelFn *const *kernel, int threads, PlimRun **out,
                   PlimError *error);
// Gives everything back. NULL is allowed.
void run_release(PlimRun *r);

// Runs one entry's program to its end. Inputs have been written to their buffers. PLIM_MACHINE
// where a library's product failed; contents are then undefined.
PlimStatus run_entry(PlimRun *r, const PlanEntry *entry, PlimError *error);

// The bytes of a buffer.
void *run_buffer(const PlimRun *r, uint32_t buffer);
// Bytes of all arenas taken from the system: what the plan promised.
uint64_t run_arena_bytes(const PlimRun *r);

#endif
