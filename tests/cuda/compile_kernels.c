// Every kernel of some plans and kernel texts through the CUDA printer and NVRTC, equal ones once:
//   compile_kernels --target cuda:sm_90a,... [--threads N] [--again N] FILE...
// FILE is a plan's text, or kernels' texts where it ends in .kernel. The target's first
// architecture gets every kernel; the others get attention, and of the other kernels one of each
// form: of those whose code differs in numbers alone, the first. Prints a line for each function
// that spills registers, and counts. Exit status 1 where a kernel does not compile, where one
// spills that must not (attention with head dims up to 128; others more than a few bytes), where
// ptxas makes wgmma wait for each other (it then says so, and the kernel takes twice as long) or
// softmax wait for products it could run beside, where it deals no registers anew or makes other
// products than a gradient in one pass has, or where compiling --again on so many threads gives
// other bytes. Needs a cache folder of its own: what is found there has no log to look for spills
// in.
#include "codegen/cuda_programs.h"
#include "codegen/plan_kernels.h"
#include "machine_code.h"
#include "tools/tool_io.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { INPUT_MAX = 64 << 20, DIM_WITHOUT_SPILLS = 128, KERNELS_MAX = 8192 };

typedef struct {
    Arena *a;
    Diag *d;
    PlanMemory *plans;
    Kernel *kernel[KERNELS_MAX];
    int count, seen;
} Kernels;

// Products of libraries have no code; equal kernels are compiled once, whoever has them.
static void add_kernel(Kernels *ks, Kernel *k) {
    if (k->kind == KERNEL_PRODUCT && k->product.library != PRODUCT_OWN)
        return;
    ks->seen++;
    for (int i = 0; i < ks->count; i++)
        if (kernel_equal(ks->kernel[i], k))
            return;
    if (ks->count == KERNELS_MAX) {
        fprintf(stderr, "compile_kernels: more than %d kernels\n", KERNELS_MAX);
        exit(1);
    }
    k->name = arena_format(ks->a, "k%d", ks->count);
    ks->kernel[ks->count++] = k;
}

static bool read_plan(Kernels *ks, const char *file, const char *text, size_t bytes) {
    Plan *p;
    PlimError error;
    if (plan_parse(text, bytes, ks->plans, &p, &error) != PLIM_OK ||
        plan_verify(p, &error) != PLIM_OK) {
        fprintf(stderr, "%s: %s\n", file, error.text);
        return false;
    }
    Kernel **kernel = plan_kernels(ks->a, ks->d, p);
    for (uint32_t i = 0; kernel && i < p->kernel_count; i++)
        add_kernel(ks, kernel[i]);
    return kernel != NULL;
}

static bool read_kernels(Kernels *ks, const char *file, const char *text, size_t bytes) {
    size_t at = 0;
    for (Kernel *k; (k = kernel_parse(ks->a, ks->d, file, text, bytes, &at)) != NULL;)
        add_kernel(ks, k);
    return diag_error_count(ks->d) == 0;
}

static bool read_file(Kernels *ks, const char *file) {
    size_t bytes;
    char *text = tool_read("compile_kernels", file, INPUT_MAX, &bytes);
    if (!text)
        return false;
    const size_t length = strlen(file);
    const bool kernels = length > 7 && strcmp(file + length - 7, ".kernel") == 0;
    const bool good = (kernels ? read_kernels : read_plan)(ks, file, text, bytes);
    free(text);
    return good;
}

// Bytes a thread of the kernel may spill: attention whose tiles don't fit the registers any number,
// other attention none; a few numbers of a scalar kernel, beside all that it loads, cost nothing.
static int spill_max(const Kernel *k) {
    enum { A_FEW = 32 };
    const AttentionKernel *t = &k->attention;
    if (k->kind != KERNEL_ATTENTION && k->kind != KERNEL_ATTENTION_GRAD)
        return A_FEW;
    return t->dim_qk > DIM_WITHOUT_SPILLS || t->dim_v > DIM_WITHOUT_SPILLS ? INT_MAX : 0;
}

static const char *kind_name(const Kernel *k) {
    static const char *const name[] = {"scalar", "product", "convolution", "attention",
                                       "attention_grad"};
    return name[k->kind];
}

// The log's "Function properties for k3_1" is followed by a line with "N bytes stack frame, N bytes
// spill stores, N bytes spill loads". Returns how many functions spill that must not; *functions:
// of all.
static int count_spills(const Kernels *ks, const CudaProgram *program, const char *arch,
                        int *functions) {
    int bad = 0;
    const char *at = program->nvrtc.log;
    while ((at = strstr(at, "Function properties for k")) != NULL) {
        int kernel, launch = 0, stack, stores, loads;
        if (sscanf(at, "Function properties for k%d_%d", &kernel, &launch) < 1 ||
            kernel >= ks->count)
            break;
        const char *line = strchr(at, '\n');
        if (!line || sscanf(line, "%*[^0-9]%d bytes stack frame, %d bytes spill stores, %d", &stack,
                            &stores, &loads) != 3)
            break;
        (*functions)++;
        at = line;
        if (stores + loads == 0)
            continue;
        const Kernel *k = ks->kernel[kernel];
        const bool allowed = stores <= spill_max(k);
        printf("%s %s: %s (head dim %d, launch %d): %d bytes stored, %d loaded\n",
               allowed ? "spills" : "SPILLS", arch, kind_name(k), (int)k->attention.dim_qk, launch,
               stores, loads);
        if (!allowed)
            kernel_print(k, stdout);
        bad += !allowed;
    }
    return bad;
}

// ptxas' complaint begins "Potential Performance Loss: wgmma.mma_async instructions are serialized
// due to" and names the function at its end. Returns how many there are.
static int count_serialized(const CudaProgram *program, const char *arch) {
    static const char complaint[] = "instructions are serialized";
    int count = 0;
    for (const char *at = program->nvrtc.log; (at = strstr(at, complaint)) != NULL;) {
        const int length = (int)strcspn(at, "\n");
        printf("SERIALIZED %s: %.*s\n", arch, length, at);
        at += length;
        count++;
    }
    return count;
}

// How many functions of warpgroups' products are not as they are meant; *functions: of all.
static int count_misplaced(const CudaProgram *program, int *functions) {
    MachineCode code = {0};
    if (program->nvrtc.arch.sm != 90 || !program->nvrtc.arch.specific)
        return 0;
    if (!machine_code_read(program->nvrtc.bytes, program->nvrtc.size, &code)) {
        printf("UNREADABLE cubin\n");
        return 1;
    }
    if (code.bad)
        printf(
            "MISPLACED in %s: %d of %d functions have exponentials behind a wait for all "
            "products, %d keep the registers they were given, %d make other products than five\n",
            code.bad, code.exposed, code.functions, code.undealt, code.repeated);
    *functions += code.functions;
    return code.exposed + code.undealt + code.repeated;
}

// Whether any kernel is one that groups of warps compute.
static bool wants_groups(const Kernels *ks, const GpuArchs *archs) {
    bool any = false;
    for (int i = 0; i < archs->count; i++)
        for (int k = 0; k < ks->count && archs->arch[i].specific; k++)
            any = any || (cuda_parts(ks->kernel[k], archs->arch[i]) & CUDA_HOPPER) != 0;
    return any;
}

// Both up to their next character that is no digit, numbers counting as equal.
static bool same_form(const char *x, const char *y) {
    while (*x && *y) {
        const size_t dx = strspn(x, "0123456789"), dy = strspn(y, "0123456789");
        if ((dx > 0) != (dy > 0) || (dx == 0 && *x != *y))
            return false;
        x += dx ? dx : 1;
        y += dy ? dy : 1;
    }
    return *x == *y;
}

// Fills out with those that have a form of their own, and attention. False where one can't be
// printed.
static bool choose_forms(const Kernels *ks, GpuArch arch, Kernel **out, int *count) {
    const char **text = arena_array(ks->a, const char *, ks->count + 1);
    *count = 0;
    for (int i = 0; i < ks->count; i++) {
        Kernel *k = ks->kernel[i];
        const bool is_template = k->kind == KERNEL_ATTENTION || k->kind == KERNEL_ATTENTION_GRAD;
        const char *printed = cuda_print(ks->a, ks->d, k, arch);
        if (!printed)
            return false;
        bool known = false;
        for (int j = 0; j < *count && !is_template && !known; j++)
            known = text[j] && same_form(text[j], printed);
        if (known)
            continue;
        text[*count] = is_template ? NULL : printed;
        out[(*count)++] = k;
    }
    return true;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// All programs: the first architecture's, then the others'.
static bool print_all(Kernels *ks, const GpuArchs *archs, CudaPrograms *out) {
    *out = (CudaPrograms){0};
    for (int i = 0; i < archs->count; i++) {
        Kernel **chosen = arena_array(ks->a, Kernel *, ks->count + 1);
        int count = ks->count;
        if (i == 0)
            memcpy(chosen, ks->kernel, (size_t)count * sizeof *chosen);
        else if (!choose_forms(ks, archs->arch[i], chosen, &count))
            return false;
        const GpuArchs one = {1, {archs->arch[i]}};
        CudaPrograms more;
        if (!cuda_programs_print(ks->a, ks->d, chosen, count, &one, PROGRAMS_SPLIT, &more))
            return false;
        CudaProgram *both = arena_array(ks->a, CudaProgram, out->count + more.count + 1);
        for (int k = 0; k < out->count; k++)
            both[k] = out->program[k];
        memcpy(both + out->count, more.program, (size_t)more.count * sizeof *both);
        *out = (CudaPrograms){both, out->count + more.count};
    }
    return true;
}

// Compiles all once more, on another number of threads, and compares cubins.
static bool compile_again(Kernels *ks, const GpuArchs *archs, int threads,
                          const CudaPrograms *first) {
    CudaPrograms again;
    if (!print_all(ks, archs, &again) ||
        !cuda_programs_compile(ks->a, ks->d, NULL, NVRTC_CUBIN, threads, &again))
        return false;
    bool same = again.count == first->count;
    for (int i = 0; i < again.count && same; i++) {
        const NvrtcProgram *x = &first->program[i].nvrtc, *y = &again.program[i].nvrtc;
        same = x->size == y->size && memcmp(x->bytes, y->bytes, x->size) == 0;
    }
    printf("again on %d threads: %s\n", threads, same ? "the same bytes" : "OTHER BYTES");
    return same;
}

// again: threads of a second time, 0 for none.
static bool compile(Kernels *ks, const GpuArchs *archs, int threads, int again) {
    CudaPrograms programs;
    const double start = now();
    if (!print_all(ks, archs, &programs) ||
        !cuda_programs_compile(ks->a, ks->d, NULL, NVRTC_CUBIN, threads, &programs))
        return false;
    int bad = 0, functions = 0, serialized = 0, misplaced = 0, groups = 0;
    for (int i = 0; i < programs.count; i++) {
        const char *arch = gpu_arch_name(ks->a, programs.program[i].nvrtc.arch);
        bad += count_spills(ks, &programs.program[i], arch, &functions);
        serialized += count_serialized(&programs.program[i], arch);
        misplaced += count_misplaced(&programs.program[i], &groups);
    }
    printf(
        "%d kernels, %d of them different, %d architectures: %d functions in %d programs, %.1f s; "
        "%d spill that must not, %d serialize products, %d of %d with groups are not as meant\n",
        ks->seen, ks->count, archs->count, functions, programs.count, now() - start, bad,
        serialized, misplaced, groups);
    // A log that tells nothing would pass for one without spills, and code that can't be read for
    // good code.
    return bad == 0 && serialized == 0 && functions > 0 && misplaced == 0 &&
           (groups > 0) == wants_groups(ks, archs) &&
           (again == 0 || compile_again(ks, archs, again, &programs));
}

int main(int argc, char **argv) {
    Arena *a = arena_create();
    Kernels *ks = arena_new(a, Kernels);
    *ks = (Kernels){.a = a, .d = diag_create(a), .plans = plan_memory_new()};
    GpuArchs archs = {0};
    int threads = 1, again = 0;
    bool good = ks->plans != NULL;
    for (int i = 1; i < argc && good; i++) {
        if (strcmp(argv[i], "--target") == 0 && i + 1 < argc)
            good = cuda_target(a, ks->d, argv[++i], &archs);
        else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc)
            threads = atoi(argv[++i]);
        else if (strcmp(argv[i], "--again") == 0 && i + 1 < argc)
            again = atoi(argv[++i]);
        else
            good = read_file(ks, argv[i]);
    }
    good = good && compile(ks, &archs, threads, again);
    diag_print(ks->d, stderr, false);
    plan_memory_release(ks->plans);
    arena_release(a);
    return good ? 0 : 1;
}
