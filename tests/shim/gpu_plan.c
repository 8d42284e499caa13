// The sample plan on the fake GPU beside the CPU: two streams, events, slots, a product by the fake
// cuBLASLt; and the same with states and an activation in pinned host memory, copied by streams of
// their own; and with collectives, by a fake NCCL. Results are equal to the bit whatever order the
// streams take; an event left out shows; observers see the same bytes; every call of the driver and
// of the library that fails is one sentence. Each case runs in a process of its own, as the fake
// counts calls from a process's begin.
#include "runtime/checkpoint.h"
#include "runtime/digest.h"
#include "runtime/resume.h"
#include "runtime/run_window.h"
#include "runtime/timeline.h"
#include "tests/shim/sample_kernels.h"
#include "tests/temporary.h"
#include "tests/unit/plan_sample.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LENGTH = 16, STEPS = 4, SEEDS = 40, SAVES = 10 };

typedef struct {
    float loss[STEPS], w[LENGTH], moment[LENGTH];
    int32_t count;
} Outcome;

static void must(bool holds, const char *what) {
    if (holds)
        return;
    fprintf(stderr, "gpu_plan: %s\n", what);
    exit(3);
}

// What the sample is for a GPU of either architecture; kernel 5 is two launches.
static void make_launches(Plan *p, PlanMemory *pm) {
    static const char *const arch[] = {"sm_80", "sm_90a"};
    p->launch = plan_alloc(pm, 2 * (p->kernel_count + 1), sizeof *p->launch);
    must(p->launch != NULL, "no memory");
    for (int a = 0; a < 2; a++)
        for (uint32_t k = 0; k < p->kernel_count; k++) {
            if (k == p->product[0].kernel)
                continue;
            PlanLaunch l = {.kernel = k,
                            .arch = arch[a],
                            .name = p->kernel[k].name,
                            .grid = {1, 1, 1},
                            .block = 32};
            p->launch[p->launch_count++] = l;
            l.name = "k5_1";
            l.shared = 64 << 10;
            if (k == 5)
                p->launch[p->launch_count++] = l;
        }
}

typedef enum { ON_CPU, ON_CPU_FAR, ON_CPU_RANKS, ON_GPU, ON_GPU_FAR, ON_GPU_RANKS, PLACES } Place;

static Plan *make_plan(PlanMemory *pm, Place place) {
    Plan *p = place == ON_CPU_FAR || place == ON_GPU_FAR       ? plan_sample_far(pm)
              : place == ON_CPU_RANKS || place == ON_GPU_RANKS ? plan_sample_ranks(pm)
                                                               : plan_sample(pm);
    PlimError error;
    must(p != NULL, "no sample plan");
    p->workers = 1;
    p->kernel[0].tiles = 1;
    if (place >= ON_GPU) {
        p->target = "cuda:sm_80,sm_90a";
        p->isa = "";
        p->product[0].library = PLAN_CUBLASLT;
        make_launches(p, pm);
    } else {
        p->target = "cpu:x86-64-v3";
        p->launch_count = p->product_count = 0;
        if (place == ON_CPU_FAR)
            p->space[1].kind = SPACE_DISK;
        for (uint32_t s = 0; s < p->segment_count; s++)
            for (uint32_t i = 0; i < p->segment[s].instr_count; i++)
                if (p->segment[s].instr[i].kind == INSTR_PRODUCT)
                    p->segment[s].instr[i].kind = INSTR_KERNEL;
    }
    must(plan_complete(p), "the plan can't be completed");
    if (plan_verify(p, &error) != PLIM_OK)
        must(false, error.text);
    return p;
}

static const uint8_t image[16];
static const PlimCubin cubins[] = {{"sm_80", image, 16, NULL}, {"sm_90a", image, 16, NULL}, {0}};

static PlimStatus start(const Plan *p, PlimRun **out, PlimError *error) {
    const RunOptions options = {.threads = 1, .cubin = cubins, .tune = getenv("PLIM_TEST_TUNE")};
    return run_new(p, sample_kernel_table, &options, out, error);
}

// States by a window, as weights come; inputs by run_write.
static PlimStatus fill_states(const Plan *p, PlimRun *run, PlimError *error) {
    RunWindow w;
    PlimStatus status = window_open(run, &w, error);
    for (uint32_t i = 0; i < p->state_count && status == PLIM_OK; i++) {
        const PlanBuffer *b = &p->buffer[p->state[i].buffer];
        uint64_t got;
        float *at = window_room(&w, p->state[i].buffer, 0, b->bytes, &got);
        must(got == b->bytes, "a window is too small");
        memset(at, 0, got);
        for (uint64_t k = 0; k < got / sizeof *at && p->state[i].dtype == PLAN_F32; k++)
            at[k] = (float)(k % 5) * 0.5F - 1;
        if (!window_write(&w))
            status = window_status(&w, error);
    }
    window_close(&w);
    return status;
}

static PlimStatus fill_inputs(PlimRun *run, const PlanEntry *entry, int step, PlimError *error) {
    PlimStatus status = PLIM_OK;
    for (uint32_t i = 0; i < entry->input_count && status == PLIM_OK; i++) {
        float x[3 * LENGTH] = {0.01F};
        const bool knob = entry->input[i].source == PLAN_FROM_KNOB;
        for (int j = 0; j < 3 * LENGTH && !knob; j++)
            x[j] = (float)((j * 7 + step * 3) % 11 - 5) * 0.1F;
        const uint64_t bytes = knob ? sizeof *x : LENGTH * entry->input[i].slots * sizeof *x;
        status = run_write(run, entry->input[i].buffer, 0, x, bytes, error);
    }
    return status;
}

static PlimStatus read_state(const Plan *p, PlimRun *run, uint32_t state, void *out,
                             PlimError *error) {
    const PlanBuffer *b = &p->buffer[p->state[state].buffer];
    return run_read(run, p->state[state].buffer, 0, out, b->bytes, error);
}

static PlimStatus train(const Plan *p, PlimRun *run, Outcome *out, PlimError *error) {
    const PlanEntry *entry = plan_find_entry(p, "train");
    PlimStatus status = fill_states(p, run, error);
    for (int step = 0; step < STEPS && status == PLIM_OK; step++) {
        status = fill_inputs(run, entry, step, error);
        if (status == PLIM_OK)
            status = run_entry(run, entry, error);
        if (status == PLIM_OK)
            status =
                run_read(run, entry->result[0].buffer, 0, &out->loss[step], sizeof(float), error);
    }
    if (status == PLIM_OK)
        status = read_state(p, run, 0, out->w, error);
    if (status == PLIM_OK)
        status = read_state(p, run, 1, out->moment, error);
    must(run_arena_bytes(run) == p->space[0].bytes, "the GPU's memory is not what the plan says");
    return status == PLIM_OK ? read_state(p, run, 2, &out->count, error) : status;
}

// The fake driver's, for a caller that uses CUDA itself.
typedef struct {
    int (*set)(void *context);
    int (*get)(void **context);
} Contexts;

static Contexts contexts(void) {
    Contexts c;
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    void *set = driver ? dlsym(driver, "cuCtxSetCurrent") : NULL;
    void *get = driver ? dlsym(driver, "cuCtxGetCurrent") : NULL;
    must(set && get, "no fake driver");
    memcpy(&c.set, &set, sizeof c.set);
    memcpy(&c.get, &get, sizeof c.get);
    return c;
}

static int callers_context;

static void set_context(void) {
    must(contexts().set(&callers_context) == 0, "no context");
}

static void check_context(void) {
    void *now = NULL;
    must(contexts().get(&now) == 0 && now == &callers_context,
         "the caller's context is not current any more");
}

// Starts, trains, ends; the sentence of the first failure on stdout. The thread's context is the
// caller's after each of them, whatever fails.
static PlimStatus whole(const Plan *p, Outcome *out, PlimError *error) {
    PlimRun *run = NULL;
    memset(out, 0, sizeof *out);
    set_context();
    PlimStatus status = start(p, &run, error);
    check_context();
    if (status == PLIM_OK)
        status = train(p, run, out, error);
    check_context();
    run_release(run);
    check_context();
    return status;
}

static Outcome on_cpu(Place place) {
    PlanMemory *pm = plan_memory_new();
    Outcome out;
    PlimError error;
    if (whole(make_plan(pm, place), &out, &error) != PLIM_OK)
        must(false, error.text);
    must(out.count == STEPS && out.loss[STEPS - 1] != out.loss[0], "nothing was computed");
    plan_memory_release(pm);
    return out;
}

// Runs the case in a child; its exit status.
static int in_child(int (*body)(const void *), const void *argument) {
    fflush(NULL);
    const pid_t child = fork();
    must(child >= 0, "no child");
    if (child == 0)
        exit(body(argument));
    int status;
    must(waitpid(child, &status, 0) == child, "a child is lost");
    must(WIFEXITED(status), "a child crashed");
    return WEXITSTATUS(status);
}

// An instruction of the training that needs all it waits for.
typedef struct {
    Place place;
    uint32_t segment, instr;
} Waiter;

// Reads what another stream made; then of moves: what overwrites the bytes being copied out, the
// copy in that finds them, and who reads the copy, of an activation, of a sum and of states; then
// of collectives, and of who reads what they made.
static const Waiter waiter_table[] = {
    {ON_GPU, 1, 3},       {ON_GPU_FAR, 1, 3},   {ON_GPU_FAR, 1, 4},   {ON_GPU_FAR, 1, 5},
    {ON_GPU_FAR, 0, 3},   {ON_GPU_FAR, 0, 5},   {ON_GPU_FAR, 1, 10},  {ON_GPU_FAR, 1, 11},
    {ON_GPU_FAR, 2, 2},   {ON_GPU_FAR, 2, 6},   {ON_GPU_RANKS, 1, 3}, {ON_GPU_RANKS, 1, 4},
    {ON_GPU_RANKS, 1, 6}, {ON_GPU_RANKS, 2, 3}, {ON_GPU_RANKS, 2, 7}, {ON_GPU_RANKS, 2, 8}};
enum { WAITERS = sizeof waiter_table / sizeof waiter_table[0] };

typedef struct {
    const Outcome *wanted;
    int seed;
    Place place;
    const Waiter *forget; // NULL: nobody
} Seeded;

// 0: as on the CPU; 1: another result.
static int with_seed(const void *argument) {
    const Seeded *s = argument;
    char text[16];
    snprintf(text, sizeof text, "%d", s->seed);
    setenv("PLIM_FAKE_SEED", text, 1);
    PlanMemory *pm = plan_memory_new();
    Plan *p = make_plan(pm, s->place);
    if (s->forget)
        p->segment[s->forget->segment].instr[s->forget->instr].wait_count = 0;
    Outcome out;
    PlimError error;
    if (whole(p, &out, &error) != PLIM_OK)
        must(false, error.text);
    plan_memory_release(pm);
    return memcmp(&out, s->wanted, sizeof out) != 0;
}

// wanted: by place.
static void check_orders(const Outcome *wanted) {
    for (int seed = 0; seed < SEEDS; seed++) {
        const Seeded near = {.wanted = &wanted[ON_GPU], .seed = seed, .place = ON_GPU};
        const Seeded far = {.wanted = &wanted[ON_GPU_FAR], .seed = seed, .place = ON_GPU_FAR};
        const Seeded ranks = {.wanted = &wanted[ON_GPU_RANKS], .seed = seed, .place = ON_GPU_RANKS};
        must(in_child(with_seed, &near) == 0, "the GPU's result differs from the CPU's");
        must(in_child(with_seed, &far) == 0, "far memory's result differs from the CPU's");
        must(in_child(with_seed, &ranks) == 0, "collectives of one rank change the result");
    }
    for (int i = 0; i < WAITERS; i++) {
        int different = 0;
        for (int seed = 0; seed < SEEDS && !different; seed++)
            different = in_child(with_seed, &(Seeded){.wanted = &wanted[waiter_table[i].place],
                                                      .seed = seed,
                                                      .place = waiter_table[i].place,
                                                      .forget = &waiter_table[i]});
        if (!different)
            fprintf(stderr, "waiter %d: ", i);
        must(different > 0, "a missing event does not show");
    }
}

// The digest of a step as text.
static char *digest_of(Place place) {
    PlanMemory *pm = plan_memory_new();
    const Plan *p = make_plan(pm, place);
    const PlanEntry *entry = plan_find_entry(p, "train");
    PlimRun *run = NULL;
    PlimError error;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    Outcome outcome;
    Digest *d = digest_new(p, entry);
    set_context();
    must(d && out && start(p, &run, &error) == PLIM_OK, "no run");
    run_observe(run, digest_observer(d));
    if (train(p, run, &outcome, &error) != PLIM_OK || digest_write(d, 1, out, &error) != PLIM_OK)
        must(false, error.text);
    check_context();
    run_release(run);
    digest_release(d);
    fclose(out);
    plan_memory_release(pm);
    return text;
}

static int check_digest(const void *argument) {
    (void)argument;
    char *cpu = digest_of(ON_CPU), *gpu = digest_of(ON_GPU);
    must(strcmp(cpu, gpu) == 0 && strlen(cpu) > 100, "instructions give other bytes on the GPU");
    free(cpu);
    free(gpu);
    return 0;
}

// Times are told, in order, and the results are those of a replay.
static int check_times(const void *argument) {
    const Seeded *s = argument;
    PlanMemory *pm = plan_memory_new();
    const Plan *p = make_plan(pm, s->place);
    PlimRun *run = NULL;
    PlimError error;
    Outcome out = {0};
    Timeline *t = timeline_new(p, plan_find_entry(p, "train"), 0);
    set_context();
    must(t && start(p, &run, &error) == PLIM_OK, "no run");
    run_observe(run, &t->observer);
    if (train(p, run, &out, &error) != PLIM_OK)
        must(false, error.text);
    check_context();
    must(memcmp(&out, s->wanted, sizeof out) == 0, "timing changes the result");
    for (uint32_t i = 0; i < t->program.count; i++) {
        const RunTimes *x = &t->instr[i];
        must(x->waits > 0 && x->begins >= x->waits - 1e-3 && x->ends >= x->begins,
             "an instruction has impossible times");
    }
    run_forget(run, &t->observer);
    run_release(run);
    timeline_release(t);
    plan_memory_release(pm);
    return 0;
}

// Products are measured with random numbers of [-1, 1), which the weights have afterwards.
static int check_tuning(const void *argument) {
    (void)argument;
    PlanMemory *pm = plan_memory_new();
    const Plan *p = make_plan(pm, ON_GPU);
    PlimRun *run = NULL;
    PlimError error;
    FILE *out = fopen("/dev/null", "w");
    must(out != NULL, "no /dev/null");
    set_context();
    if (start(p, &run, &error) != PLIM_OK || run_tune(run, out, &error) != PLIM_OK)
        must(false, error.text);
    check_context();
    float w[LENGTH] = {0};
    if (read_state(p, run, 0, w, &error) != PLIM_OK)
        must(false, error.text);
    for (int i = 0; i < LENGTH; i++)
        must(w[i] >= -1 && w[i] < 1 && w[i] != 0 && (i == 0 || w[i] != w[i - 1]),
             "products are measured with no random numbers");
    fclose(out);
    run_release(run);
    plan_memory_release(pm);
    return 0;
}

// The states, as a save must hold them.
static void read_states(const Plan *p, PlimRun *run, float out[4][LENGTH]) {
    PlimError error;
    for (uint32_t i = 0; i < 4; i++)
        if (read_state(p, run, i, out[i], &error) != PLIM_OK)
            must(false, error.text);
}

// Every step is saved while the next one runs and overwrites the states; another run reads it back.
static void save_steps(const Plan *p, PlimRun *run, PlimRun *other, const char *folder) {
    const PlanEntry *entry = plan_find_entry(p, "train");
    PlimCheckpoint *c;
    PlimError error;
    int64_t saved;
    if (checkpoint_new(folder, p, run, &c, &error) != PLIM_OK)
        must(false, error.text);
    for (int step = 1; step <= SAVES; step++) {
        float before[4][LENGTH] = {{0}}, after[4][LENGTH] = {{0}};
        Generation g = {.step = step, .steps = SAVES};
        read_states(p, run, before);
        if (checkpoint_save(c, &g, &error) != PLIM_OK ||
            fill_inputs(run, entry, step, &error) != PLIM_OK ||
            run_entry(run, entry, &error) != PLIM_OK ||
            checkpoint_wait(c, &saved, &error) != PLIM_OK ||
            resume_find(folder, &g, &error) != PLIM_OK ||
            resume_load(folder, &g, p, other, &error) != PLIM_OK)
            must(false, error.text);
        read_states(p, other, after);
        must(g.step == step && memcmp(before, after, sizeof before) == 0, "a save is torn");
        read_states(p, run, after);
        must(memcmp(before, after, sizeof before) != 0, "the step changed nothing");
    }
    checkpoint_release(c);
}

typedef struct {
    const char *folder;
    Place place;
} Saving;

static int check_saving(const void *argument) {
    const Saving *s = argument;
    PlanMemory *pm = plan_memory_new();
    const Plan *p = make_plan(pm, s->place);
    PlimRun *run = NULL, *other = NULL;
    PlimError error;
    set_context();
    if (start(p, &run, &error) != PLIM_OK || start(p, &other, &error) != PLIM_OK ||
        fill_states(p, run, &error) != PLIM_OK)
        must(false, error.text);
    save_steps(p, run, other, s->folder);
    check_context();
    run_release(run);
    run_release(other);
    plan_memory_release(pm);
    return 0;
}

typedef struct {
    char *setting;
    char *said; // the file for its sentence
    Place place;
} Failing;

// 0: succeeded all the same; 1: failed with a sentence.
static int with_failure(const void *argument) {
    const Failing *f = argument;
    setenv("PLIM_FAKE_FAIL", f->setting, 1);
    PlanMemory *pm = plan_memory_new();
    Outcome out;
    PlimError error = {""};
    const PlimStatus status = whole(make_plan(pm, f->place), &out, &error);
    plan_memory_release(pm);
    must(status == PLIM_OK || (error.text[0] && !strchr(error.text, '\n')),
         "a failure without a sentence");
    FILE *said = fopen(f->said, "w");
    must(said && fputs(error.text, said) >= 0 && fclose(said) == 0, "no file");
    // What the fake could not give back after the failure is no leak of the runtime's.
    _exit(status != PLIM_OK);
}

static int with_calls(const void *argument) {
    const Failing *f = argument;
    setenv("PLIM_FAKE_CALLS", f->said, 1);
    PlanMemory *pm = plan_memory_new();
    Outcome out;
    PlimError error;
    if (whole(make_plan(pm, f->place), &out, &error) != PLIM_OK)
        must(false, error.text);
    plan_memory_release(pm);
    return 0;
}

static bool begins(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

// Calls that only give things back: the run has its results, and ends well.
static bool gives_back(const char *name) {
    return strstr(name, "Destroy") || strstr(name, "Free") || strstr(name, "Release") ||
           strstr(name, "Unload");
}

// The call number n of a function fails, for good where sticky.
static void check_failure(const char *name, long n, const char *sticky, const Saving *in_place) {
    char setting[128], said[TEMPORARY_MAX + 16], text[600] = "";
    snprintf(setting, sizeof setting, "%s:%ld:700%s", name, n, sticky);
    snprintf(said, sizeof said, "%s/said", in_place->folder);
    const int failed = in_child(with_failure, &(Failing){setting, said, in_place->place});
    FILE *in = fopen(said, "r");
    must(in != NULL, "no sentence");
    if (!fgets(text, sizeof text, in))
        text[0] = '\0';
    fclose(in);
    const bool allowed = gives_back(name) || begins(name, "cuDeviceGetName") ||
                         begins(name, "cuCtxP") || begins(name, "ncclCommAbort");
    if (failed == 3 || (!failed && !allowed)) {
        fprintf(stderr, "%s: %s\n", setting, text);
        must(false, "a failed call was not noticed");
    }
    if (begins(name, "cuLaunchKernel") && !strstr(text, "instruction")) {
        fprintf(stderr, "%s: %s\n", setting, text);
        must(false, "the sentence names no instruction");
    }
}

static void check_failures(const Saving *in_place) {
    char calls[TEMPORARY_MAX + 16], name[64];
    long count;
    snprintf(calls, sizeof calls, "%s/calls", in_place->folder);
    in_child(with_calls, &(Failing){.said = calls, .place = in_place->place});
    FILE *in = fopen(calls, "r");
    must(in != NULL, "no calls");
    int functions = 0;
    while (fscanf(in, "%63s %ld", name, &count) == 2) {
        // The other places add calls of these to what the first one does.
        const bool adds = in_place->place == ON_GPU_FAR     ? begins(name, "cuMem")
                          : in_place->place == ON_GPU_RANKS ? begins(name, "nccl")
                                                            : true;
        functions += adds;
        if (!adds)
            continue;
        // The first, the second, one in the middle, the last.
        const long number[] = {1, 2, count / 2, count};
        for (int i = 0; i < 4; i++)
            if (number[i] >= 1 && number[i] <= count && (i == 0 || number[i] > number[i - 1])) {
                check_failure(name, number[i], "", in_place);
                check_failure(name, number[i], "!", in_place);
            }
    }
    fclose(in);
    must(functions >= (in_place->place == ON_GPU ? 30 : 5), "too few functions were called");
}

typedef struct {
    const char *setting, *to, *said;
    Place place;
} Lack;

static int sentence_of(const void *argument) {
    const Lack *l = argument;
    setenv(l->setting, l->to, 1);
    PlanMemory *pm = plan_memory_new();
    Outcome out;
    PlimError error = {""};
    const PlimStatus status = whole(make_plan(pm, l->place), &out, &error);
    plan_memory_release(pm);
    const bool good = status != PLIM_OK && strstr(error.text, l->said);
    if (!good)
        fprintf(stderr, "%s=%s: %s\n", l->setting, l->to, error.text);
    return !good;
}

// What a machine may lack, and what a launcher may say.
static void check_machines(void) {
    static const Lack table[] = {
        {"PLIM_FAKE_DEVICE", "0.0", "finds no GPU", ON_GPU},
        {"PLIM_FAKE_DEVICE", "7.5", "compile it again with --target cuda:sm_75", ON_GPU},
        {"PLIM_FAKE_DEVICE", "10.0", "compute capability 10.0", ON_GPU},
        {"PLIM_FAKE_VERSION", "11040", "supports CUDA up to 11.4", ON_GPU},
        {"PLIM_FAKE_MEMORY", "64", "of the GPU's memory", ON_GPU},
        {"PLIM_FAKE_PINNED", "64", "of pinned host memory", ON_GPU_FAR},
        {"PLIM_FAKE_KERNELS", "", "has no kernel k0", ON_GPU},
        {"PLIM_FAKE_FAIL", "cublasLtCreate:1:1", "cuBLASLt does not start", ON_GPU},
        {"PLIM_FAKE_FAIL", "ncclCommInitRank:1:3", "NCCL can't join", ON_GPU_RANKS},
        {"PLIM_FAKE_NCCL_VERSION", "2804", "is too old", ON_GPU_RANKS},
        {"PLIM_FAKE_NCCL_STATE", "6", "in entry train: NCCL: made to fail", ON_GPU_RANKS},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        must(in_child(sentence_of, &table[i]) == 0, "a lack is told in other words");
}

static void check_place(const Outcome *wanted, const Saving *in_place) {
    char saves[TEMPORARY_MAX + 16];
    must(in_child(check_times, &(Seeded){.wanted = wanted, .place = in_place->place}) == 0,
         "times");
    check_failures(in_place);
    snprintf(saves, sizeof saves, "%s/saves-%d", in_place->folder, (int)in_place->place);
    must(in_child(check_saving, &(Saving){saves, in_place->place}) == 0, "saving");
}

int main(void) {
    char folder[TEMPORARY_MAX];
    must(temporary_folder(folder, "plim_gpu"), "no folder");
    Outcome wanted[PLACES];
    for (Place place = ON_CPU; place < ON_GPU; place++)
        wanted[place] = wanted[place + ON_GPU] = on_cpu(place);
    must(memcmp(&wanted[ON_CPU], &wanted[ON_CPU_RANKS], sizeof *wanted) == 0,
         "collectives of one rank compute something");
    check_orders(wanted);
    must(in_child(check_digest, NULL) == 0, "digests");
    must(in_child(check_tuning, NULL) == 0, "tuning");
    check_machines();
    check_place(&wanted[ON_GPU], &(Saving){folder, ON_GPU});
    check_place(&wanted[ON_GPU_FAR], &(Saving){folder, ON_GPU_FAR});
    check_place(&wanted[ON_GPU_RANKS], &(Saving){folder, ON_GPU_RANKS});
    must(temporary_remove(folder), "the folder can't be removed");
    puts("gpu_plan: all well");
    return 0;
}
