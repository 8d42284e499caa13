// Launches are what kernel_launches says, function by function: a mistake in either shows.
#include "cuda_run.h"
#include "tests/temporary.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

CudaProgram cuda_program(Arena *a, Kernel *const *kernel, int count, GpuArch arch) {
    char folder[TEMPORARY_MAX];
    cr_assert(temporary_folder(folder, "plim_shim"));
    const char *source = arena_format(a, "%s/kernels.cu", folder);
    const char *object = arena_format(a, "%s/kernels.so", folder);
    FILE *out = fopen(source, "w");
    cr_assert_not_null(out);
    Diag *d = diag_create(a);
    CudaParts parts = 0;
    for (int i = 0; i < count; i++)
        parts |= cuda_parts(kernel[i], arch);
    fputs(cuda_prelude(a, parts, arch), out);
    for (int i = 0; i < count; i++) {
        const char *text = cuda_print(a, d, kernel[i], arch);
        cr_assert_not_null(text);
        fputs(text, out);
    }
    cr_assert_eq(fclose(out), 0);
    // Matrix instructions take longer to run here than kernels take to compile.
    const char *optimize = (parts & CUDA_MMA) != 0 ? "-O1" : "-O0";
    cr_assert_eq(system(arena_format(a, "%s/tests/shim/compile %s %s %s", PLIM_SOURCE_DIR, source,
                                     object, optimize)),
                 0);
    CudaProgram p = {.library = dlopen(object, RTLD_NOW | RTLD_LOCAL), .arch = arch};
    cr_assert_not_null(p.library, "%s", dlerror());
    if (!getenv("PLIM_SHIM_KEEP"))
        cr_assert(temporary_remove(folder));
    return p;
}

typedef int (*HostFn)(void **args, unsigned x, unsigned y, unsigned z, unsigned block,
                      size_t shared);

void cuda_program_run(const CudaProgram *p, const Kernel *k, void *const *operand,
                      const int64_t *imm, ShimOrder order) {
    KernelLaunches launches;
    kernel_launches(k, p->arch, &launches);
    void *args[KERNEL_OPERANDS_MAX + 64 + 1];
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
        snprintf(name, sizeof name, "%s%s__host", k->name, l->suffix);
        HostFn host;
        *(void **)&host = dlsym(p->library, name);
        cr_assert_not_null(host, "%s", name);
        cr_assert_eq(host(args, (unsigned)l->grid[0], (unsigned)l->grid[1], (unsigned)l->grid[2],
                          (unsigned)l->block, (size_t)l->shared),
                     0, "%s failed", name);
    }
    for (int i = 0; i < 64; i++)
        cr_assert_eq(((unsigned char *)workspace)[launches.workspace + (size_t)i], 0xff,
                     "%s writes past its workspace", k->name);
    free(workspace);
}
