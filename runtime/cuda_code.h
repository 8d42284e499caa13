// The plan's kernels as the GPU has them: modules loaded, functions found by name.
#ifndef PLIM_RUNTIME_CUDA_CODE_H
#define PLIM_RUNTIME_CUDA_CODE_H

#include "runtime/cuda_driver.h"
#include "runtime/run.h"

typedef struct CudaCode CudaCode;

// Which of the architectures that the table has code for a GPU of that compute capability runs
// best: the one that is only for it ("sm_90a"), else the newest of its generation that it
// understands; one of a system on a chip (sm_87) understands its own only, and others don't. NULL
// where there is none.
const char *cuda_best_arch(const PlimCubin *cubin, int major, int minor);

// Loads the code for the current context's device. PLIM_MACHINE, with a sentence that names what to
// compile for, where the plan has none for it or the driver does not take it.
PlimStatus cuda_code_new(const Plan *p, const PlimCubin *cubin, const CudaDriver *cu,
                         CuDevice device, CudaCode **out, PlimError *error);
void cuda_code_release(CudaCode *code); // NULL is allowed
enum { CUDA_PARAMETERS_MAX = 160 };
// Starts the kernel on the stream: parameter has the address of each of `count` parameters, those
// of operands first; tensor maps are made here.
CuResult cuda_code_launch(const CudaCode *code, uint32_t kernel, CuStream stream,
                          void *const *parameter, uint32_t count);

#endif
