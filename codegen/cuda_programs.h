// Kernels gathered into CUDA C programs, and those compiled: a program has a prelude and a dozen
// kernels, which takes a third of the time of a program each.
#ifndef PLIM_CODEGEN_CUDA_PROGRAMS_H
#define PLIM_CODEGEN_CUDA_PROGRAMS_H

#include "codegen/cuda.h"
#include "codegen/nvrtc.h"

typedef struct {
    NvrtcProgram nvrtc; // its source, architecture and what became of it
    const int *kernel;  // numbers of those in it, rising
    int kernel_count;
    const char *same; // functions of other kernels that are some of these: codegen/cuda_same.h
    bool cached;      // not compiled but found
} CudaProgram;

typedef struct {
    CudaProgram *program; // by architecture
    int count;
} CudaPrograms;

typedef enum {
    PROGRAMS_SPLIT,
    PROGRAMS_WHOLE
} ProgramsCut; // WHOLE: one an architecture,
               // of all kernels

// The texts. Which kernels stand together depends on the kernels alone. kernel[i] is called k<i>
// (plan_kernels); products of libraries are left out. False after a diagnostic.
bool cuda_programs_print(Arena *a, Diag *d, Kernel *const *kernel, int count, const GpuArchs *archs,
                         ProgramsCut cut, CudaPrograms *out);
// Compiles them all to output on at most so many threads, with the user's cache for cubins. False
// after a diagnostic that names the operators of the kernel at fault; p is the kernels' plan, or
// NULL where they are of none.
bool cuda_programs_compile(Arena *a, Diag *d, const Plan *p, NvrtcOutput output, int threads,
                           CudaPrograms *programs);

#endif
