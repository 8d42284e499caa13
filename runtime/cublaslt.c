// Opening cuBLASLt: the names of CUDA 13's and of CUDA 12's library, whose functions used here are
// the same. Loading takes a tenth to half a second, as the library is large.
#include "runtime/cublaslt.h"

#include "runtime/error.h"

#include <dlfcn.h>
#include <string.h>

static const char *const file_table[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
enum { FILES = sizeof file_table / sizeof file_table[0] };

static const char *const symbol_table[] = {
    "cublasLtGetVersion",
#define C(field, symbol, parameters) symbol,
#include "runtime/cublaslt.def"
#undef C
};
enum { SYMBOLS = sizeof symbol_table / sizeof symbol_table[0] };

PlimStatus cublas_library_open(CublasLibrary *out, PlimError *error) {
    *out = (CublasLibrary){0};
    // It has threads and a heap of its own, so it is never unloaded.
    for (int i = 0; i < FILES && !out->library; i++)
        out->library = dlopen(file_table[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!out->library)
        return error_set(error, PLIM_MACHINE,
                         "this program's products need NVIDIA's cuBLASLt, but neither %s nor %s "
                         "was found: install CUDA's cuBLAS (or pip install nvidia-cublas) and put "
                         "its folder into LD_LIBRARY_PATH",
                         file_table[0], file_table[1]);
    void *found[SYMBOLS];
    for (int i = 0; i < SYMBOLS; i++) {
        found[i] = dlsym(out->library, symbol_table[i]);
        if (!found[i])
            return error_set(error, PLIM_MACHINE,
                             "the cuBLASLt found is too old: it has no %s; install that of CUDA 12 "
                             "or 13",
                             symbol_table[i]);
    }
    // As in cuda_driver.c: ISO C has no other way to make dlsym's pointer a function.
    int i = 0;
    memcpy(&out->version, &found[i++], sizeof out->version);
#define C(field, symbol, parameters) memcpy(&out->field, &found[i++], sizeof out->field);
#include "runtime/cublaslt.def"
#undef C
    return PLIM_OK;
}

void cublas_library_close(CublasLibrary *l) {
    if (l->library)
        dlclose(l->library);
    *l = (CublasLibrary){0};
}
