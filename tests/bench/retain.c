// How long choosing what to keep takes, and what comes of it, for training steps of decoders.
//
//   bench_retain [far GB/s]     prints for 12, 48 and 96 layers: tasks, seconds, and the points
#include "passes/retain/retain.h"
#include "tests/unit/retain_sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void print_decoder(RetainDecoder d) {
    Arena *a = arena_create();
    const RetainProblem *p = retain_sample_decoder(a, d);
    const double begin = seconds();
    const RetainOptions options = {.far = d.far_rate > 0 ? INT64_MAX : 0};
    const RetainFrontier f = retain_frontier(p, &options, a);
    printf("%d layers, %d tasks: %.2f s, bound %.3f GB, %d failed programs\n", d.layers,
           p->task_count, seconds() - begin, 1e-9 * (double)f.bound, f.degraded);
    for (int i = 0; i < f.count; i++) {
        const RetainCost c = f.point[i].cost, all = f.point[0].cost;
        printf("  %8.3f GB %5.1f %%   %10.3f ms %+6.2f %%   %8.3f GB far   %d steps\n",
               1e-9 * (double)c.bytes, 100 * (double)c.bytes / (double)all.bytes,
               1e-9 * (double)c.time, 100 * ((double)c.time / (double)all.time - 1),
               1e-9 * (double)c.far, f.point[i].schedule.count);
    }
    arena_release(a);
}

int main(int argc, char **argv) {
    const double far_rate = argc > 1 ? 1e-3 * atof(argv[1]) : 0;
    const RetainDecoder size[] = {{.layers = 12, .tokens = 32768, .width = 768},
                                  {.layers = 48, .tokens = 8192, .width = 1600},
                                  {.layers = 96, .tokens = 4096, .width = 12288}};
    for (int i = 0; i < 3; i++) {
        RetainDecoder d = size[i];
        d.far_rate = far_rate;
        print_decoder(d);
    }
    return 0;
}
