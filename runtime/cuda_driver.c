// Opens libcuda.so.1 and finds every function of cuda_driver.def in it. A driver that lacks one is
// older than the program. NVIDIA's driver keeps threads of its own, so it is never unloaded.
#include "runtime/cuda_driver.h"

#include "runtime/error.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

// The oldest CUDA a driver must support: 1000 x major + 10 x minor. Graphs, modules and what else
// is called here are the same since then.
enum { VERSION_LEAST = 12000 };

// By symbol, in the order of the table.
static const char *const symbol_table[] = {
#define C(field, symbol, parameters) symbol,
#include "runtime/cuda_driver.def"
#undef C
};
enum { SYMBOLS = sizeof symbol_table / sizeof symbol_table[0] };

void cuda_error_text(const CudaDriver *cu, CuResult result, char *out, size_t size) {
    const char *name = NULL, *text = NULL;
    if (!cu->error_name || cu->error_name(result, &name) != CU_SUCCESS || !name)
        snprintf(out, size, "CUDA error %d", result);
    else if (cu->error_string(result, &text) != CU_SUCCESS || !text)
        snprintf(out, size, "%s", name);
    else
        snprintf(out, size, "%s (%s)", name, text);
}

static PlimStatus find_functions(CudaDriver *cu, PlimError *error) {
    // POSIX lets dlsym's pointer become one to a function; ISO C has only this way to say so.
    void *found[SYMBOLS];
    for (int i = 0; i < SYMBOLS; i++) {
        found[i] = dlsym(cu->library, symbol_table[i]);
        if (!found[i])
            return error_set(error, PLIM_MACHINE,
                             "the NVIDIA driver is too old: it has no %s; this program needs one "
                             "for CUDA %d or later",
                             symbol_table[i], VERSION_LEAST / 1000);
    }
    int i = 0;
#define C(field, symbol, parameters) memcpy(&cu->field, &found[i++], sizeof cu->field);
#include "runtime/cuda_driver.def"
#undef C
    return PLIM_OK;
}

static PlimStatus no_gpu(const CudaDriver *cu, CuResult result, PlimError *error) {
    char text[256];
    if (result == CU_STUB_LIBRARY)
        return error_set(error, PLIM_MACHINE,
                         "libcuda.so.1 is the CUDA toolkit's stub, not a driver: install NVIDIA's "
                         "driver, or take the stub's folder out of LD_LIBRARY_PATH");
    if (result == CU_NO_DEVICE)
        return error_set(error, PLIM_MACHINE,
                         "the NVIDIA driver finds no GPU: is there one, and does "
                         "CUDA_VISIBLE_DEVICES show it?");
    cuda_error_text(cu, result, text, sizeof text);
    return error_set(error, PLIM_MACHINE, "the NVIDIA driver does not start: %s", text);
}

PlimStatus cuda_driver_open(CudaDriver *out, PlimError *error) {
    *out = (CudaDriver){.library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE)};
    if (!out->library)
        return error_set(error, PLIM_MACHINE,
                         "no NVIDIA driver was found (libcuda.so.1): this program was compiled for "
                         "GPUs; install the driver, or compile it with --target cpu");
    const PlimStatus status = find_functions(out, error);
    if (status != PLIM_OK)
        return status;
    int version = 0, count = 0;
    CuResult result = out->init(0);
    if (result == CU_SUCCESS)
        result = out->version(&version);
    if (result == CU_SUCCESS)
        result = out->device_count(&count);
    if (result != CU_SUCCESS || count == 0)
        return no_gpu(out, result == CU_SUCCESS ? CU_NO_DEVICE : result, error);
    if (version < VERSION_LEAST)
        return error_set(error, PLIM_MACHINE,
                         "the NVIDIA driver supports CUDA up to %d.%d, this program needs %d.0: "
                         "install a newer driver",
                         version / 1000, version % 1000 / 10, VERSION_LEAST / 1000);
    return PLIM_OK;
}

void cuda_driver_close(CudaDriver *cu) {
    if (cu->library)
        dlclose(cu->library);
    *cu = (CudaDriver){0};
}
