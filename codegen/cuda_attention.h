// CUDA C of the attention kernels: a shape that is printed, and the templates (cuda_attention*.cuh)
// that it fills.
#ifndef PLIM_CODEGEN_CUDA_ATTENTION_H
#define PLIM_CODEGEN_CUDA_ATTENTION_H

#include "codegen/cuda.h"

// The functions of a kernel of attention. NULL after a diagnostic.
const char *cuda_print_attention(Arena *a, Diag *d, const Kernel *k, GpuArch arch);
CudaParts cuda_attention_parts(const Kernel *k, GpuArch arch);
// The templates; they need the rest of the prelude. With CUDA_HOPPER those of groups of warps too.
const char *cuda_attention_prelude(Arena *a, CudaParts parts);
// Products of a group of warps in all sizes that the templates use.
const char *cuda_wgmma_prelude(Arena *a);

#endif
