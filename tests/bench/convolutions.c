// How fast convolutions are, on a pool of threads as a program has it. Not a test. Lines of
//     NAME PART FLOPS WALL CPU IMAGES CHANNELS CHANNELS SIZE KERNEL STRIDE GROUPS
// with the best seconds a call by the clock, and by the time the process was given, which says more
// on a machine that others use; and `peak - FLOPS WALL CPU` of fused multiply-adds in registers,
// one thread, vectors of AVX2. tests/bench/convolutions_peer.py runs it beside PyTorch.
//     bench_convolutions [TARGET] [THREADS] [NAME]      cpu:native and 2 unless said
#include "codegen/codegen.h"
#include "ir/convolution.h"
#include "ir/kernel.h"
#include "runtime/pool.h"

#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 12 };

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// images, channels in and out, size, kernel, stride, groups: padded to keep the size.
typedef struct {
    const char *name;
    int64_t batch, in, out, size, kernel, stride, groups;
} Layer;

// The layers of ResNet-50 that take most of its time; depthwise ones of MobileNet and EfficientNet.
static const Layer layers[] = {
    {"stem", 8, 3, 64, 224, 7, 2, 1},
    {"2.3x3", 8, 64, 64, 56, 3, 1, 1},
    {"2.reduce", 8, 256, 64, 56, 1, 1, 1},
    {"2.expand", 8, 64, 256, 56, 1, 1, 1},
    {"3.3x3", 8, 128, 128, 28, 3, 1, 1},
    {"3.down", 8, 128, 128, 56, 3, 2, 1},
    {"3.side", 8, 256, 512, 56, 1, 2, 1},
    {"4.3x3", 8, 256, 256, 14, 3, 1, 1},
    {"4.reduce", 8, 1024, 256, 14, 1, 1, 1},
    {"5.3x3", 8, 512, 512, 7, 3, 1, 1},
    {"5.expand", 8, 512, 2048, 7, 1, 1, 1},
    {"depthwise.3x3", 8, 96, 96, 56, 3, 1, 96},
    {"depthwise.5x5", 8, 240, 240, 28, 5, 2, 240},
};

static ConvolutionKernel kernel_of(const Layer *l, ConvolutionPart part) {
    ConvolutionKernel k = {.part = part};
    Convolution *c = &k.shape;
    c->batch = l->batch;
    c->groups = l->groups;
    c->in = l->in / l->groups;
    c->out = l->out / l->groups;
    for (int i = 0; i < 2; i++) {
        c->size[i] = l->size;
        c->kernel[i] = l->kernel;
        c->stride[i] = l->stride;
        c->dilation[i] = 1;
        c->before[i] = c->after[i] = l->kernel / 2;
        c->result[i] = convolution_result(l->size, l->kernel, l->stride, l->kernel / 2 * 2, 1);
    }
    k.x_stride = l->in * l->size * l->size;
    k.y_stride = l->out * c->result[0] * c->result[1];
    return k;
}

typedef struct {
    KernelFn fn;
    void *operand[3];
    char *workspace;
    size_t workspace_step;
} Task;

static void run_tiles(void *context, int64_t begin, int64_t end, int worker) {
    const Task *t = context;
    t->fn(t->operand, NULL, begin, end, t->workspace + (size_t)worker * t->workspace_step);
}

static void time_kernel(PlimPool *pool, const CpuTarget *target, const Layer *l,
                        ConvolutionPart part) {
    static const char *const name[] = {"input", "weight", "forward"}; // by ConvolutionPart
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    const ConvolutionKernel c = kernel_of(l, part);
    const Kernel *k = kernel_convolution(a, &c);
    const char *text = kernel_text(k, a);
    Jit *jit = jit_create(d, target, &text, 1);
    if (!jit) {
        diag_print(d, stderr, false);
        exit(1);
    }
    Task task = {.fn = jit_function(jit, 0), .workspace_step = kernel_workspace(k)};
    task.workspace = aligned_alloc(4096, task.workspace_step * (size_t)pool_workers(pool) + 4096);
    for (int o = 0; o < 3; o++) {
        const int64_t count = kernel_span(k, o);
        float *at = malloc((size_t)count * sizeof *at);
        for (int64_t i = 0; i < count; i++)
            at[i] = (float)(i * 7919 % 1009) / 1009.0F - 0.5F;
        task.operand[o] = at;
    }
    double wall = 1e9, cpu = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        const double start = seconds(CLOCK_MONOTONIC), given = seconds(CLOCK_PROCESS_CPUTIME_ID);
        pool_run(pool, run_tiles, &task, kernel_tiles(k));
        const double spent = seconds(CLOCK_MONOTONIC) - start;
        const double used = seconds(CLOCK_PROCESS_CPUTIME_ID) - given;
        wall = spent < wall ? spent : wall;
        cpu = used < cpu ? used : cpu;
    }
    printf("%s %s %lld %.9f %.9f %lld %lld %lld %lld %lld %lld %lld\n", l->name, name[part],
           (long long)kernel_flops(k), wall, cpu, (long long)l->batch, (long long)l->in,
           (long long)l->out, (long long)l->size, (long long)l->kernel, (long long)l->stride,
           (long long)l->groups);
    fflush(stdout);
    for (int o = 0; o < 3; o++)
        free(task.operand[o]);
    free(task.workspace);
    jit_release(jit);
    arena_release(a);
}

// Twelve sums are more than the latency of an addition needs.
__attribute__((target("avx2,fma"))) static void time_peak(void) {
    enum { SUMS = 12, TIMES = 2000000 };
    double wall = 1e9, cpu = 1e9;
    volatile float seen = 0;
    for (int round = 0; round < ROUNDS; round++) {
        __m256 sum[SUMS], x = _mm256_set1_ps(0.5F), y = _mm256_set1_ps(0.25F);
        for (int i = 0; i < SUMS; i++)
            sum[i] = _mm256_set1_ps((float)(i + round));
        const double start = seconds(CLOCK_MONOTONIC), given = seconds(CLOCK_PROCESS_CPUTIME_ID);
        for (int t = 0; t < TIMES; t++)
            for (int i = 0; i < SUMS; i++)
                sum[i] = _mm256_fmadd_ps(sum[i], x, y);
        const double spent = seconds(CLOCK_MONOTONIC) - start;
        const double used = seconds(CLOCK_PROCESS_CPUTIME_ID) - given;
        wall = spent < wall ? spent : wall;
        cpu = used < cpu ? used : cpu;
        for (int i = 0; i < SUMS; i++)
            seen = seen + _mm256_cvtss_f32(sum[i]);
    }
    printf("peak - %lld %.9f %.9f\n", (long long)SUMS * TIMES * 16, wall, cpu);
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "cpu:native";
    const int threads = argc > 2 ? atoi(argv[2]) : 2;
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    CpuTarget target;
    if (!cpu_target(a, d, name, &target)) {
        diag_print(d, stderr, false);
        return 1;
    }
    time_peak();
    PlimPool *pool = pool_new(threads);
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        if (argc > 3 && strncmp(argv[3], layers[i].name, strlen(argv[3])) != 0)
            continue;
        time_kernel(pool, &target, &layers[i], CONVOLVE_Y);
        time_kernel(pool, &target, &layers[i], CONVOLVE_X);
        time_kernel(pool, &target, &layers[i], CONVOLVE_W);
    }
    pool_release(pool);
    arena_release(a);
    return 0;
}
