// What an executable is made of beside the runtime: read-only data that the runtime's start knows
// by name (runtime/start.c).
#ifndef PLIM_CODEGEN_IMAGE_H
#define PLIM_CODEGEN_IMAGE_H

#include "codegen/llvm_build.h"

// A GPU's code, to embed.
typedef struct {
    const char *arch; // "sm_90a"
    const char *bytes;
    size_t size;
    const char *same; // PlimCubin.same
} Cubin;

typedef struct {
    const uint8_t *plan; // as plan_encode gives it
    size_t plan_size;
    const char *const *kernel; // symbols of the CPU's code by plan kernel, NULL for those without
    int kernel_count;
    const Cubin *cubin;
    int cubin_count;
} ImageData;

// Adds plim_plan, plim_plan_size, plim_kernels and plim_cubins to a module.
void image_add(LlvmBuild *b, const ImageData *data);

#endif
