// Cubins are machine code for one architecture. One of sm_80 runs on later GPUs of the same major
// number too; one whose name ends in "a", or is of a system on a chip, runs on exactly its own. A
// program has several cubins an architecture, each with the functions of some kernels.
#include "runtime/cuda_code.h"

#include "runtime/cuda_map.h"
#include "runtime/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    CuFunction function;
    const PlanLaunch *launch;
} Start;

struct CudaCode {
    const CudaDriver *cu;
    CuModule *module;
    uint32_t module_count;
    Start *start;    // in the order of the plan's launches
    uint32_t *first; // by kernel: of its starts; one more, where the last ones end
};

// "sm_90a": 90 and whether it is for that alone. False where it is no such name.
static bool read_arch(const char *arch, int *number, bool *specific) {
    char *end;
    if (strncmp(arch, "sm_", 3) != 0)
        return false;
    *number = (int)strtol(arch + 3, &end, 10);
    *specific = *end == 'a';
    return end > arch + 3 && (*end == '\0' || strcmp(end, "a") == 0);
}

// GPUs inside of a system on a chip (Orin, Thor) and others share numbers, not machine code: NVIDIA
// promises none of what runs on one kind for the other.
static bool is_integrated(int number) {
    return number == 87 || number == 88 || number == 110;
}

const char *cuda_best_arch(const PlimCubin *cubin, int major, int minor) {
    const int gpu = 10 * major + minor;
    const char *best = NULL;
    int best_score = -1;
    for (; cubin && cubin->arch; cubin++) {
        int number;
        bool specific;
        if (!read_arch(cubin->arch, &number, &specific))
            continue;
        const bool alone = specific || is_integrated(number) || is_integrated(gpu);
        const bool runs = alone ? number == gpu : number / 10 == major && number <= gpu;
        const int score = 2 * number + specific;
        if (runs && score > best_score) {
            best = cubin->arch;
            best_score = score;
        }
    }
    return best;
}

static PlimStatus no_memory(PlimError *error) {
    return error_set(error, PLIM_NO_MEMORY, "out of memory loading the GPU's code");
}

static PlimStatus load_modules(CudaCode *c, const PlimCubin *cubin, const char *arch,
                               PlimError *error) {
    uint32_t count = 0;
    for (const PlimCubin *x = cubin; x->arch; x++)
        count += strcmp(x->arch, arch) == 0;
    c->module = calloc((size_t)count + 1, sizeof *c->module);
    if (!c->module)
        return no_memory(error);
    for (const PlimCubin *x = cubin; x->arch; x++) {
        if (strcmp(x->arch, arch) != 0)
            continue;
        const CuResult result = c->cu->module_load(&c->module[c->module_count], x->bytes);
        if (result != CU_SUCCESS) {
            char text[256];
            cuda_error_text(c->cu, result, text, sizeof text);
            return error_set(error, PLIM_MACHINE,
                             "the NVIDIA driver does not take the program's code for %s: %s; is "
                             "the driver older than the CUDA it was compiled with?",
                             arch, text);
        }
        c->module_count++;
    }
    return PLIM_OK;
}

// What the code calls the function: a launch's own name, or that of another whose code is the same.
static void find_name(const PlimCubin *cubin, const PlanLaunch *launch, char *name, size_t size) {
    const size_t length = strlen(launch->name);
    const char *found = launch->name;
    size_t bytes = length;
    for (const PlimCubin *x = cubin; x->arch; x++)
        for (const char *at = x->same; at && strcmp(x->arch, launch->arch) == 0;) {
            if (strncmp(at, launch->name, length) == 0 && at[length] == ' ') {
                found = at + length + 1;
                bytes = strcspn(found, "\n");
            }
            at = strchr(at, '\n');
            at = at ? at + 1 : NULL;
        }
    snprintf(name, size, "%.*s", (int)bytes, found);
}

static CuResult find_function(const CudaCode *c, const PlimCubin *cubin, const PlanLaunch *launch,
                              CuFunction *out) {
    enum { NAME_BYTES = 128 };
    char name[NAME_BYTES];
    find_name(cubin, launch, name, sizeof name);
    CuResult result = CU_NOT_FOUND;
    for (uint32_t i = 0; i < c->module_count && result == CU_NOT_FOUND; i++)
        result = c->cu->module_function(out, c->module[i], name);
    // More than 48 KiB a block must be asked for.
    if (result == CU_SUCCESS && launch->shared > 0)
        result = c->cu->function_set(*out, CU_FUNCTION_SHARED_MAX, (int)launch->shared);
    return result;
}

// The verifier has seen that launches of one architecture stand together, by kernel, in order.
static PlimStatus find_functions(CudaCode *c, const Plan *p, const PlimCubin *cubin,
                                 const char *arch, PlimError *error) {
    c->start = calloc((size_t)p->launch_count + 1, sizeof *c->start);
    c->first = calloc((size_t)p->kernel_count + 2, sizeof *c->first);
    if (!c->start || !c->first)
        return no_memory(error);
    uint32_t count = 0, kernel = 0;
    for (uint32_t i = 0; i < p->launch_count; i++) {
        const PlanLaunch *launch = &p->launch[i];
        if (!arch || strcmp(launch->arch, arch) != 0)
            continue;
        while (kernel < launch->kernel)
            c->first[++kernel] = count;
        const CuResult result = find_function(c, cubin, launch, &c->start[count].function);
        if (result != CU_SUCCESS) {
            char text[256];
            cuda_error_text(c->cu, result, text, sizeof text);
            return error_set(error, PLIM_MACHINE, "the program's code for %s has no kernel %s: %s",
                             arch, launch->name, text);
        }
        c->start[count++].launch = launch;
    }
    while (kernel < p->kernel_count)
        c->first[++kernel] = count;
    return PLIM_OK;
}

static PlimStatus no_code(const Plan *p, const CudaDriver *cu, CuDevice device, int major,
                          int minor, PlimError *error) {
    char name[96] = "this GPU";
    (void)cu->device_name(name, sizeof name, device);
    name[sizeof name - 1] = '\0';
    return error_set(error, PLIM_MACHINE,
                     "this program was compiled for %s, which %s (compute capability %d.%d) does "
                     "not run: compile it again with --target cuda:sm_%d%d",
                     p->target, name, major, minor, major, minor);
}

PlimStatus cuda_code_new(const Plan *p, const PlimCubin *cubin, const CudaDriver *cu,
                         CuDevice device, CudaCode **out, PlimError *error) {
    int major = 0, minor = 0;
    CuResult result = cu->device_attribute(&major, CU_CAPABILITY_MAJOR, device);
    if (result == CU_SUCCESS)
        result = cu->device_attribute(&minor, CU_CAPABILITY_MINOR, device);
    if (result != CU_SUCCESS) {
        char text[256];
        cuda_error_text(cu, result, text, sizeof text);
        return error_set(error, PLIM_MACHINE, "the GPU does not say what it is: %s", text);
    }
    const char *arch = cuda_best_arch(cubin, major, minor);
    // A plan of nothing but a library's products has no code of its own.
    if (!arch && p->launch_count > 0)
        return no_code(p, cu, device, major, minor, error);
    CudaCode *c = calloc(1, sizeof *c);
    if (!c)
        return no_memory(error);
    *out = c;
    c->cu = cu;
    const PlimStatus status = arch ? load_modules(c, cubin, arch, error) : PLIM_OK;
    return status == PLIM_OK ? find_functions(c, p, cubin, arch, error) : status;
}

void cuda_code_release(CudaCode *code) {
    if (!code)
        return;
    for (uint32_t i = 0; i < code->module_count; i++)
        (void)code->cu->module_free(code->module[i]);
    free(code->module);
    free(code->start);
    free(code->first);
    free(code);
}

// A launch's maps come before what all launches of the kernel share. NULL ends the list for drivers
// that don't know how many parameters a kernel has, as those of tests.
static CuResult start(const CudaCode *code, const Start *s, CuStream stream, void *const *parameter,
                      uint32_t count) {
    const PlanLaunch *l = s->launch;
    CuTensorMap map[PLAN_MAPS_MAX];
    void *all[PLAN_MAPS_MAX + CUDA_PARAMETERS_MAX + 1] = {NULL};
    CuResult result = CU_SUCCESS;
    for (uint32_t i = 0; i < l->map_count && result == CU_SUCCESS; i++) {
        void *address = *(void **)parameter[l->map[i].operand];
        result = cuda_map_encode(code->cu, &l->map[i], address, &map[i]);
        all[i] = &map[i];
    }
    if (result != CU_SUCCESS)
        return result;
    memcpy(all + l->map_count, parameter, count * sizeof *parameter);
    return code->cu->launch(s->function, (unsigned)l->grid[0], (unsigned)l->grid[1],
                            (unsigned)l->grid[2], l->block, 1, 1, (unsigned)l->shared, stream, all,
                            NULL);
}

CuResult cuda_code_launch(const CudaCode *code, uint32_t kernel, CuStream stream,
                          void *const *parameter, uint32_t count) {
    CuResult result = count <= CUDA_PARAMETERS_MAX ? CU_SUCCESS : CU_INVALID_VALUE;
    for (uint32_t i = code->first[kernel]; i < code->first[kernel + 1] && result == CU_SUCCESS; i++)
        result = start(code, &code->start[i], stream, parameter, count);
    return result;
}
