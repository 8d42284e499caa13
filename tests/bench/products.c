// How fast products are, on a pool of threads as a program has it. Not a test. Three parts:
//  - the machine's read bandwidth: sums over buffers far larger than caches, the best of several
//    numbers of streams a thread;
//  - thin products (decoding), in GB/s of weights read, every call with other weights, so that none
//    are in a cache; weights [k, n] and [n, k], f32 and bf16;
//  - products of a training step and a prefill, in GFLOP/s, beside oneDNN's sgemm in the same run.
//     products [TARGET] [THREADS [M N K]]     cpu:native and 2 unless said; with a shape that
//     product alone, in both layouts of its weights
#include "codegen/codegen.h"
#include "ir/kernel.h"
#include "passes/lower_product.h"
#include "runtime/pool.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { READ_BYTES = 512 << 20, WEIGHT_BYTES = 256 << 20, STREAMS_MAX = 8, FLOATS = 16 };

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// 16 lanes however the compiler makes them.
typedef float Lanes __attribute__((vector_size(FLOATS * sizeof(float))));

typedef struct {
    const Lanes *at;
    int64_t count; // of Lanes, of one tile
    int streams;
    volatile float sum;
} ReadTask;

// A tile's bytes as `streams` parts that go by side by side.
static void read_tiles(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    ReadTask *r = context;
    const int64_t part = r->count / r->streams;
    Lanes sum[STREAMS_MAX] = {{0}};
    for (int64_t t = begin; t < end; t++)
        for (int64_t i = 0; i < part; i++)
            for (int s = 0; s < r->streams; s++)
                sum[s] += r->at[t * r->count + s * part + i];
    for (int s = 1; s < r->streams; s++)
        sum[0] += sum[s];
    r->sum = sum[0][0];
}

// As the runtime's arenas: large pages where the system has them, and written to, for pages that
// never were are all the same one.
static void *memory(size_t bytes) {
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        exit(1);
    madvise(at, bytes, MADV_HUGEPAGE);
    memset(at, 0, bytes);
    return at;
}

static void bench_read(PlimPool *pool) {
    char *buffer = memory(READ_BYTES);
    double most = 0;
    for (int streams = 1; streams <= STREAMS_MAX; streams *= 2)
        for (int run = 0; run < 5; run++) {
            enum { TILES = 64 };
            ReadTask r = {(const Lanes *)(const void *)buffer,
                          READ_BYTES / TILES / (int64_t)sizeof(Lanes), streams, 0};
            const double start = seconds();
            pool_run(pool, read_tiles, &r, TILES);
            const double speed = (double)READ_BYTES / (seconds() - start) * 1e-9;
            most = speed > most ? speed : most;
        }
    printf("read           %7.1f GB/s, %d threads\n", most, pool_workers(pool));
    munmap(buffer, READ_BYTES);
}

typedef struct {
    KernelFn fn;
    void *operand[3];
    char *workspace;
    size_t workspace_step;
} ProductTask;

static void product_tiles(void *context, int64_t begin, int64_t end, int worker) {
    const ProductTask *p = context;
    p->fn(p->operand, NULL, begin, end, p->workspace + (size_t)worker * p->workspace_step);
}

// a [m, k], c [m, n]; b [k, n], or [n, k] where across.
static ProductKernel product_of(int64_t m, int64_t n, int64_t k, DType b, bool across) {
    ProductKernel p = {.a = DT_F32, .b = b, .c = DT_F32, .batch = {1, 1}, .m = m, .n = n, .k = k};
    p.a_stride[2] = k;
    p.a_stride[3] = 1;
    p.b_stride[2] = across ? 1 : n;
    p.b_stride[3] = across ? k : 1;
    p.c_stride[2] = n;
    p.c_stride[3] = 1;
    product_choose(&p, (ProductLibraries){0});
    return p;
}

// Seconds a call, the best of several rounds over `copies` different weights.
static double time_product(PlimPool *pool, const CpuTarget *target, const ProductKernel *p,
                           int64_t copies) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    const Kernel *k = kernel_product(a, p);
    const char *text = kernel_text(k, a);
    Jit *jit = jit_create(d, target, &text, 1);
    if (!jit) {
        diag_print(d, stderr, false);
        exit(1);
    }
    const size_t weights = (size_t)kernel_span(k, 1) * dtype_bytes(p->b);
    ProductTask task = {.fn = jit_function(jit, 0), .workspace_step = kernel_workspace(k)};
    task.workspace = aligned_alloc(4096, task.workspace_step * (size_t)pool_workers(pool) + 4096);
    char *b = memory(weights * (size_t)copies);
    for (int o = 0; o < 3; o += 2)
        task.operand[o] = memory((size_t)kernel_span(k, o) * sizeof(float));
    double best = 1e9;
    for (int round = 0; round < 6; round++) {
        const double start = seconds();
        for (int64_t i = 0; i < copies; i++) {
            task.operand[1] = b + weights * (size_t)i;
            pool_run(pool, product_tiles, &task, kernel_tiles(k));
        }
        const double spent = (seconds() - start) / (double)copies;
        best = spent < best ? spent : best;
    }
    for (int o = 0; o < 3; o += 2)
        munmap(task.operand[o], (size_t)kernel_span(k, o) * sizeof(float));
    munmap(b, weights * (size_t)copies);
    free(task.workspace);
    jit_release(jit);
    arena_release(a);
    return best;
}

static void bench_thin(PlimPool *pool, const CpuTarget *target, int64_t k, int64_t n, DType t,
                       bool across) {
    const ProductKernel p = product_of(1, n, k, t, across);
    const double bytes = (double)(n * k) * (double)dtype_bytes(t);
    const double spent =
        time_product(pool, target, &p, 1 + (int64_t)((double)WEIGHT_BYTES / bytes));
    printf("thin %-4s %-6s %6lld x %-6lld %9.1f us %7.1f GB/s\n", dtype_name(t),
           across ? "[n,k]" : "[k,n]", (long long)k, (long long)n, spent * 1e6,
           bytes / spent * 1e-9);
}

// From oneDNN's C interface: status, row-major.
typedef int SgemmFn(char transa, char transb, int64_t m, int64_t n, int64_t k, float alpha,
                    const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c,
                    int64_t ldc);

static double time_onednn(SgemmFn *sgemm, int64_t m, int64_t n, int64_t k, bool across) {
    const size_t bytes_a = (size_t)(m * k) * 4, bytes_b = (size_t)(k * n) * 4,
                 bytes_c = (size_t)(m * n) * 4;
    float *a = memory(bytes_a), *b = memory(bytes_b), *c = memory(bytes_c);
    double best = 1e9;
    for (int round = 0; round < 6; round++) {
        const double start = seconds();
        sgemm('N', across ? 'T' : 'N', m, n, k, 1, a, k, b, across ? k : n, 0, c, n);
        const double spent = seconds() - start;
        best = spent < best ? spent : best;
    }
    munmap(a, bytes_a);
    munmap(b, bytes_b);
    munmap(c, bytes_c);
    return best;
}

static void bench_square(PlimPool *pool, const CpuTarget *target, SgemmFn *sgemm, int64_t m,
                         int64_t n, int64_t k, bool across) {
    const ProductKernel p = product_of(m, n, k, DT_F32, across);
    const double flops = 2.0 * (double)m * (double)n * (double)k;
    const double ours = flops / time_product(pool, target, &p, 1) * 1e-9;
    const double theirs = sgemm ? flops / time_onednn(sgemm, m, n, k, across) * 1e-9 : 0;
    printf("product %5lld x %5lld x %5lld %-6s ours %7.1f GFLOP/s   oneDNN %7.1f   ratio %.2f\n",
           (long long)m, (long long)n, (long long)k, across ? "[n,k]" : "[k,n]", ours, theirs,
           theirs > 0 ? ours / theirs : 0);
}

static void bench_all(PlimPool *pool, const CpuTarget *target, SgemmFn *sgemm) {
    static const struct {
        int64_t k, n;
        bool across;
    } thin[] = {{768, 768, false},  {768, 2304, false},  {768, 3072, false}, {3072, 768, false},
                {768, 50257, true}, {2048, 2048, true},  {2048, 512, true},  {2048, 8192, true},
                {8192, 2048, true}, {2048, 128256, true}};
    static const struct {
        int64_t m, n, k;
        bool across;
    } square[] = {{1024, 2304, 768, false},
                  {1024, 768, 3072, false},
                  {2048, 768, 768, true},
                  {1024, 8192, 2048, true},
                  {2048, 50257, 768, true}};
    bench_read(pool);
    for (size_t i = 0; i < sizeof thin / sizeof thin[0]; i++)
        for (int t = 0; t < 2; t++)
            bench_thin(pool, target, thin[i].k, thin[i].n, t ? DT_BF16 : DT_F32, thin[i].across);
    for (size_t i = 0; i < sizeof square / sizeof square[0]; i++)
        bench_square(pool, target, sgemm, square[i].m, square[i].n, square[i].k, square[i].across);
}

int main(int argc, char **argv) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    CpuTarget target;
    if (!cpu_target(a, d, argc > 1 ? argv[1] : "cpu:native", &target)) {
        diag_print(d, stderr, false);
        arena_release(a);
        return 1;
    }
    const char *threads = argc > 2 ? argv[2] : "2";
    setenv("OMP_NUM_THREADS", threads, 1);
    PlimPool *pool = pool_new(atoi(threads));
    void *library = dlopen("libdnnl.so.2", RTLD_NOW);
    SgemmFn *sgemm = NULL;
    if (library)
        *(void **)&sgemm = dlsym(library, "dnnl_sgemm");
    if (argc > 5)
        for (int across = 0; across < 2; across++)
            bench_square(pool, &target, sgemm, atoll(argv[3]), atoll(argv[4]), atoll(argv[5]),
                         across);
    else
        bench_all(pool, &target, sgemm);
    pool_release(pool);
    arena_release(a);
    return 0;
}
