// Printed CUDA C run on this machine through the shim (tests/shim), for tests that compare it.
#ifndef PLIM_TESTS_UNIT_CUDA_RUN_H
#define PLIM_TESTS_UNIT_CUDA_RUN_H

#include "codegen/cuda.h"

typedef struct {
    void *library; // of dlopen
    GpuArch arch;
} CudaProgram;

// Prints the kernels (with names of their own), compiles them with the shim and opens the result.
// The test ends where that fails.
CudaProgram cuda_program(Arena *a, Kernel *const *kernel, int count, GpuArch arch);
typedef enum { SHIM_FORWARD, SHIM_BACKWARD } ShimOrder;
// One call of a kernel: its launches, on host memory, in a workspace full of NaNs.
void cuda_program_run(const CudaProgram *p, const Kernel *k, void *const *operand,
                      const int64_t *imm, ShimOrder order);

#endif
