// The loader under the thread sanitizer: steps prepared ahead are those of a loader's own thread
// or none, errors come with the step that needs the data, and stopping half way is clean.
#include "runtime/loader.h"
#include "tests/temporary.h"
#include "tests/tsan/must.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STEPS = 200, LENGTH = 16, ROWS = 50 };

static void write_rows(const char *path) {
    float x[ROWS * LENGTH];
    for (int i = 0; i < ROWS * LENGTH; i++)
        x[i] = (float)i;
    const int64_t dim[2] = {ROWS, LENGTH};
    const SafeSource tensor = {.name = "x", .dtype = PLAN_F32, .rank = 2, .dim = dim, .at = x};
    PlimError error;
    must(safetensors_write(path, &tensor, 1, NULL, &error) == PLIM_OK, "can't write the data");
}

// A plan that computes nothing: one buffer that one input is put into.
typedef struct {
    PlanSpace space;
    PlanBuffer buffer;
    PlanInput input;
    PlanEntry entry;
    Plan plan;
} Small;

static void make_small(Small *s) {
    const uint64_t bytes = sizeof(float) * LENGTH;
    *s = (Small){.space = {.bytes = bytes}, .buffer = {.bytes = bytes}};
    s->input = (PlanInput){.name = "x",
                           .source = PLAN_FROM_DATA,
                           .loader = "data",
                           .slots = 1,
                           .dtype = PLAN_F32,
                           .rank = 2,
                           .dim = {1, LENGTH}};
    s->entry = (PlanEntry){.name = "train", .input_count = 1, .input = &s->input};
    s->plan = (Plan){.tokenizer = "bytes",
                     .workers = 1,
                     .stream_count = 1,
                     .space_count = 1,
                     .space = &s->space,
                     .buffer_count = 1,
                     .buffer = &s->buffer,
                     .entry_count = 1,
                     .entry = &s->entry};
}

static void check_steps(const DataInputs *inputs, PlimRun *run) {
    PlimLoader *l;
    PlimError error;
    float wanted[LENGTH];
    must(loader_new(inputs, &l, &error) == PLIM_OK, error.text);
    loader_begin(l, 0);
    for (uint64_t step = 0; step < STEPS; step++) {
        must(loader_take(l, run, &error) == PLIM_OK, error.text);
        loader_begin(l, step + 1);
        must(inputs_fill(inputs, step, (char *)wanted, &error) == PLIM_OK, error.text);
        // What the loader does meanwhile leaves the step's own data alone.
        must(memcmp(run_address(run, 0), wanted, sizeof wanted) == 0, "a step got other data");
    }
    loader_release(l); // With a step prepared that nobody takes
}

static void check_error(const DataInputs *inputs, PlimRun *run, const char *path) {
    PlimLoader *l;
    PlimError error = {""};
    must(loader_new(inputs, &l, &error) == PLIM_OK, error.text);
    loader_begin(l, 0);
    must(loader_take(l, run, &error) == PLIM_OK, error.text);
    must(truncate(path, 100) == 0, "can't cut the data");
    loader_begin(l, 1);
    must(loader_take(l, run, &error) != PLIM_OK, "lost data were not noticed");
    must(strstr(error.text, path) != NULL, "the sentence does not name the file");
    loader_release(l);
    must(loader_new(inputs, &l, &error) == PLIM_OK, error.text);
    loader_release(l); // Without a step
}

int main(void) {
    char path[TEMPORARY_MAX];
    temporary_path(path, "plim_loader");
    write_rows(path);
    Small s;
    make_small(&s);
    PlimRun *run;
    DataInputs *inputs;
    PlimError error;
    const char *const given[] = {path};
    const DataUse use = {.shuffle = true, .seed = 3};
    const RunOptions options = {.threads = 1};
    static PlimKernelFn *const kernels[] = {NULL};
    must(run_new(&s.plan, kernels, &options, &run, &error) == PLIM_OK, error.text);
    must(inputs_open(&s.plan, &s.entry, given, 1, &use, &inputs, &error) == PLIM_OK, error.text);
    check_steps(inputs, run);
    check_error(inputs, run, path);
    inputs_close(inputs);
    run_release(run);
    unlink(path);
    puts("loader: all well");
    return 0;
}
