// The kernels of a GPU's plan that its host computes, in the streams of the GPU.
#ifndef PLIM_RUNTIME_CUDA_HOST_H
#define PLIM_RUNTIME_CUDA_HOST_H

#include "runtime/cuda_driver.h"
#include "runtime/run.h"

typedef struct CudaHost CudaHost;

// Threads for the plan's kernels of the host, and a table of their functions, by kernel, with NULL
// for all others. *out: NULL where the plan calls none. PLIM_BAD_INPUT where a function is missing.
PlimStatus cuda_host_new(const Plan *p, PlimKernelFn *const *kernel, CudaHost **out,
                         PlimError *error);
void cuda_host_release(CudaHost *h); // NULL is allowed; not while a stream has calls of it
bool cuda_host_has(const CudaHost *h, uint32_t kernel); // h may be NULL
// Puts the instruction onto the stream: it runs on a thread of the driver's and the host's own when
// its turn comes, once or, in a capture, as often as the graph. operand: addresses, which stay the
// instruction's as long as h lives.
CuResult cuda_host_start(CudaHost *h, const CudaDriver *cu, const PlanInstr *instr,
                         void *const *operand, CuStream stream);

#endif
