// How fast compiled scalar kernels are: nanoseconds of processor time an element and GB/s on one
// thread, beside memcpy in the same run. Not a test. Prints one line a kernel and size; `cache`
// sizes fit the second level cache, `memory` ones don't, and their results are stored past the
// caches, as memcpy's are and as lowering has it. For those in memory also the floor: the greater
// of the bytes' time at memcpy's speed and of the arithmetic's, at two multiplications (or
// comparisons) of eight lanes a cycle, the division five.
//     kernels [TARGET [NAME]]      cpu:native and all kernels unless said
#include "codegen/codegen.h"
#include "ir/kernel.h"
#include "ir/op_lower.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int operand_of(KernelBuilder *kb, DType t, Access access, int64_t row, int64_t column) {
    const int64_t stride[] = {row, column};
    return kernel_add_operand(kb, t, access, stride);
}

static KernelBuilder *rows_of(Arena *a, int64_t rows, int64_t columns) {
    const int64_t dim[] = {rows, columns};
    return kernel_builder(a, KERNEL_ROWS, 2, dim);
}

static KRef mul(KernelBuilder *kb, KRef x, KRef y) {
    return kb_op2(kb, KOP_MUL, x, y);
}

static KRef add(KernelBuilder *kb, KRef x, KRef y) {
    return kb_op2(kb, KOP_ADD, x, y);
}

static Kernel *make_axpb(Arena *a, DType t, int64_t rows, int64_t columns) {
    KernelBuilder *kb = rows_of(a, rows, columns);
    KRef x = kb_load(kb, operand_of(kb, t, ACCESS_READ, columns, 1));
    x = kb_op3(kb, KOP_FMA, x, kb_float(kb, 1.5), kb_float(kb, 0.25));
    kb_store(kb, operand_of(kb, t, ACCESS_WRITE, columns, 1), x);
    return kernel_finish(kb);
}

// x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), as ir/lower_pointwise.c has it
static Kernel *make_gelu(Arena *a, DType t, int64_t rows, int64_t columns) {
    KernelBuilder *kb = rows_of(a, rows, columns);
    KRef x = kb_load(kb, operand_of(kb, t, ACCESS_READ, columns, 1));
    KRef inner = kb_op3(kb, KOP_FMA, mul(kb, x, x), kb_float(kb, -0.0713548162),
                        kb_float(kb, -1.5957691216));
    KRef e = kb_op1(kb, KOP_EXP, mul(kb, x, inner));
    KRef y = kb_op2(kb, KOP_DIV, x, add(kb, kb_float(kb, 1), e));
    kb_store(kb, operand_of(kb, t, ACCESS_WRITE, columns, 1), y);
    return kernel_finish(kb);
}

static Kernel *make_layernorm(Arena *a, DType t, int64_t rows, int64_t columns) {
    KernelBuilder *kb = rows_of(a, rows, columns);
    KRef scale = kb_float(kb, 1.0 / (double)columns);
    KRef x = kb_load(kb, operand_of(kb, t, ACCESS_READ, columns, 1));
    KRef y = kb_op2(kb, KOP_SUB, x, mul(kb, kb_op1(kb, KOP_SUM, x), scale));
    KRef variance = mul(kb, kb_op1(kb, KOP_SUM, mul(kb, y, y)), scale);
    KRef root = kb_op1(kb, KOP_SQRT, add(kb, variance, kb_float(kb, 1e-5)));
    y = mul(kb, y, kb_op2(kb, KOP_DIV, kb_float(kb, 1), root));
    KRef g = kb_load(kb, operand_of(kb, DT_F32, ACCESS_READ, 0, 1));
    KRef shift = kb_load(kb, operand_of(kb, DT_F32, ACCESS_READ, 0, 1));
    kb_store(kb, operand_of(kb, t, ACCESS_WRITE, columns, 1), kb_op3(kb, KOP_FMA, y, g, shift));
    return kernel_finish(kb);
}

static Kernel *make_softmax(Arena *a, DType t, int64_t rows, int64_t columns) {
    KernelBuilder *kb = rows_of(a, rows, columns);
    KRef x = kb_load(kb, operand_of(kb, t, ACCESS_READ, columns, 1));
    KRef e = kb_op1(kb, KOP_EXP, kb_op2(kb, KOP_SUB, x, kb_op1(kb, KOP_MAXIMUM, x)));
    KRef inverse = kb_op2(kb, KOP_DIV, kb_float(kb, 1), kb_op1(kb, KOP_SUM, e));
    kb_store(kb, operand_of(kb, t, ACCESS_WRITE, columns, 1), mul(kb, e, inverse));
    return kernel_finish(kb);
}

// Loss and log-sum-exp, two numbers a row.
static Kernel *make_cross_entropy(Arena *a, DType t, int64_t rows, int64_t columns) {
    KernelBuilder *kb = rows_of(a, rows, columns);
    KRef in[2], out[2];
    in[0] = kb_load(kb, operand_of(kb, t, ACCESS_READ, columns, 1));
    in[1] = kb_load(kb, operand_of(kb, DT_I32, ACCESS_READ, 1, 0));
    lower_cross_entropy(kb, NULL, in, out);
    kb_store(kb, operand_of(kb, DT_F32, ACCESS_WRITE, 1, 0), out[0]);
    kb_store(kb, operand_of(kb, DT_F32, ACCESS_WRITE, 1, 0), out[1]);
    return kernel_finish(kb);
}

static Kernel *make_adamw(Arena *a, DType t, int64_t rows, int64_t columns) {
    KernelBuilder *kb = rows_of(a, rows, columns);
    const int parameter = operand_of(kb, DT_F32, ACCESS_UPDATE, columns, 1);
    const int first = operand_of(kb, DT_F32, ACCESS_UPDATE, columns, 1);
    const int second = operand_of(kb, DT_F32, ACCESS_UPDATE, columns, 1);
    KRef rate = kb_load(kb, operand_of(kb, DT_F32, ACCESS_READ, 0, 0));
    KRef g = kb_load(kb, operand_of(kb, t, ACCESS_READ, columns, 1));
    KRef w = kb_load(kb, parameter), m = kb_load(kb, first), v = kb_load(kb, second);
    m = kb_op3(kb, KOP_FMA, kb_op2(kb, KOP_SUB, g, m), kb_float(kb, 0.1), m);
    v = kb_op3(kb, KOP_FMA, kb_op2(kb, KOP_SUB, mul(kb, g, g), v), kb_float(kb, 0.05), v);
    KRef step = kb_op2(kb, KOP_DIV, m, add(kb, kb_op1(kb, KOP_SQRT, v), kb_float(kb, 1e-8)));
    step = kb_op3(kb, KOP_FMA, w, kb_float(kb, 0.01), step);
    kb_store(kb, parameter, kb_op2(kb, KOP_SUB, w, mul(kb, rate, step)));
    kb_store(kb, first, m);
    kb_store(kb, second, v);
    return kernel_finish(kb);
}

// A bias gradient: the sum down the rows.
static Kernel *make_column_sum(Arena *a, DType t, int64_t rows, int64_t columns) {
    const int64_t dim[] = {rows, columns};
    KernelBuilder *kb = kernel_builder(a, KERNEL_COLUMNS, 2, dim);
    KRef x = kb_load(kb, operand_of(kb, t, ACCESS_READ, columns, 1));
    kb_store(kb, operand_of(kb, DT_F32, ACCESS_WRITE, 0, 1), kb_op1(kb, KOP_SUM, x));
    return kernel_finish(kb);
}

// work: multiplications, comparisons and five a division, for each element, of what a kernel can't
// do without: exp 12.
static const struct {
    const char *name;
    Kernel *(*make)(Arena *a, DType t, int64_t rows, int64_t columns);
    int work;
} kernels[] = {
    {"axpb", make_axpb, 1},
    {"gelu", make_gelu, 20},
    {"layernorm", make_layernorm, 3},
    {"softmax", make_softmax, 13},
    {"cross_entropy", make_cross_entropy, 12},
    {"adamw", make_adamw, 16},
    {"column_sum", make_column_sum, 0},
};

enum { CROSS_ENTROPY = 4 }; // its place above

typedef struct {
    double copy;  // bytes a second, read and written, of large copies
    double cycle; // seconds
} Machine;

// In large pages, as the runtime's arena is.
static void *memory_new(size_t bytes) {
    const size_t page = (size_t)2 << 20;
    void *at = aligned_alloc(page, (bytes + page) / page * page);
    (void)madvise(at, (bytes + page) / page * page, MADV_HUGEPAGE);
    return at;
}

static void fill(const Kernel *k, void **operand) {
    for (int o = 0; o < k->operand_count; o++) {
        const int64_t span = kernel_span(k, o);
        operand[o] = memory_new((size_t)span * 4 + 64);
        for (int64_t i = 0; i < span; i++) {
            const float x = (float)((i * 2654435761u >> 8) % 4096) / 1024.0f - 1.0f;
            if (k->operand[o].dtype == DT_F32)
                ((float *)operand[o])[i] = x;
            else if (k->operand[o].dtype == DT_I32)
                ((int32_t *)operand[o])[i] = (int32_t)(i % 700);
            else
                ((uint16_t *)operand[o])[i] = (uint16_t)(0x3f80 + i % 64);
        }
    }
}

// As lowering has it for results that no cache holds.
static void stream_results(Kernel *k) {
    for (int o = 0; o < k->operand_count; o++)
        k->operand[o].stream = kernel_may_stream(k, o);
}

// The best of several runs of about 20 ms each.
static double best_time(KernelFn fn, void *const *operand, int64_t tiles) {
    double best = 1e9;
    int calls = 1;
    for (int run = 0; run < 8;) {
        const double start = seconds();
        for (int i = 0; i < calls; i++)
            fn(operand, NULL, 0, tiles, NULL);
        const double spent = seconds() - start;
        if (spent < 0.01) {
            calls *= 2;
            continue;
        }
        run++;
        best = spent / calls < best ? spent / calls : best;
    }
    return best;
}

static double bench_memcpy(int64_t bytes) {
    char *from = memory_new((size_t)bytes), *to = memory_new((size_t)bytes);
    memset(from, 1, (size_t)bytes);
    memset(to, 2, (size_t)bytes);
    double best = 1e9;
    for (int run = 0; run < 20; run++) {
        const int calls = (int)(64000000 / bytes) + 1;
        const double start = seconds();
        for (int i = 0; i < calls; i++) {
            memcpy(to, from, (size_t)bytes);
            __asm__ volatile("" ::: "memory"); // Keeps every copy
        }
        const double spent = (seconds() - start) / calls;
        best = spent < best ? spent : best;
    }
    printf("%-14s %-4s %9lld bytes                 %7.1f GB/s (read + written)\n", "memcpy", "",
           (long long)bytes, 2 * (double)bytes / best * 1e-9);
    free(from);
    free(to);
    return 2 * (double)bytes / best;
}

// Of a chain of additions, one a cycle.
static double time_cycle(void) {
    enum { ADDITIONS = 1 << 22 };
    double best = 1e9;
    for (int run = 0; run < 8; run++) {
        uint64_t sum = 1;
        const double start = seconds();
        for (int i = 0; i < ADDITIONS; i++) {
            sum += 3;
            __asm__ volatile("" : "+r"(sum)); // Each waits for the last
        }
        const double spent = (seconds() - start) / (double)ADDITIONS;
        best = spent < best ? spent : best;
    }
    return best;
}

// One row of 50,257 classes: seconds of a draw.
static int bench_sample(const CpuTarget *target, float temperature, float top_p) {
    enum { CLASSES = 50257 };
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    const int64_t dim[] = {1, CLASSES};
    const int64_t whole[] = {CLASSES, 1}, scalar[] = {0, 0};
    KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, 2, dim);
    KRef in[5], out;
    for (int i = 0; i < 5; i++)
        in[i] = kb_load(kb, kernel_add_operand(kb, i < 3 ? DT_F32 : DT_I32, ACCESS_READ,
                                               i == 0 ? whole : scalar));
    lower_sample(kb, NULL, in, &out);
    kb_store(kb, kernel_add_operand(kb, DT_I32, ACCESS_WRITE, scalar), out);
    const char *text = kernel_text(kernel_finish(kb), a);
    double start = seconds();
    Jit *jit = jit_create(d, target, &text, 1);
    const double compiled = seconds() - start;
    if (!jit) {
        diag_print(d, stderr, false);
        arena_release(a);
        return 1;
    }
    float *logit = arena_array(a, float, CLASSES);
    for (int64_t i = 0; i < CLASSES; i++)
        logit[i] = -1.5f * logf(1 + (float)(i * 7919 % CLASSES)); // As words are: few of weight
    int32_t seed = 1, step = 0, drawn;
    const int64_t key = 7;
    void *const operand[] = {logit, &temperature, &top_p, &seed, &step, &drawn};
    enum { DRAWS = 200 };
    start = seconds();
    for (step = 0; step < DRAWS; step++)
        jit_function(jit, 0)(operand, &key, 0, 1, NULL);
    printf("sample         temperature %.1f, top_p %.2f: %7.1f us a row   compiled in %.1f ms\n",
           (double)temperature, (double)top_p, (seconds() - start) / (double)DRAWS * 1e6,
           compiled * 1e3);
    jit_release(jit);
    arena_release(a);
    return 0;
}

// machine: for those in memory, else NULL.
static int bench(const CpuTarget *target, int which, DType t, int64_t rows, int64_t columns,
                 const Machine *machine) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    Kernel *k = kernels[which].make(a, t, rows, columns);
    if (machine)
        stream_results(k);
    const char *text = kernel_text(k, a);
    const double start = seconds();
    Jit *jit = jit_create(d, target, &text, 1);
    const double compiled = seconds() - start;
    if (!jit) {
        diag_print(d, stderr, false);
        arena_release(a);
        return 1;
    }
    void *operand[KERNEL_OPERANDS_MAX];
    fill(k, operand);
    const double spent = best_time(jit_function(jit, 0), operand, kernel_tiles(k));
    printf("%-14s %-4s %5lld x %-6lld %8.4f ns/element %7.1f GB/s   compiled in %.1f ms",
           kernels[which].name, dtype_name(t), (long long)rows, (long long)columns,
           spent * 1e9 / (double)(rows * columns), (double)kernel_bytes(k) / spent * 1e-9,
           compiled * 1e3);
    if (machine) {
        const double moved = (double)kernel_bytes(k) / machine->copy;
        const double worked = kernels[which].work * (double)(rows * columns) / 16 * machine->cycle;
        printf("   %.2f of memcpy, %.2f of the floor (%s)", moved / spent,
               (moved > worked ? moved : worked) / spent, moved > worked ? "bytes" : "work");
    }
    printf("\n");
    for (int o = 0; o < k->operand_count; o++)
        free(operand[o]);
    jit_release(jit);
    arena_release(a);
    return 0;
}

// A result of so many bytes is written, through the caches or past them, and read by the next
// kernel: milliseconds of both together. Where the second way becomes the faster one is what
// lowering's choice should be.
static int bench_read_next(const CpuTarget *target, int64_t mebibytes) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    const int64_t columns = 1024, rows = mebibytes * ((1 << 20) / 4) / columns;
    const char *text[3];
    Kernel *writer = make_axpb(a, DT_F32, rows, columns);
    text[0] = kernel_text(writer, a);
    stream_results(writer);
    text[1] = kernel_text(writer, a);
    KernelBuilder *kb = rows_of(a, rows, columns);
    KRef sum = kb_op1(kb, KOP_SUM, kb_load(kb, operand_of(kb, DT_F32, ACCESS_READ, columns, 1)));
    kb_store(kb, operand_of(kb, DT_F32, ACCESS_WRITE, 1, 0), sum);
    Kernel *reader = kernel_finish(kb);
    text[2] = kernel_text(reader, a);
    Jit *jit = jit_create(d, target, text, 3);
    if (!jit) {
        diag_print(d, stderr, false);
        arena_release(a);
        return 1;
    }
    void *operand[2], *read[2];
    fill(writer, operand);
    fill(reader, read);
    double best[2] = {1e9, 1e9};
    for (int run = 0; run < 40; run++) {
        const double start = seconds();
        jit_function(jit, run % 2)(operand, NULL, 0, kernel_tiles(writer), NULL);
        jit_function(jit, 2)((void *[]){operand[1], read[1]}, NULL, 0, kernel_tiles(reader), NULL);
        const double spent = seconds() - start;
        best[run % 2] = spent < best[run % 2] ? spent : best[run % 2];
    }
    printf("read next      %4lld MiB: through the caches %7.3f ms, past them %7.3f ms\n",
           (long long)mebibytes, best[0] * 1e3, best[1] * 1e3);
    for (int i = 0; i < 2; i++) {
        free(operand[i]);
        free(read[i]);
    }
    jit_release(jit);
    arena_release(a);
    return 0;
}

int main(int argc, char **argv) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    CpuTarget target;
    int failed = 0;
    if (!cpu_target(a, d, argc > 1 ? argv[1] : "cpu:native", &target)) {
        diag_print(d, stderr, false);
        arena_release(a);
        return 1;
    }
    bench_memcpy(262144);
    const Machine machine = {bench_memcpy((int64_t)1 << 28), time_cycle()};
    printf("a cycle %.3f ns\n", machine.cycle * 1e9);
    const char *only = argc > 2 ? argv[2] : NULL;
    for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
        if (only && strcmp(only, kernels[i].name) != 0)
            continue;
        failed |= bench(&target, (int)i, DT_F32, 64, 768, NULL);
        failed |= bench(&target, (int)i, DT_F32, 16384, 768, &machine);
        failed |= bench(&target, (int)i, DT_BF16, 64, 768, NULL);
    }
    if (!only || strcmp(only, "cross_entropy") == 0)
        failed |= bench(&target, CROSS_ENTROPY, DT_F32, 256, 50257, &machine);
    for (int64_t size = 4; size <= 64 && (!only || strcmp(only, "read_next") == 0);
         size += size / 2)
        failed |= bench_read_next(&target, size);
    if (!only || strcmp(only, "sample") == 0) {
        failed |= bench_sample(&target, 0, 1);
        failed |= bench_sample(&target, 1, 1);
        failed |= bench_sample(&target, 1, 0.9F);
        failed |= bench_sample(&target, 1, 0.1F);
    }
    arena_release(a);
    return failed;
}
