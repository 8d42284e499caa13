// Kernels whose code differs in nothing but the name: only the first of them is compiled, and
// started for all. Where a kernel's rows fill its blocks its text doesn't say how many there are,
// so those of a training step, of an evaluation and of a prompt are often the same.
#ifndef PLIM_CODEGEN_CUDA_SAME_H
#define PLIM_CODEGEN_CUDA_SAME_H

#include "codegen/cuda.h"

// same[i]: the first kernel whose functions are kernel i's on every architecture, mostly i itself.
// kernel[i] is called k<i>. False after a diagnostic.
bool cuda_same_find(Arena *a, Diag *d, Kernel *const *kernel, int count, const GpuArchs *archs,
                    int *same);
// "k9_1 k7_1\n" for each function of the kernels that are the same as `first`, and its name there.
const char *cuda_same_names(Arena *a, Kernel *const *kernel, int count, GpuArch arch,
                            const int *same, int first);

#endif
