// Stands where the printer of CUDA C goes: until that is there, a kernel for a GPU is refused.
#include "codegen/cuda.h"

enum { P_KERNEL = 855 };

CudaParts cuda_parts(const Kernel *k, GpuArch arch) {
    (void)k;
    (void)arch;
    return 0;
}

const char *cuda_prelude(Arena *a, CudaParts parts, GpuArch arch) {
    (void)a;
    (void)parts;
    (void)arch;
    return "";
}

const char *cuda_print(Arena *a, Diag *d, const Kernel *k, GpuArch arch) {
    diag_error(d, (Loc){0}, P_KERNEL, "kernel %s can't be printed for %s yet", k->name,
               gpu_arch_name(a, arch));
    return NULL;
}
