// Printed CUDA C run on this machine through the shim (tests/shim), for tests that compare it.
#ifndef PLIM_TESTS_UNIT_CUDA_RUN_H
#define PLIM_TESTS_UNIT_CUDA_RUN_H

#include "codegen/cuda.h"

// Compiles the text, a prelude and kernels, with the shim and opens the result, of dlopen. The test
// ends where that fails.
void *cuda_text_load(Arena *a, const char *text, const char *optimize);
// Runs the whole grid; not 0: the shim has said what went wrong. args: as the driver has them.
typedef int (*CudaHostFn)(void **args, unsigned x, unsigned y, unsigned z, unsigned block,
                          size_t shared);
CudaHostFn cuda_text_function(void *library, const char *name);

typedef struct {
    void *library; // of dlopen
    GpuArch arch;
    int64_t blocks_max; // of a launch; the others of a larger grid are not run. 0: all are
} CudaProgram;

// Prints the kernels (with names of their own), compiles them with the shim and opens the result.
// The test ends where that fails.
CudaProgram cuda_program(Arena *a, Kernel *const *kernel, int count, GpuArch arch);
typedef enum { SHIM_FORWARD, SHIM_BACKWARD } ShimOrder;
// One call of a kernel: its launches, on host memory, in a workspace full of NaNs.
void cuda_program_run(const CudaProgram *p, const Kernel *k, void *const *operand,
                      const int64_t *imm, ShimOrder order);

#endif
