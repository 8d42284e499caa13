// Binding NVRTC by dlopen, so that plimc builds and runs without it and says what is missing only
// where a CUDA target is asked for. No header of the toolkit is used: the few functions are
// declared here as NVRTC's manual has them, stable from version 11.1 on; options are not.
//
// Floating point: nothing is contracted, divisions and square roots are rounded, subnormal numbers
// stay: what a kernel means is in its text (docs/kernel-text.md).
#include "codegen/nvrtc.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { P_NVRTC = 862 };

typedef struct NvrtcHandle *Handle; // nvrtcProgram
typedef int Result;                 // nvrtcResult; 0: success

struct Nvrtc {
    const char *identity;
    int number; // 1000 x major + 10 x minor, as the driver counts
    Result (*version)(int *major, int *minor);
    Result (*create)(Handle *out, const char *source, const char *name, int headers,
                     const char *const *header, const char *const *include);
    Result (*compile)(Handle h, int count, const char *const *option);
    Result (*log_size)(Handle h, size_t *out);
    Result (*log)(Handle h, char *out);
    Result (*cubin_size)(Handle h, size_t *out);
    Result (*cubin)(Handle h, char *out);
    Result (*ptx_size)(Handle h, size_t *out);
    Result (*ptx)(Handle h, char *out);
    Result (*destroy)(Handle *h);
    const char *(*error_text)(Result r);
};

// minimal: none of the names that would otherwise be declared for every program. ptxas tells
// registers and spills in the log. The last one is for versions that keep what they compile, and
// an error to those before.
static const char *const option_table[] = {
    "--std=c++17",     "--minimal",        "--fmad=false",       "--ftz=false",
    "--prec-div=true", "--prec-sqrt=true", "--ptxas-options=-v", "--no-cache"};
enum { OPTION_COUNT = sizeof option_table / sizeof option_table[0] };
enum { VERSION_LEAST = 12040, CACHE_SINCE = 12090 }; // --minimal, and --no-cache

static int option_count(const Nvrtc *n) {
    return n->number < CACHE_SINCE ? OPTION_COUNT - 1 : OPTION_COUNT;
}

static const char *const file_table[] = {"libnvrtc.so.13", "libnvrtc.so.12"};
enum { FILE_COUNT = sizeof file_table / sizeof file_table[0] };

// The first file that the pattern gives and that opens.
static void *open_pattern(Arena *a, const char *folder, const char *file) {
    glob_t found;
    void *library = NULL;
    if (glob(arena_format(a, "%s/%s", folder, file), 0, NULL, &found) != 0)
        return NULL;
    for (size_t i = 0; i < found.gl_pathc && !library; i++)
        library = dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_LOCAL);
    globfree(&found);
    return library;
}

// What the user points to comes first, then the loader's own paths, then where the toolkit and
// NVIDIA's Python packages put it.
static void *open_library(Arena *a) {
    static const struct {
        const char *variable, *folder;
    } place[] = {{"CUDA_HOME", "lib64"},
                 {"CUDA_HOME", "lib"},
                 {"CUDA_PATH", "lib64"},
                 {"CUDA_PATH", "lib"},
                 {NULL, NULL}, // the loader's
                 {NULL, "/usr/local/cuda/lib64"},
                 {"VIRTUAL_ENV", "lib/python3*/site-packages/nvidia/*/lib"}};
    for (size_t i = 0; i < sizeof place / sizeof place[0]; i++)
        for (int f = 0; f < FILE_COUNT; f++) {
            const char *root = place[i].variable ? getenv(place[i].variable) : "";
            void *library = NULL;
            if (!place[i].folder)
                library = dlopen(file_table[f], RTLD_NOW | RTLD_LOCAL);
            else if (root && (*root || !place[i].variable))
                library = open_pattern(
                    a, *root ? arena_format(a, "%s/%s", root, place[i].folder) : place[i].folder,
                    file_table[f]);
            if (library)
                return library;
        }
    return NULL;
}

// False where one is not there.
static bool bind_functions(void *library, Nvrtc *n) {
    const struct {
        const char *name;
        void *at; // a pointer to a function
    } table[] = {{"nvrtcVersion", &n->version},
                 {"nvrtcCreateProgram", &n->create},
                 {"nvrtcCompileProgram", &n->compile},
                 {"nvrtcGetProgramLogSize", &n->log_size},
                 {"nvrtcGetProgramLog", &n->log},
                 {"nvrtcGetCUBINSize", &n->cubin_size},
                 {"nvrtcGetCUBIN", &n->cubin},
                 {"nvrtcGetPTXSize", &n->ptx_size},
                 {"nvrtcGetPTX", &n->ptx},
                 {"nvrtcDestroyProgram", &n->destroy},
                 {"nvrtcGetErrorString", &n->error_text}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        void *symbol = dlsym(library, table[i].name);
        if (!symbol)
            return false;
        // POSIX's way from an object's address to a function's.
        memcpy(table[i].at, &symbol, sizeof symbol);
    }
    return true;
}

// Two libraries of one version may differ: the file's size tells most of them apart.
static const char *identity(Arena *a, const Nvrtc *n) {
    void *address;
    memcpy(&address, &n->version, sizeof address);
    Dl_info where;
    struct stat info = {0};
    if (dladdr(address, &where) != 0 && where.dli_fname)
        (void)stat(where.dli_fname, &info);
    return arena_format(a, "nvrtc %d.%d, %lld bytes", n->number / 1000, n->number % 1000 / 10,
                        (long long)info.st_size);
}

const Nvrtc *nvrtc_open(Arena *a, Diag *d) {
    void *library = open_library(a);
    Nvrtc *n = arena_new(a, Nvrtc);
    if (library && bind_functions(library, n)) {
        int major = 0, minor = 0;
        n->version(&major, &minor);
        n->number = 1000 * major + 10 * minor;
        n->identity = identity(a, n);
        if (n->number >= VERSION_LEAST)
            return n;
    }
    diag_error(d, (Loc){0}, P_NVRTC,
               library ? "the NVRTC library found is older than CUDA 12.4"
                       : "a CUDA target needs NVIDIA's compiler library libnvrtc.so.13 or .12, "
                         "which was not found");
    diag_help(d, "install the CUDA toolkit, or the Python package nvidia-cuda-nvrtc into a virtual "
                 "environment, and set CUDA_HOME or VIRTUAL_ENV; no GPU is needed");
    return NULL;
}

const char *nvrtc_identity(const Nvrtc *n) {
    return n->identity;
}

const char *nvrtc_options(const Nvrtc *n, Arena *a) {
    const char *text = option_table[0];
    for (int i = 1; i < option_count(n); i++)
        text = arena_format(a, "%s %s", text, option_table[i]);
    return text;
}

typedef Result SizeFn(Handle h, size_t *out);
typedef Result BytesFn(Handle h, char *out);

// NULL where there is nothing.
static const char *take(Arena *a, Handle h, SizeFn *size, BytesFn *bytes, size_t *count) {
    *count = 0;
    if (size(h, count) != 0 || *count == 0)
        return NULL;
    char *out = arena_alloc(a, *count + 1, 1); // one more: what comes is ended in any case
    return bytes(h, out) == 0 ? out : NULL;
}

void nvrtc_compile(const Nvrtc *n, Arena *a, NvrtcProgram *program) {
    program->bytes = NULL;
    program->size = 0;
    program->log = "";
    Handle h = NULL;
    Result r = n->create(&h, program->source, "plimsoll.cu", 0, NULL, NULL);
    if (r != 0) {
        program->log = n->error_text(r);
        return;
    }
    const char *option[OPTION_COUNT + 1];
    memcpy(option, option_table, sizeof option_table);
    const int count = option_count(n);
    option[count] = arena_format(a, "--gpu-architecture=%s", gpu_arch_name(a, program->arch));
    r = n->compile(h, count + 1, option);
    size_t log_bytes;
    const char *log = take(a, h, n->log_size, n->log, &log_bytes);
    if (log)
        program->log = log;
    else if (r != 0)
        program->log = n->error_text(r);
    if (r == 0)
        program->bytes = program->output == NVRTC_PTX
                             ? take(a, h, n->ptx_size, n->ptx, &program->size)
                             : take(a, h, n->cubin_size, n->cubin, &program->size);
    // PTX comes with its NUL.
    if (program->bytes && program->output == NVRTC_PTX)
        program->size = strlen(program->bytes);
    n->destroy(&h);
}
