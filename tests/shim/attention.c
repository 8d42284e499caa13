// Attention as printed for a GPU, run by the shim on this machine, against the kernel interpreter:
// masks, windows, offsets, grouped queries, lengths that tiles don't divide, head dims of every
// kind, strides that forbid wide accesses, bf16 on (emulated) tensor cores and f32. Each kernel
// runs with threads in both orders, and copies arriving late and early: the bits must be the same.
//   attention COMPILE_SCRIPT FOLDER
#include "codegen/cuda.h"
#include "codegen/cuda_attention.h"
#include "ir/kernel.h"
#include "ir/launch.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPERANDS_MAX = 9, CASES_MAX = 64 };
enum { Q, K, V, OUT, LSE, DOUT, OFFSET = 5 };

typedef struct {
    const char *what;
    DType dtype;
    int64_t batch, groups, sharing; // sharing: query heads a group
    int64_t queries, keys, dim_qk, dim_v;
    bool causal;
    int64_t window;
    int offset;   // the operand's value + 1; 0: none
    bool by_head; // [b, h, s, e] instead of [b, s, h, e]
    int64_t gap;  // elements between positions that belong to nobody
    double scale; // times 1 / sqrt(dim_qk); 0 means 1
    int sm;       // 0: 80; 90: sm_90a
    bool forward_only;
} Case;

static const Case cases[] = {
    {"whole tiles", DT_BF16, 1, 1, 1, 128, 128, 64, 64, .causal = true},
    {"a short sequence", DT_BF16, 2, 1, 1, 5, 5, 64, 64, .causal = true},
    {"all keys, odd lengths", DT_BF16, 1, 2, 1, 77, 131, 64, 64},
    {"more queries than keys", DT_BF16, 1, 1, 1, 90, 40, 32, 32, .causal = true},
    {"a window", DT_BF16, 1, 1, 1, 200, 200, 64, 64, .causal = true, .window = 37},
    {"a window, not causal", DT_BF16, 1, 1, 1, 70, 90, 32, 32, .window = 20},
    {"grouped queries", DT_BF16, 1, 2, 3, 75, 75, 64, 64, .causal = true, .by_head = true},
    {"an offset", DT_BF16, 1, 1, 2, 20, 150, 64, 64, .causal = true, .offset = 71},
    {"an offset past the end", DT_BF16, 1, 1, 1, 3, 40, 32, 32, .causal = true, .offset = 101},
    {"a negative scale", DT_BF16, 1, 1, 1, 40, 40, 32, 32, .causal = true, .scale = -1},
    {"no wide accesses", DT_BF16, 1, 1, 2, 50, 50, 20, 24, .causal = true, .gap = 1},
    {"head dim 16", DT_BF16, 1, 1, 1, 70, 70, 16, 16, .causal = true},
    {"head dim 96", DT_BF16, 1, 1, 1, 100, 100, 96, 96, .causal = true},
    {"head dim 128", DT_BF16, 1, 1, 1, 150, 150, 128, 128, .causal = true},
    {"head dims 80 and 112", DT_BF16, 1, 1, 1, 60, 60, 80, 112, .causal = true},
    {"head dims 192 and 128", DT_BF16, 1, 1, 1, 70, 70, 192, 128, .causal = true},
    {"head dim 256", DT_BF16, 1, 1, 1, 70, 70, 256, 256, .causal = true},
    {"head dim 256, less shared memory", DT_BF16, 1, 1, 1, 70, 70, 256, 256, .causal = true,
     .sm = 86},
    {"head dim 300, no tensor cores", DT_BF16, 1, 1, 1, 33, 40, 300, 140, .causal = true},
    {"groups: whole tiles", DT_BF16, 1, 1, 1, 128, 384, 128, 128, .sm = 90},
    {"groups: head dim 64", DT_BF16, 1, 1, 2, 250, 250, 64, 64, .causal = true, .sm = 90},
    {"groups: a window, head dim 96", DT_BF16, 1, 1, 1, 130, 300, 96, 96, .causal = true,
     .window = 150, .sm = 90},
    {"groups: an offset", DT_BF16, 1, 2, 2, 70, 500, 128, 64, .causal = true, .offset = 311,
     .sm = 90},
    {"groups: more queries than keys", DT_BF16, 1, 1, 1, 300, 40, 64, 64, .causal = true, .sm = 90},
    {"groups: no wide accesses", DT_BF16, 1, 1, 1, 70, 140, 84, 100, .gap = 1, .scale = -1,
     .sm = 90},
    {"groups: head dim 192", DT_BF16, 1, 1, 1, 64, 300, 192, 192, .sm = 90},
    {"groups: head dim 256", DT_BF16, 1, 1, 1, 64, 200, 256, 256, .causal = true, .sm = 90},
    {"f32", DT_F32, 1, 1, 2, 70, 70, 64, 64, .causal = true},
    {"f32, all keys, odd dims", DT_F32, 2, 1, 1, 37, 70, 7, 5},
    {"f32, a window", DT_F32, 1, 1, 1, 90, 90, 16, 16, .causal = true, .window = 30},
    {"f32, an offset", DT_F32, 1, 1, 2, 5, 80, 16, 16, .causal = true, .offset = 31},
};
enum { CASES = sizeof cases / sizeof cases[0] };
_Static_assert(CASES <= CASES_MAX, "names of kernels are made for CASES_MAX cases");

static uint64_t random_state;

static float random_float(void) {
    random_state = random_state * 6364136223846793005U + 1442695040888963407U;
    return (float)((int64_t)(random_state >> 40) - (1 << 23)) / (float)(1 << 22);
}

// Strides of [batch, head, position].
static void set_strides(int64_t stride[3], const Case *c, int64_t heads, int64_t positions,
                        int64_t dim) {
    const int64_t step = (c->by_head ? 1 : heads) * dim + c->gap;
    stride[2] = step;
    stride[1] = c->by_head ? positions * step : dim;
    stride[0] = c->by_head ? heads * positions * step : positions * step;
}

static Kernel *make_kernel(Arena *a, const Case *c, KernelKind kind, const char *name) {
    AttentionKernel t = {.dtype = c->dtype, .batch = c->batch, .groups = c->groups};
    t.heads = c->groups * c->sharing;
    t.queries = c->queries;
    t.keys = c->keys;
    t.dim_qk = c->dim_qk;
    t.dim_v = c->dim_v;
    t.causal = c->causal;
    t.window = c->window;
    t.offset = c->offset > 0;
    t.scale = (c->scale == 0 ? 1 : c->scale) / sqrt((double)c->dim_qk);
    set_strides(t.q, c, t.heads, t.queries, t.dim_qk);
    set_strides(t.k, c, t.groups, t.keys, t.dim_qk);
    set_strides(t.v, c, t.groups, t.keys, t.dim_v);
    set_strides(t.out, c, t.heads, t.queries, t.dim_v);
    if (kind == KERNEL_ATTENTION_GRAD) {
        memcpy(t.dq, t.q, sizeof t.q);
        memcpy(t.dk, t.k, sizeof t.k);
        memcpy(t.dv, t.v, sizeof t.v);
        memcpy(t.dout, t.out, sizeof t.out);
    }
    Kernel *k = kernel_attention(a, kind, &t);
    k->name = name;
    return k;
}

static GpuArch case_arch(const Case *c) {
    return (GpuArch){c->sm ? c->sm : 80, c->sm == 90};
}

static bool has_gradient(const Case *c) {
    return c->offset == 0;
}

static Kernel *case_kernel(Arena *a, int i, KernelKind kind) {
    const bool forward = kind == KERNEL_ATTENTION;
    return make_kernel(a, &cases[i], kind, arena_format(a, "%s%d", forward ? "f" : "g", i));
}

// All kernels of all cases in one text.
static bool write_kernels(Arena *a, const char *path) {
    Diag *d = diag_create(a);
    FILE *out = fopen(path, "w");
    if (!out)
        return false;
    fputs(cuda_prelude(a, CUDA_MMA | CUDA_ATTENTION | CUDA_HOPPER, (GpuArch){90, true}), out);
    for (int i = 0; i < CASES; i++) {
        fprintf(out, "// %s\n", cases[i].what);
        fputs(cuda_print_attention(a, d, case_kernel(a, i, KERNEL_ATTENTION), case_arch(&cases[i])),
              out);
        if (has_gradient(&cases[i]))
            fputs(cuda_print_attention(a, d, case_kernel(a, i, KERNEL_ATTENTION_GRAD),
                                       case_arch(&cases[i])),
                  out);
    }
    return fclose(out) == 0;
}

typedef int (*HostFn)(void **args, unsigned x, unsigned y, unsigned z, unsigned block,
                      size_t shared);

// Runs all launches of a kernel on operands at `operand`.
static bool run_launches(void *library, const Kernel *k, GpuArch arch, void **operand) {
    KernelLaunches launches;
    kernel_launches(k, arch, &launches);
    void *args[OPERANDS_MAX + 1];
    const int count = kernel_operand_count(k);
    for (int i = 0; i < count; i++)
        args[i] = &operand[i];
    void *workspace = malloc(launches.workspace + 1);
    memset(workspace, 0xff, launches.workspace);
    args[count] = &workspace;
    bool ok = true;
    for (int i = 0; ok && i < launches.count; i++) {
        const KernelLaunch *l = &launches.launch[i];
        char name[64];
        snprintf(name, sizeof name, "%s%s__host", k->name, l->suffix);
        HostFn run;
        *(void **)&run = dlsym(library, name);
        ok = run && run(args, (unsigned)l->grid[0], (unsigned)l->grid[1], (unsigned)l->grid[2],
                        (unsigned)l->block, (size_t)l->shared) == 0;
    }
    free(workspace);
    return ok;
}

static float element(DType dtype, const void *at, int64_t i) {
    if (dtype == DT_F32)
        return ((const float *)at)[i];
    const uint32_t bits = (uint32_t)((const uint16_t *)at)[i] << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void fill(DType dtype, void *at, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        const float x = random_float();
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        if (dtype == DT_F32)
            ((float *)at)[i] = x;
        else
            ((uint16_t *)at)[i] = (uint16_t)(bits >> 16);
    }
}

// The largest difference of two tensors in units of 1 + the largest number of the right one.
static double difference(DType dtype, const void *a, const void *b, int64_t count) {
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < count; i++) {
        const double x = (double)element(dtype, a, i), y = (double)element(dtype, b, i);
        if (isinf(y) && x == y)
            continue;
        const double d = fabs(x - y);
        worst = d > worst || isnan(d) ? d : worst;
        largest = fabs(y) > largest ? fabs(y) : largest;
    }
    return worst / (1 + largest);
}

typedef struct {
    void *at[OPERANDS_MAX];
} Operands;

static Operands copy_operands(const Kernel *k, const Operands *from) {
    Operands out = {{0}};
    for (int i = 0; i < kernel_operand_count(k); i++) {
        // Sixteen bytes apart from anything else, as in a plan.
        const size_t bytes = (size_t)kernel_span(k, i) * dtype_bytes(kernel_dtype(k, i));
        out.at[i] = aligned_alloc(16, (bytes + 15) / 16 * 16);
        if (from)
            memcpy(out.at[i], from->at[i], bytes);
    }
    return out;
}

static void free_operands(Operands *o) {
    for (int i = 0; i < OPERANDS_MAX; i++)
        free(o->at[i]);
}

// Results against the interpreter's within the bound, and the same bits with threads the other way
// round. bf16: p and ds are rounded to 8 bits before they are multiplied, and results once more.
static bool check(void *library, const Kernel *k, const Case *c, const Operands *start) {
    Operands oracle = copy_operands(k, start), got = copy_operands(k, start);
    Operands again = copy_operands(k, start);
    kernel_interpret(k, oracle.at, NULL);
    setenv("PLIM_SHIM_ORDER", "forward", 1);
    bool ok = run_launches(library, k, case_arch(c), got.at);
    setenv("PLIM_SHIM_ORDER", "backward", 1);
    ok = ok && run_launches(library, k, case_arch(c), again.at);
    for (int i = 0; ok && i < kernel_operand_count(k); i++) {
        const DType dtype = kernel_dtype(k, i);
        const int64_t count = kernel_span(k, i);
        const double bound = dtype == DT_I32      ? 0
                             : c->dtype == DT_F32 ? 4e-6
                             : i == LSE           ? 4e-6
                                                  : 8e-3;
        const double d = dtype == DT_I32 ? 0 : difference(dtype, got.at[i], oracle.at[i], count);
        if (!(d <= bound)) {
            fprintf(stderr, "%s: %s: operand %d differs by %g\n", c->what, k->name, i, d);
            ok = false;
        }
        if (getenv("PLIM_VERBOSE"))
            fprintf(stderr, "%s %s operand %d: %g\n", c->what, k->name, i, d);
        if (memcmp(got.at[i], again.at[i], (size_t)count * dtype_bytes(dtype)) != 0) {
            fprintf(stderr, "%s: %s: operand %d depends on the order of threads\n", c->what,
                    k->name, i);
            ok = false;
        }
    }
    free_operands(&oracle);
    free_operands(&got);
    free_operands(&again);
    return ok;
}

static bool run_case(Arena *a, void *library, int i) {
    const Case *c = &cases[i];
    random_state = (uint64_t)i + 1;
    const Kernel *forward = case_kernel(a, i, KERNEL_ATTENTION);
    Operands operands = copy_operands(forward, NULL);
    for (int o = Q; o <= OUT; o++)
        fill(c->dtype, operands.at[o], kernel_span(forward, o));
    fill(DT_F32, operands.at[LSE], kernel_span(forward, LSE));
    if (c->offset > 0)
        ((int32_t *)operands.at[OFFSET])[0] = c->offset - 1;
    bool ok = check(library, forward, c, &operands);
    if (has_gradient(c)) {
        const Kernel *backward = case_kernel(a, i, KERNEL_ATTENTION_GRAD);
        Operands grad = copy_operands(backward, NULL);
        for (int o = 0; o < kernel_operand_count(backward); o++)
            fill(kernel_dtype(backward, o), grad.at[o], kernel_span(backward, o));
        for (int o = Q; o <= V; o++)
            memcpy(grad.at[o], operands.at[o],
                   (size_t)kernel_span(forward, o) * dtype_bytes(kernel_dtype(forward, o)));
        kernel_interpret(forward, grad.at, NULL); // out and log-sum-exp that belong to q, k, v
        ok = check(library, backward, c, &grad) && ok;
        free_operands(&grad);
    }
    free_operands(&operands);
    return ok;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: attention COMPILE_SCRIPT FOLDER\n");
        return 2;
    }
    Arena *a = arena_create();
    const char *source = arena_format(a, "%s/attention.cu", argv[2]);
    const char *object = arena_format(a, "%s/attention.so", argv[2]);
    const char *command = arena_format(a, "%s %s %s", argv[1], source, object);
    if (!write_kernels(a, source) || system(command) != 0) {
        fprintf(stderr, "%s: the kernels don't compile\n", source);
        return 1;
    }
    void *library = dlopen(object, RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    int failed = 0;
    for (int i = 0; i < CASES; i++)
        failed += !run_case(a, library, i);
    arena_release(a);
    printf("%d cases, %d failed\n", CASES, failed);
    return failed > 0;
}
