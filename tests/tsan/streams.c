// Threads of the runtime under the thread sanitizer: the pool, streams and events, and a whole plan
// with two streams whose results may not depend on threads or timing, and saves beside it. A plain
// main, because Criterion can't run under that sanitizer; every other build runs it as a test too.
#include "runtime/checkpoint.h"
#include "runtime/pool.h"
#include "runtime/resume.h"
#include "runtime/run.h"
#include "runtime/stream.h"
#include "tests/temporary.h"
#include "tests/tsan/must.h"
#include "tests/unit/plan_sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POOL_TILES = 300, STEPS = 100, LENGTH = 16 };

typedef struct {
    int *seen;     // by tile
    int worker[8]; // tiles of each worker
} Tally;

// Plain increments: two threads on one tile, or two with one worker number, are a race.
static void count_tiles(void *context, int64_t begin, int64_t end, int worker) {
    Tally *t = context;
    for (int64_t i = begin; i < end; i++) {
        t->seen[i]++;
        t->worker[worker]++;
    }
}

static void check_pool(int workers) {
    PlimPool *pool = pool_new(workers);
    Tally t = {.seen = calloc(POOL_TILES, sizeof *t.seen)};
    must(pool && t.seen && pool_workers(pool) == workers, "no pool");
    for (int tiles = 0; tiles <= POOL_TILES; tiles++)
        pool_run(pool, count_tiles, &t, tiles);
    int total = 0;
    for (int i = 0; i < workers; i++)
        total += t.worker[i];
    must(total == POOL_TILES * (POOL_TILES + 1) / 2, "tiles lost or done twice");
    for (int i = 0; i < POOL_TILES; i++)
        must(t.seen[i] == POOL_TILES - i, "a tile was lost or done twice");
    free(t.seen);
    pool_release(pool);
}

// Three streams hand one number round in a ring; only events order the accesses.
typedef struct {
    PlimStreams *streams;
    int64_t number;
    bool fail; // stream 1 gives up half way
} Ring;

enum { RING_ROUNDS = 20, RING_STREAMS = 3 };

static bool pass_on(void *context, int stream) {
    Ring *ring = context;
    for (int i = 0; i < RING_ROUNDS; i++) {
        const int mine = i * RING_STREAMS + stream;
        if (mine > 0 && !stream_wait(ring->streams, (uint32_t)(mine - 1)))
            return false;
        if (ring->fail && stream == 1 && i == RING_ROUNDS / 2)
            return false;
        ring->number = ring->number * 3 % 1000003 + stream;
        stream_signal(ring->streams, (uint32_t)mine);
    }
    return true;
}

static void check_streams(void) {
    Ring ring = {0};
    ring.streams = streams_new(RING_STREAMS, RING_ROUNDS * RING_STREAMS, pass_on, &ring);
    must(ring.streams != NULL, "no streams");
    int64_t expected = 0;
    for (int i = 0; i < RING_ROUNDS * RING_STREAMS; i++)
        expected = expected * 3 % 1000003 + i % RING_STREAMS;
    for (int step = 0; step < STEPS; step++) {
        ring.number = 0;
        ring.fail = step % 7 == 3;
        must(streams_run(ring.streams) != ring.fail, "a failure was lost or made up");
        must(ring.fail || ring.number == expected, "streams ran out of order");
    }
    streams_release(ring.streams);
}

// An elementwise kernel of the sample: what it writes becomes a mix of what it reads, and of itself
// where it keeps. A tile is one element.
typedef struct {
    int reads;
    int read_at[3]; // operand numbers
    int write_at;   // operand number
    bool keeps;
} Mix;

static void mix(const Mix *m, void *const *operand, int64_t begin, int64_t end) {
    float *out = operand[m->write_at];
    for (int64_t i = begin; i < end; i++) {
        float x = m->keeps ? 0.5f * out[i] : 0.0f;
        for (int r = 0; r < m->reads; r++) {
            const float *in = operand[m->read_at[r]];
            x += (0.25f + 0.125f * (float)r) * in[i];
        }
        out[i] = x;
    }
}

// Kernels of sample.plan by number, as the instructions there use them.
static void affine(void *const *operand, const int64_t *imm, int64_t begin, int64_t end,
                   void *workspace) {
    (void)workspace;
    const float *x = operand[0], *w = operand[1];
    float *h = operand[2];
    for (int64_t row = begin; row < end; row++)
        for (int i = 0; i < LENGTH; i++)
            h[row * LENGTH + i] = w[i] * x[i] + (float)imm[1] * (float)row;
}

static void scale(void *const *operand, const int64_t *imm, int64_t begin, int64_t end,
                  void *workspace) {
    static const Mix m = {.reads = 1, .read_at = {0}, .write_at = 1};
    (void)imm, (void)workspace;
    mix(&m, operand, begin, end);
}

// Stands for the library's product: uses its worker's workspace.
static void product(void *const *operand, const int64_t *imm, int64_t begin, int64_t end,
                    void *workspace) {
    static const Mix m = {.reads = 2, .read_at = {0, 1}, .write_at = 2};
    (void)imm;
    memset(workspace, 0, 64);
    mix(&m, operand, begin, end);
}

static void relu_of_sum(void *const *operand, const int64_t *imm, int64_t begin, int64_t end,
                        void *workspace) {
    (void)imm, (void)workspace;
    const float *p = operand[0], *a = operand[1];
    float *out = operand[2];
    for (int64_t i = begin; i < end; i++)
        out[i] = p[i] + a[i] > 0 ? p[i] + a[i] : 0;
}

static void blend(void *const *operand, const int64_t *imm, int64_t begin, int64_t end,
                  void *workspace) {
    static const Mix m = {.reads = 2, .read_at = {0, 1}, .write_at = 2};
    (void)imm, (void)workspace;
    mix(&m, operand, begin, end);
}

static void add_into(void *const *operand, const int64_t *imm, int64_t begin, int64_t end,
                     void *workspace) {
    static const Mix m = {.reads = 3, .read_at = {0, 1, 2}, .write_at = 3, .keeps = true};
    (void)imm, (void)workspace;
    mix(&m, operand, begin, end);
}

static void sum_into(void *const *operand, const int64_t *imm, int64_t begin, int64_t end,
                     void *workspace) {
    (void)imm, (void)begin, (void)end, (void)workspace;
    const float *in = operand[0];
    float *sum = operand[1];
    for (int i = 0; i < LENGTH; i++)
        *sum += in[i];
}

static void descend(void *const *operand, const int64_t *imm, int64_t begin, int64_t end,
                    void *workspace) {
    (void)imm, (void)workspace;
    const float *step = operand[0], *rate = operand[1];
    float *w = operand[2];
    for (int64_t i = begin; i < end; i++)
        w[i] -= *rate * step[i];
}

static void count_on(void *const *operand, const int64_t *imm, int64_t begin, int64_t end,
                     void *workspace) {
    (void)imm, (void)begin, (void)end, (void)workspace;
    const int32_t *n = operand[0];
    *(int32_t *)operand[1] = *n + 1;
}

static PlimKernelFn *const kernel_table[] = {affine,   scale,    product, relu_of_sum, blend,
                                             add_into, sum_into, descend, count_on,    NULL};

// The sample with more tiles, so that workers meet, and without the library (which brings threads
// the sanitizer can't see into).
static Plan *make_plan(PlanMemory *pm) {
    Plan *p = plan_sample(pm);
    must(p != NULL, "no sample plan");
    static const uint32_t tiles[] = {2, LENGTH, LENGTH, LENGTH, LENGTH, LENGTH, 1, LENGTH, 1, 1};
    for (uint32_t i = 0; i < p->kernel_count; i++)
        p->kernel[i].tiles = tiles[i];
    for (uint32_t s = 0; s < p->segment_count; s++)
        for (uint32_t i = 0; i < p->segment[s].instr_count; i++)
            if (p->segment[s].instr[i].kind == INSTR_PRODUCT)
                p->segment[s].instr[i].kind = INSTR_KERNEL;
    p->product_count = 0;
    PlimError error;
    must(plan_complete(p), "the plan can't be completed");
    if (plan_verify(p, &error) != PLIM_OK)
        must(false, error.text);
    return p;
}

typedef struct {
    float w[LENGTH], loss[STEPS];
    int32_t count;
} Outcome;

static void fill_inputs(PlimRun *run, const PlanEntry *entry, int step) {
    for (uint32_t i = 0; i < entry->input_count; i++) {
        float *at = run_address(run, entry->input[i].buffer);
        if (entry->input[i].source == PLAN_FROM_KNOB)
            *at = 0.01f;
        else
            for (int j = 0; j < LENGTH * (int)entry->input[i].slots; j++)
                at[j] = (float)((j * 7 + step * 3) % 11 - 5) * 0.1f;
    }
}

static Outcome train(const Plan *p, int threads) {
    PlimRun *run;
    PlimError error;
    Outcome out = {0};
    if (run_new(p, kernel_table, &(RunOptions){.threads = threads}, &run, &error) != PLIM_OK)
        must(false, error.text);
    must(run_arena_bytes(run) == p->space[0].bytes, "the arena is not what the plan says");
    const PlanEntry *entry = plan_find_entry(p, "train");
    for (int step = 0; step < STEPS; step++) {
        fill_inputs(run, entry, step);
        if (run_entry(run, entry, &error) != PLIM_OK)
            must(false, error.text);
        memcpy(&out.loss[step], run_address(run, entry->result[0].buffer), sizeof(float));
    }
    memcpy(out.w, run_address(run, p->state[0].buffer), sizeof out.w);
    memcpy(&out.count, run_address(run, p->state[2].buffer), sizeof out.count);
    run_release(run);
    return out;
}

static void check_plan(void) {
    PlanMemory *pm = plan_memory_new();
    must(pm != NULL, "no memory");
    Plan *p = make_plan(pm);
    const Outcome one = train(p, 1), two = train(p, 2);
    must(memcmp(&one, &two, sizeof one) == 0, "the number of threads changes the result");
    must(one.count == STEPS, "the counter lost a step");
    must(one.w[0] != 0 && one.loss[STEPS - 1] != one.loss[0], "nothing was computed");
    plan_memory_release(pm);
}

// What a save must hold: the states when it began.
typedef struct {
    float w[LENGTH], moment[LENGTH], frozen[LENGTH];
    int32_t count;
} States;

static States states_of(const Plan *p, const PlimRun *run) {
    States s;
    memcpy(s.w, run_address(run, p->state[0].buffer), sizeof s.w);
    memcpy(s.moment, run_address(run, p->state[1].buffer), sizeof s.moment);
    memcpy(&s.count, run_address(run, p->state[2].buffer), sizeof s.count);
    memcpy(s.frozen, run_address(run, p->state[3].buffer), sizeof s.frozen);
    return s;
}

// Each step is saved while the next one runs and overwrites the states.
static void save_steps(const Plan *p, PlimRun *run, PlimRun *other, const char *folder) {
    PlimCheckpoint *c;
    PlimError error;
    int64_t saved = 0;
    const PlanEntry *entry = plan_find_entry(p, "train");
    if (checkpoint_new(folder, p, run, &c, &error) != PLIM_OK)
        must(false, error.text);
    for (int step = 1; step <= STEPS; step++) {
        const States before = states_of(p, run);
        if (checkpoint_save(c, &(Generation){.step = step, .steps = STEPS}, &error) != PLIM_OK)
            must(false, error.text);
        fill_inputs(run, entry, step);
        if (run_entry(run, entry, &error) != PLIM_OK)
            must(false, error.text);
        must(checkpoint_poll(c, &saved, &error) == PLIM_OK && saved >= step - 1, "a save is late");
        if (checkpoint_wait(c, &saved, &error) != PLIM_OK)
            must(false, error.text);
        must(saved == step, "a save was not reported");
        Generation g;
        if (resume_find(folder, &g, &error) != PLIM_OK ||
            resume_load(folder, &g, p, other, &error) != PLIM_OK)
            must(false, error.text);
        const States after = states_of(p, other), now = states_of(p, run);
        must(g.step == step && memcmp(&before, &after, sizeof before) == 0, "a save is torn");
        must(memcmp(&now, &after, sizeof now) != 0, "the step changed nothing");
    }
    checkpoint_release(c);
}

static void check_saving(void) {
    char folder[TEMPORARY_MAX];
    PlanMemory *pm = plan_memory_new();
    must(pm && temporary_folder(folder, "plim_saving"), "no memory or no folder");
    Plan *p = make_plan(pm);
    PlimRun *run, *other;
    PlimError error;
    if (run_new(p, kernel_table, &(RunOptions){.threads = 2}, &run, &error) != PLIM_OK)
        must(false, error.text);
    if (run_new(p, kernel_table, &(RunOptions){.threads = 1}, &other, &error) != PLIM_OK)
        must(false, error.text);
    save_steps(p, run, other, folder);
    run_release(run);
    run_release(other);
    plan_memory_release(pm);
    must(temporary_remove(folder), "the folder can't be removed");
}

int main(void) {
    for (int workers = 1; workers <= 4; workers++)
        check_pool(workers);
    check_streams();
    check_plan();
    check_saving();
    puts("streams: all well");
    return 0;
}
