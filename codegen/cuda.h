// The CUDA target: kernels as header-free CUDA C, compiled by NVRTC to cubins.
//
// Every printed function has the parameters: a tensor map of 128 bytes, by value, for each of its
// launch's maps; then, the same for all launches of a kernel, a pointer for each operand, const
// where it is only read; a `long long` for each immediate; and `unsigned char *workspace` where
// KernelLaunches.workspace is not 0. It is called NAME and the launch's suffix,
// extern "C".
#ifndef PLIM_CODEGEN_CUDA_H
#define PLIM_CODEGEN_CUDA_H

#include "ir/launch.h"
#include "runtime/plan.h"

// "cuda:sm_90a", "cuda:sm_80,sm_90a". False after a diagnostic: an unknown architecture, none, one
// given twice, too many.
bool cuda_target(Arena *a, Diag *d, const char *target, GpuArchs *out);
// Whether the target is one of CUDA's, well written or not: "cuda" or "cuda:...". cuda_target takes
// no other.
bool cuda_is_target(const char *target);

// Whether a GPU has code of ours for it: not for products of libraries, nor for the host's kernels.
bool cuda_has_code(const Kernel *k);
// CUDA C of the kernel's functions for that architecture, without the prelude. NULL after a
// diagnostic.
const char *cuda_print(Arena *a, Diag *d, const Kernel *k, GpuArch arch);

// What a kernel calls beyond the plain language: bits of CudaParts. The math and the conversions
// are always there.
typedef enum {
    CUDA_MMA = 1,    // mma.sync, ldmatrix, cp.async: sm_80
    CUDA_HOPPER = 2, // wgmma, bulk and tensor copies, mbarriers: sm_90a
    CUDA_ATTENTION = 4, // the templates of attention, with CUDA_MMA; exp2 and log2
} CudaPart;
typedef unsigned CudaParts;
CudaParts cuda_parts(const Kernel *k, GpuArch arch);
// What precedes the kernels of a translation unit: types, conversions to and from bf16, math, warp
// helpers, and the parts asked for. Kernels use instructions that C lacks through functions of the
// prelude only, so that another prelude can run them on a CPU.
const char *cuda_prelude(Arena *a, CudaParts parts, GpuArch arch);

#endif
