// Far memory: copies of any size and place by several threads at once, a plan whose values and
// states wait on disk while it computes, and saves beside it. Every build runs it; what it looks
// for under the thread sanitizer are bytes that two threads of a crew, or two crews, touch at once.
#include "runtime/checkpoint.h"
#include "runtime/far_memory.h"
#include "runtime/resume.h"
#include "runtime/run_window.h"
#include "tests/temporary.h"
#include "tests/tsan/must.h"
#include "tests/unit/plan_sample.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LENGTH = 400003, // elements, as disk.plan has them
    TILES = 16,
    STEPS = 6,
    MOVERS = 3,
    MOVES = 40,
    OWN_BYTES = 2500001,   // of one mover: its ends lie inside blocks that others write, too
    ROUGH_BYTES = 1200000, // of one copy, at most
    ROOM_BYTES = 1228800
};

// Writes and reads at random in its own bytes, and remembers what must be there.
typedef struct {
    FarMemory *far;
    char *at, *known;
    unsigned seed;
} Mover;

static unsigned draw(unsigned *seed, unsigned bound) {
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % bound;
}

static void *move_at_random(void *argument) {
    Mover *m = argument;
    PlimError error;
    char *room = aligned_alloc(4096, ROOM_BYTES);
    must(room != NULL, "no memory");
    for (int i = 0; i < MOVES; i++) {
        const unsigned bytes = draw(&m->seed, i % 4 ? ROUGH_BYTES : 5000) + 1;
        const unsigned offset = draw(&m->seed, OWN_BYTES - bytes);
        // Every third copy begins in memory where a disk wants it to.
        const unsigned shift = i % 3 ? draw(&m->seed, 4096) : 0;
        char *near = room + shift;
        if (i % 2 == 0) {
            memset(near, (int)draw(&m->seed, 255) + 1, bytes);
            memcpy(m->known + offset, near, bytes);
            must(far_memory_copy(m->far, m->at + offset, near, bytes, &error), error.text);
        } else {
            must(far_memory_copy(m->far, near, m->at + offset, bytes, &error), error.text);
            must(memcmp(near, m->known + offset, bytes) == 0, "other bytes came back");
        }
    }
    free(room);
    return NULL;
}

static void check_copies(void) {
    FarMemory *far;
    PlimError error;
    Mover mover[MOVERS];
    pthread_t thread[MOVERS];
    if (far_memory_new(".", (uint64_t)MOVERS * OWN_BYTES, &far, &error) != PLIM_OK)
        must(false, error.text);
    for (int i = 0; i < MOVERS; i++) {
        mover[i] = (Mover){.far = far,
                           .at = far_memory_base(far) + (size_t)i * OWN_BYTES,
                           .known = calloc(OWN_BYTES, 1),
                           .seed = (unsigned)i + 1};
        must(mover[i].known && pthread_create(&thread[i], NULL, move_at_random, &mover[i]) == 0,
             "no threads");
    }
    char *all = malloc(OWN_BYTES);
    must(all != NULL, "no memory");
    for (int i = 0; i < MOVERS; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < MOVERS; i++) {
        must(far_memory_copy(far, all, mover[i].at, OWN_BYTES, &error), error.text);
        must(memcmp(all, mover[i].known, OWN_BYTES) == 0, "bytes were lost");
        free(mover[i].known);
    }
    must(!far_memory_has(far, all) && !far_memory_has(NULL, all), "memory is taken for far");
    free(all);
    far_memory_release(far);
}

static void check_refusals(void) {
    FarMemory *far;
    PlimError error;
    must(far_memory_new("nowhere/at/all", 4096, &far, &error) == PLIM_IO &&
             strstr(error.text, "nowhere/at/all") != NULL &&
             strstr(error.text, "No such file") != NULL,
         "a missing folder");
    must(far_memory_new(".", (uint64_t)1 << 53, &far, &error) == PLIM_IO &&
             strstr(error.text, "8.00 PiB on disk, and . has") != NULL,
         "a disk that is too small");
}

// Kernels of disk.plan by number; a tile is a sixteenth of the elements.
static void bounds(int64_t begin, int64_t end, int *first, int *last) {
    *first = (int)(begin * LENGTH / TILES);
    *last = (int)(end * LENGTH / TILES);
}

static void half(void *const *operand, const int64_t *imm, int64_t begin, int64_t end,
                 void *workspace) {
    int i, last;
    const float *x = operand[0];
    float *a = operand[1];
    (void)imm, (void)workspace;
    for (bounds(begin, end, &i, &last); i < last; i++)
        a[i] = 0.5f * x[i];
}

static void blend(void *const *operand, const int64_t *imm, int64_t begin, int64_t end,
                  void *workspace) {
    int i, last;
    const float *x = operand[0], *w = operand[1];
    float *b = operand[2];
    (void)imm, (void)workspace;
    for (bounds(begin, end, &i, &last); i < last; i++)
        b[i] = x[i] - 0.25f * w[i];
}

// Operands 3 and 4, a and x as they were, are read so that they live on while streams copy a.
static void mix(void *const *operand, const int64_t *imm, int64_t begin, int64_t end,
                void *workspace) {
    int i, last;
    const float *b = operand[0], *a = operand[1], *m = operand[2];
    float *next = operand[5];
    (void)imm, (void)workspace;
    for (bounds(begin, end, &i, &last); i < last; i++)
        next[i] = 0.5f * m[i] + a[i] * b[i];
}

static void descend(void *const *operand, const int64_t *imm, int64_t begin, int64_t end,
                    void *workspace) {
    int i, last;
    const float *m = operand[0];
    float *w = operand[1];
    (void)imm, (void)workspace;
    for (bounds(begin, end, &i, &last); i < last; i++)
        w[i] -= 0.125f * m[i];
}

static void first(void *const *operand, const int64_t *imm, int64_t begin, int64_t end,
                  void *workspace) {
    (void)imm, (void)workspace, (void)begin, (void)end;
    *(float *)operand[1] = *(const float *)operand[0];
}

static PlimKernelFn *const kernel_table[] = {half, blend, mix, descend, first};

// What the steps must leave, computed in plain loops. m[1] is m, m[0] what it was before.
typedef struct {
    float w[LENGTH], m[LENGTH], old[LENGTH];
} States;

static float input_at(int i, int step) {
    return (float)((i * 7 + step * 3) % 11 - 5) * 0.1f;
}

static void expect_step(States *s, int step) {
    for (int i = 0; i < LENGTH; i++) {
        const float x = input_at(i, step), a = 0.5f * x, b = x - 0.25f * s->w[i];
        s->old[i] = s->m[i];
        s->m[i] = 0.5f * s->m[i] + a * b;
        s->w[i] -= 0.125f * s->m[i];
    }
}

static void read_states(const Plan *p, PlimRun *run, States *out) {
    PlimError error;
    float *const to[] = {out->w, out->m, out->old};
    for (uint32_t i = 0; i < 3; i++)
        if (run_read(run, p->state[i].buffer, 0, to[i], sizeof out->w, &error) != PLIM_OK)
            must(false, error.text);
}

// First values through windows, as weights are loaded.
static void write_states(const Plan *p, PlimRun *run, const States *from) {
    RunWindow window;
    PlimError error;
    const float *const at[] = {from->w, from->m, from->old};
    must(window_open(run, &window, &error) == PLIM_OK, "no window");
    for (uint32_t i = 0; i < 3; i++)
        for (uint64_t done = 0, got; done < sizeof from->w; done += got) {
            void *room =
                window_room(&window, p->state[i].buffer, done, sizeof from->w - done, &got);
            memcpy(room, (const char *)at[i] + done, (size_t)got);
            must(window_write(&window), window.error.text);
        }
    window_close(&window);
}

static PlimRun *open_run(const Plan *p) {
    PlimRun *run;
    PlimError error;
    const RunOptions options = {.threads = 2, .far_folder = "."};
    if (run_new(p, kernel_table, &options, &run, &error) != PLIM_OK)
        must(false, error.text);
    must(run_arena_bytes(run) == p->space[0].bytes, "the arena is not what the plan says");
    must(run_shows(run, 0) && !run_shows(run, 1), "far memory is shown");
    return run;
}

// Each step is saved while the next one overwrites the states.
static void check_plan(const Plan *p, PlimRun *run, PlimRun *other, const char *folder) {
    PlimCheckpoint *c;
    PlimError error;
    int64_t saved = 0;
    const PlanEntry *entry = plan_find_entry(p, "train");
    States *now = calloc(3, sizeof *now), *wanted = now + 1, *loaded = now + 2;
    must(now != NULL, "no memory");
    for (int i = 0; i < LENGTH; i++)
        wanted->w[i] = input_at(i, 99), wanted->m[i] = input_at(i, 98);
    write_states(p, run, wanted);
    if (checkpoint_new(folder, p, run, &c, &error) != PLIM_OK)
        must(false, error.text);
    for (int step = 1; step <= STEPS; step++) {
        Generation g = {.step = step, .steps = STEPS};
        if (checkpoint_save(c, &g, &error) != PLIM_OK)
            must(false, error.text);
        float *x = run_address(run, entry->input[0].buffer);
        for (int i = 0; i < LENGTH; i++)
            x[i] = input_at(i, step);
        if (run_entry(run, entry, &error) != PLIM_OK ||
            checkpoint_wait(c, &saved, &error) != PLIM_OK)
            must(false, error.text);
        if (resume_find(folder, &g, &error) != PLIM_OK ||
            resume_load(folder, &g, p, other, &error) != PLIM_OK)
            must(false, error.text);
        read_states(p, other, loaded);
        must(g.step == step && memcmp(loaded, wanted, sizeof *wanted) == 0, "a save is torn");
        expect_step(wanted, step);
        read_states(p, run, now);
        must(memcmp(now, wanted, sizeof *wanted) == 0, "a step computed something else");
    }
    checkpoint_release(c);
    free(now);
}

int main(void) {
    char folder[TEMPORARY_MAX];
    PlimError error;
    PlanMemory *pm = plan_memory_new();
    must(pm && temporary_folder(folder, "plim_far"), "no memory or no folder");
    Plan *p = plan_sample_file(pm, PLIM_SOURCE_DIR "/tests/tsan/disk.plan");
    must(p != NULL, "no plan");
    if (plan_verify(p, &error) != PLIM_OK)
        must(false, error.text);
    check_copies();
    check_refusals();
    PlimRun *run = open_run(p), *other = open_run(p);
    check_plan(p, run, other, folder);
    run_release(run);
    run_release(other);
    plan_memory_release(pm);
    must(temporary_remove(folder), "the folder stays");
    puts("disk: all well");
    return 0;
}
