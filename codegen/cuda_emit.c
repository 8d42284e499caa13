// A GPU plan's kernels into text, PTX, one cubin, or the object of a program: plan, cubins, and
// tables of both (image.h). The object has code for the CPU where the plan has kernels of the host,
// for the instruction sets that the plan names; the runtime it is linked with loads the cubins of
// the device's architecture.
#include "codegen/cuda_emit.h"

#include "codegen/cuda_programs.h"
#include "codegen/image.h"
#include "codegen/llvm_module.h"
#include "codegen/plan_kernels.h"

#include <stdlib.h>
#include <string.h>

enum { P_KERNEL = 855, P_MEMORY = 856, P_ONE_ARCH = 863 };

static bool take_bytes(Diag *d, const char *from, size_t size, char **bytes, size_t *out_size) {
    *bytes = malloc(size + 1);
    if (!*bytes)
        return diag_error(d, (Loc){0}, P_MEMORY, "no memory for the program's object");
    memcpy(*bytes, from, size);
    (*bytes)[size] = 0;
    *out_size = size;
    return true;
}

// All kernels as one program of one architecture. No kernels at all: an empty text.
static bool emit_whole(Arena *a, Diag *d, const Plan *p, EmitKind kind, CudaPrograms *programs,
                       char **bytes, size_t *size) {
    NvrtcProgram *whole = programs->count ? &programs->program[0].nvrtc : NULL;
    if (!whole)
        return take_bytes(d, "", 0, bytes, size);
    if (kind == EMIT_CUDA)
        return take_bytes(d, whole->source, strlen(whole->source), bytes, size);
    const NvrtcOutput output = kind == EMIT_PTX ? NVRTC_PTX : NVRTC_CUBIN;
    return cuda_programs_compile(a, d, p, output, 1, programs) &&
           take_bytes(d, whole->bytes, whole->size, bytes, size);
}

static const Cubin *list_cubins(Arena *a, const CudaPrograms *programs) {
    Cubin *cubin = arena_array(a, Cubin, programs->count + 1);
    for (int i = 0; i < programs->count; i++) {
        const NvrtcProgram *from = &programs->program[i].nvrtc;
        cubin[i] = (Cubin){.arch = gpu_arch_name(a, from->arch),
                           .bytes = from->bytes,
                           .size = from->size,
                           .same = programs->program[i].same};
    }
    return cubin;
}

// Those of the host. False with b->error set.
static bool add_host_kernels(LlvmBuild *b, Kernel *const *kernel, int count) {
    int added = 0;
    for (int i = 0; i < count; i++) {
        added += kernel[i]->host;
        if (kernel[i]->host && !llvm_module_add(b, kernel[i]))
            return false;
    }
    return added == 0 || llvm_module_optimize(b);
}

static bool has_host_kernels(Kernel *const *kernel, int count) {
    for (int i = 0; i < count; i++)
        if (kernel[i]->host)
            return true;
    return false;
}

// Data has no instructions, so any CPU's object will do where there is nothing else.
static bool emit_image(Arena *a, Diag *d, const Plan *p, Kernel *const *kernel,
                       const ImageData *data, char **bytes, size_t *size) {
    CpuTarget host;
    if (has_host_kernels(kernel, data->kernel_count) ? !cpu_target_of_plan(a, d, p, &host)
                                                     : !cpu_target(a, d, "cpu", &host))
        return false;
    LlvmBuild b;
    llvm_build_start();
    llvm_build_init(&b, a, &host, "plimsoll");
    LLVMMemoryBufferRef object = NULL;
    if (!b.error && add_host_kernels(&b, kernel, data->kernel_count)) {
        image_add(&b, data);
        object = llvm_module_object(&b, LLVMObjectFile);
    }
    bool good = object != NULL;
    if (good)
        good = take_bytes(d, LLVMGetBufferStart(object), LLVMGetBufferSize(object), bytes, size);
    else
        diag_error(d, (Loc){0}, P_KERNEL, "%s", b.error);
    if (object)
        LLVMDisposeMemoryBuffer(object);
    llvm_build_release(&b);
    return good;
}

static bool emit_object(Arena *a, Diag *d, const Plan *p, Kernel *const *kernel, int threads,
                        CudaPrograms *programs, char **bytes, size_t *size) {
    if (!cuda_programs_compile(a, d, p, NVRTC_CUBIN, threads, programs))
        return false;
    uint8_t *plan = NULL;
    size_t plan_size = 0;
    if (plan_encode(p, &plan, &plan_size) != PLIM_OK)
        return diag_error(d, (Loc){0}, P_MEMORY, "no memory for the program's object");
    const char **symbol = arena_array(a, const char *, p->kernel_count + 1);
    for (uint32_t i = 0; i < p->kernel_count; i++)
        symbol[i] = kernel[i]->host ? kernel[i]->name : NULL;
    const ImageData data = {.plan = plan,
                            .plan_size = plan_size,
                            .kernel = symbol,
                            .kernel_count = (int)p->kernel_count,
                            .cubin = list_cubins(a, programs),
                            .cubin_count = programs->count};
    const bool good = emit_image(a, d, p, kernel, &data, bytes, size);
    free(plan);
    return good;
}

bool cuda_emit(Arena *a, Diag *d, const Plan *p, EmitKind kind, int threads, char **bytes,
               size_t *size) {
    GpuArchs archs;
    if (!cuda_target(a, d, p->target, &archs))
        return false;
    if (kind != EMIT_OBJECT && archs.count > 1) {
        diag_error(d, (Loc){0}, P_ONE_ARCH,
                   "CUDA C, PTX and cubins are written for one architecture, not %d", archs.count);
        diag_help(d, "--target cuda:%s, for instance", gpu_arch_name(a, archs.arch[0]));
        return false;
    }
    Kernel **kernel = plan_kernels(a, d, p);
    CudaPrograms programs;
    if (!kernel ||
        !cuda_programs_print(a, d, kernel, (int)p->kernel_count, &archs,
                             kind == EMIT_OBJECT ? PROGRAMS_SPLIT : PROGRAMS_WHOLE, &programs))
        return false;
    if (kind != EMIT_OBJECT)
        return emit_whole(a, d, p, kind, &programs, bytes, size);
    return emit_object(a, d, p, kernel, threads, &programs, bytes, size);
}
