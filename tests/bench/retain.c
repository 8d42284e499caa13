// How long choosing what to keep takes, and what comes of it.
//
//   bench_retain [GB/s]                          training steps of decoders of 12 to 384 layers
//   bench_retain MODEL.plim CONFIG [GB/s [TARGET]]   the step of a model, as the pass retain sees
//   it
//
// GB/s: of far memory, each way; without it, or with 0, nothing moves. (A model's moves have the
// target's assumed rates; any number allows them.) Prints tasks, processor seconds (children's
// too), and the points.
#include "frontend/frontend.h"
#include "passes/pipeline.h"
#include "passes/retain/retain_build.h"
#include "tests/unit/retain_sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { TEXT_MAX = 1 << 20 };

static double seconds_of(int who) {
    struct rusage u;
    getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static double seconds(void) {
    return seconds_of(RUSAGE_SELF) + seconds_of(RUSAGE_CHILDREN);
}

static void print_frontier(const char *what, const RetainProblem *p, bool far) {
    Arena *a = arena_create();
    const double begin = seconds();
    const RetainFrontier f = retain_frontier(p, &(RetainOptions){.far = far ? INT64_MAX : 0}, a);
    printf("%s, %d tasks: %.2f s, bound %.3f GB, %d failed programs\n", what, p->task_count,
           seconds() - begin, 1e-9 * (double)f.bound, f.degraded);
    for (int i = 0; i < f.count; i++) {
        const RetainCost c = f.point[i].cost, all = f.point[0].cost;
        printf("  %8.3f GB %5.1f %%   %10.3f ms %+6.2f %%   %8.3f GB far   %d steps\n",
               1e-9 * (double)c.bytes, 100 * (double)c.bytes / (double)all.bytes,
               1e-9 * (double)c.time, 100 * ((double)c.time / (double)all.time - 1),
               1e-9 * (double)c.far, f.point[i].schedule.count);
    }
    arena_release(a);
}

static void print_decoders(double far_rate) {
    const RetainDecoder size[] = {{.layers = 12, .tokens = 32768, .width = 768},
                                  {.layers = 48, .tokens = 8192, .width = 1600},
                                  {.layers = 96, .tokens = 4096, .width = 12288},
                                  {.layers = 384, .tokens = 4096, .width = 12288}};
    for (int i = 0; i < 4; i++) {
        Arena *a = arena_create();
        RetainDecoder d = size[i];
        d.far_rate = far_rate;
        print_frontier(arena_format(a, "%d layers", d.layers), retain_sample_decoder(a, d),
                       far_rate > 0);
        arena_release(a);
    }
}

static Module *read_model(const char *file, const char *config, PassCtx *cx) {
    char *text = arena_array(cx->arena, char, TEXT_MAX);
    FILE *in = fopen(file, "r");
    const size_t bytes = in ? fread(text, 1, TEXT_MAX - 1, in) : 0;
    if (in)
        fclose(in);
    if (!*config)
        config = NULL;
    const char *entry = "train";
    FrontendInput input = {.file = file,
                           .text = text,
                           .bytes = bytes,
                           .config = config,
                           .entry = &entry,
                           .entry_count = 1};
    FrontendFiles files = {0};
    diag_add_source(cx->diag, file, text, bytes);
    Module *m = frontend_module(cx->arena, cx->diag, &input, &files);
    const char *name[32];
    int count = 0;
    for (int i = 0; strcmp(pass_at(i)->name, "retain"); i++)
        name[count++] = pass_at(i)->name;
    return m && pipeline_run(m, cx, name, count, NULL, NULL) ? m : NULL;
}

static int print_model(const char *file, const char *config, bool far, const char *target) {
    const PassOptions options = {.far = far, .target = target};
    Arena *a = arena_create();
    PassCtx cx = {.arena = a,
                  .scratch = arena_create(),
                  .diag = diag_create(a),
                  .options = &options,
                  .plan_memory = plan_memory_new()};
    const Module *m = read_model(file, config, &cx);
    if (!m) {
        diag_print(cx.diag, stderr, false);
        return 1;
    }
    Rates rates;
    rates_assume(target, "", 1, &rates);
    for (int e = 0; e < m->entry_count; e++) {
        const RetainGraph *g = retain_build(m, m->entry[e], &options, &rates, a);
        if (g)
            print_frontier(m->entry[e]->name, &g->problem, far);
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *last = argc > 3 ? argv[3] : argc == 2 ? argv[1] : "0";
    if (argc > 2)
        return print_model(argv[1], argv[2], atof(last) > 0, argc > 4 ? argv[4] : "cpu");
    print_decoders(1e-3 * atof(last));
    return 0;
}
