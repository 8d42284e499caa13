// Launches are what kernel_launches says, function by function: a mistake in either shows.
#include "cuda_run.h"
#include "tests/shim/tensor_map.h"
#include "tests/temporary.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *cuda_text_load(Arena *a, const char *text, const char *optimize) {
    char folder[TEMPORARY_MAX];
    cr_assert(temporary_folder(folder, "plim_shim"));
    const char *source = arena_format(a, "%s/kernels.cu", folder);
    const char *object = arena_format(a, "%s/kernels.so", folder);
    FILE *out = fopen(source, "w");
    cr_assert_not_null(out);
    fputs(text, out);
    cr_assert_eq(fclose(out), 0);
    cr_assert_eq(system(arena_format(a, "%s/tests/shim/compile %s %s %s", PLIM_SOURCE_DIR, source,
                                     object, optimize)),
                 0);
    void *library = dlopen(object, RTLD_NOW | RTLD_LOCAL);
    cr_assert_not_null(library, "%s", dlerror());
    if (!getenv("PLIM_SHIM_KEEP"))
        cr_assert(temporary_remove(folder));
    return library;
}

CudaProgram cuda_program(Arena *a, Kernel *const *kernel, int count, GpuArch arch) {
    Diag *d = diag_create(a);
    CudaParts parts = 0;
    for (int i = 0; i < count; i++)
        parts |= cuda_parts(kernel[i], arch);
    const char *text = cuda_prelude(a, parts, arch);
    for (int i = 0; i < count; i++) {
        const char *printed = cuda_print(a, d, kernel[i], arch);
        cr_assert_not_null(printed);
        text = arena_format(a, "%s%s", text, printed);
    }
    // Matrix instructions take longer to run here than kernels take to compile.
    const char *optimize = (parts & CUDA_ATTENTION) != 0 ? "-O1" : "-O0";
    return (CudaProgram){.library = cuda_text_load(a, text, optimize), .arch = arch};
}

CudaHostFn cuda_text_function(void *library, const char *name) {
    char symbol[128];
    snprintf(symbol, sizeof symbol, "%s__host", name);
    CudaHostFn host;
    *(void **)&host = dlsym(library, symbol);
    cr_assert_not_null(host, "%s", symbol);
    return host;
}

enum { MAP_BYTES = 128 };

// As the runtime makes them. Sets the first of args to a launch's maps, in `maps`; gives how many.
static int make_maps(const KernelLaunch *l, void *const *operand, char (*maps)[MAP_BYTES],
                     void **args) {
    for (int i = 0; i < l->map_count; i++) {
        const KernelMap *m = &l->map[i];
        uint64_t dim[4], stride[3];
        for (int d = 0; d < 4; d++)
            dim[d] = (uint64_t)m->dim[d];
        for (int d = 0; d < 3; d++)
            stride[d] = (uint64_t)m->stride[d] * 2;
        const uint32_t box[4] = {KERNEL_MAP_COLUMNS, (uint32_t)m->rows, 1, 1};
        const uint32_t step[4] = {1, 1, 1, 1};
        cr_assert_eq(
            shim_map_encode(maps[i], 9, 4, operand[m->operand], dim, stride, box, step, 0, 3, 2, 0),
            0, "map %d is none that CUDA takes", i);
        args[i] = maps[i];
    }
    return l->map_count;
}

void cuda_program_run(const CudaProgram *p, const Kernel *k, void *const *operand,
                      const int64_t *imm, ShimOrder order) {
    KernelLaunches launches;
    kernel_launches(k, p->arch, &launches);
    void *args[KERNEL_OPERANDS_MAX + 64 + 1] = {NULL};
    long long immediate[64];
    void *base[KERNEL_OPERANDS_MAX];
    int count = 0;
    for (int o = 0; o < kernel_operand_count(k); o++) {
        base[o] = operand[o];
        args[count++] = &base[o];
    }
    for (int i = 0; k->kind == KERNEL_SCALAR && i < k->imm_count; i++) {
        immediate[i] = imm[i];
        args[count++] = &immediate[i];
    }
    void *workspace = malloc(launches.workspace + 64);
    memset(workspace, 0xff, launches.workspace + 64);
    args[count++] = &workspace;
    setenv("PLIM_SHIM_ORDER", order == SHIM_BACKWARD ? "backward" : "forward", 1);
    for (int i = 0; i < launches.count; i++) {
        const KernelLaunch *l = &launches.launch[i];
        char name[128];
        snprintf(name, sizeof name, "%s%s", k->name, l->suffix);
        const CudaHostFn host = cuda_text_function(p->library, name);
        _Alignas(MAP_BYTES) char maps[KERNEL_MAPS_MAX][MAP_BYTES];
        void *all[KERNEL_MAPS_MAX + sizeof args / sizeof *args];
        memcpy(all + make_maps(l, operand, maps, all), args, sizeof args);
        const bool some = p->blocks_max > 0 && l->grid[0] > p->blocks_max;
        const int64_t blocks = some ? p->blocks_max : l->grid[0];
        cr_assert_eq(host(all, (unsigned)blocks, (unsigned)l->grid[1], (unsigned)l->grid[2],
                          (unsigned)l->block, (size_t)l->shared),
                     0, "%s failed", name);
    }
    for (int i = 0; i < 64; i++)
        cr_assert_eq(((unsigned char *)workspace)[launches.workspace + (size_t)i], 0xff,
                     "%s writes past its workspace", k->name);
    free(workspace);
}
