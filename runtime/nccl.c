// Opening NCCL, as cublaslt.c opens cuBLASLt.
#include "runtime/nccl.h"

#include "runtime/error.h"

#include <dlfcn.h>
#include <string.h>

static const char file_name[] = "libnccl.so.2";
// Captured into a graph, and bf16, since 2.10: major x 10000 + minor x 100 from 2.9 on.
enum { VERSION_LEAST = 21000 };

static const char *const symbol_table[] = {
    "ncclGetErrorString",
#define C(field, symbol, parameters) symbol,
#include "runtime/nccl.def"
#undef C
};
enum { SYMBOLS = sizeof symbol_table / sizeof symbol_table[0] };

static PlimStatus check_version(const NcclLibrary *l, PlimError *error) {
    int version = 0;
    const int result = l->version(&version);
    if (result != 0)
        return error_set(error, PLIM_MACHINE, "NCCL does not start: %s", l->error_text(result));
    return version >= VERSION_LEAST
               ? PLIM_OK
               : error_set(error, PLIM_MACHINE,
                           "the NCCL found is too old (version %d): this program needs 2.10 or "
                           "later",
                           version);
}

PlimStatus nccl_library_open(NcclLibrary *out, PlimError *error) {
    *out = (NcclLibrary){0};
    // It has threads of its own, so it is never unloaded.
    out->library = dlopen(file_name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!out->library)
        return error_set(error, PLIM_MACHINE,
                         "this program's collectives need NVIDIA's NCCL, but %s was not found: "
                         "install it (or pip install nvidia-nccl-cu13) and put its folder into "
                         "LD_LIBRARY_PATH",
                         file_name);
    void *found[SYMBOLS];
    for (int i = 0; i < SYMBOLS; i++) {
        found[i] = dlsym(out->library, symbol_table[i]);
        if (!found[i])
            return error_set(error, PLIM_MACHINE,
                             "the NCCL found is too old: it has no %s; this program needs 2.10 or "
                             "later",
                             symbol_table[i]);
    }
    // As in cuda_driver.c: ISO C has no other way to make dlsym's pointer a function.
    int i = 0;
    memcpy(&out->error_text, &found[i++], sizeof out->error_text);
#define C(field, symbol, parameters) memcpy(&out->field, &found[i++], sizeof out->field);
#include "runtime/nccl.def"
#undef C
    return check_version(out, error);
}

void nccl_library_close(NcclLibrary *l) {
    if (l->library)
        dlclose(l->library);
    *l = (NcclLibrary){0};
}
