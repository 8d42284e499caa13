// Integer programs: answers equal brute force, whatever the settings and however many children;
// work limits stop alike everywhere; solvers that die, hang or lie are survived; LP text reads
// back.
#include <criterion/criterion.h>

#include "passes/mip/mip_child.h"
#include "passes/mip/mip_glpk.h"
#include "passes/mip/mip_lp.h"
#include "passes/mip/mip_report.h"
#include "passes/mip/mip_solve.h"
#include "tests/temporary.h"
#include "tests/unit/random_draw.h"

#include <glpk.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

// Whole columns of 0 .. 2 under a few rows; sometimes nothing satisfies them.
static Mip *random_program(Arena *a, uint64_t seed) {
    uint64_t state = seed * 77 + 5;
    Mip *p = mip_create(a, arena_format(a, "random_%llu", (unsigned long long)seed));
    const int columns = 2 + (int)draw(&state, 6), rows = 1 + (int)draw(&state, 5);
    for (int j = 0; j < columns; j++) {
        const bool binary = draw(&state, 2) == 0;
        mip_add_column(p, (MipColumn){.name = arena_format(a, "x%d", j),
                                      .kind = binary ? MIP_BINARY : MIP_INTEGER,
                                      .high = 2,
                                      .cost = (double)draw(&state, 21) - 10});
    }
    for (int i = 0; i < rows; i++) {
        const double low = (double)draw(&state, 9) - 4;
        const double high = low + (double)draw(&state, 6);
        mip_add_row(p, draw(&state, 3) ? low : -HUGE_VAL, draw(&state, 3) ? high : HUGE_VAL);
        // Some columns twice: they add up.
        for (int k = 0; k < columns; k++)
            mip_put(p, (int)draw(&state, (uint32_t)columns), (double)draw(&state, 9) - 4);
    }
    p->step = 1;
    return p;
}

// The least objective over all values, by trying them; HUGE_VAL where none satisfies the program.
// value gets any of the satisfying values, for a start that may be bad.
static double brute_force(const Mip *p, double *value) {
    double x[8], best = HUGE_VAL;
    int total = 1;
    for (int j = 0; j < p->column_count; j++)
        total *= 3;
    for (int code = 0; code < total; code++) {
        for (int j = 0, rest = code; j < p->column_count; j++, rest /= 3)
            x[j] = rest % 3;
        if (mip_violation(p, x) > 0)
            continue;
        if (isinf(best))
            memcpy(value, x, sizeof x);
        best = fmin(best, mip_objective(p, x));
    }
    return best;
}

static void check_answer(const Mip *p, double want, const MipAnswer *got) {
    cr_assert(got->degraded == NULL, "%s: %s", p->name, got->degraded);
    if (isinf(want)) {
        cr_assert_eq(got->status, MIP_INFEASIBLE, "%s", p->name);
        cr_assert(got->value == NULL);
        return;
    }
    cr_assert_eq(got->status, MIP_OPTIMAL, "%s: status %d, %g, bound %.17g, want %g, nodes %d",
                 p->name, got->status, got->objective, got->bound, want, (int)got->nodes);
    cr_assert(got->objective == want && got->bound == want && got->gap == 0,
              "%s: %g, bound %g, want %g", p->name, got->objective, got->bound, want);
    cr_assert(mip_violation(p, got->value) == 0 && mip_objective(p, got->value) == want);
}

Test(mip, random_programs_equal_brute_force) {
    enum { COUNT = SLOW ? 30 : 150 };
    static const MipSettings settings[] = {
        {0},
        {.use = MIP_CUTS_GOMORY | MIP_CUTS_ROUNDING | MIP_CUTS_COVER | MIP_CUTS_CLIQUE},
        {.branch = MIP_BRANCH_HISTORY, .next = MIP_NEXT_DEEP},
        {.use = MIP_PRESOLVE, .branch = MIP_BRANCH_MIDDLE, .next = MIP_NEXT_LIKELY}};
    Arena *a = arena_create();
    MipProblem problem[COUNT];
    MipAnswer one[COUNT], four[COUNT];
    double want[COUNT];
    for (int i = 0; i < COUNT; i++) {
        Mip *p = random_program(a, (uint64_t)i);
        double *start = arena_array(a, double, 8);
        want[i] = brute_force(p, start);
        problem[i] = (MipProblem){.program = p,
                                  .start = isfinite(want[i]) && i % 3 == 0 ? start : NULL,
                                  .settings = settings[i % 4]};
    }
    mip_solve_all(problem, COUNT, 1, a, one);
    mip_solve_all(problem, COUNT, 4, a, four);
    int possible = 0;
    for (int i = 0; i < COUNT; i++) {
        check_answer(problem[i].program, want[i], &one[i]);
        possible += isfinite(want[i]);
        // To the bit, work done included.
        cr_assert(one[i].status == four[i].status && one[i].nodes == four[i].nodes &&
                  one[i].pivots == four[i].pivots && one[i].bound == four[i].bound);
        if (one[i].value)
            cr_assert(memcmp(one[i].value, four[i].value,
                             sizeof(double) * (size_t)problem[i].program->column_count) == 0);
    }
    cr_assert(possible > COUNT / 4 && possible < COUNT, "%d", possible);
    arena_release(a);
}

// A knapsack whose tree is large: what fits of `count` things with nearly equal worth and weight.
static Mip *hard_program(Arena *a, int count) {
    uint64_t state = 99;
    Mip *p = mip_create(a, "knapsacks");
    for (int j = 0; j < count; j++)
        mip_add_column(p, (MipColumn){.name = arena_format(a, "take_%d", j),
                                      .kind = MIP_BINARY,
                                      .cost = -100 - (double)draw(&state, 20)});
    for (int i = 0; i < 5; i++) {
        mip_add_row(p, -HUGE_VAL, 25 * count);
        for (int j = 0; j < count; j++)
            mip_put(p, j, 40 + (double)draw(&state, 40));
    }
    p->step = 1;
    return p;
}

Test(mip, counted_work_stops_the_search) {
    Arena *a = arena_create();
    Mip *p = hard_program(a, 50);
    double *start = arena_array(a, double, 50); // nothing is taken
    MipProblem problem[4] = {
        {.program = p, .start = start, .limits = {.nodes = 200}},
        {.program = p, .start = start, .limits = {.work = 250 * 500}},
        {.program = p, .start = start, .limits = {.work = 250 * 3}},
        {.program = p, .start = start, .limits = {.entries = 100}},
    };
    MipAnswer answer[4], again[4];
    mip_solve_all(problem, 4, 2, a, answer);
    mip_solve_all(problem, 4, 4, a, again);
    for (int i = 0; i < 4; i++) {
        cr_assert(!answer[i].degraded && answer[i].status == MIP_FEASIBLE && answer[i].value);
        cr_assert(answer[i].bound <= answer[i].objective && answer[i].gap > 0);
        cr_assert(answer[i].nodes == again[i].nodes && answer[i].pivots == again[i].pivots &&
                  answer[i].objective == again[i].objective && answer[i].bound == again[i].bound);
    }
    // Stopped soon after the count, with a bound from what was left and something better found.
    cr_assert(answer[0].nodes > 200 && answer[0].nodes < 210, "%lld %lld",
              (long long)answer[0].nodes, (long long)answer[0].pivots);
    cr_assert(isfinite(answer[0].bound) && answer[0].objective < 0);
    cr_assert(answer[1].pivots > 500 && answer[1].pivots < 600);
    // The relaxation itself is too much work: the start stands, without a bound.
    cr_assert(answer[2].objective == 0 && isinf(answer[2].bound) && answer[2].pivots <= 4);
    // Too large: not even tried.
    cr_assert(answer[3].objective == 0 && answer[3].pivots == 0);
    arena_release(a);
}

// What a broken solver may do, by column 0's cost.
enum {
    FAULT_NONE,
    FAULT_HANG,
    FAULT_HANG_AFTER,
    FAULT_ABORT,
    FAULT_EXIT,
    FAULT_KILLED,
    FAULT_MEMORY,
    FAULT_SHORT,
    FAULT_SILENT,
    FAULT_LONG,
    FAULT_NOISE,
    FAULT_VALUE,
    FAULT_FRACTION,
    FAULT_OBJECTIVE,
    FAULT_BOUND,
    FAULT_NAN,
    FAULT_IMPOSSIBLE,
    FAULT_STATUS,
    FAULT_COUNT
};

static void misbehave_in_process(int fault) {
    const struct rlimit little = {1 << 20, 1 << 20};
    const char junk[4096] = {1};
    void *volatile block;
    switch (fault) {
    case FAULT_HANG:
        for (;;)
            pause();
    case FAULT_ABORT:
        abort();
    case FAULT_EXIT:
        _exit(1);
    case FAULT_KILLED:
        raise(SIGKILL);
        break;
    case FAULT_MEMORY:
        setrlimit(RLIMIT_AS, &little);
        do { // what is free already is used up as well
            block = malloc(64);
        } while (block);
        break;
    case FAULT_SHORT:
        cr_assert(write(MIP_CHILD_OUT, junk, 17) == 17);
        _exit(0);
    case FAULT_SILENT:
        _exit(0);
    case FAULT_LONG:
        for (;;)
            if (write(MIP_CHILD_OUT, junk, sizeof junk) < 0)
                _exit(0);
    case FAULT_NOISE: // as many bytes as a message has
        cr_assert(write(MIP_CHILD_OUT, junk, 8 + sizeof(MipReply) + 5 * sizeof(double)) > 0);
        _exit(0);
    default:
        break;
    }
}

static void misbehave_in_answer(int fault, const MipTask *task, MipReply *reply) {
    switch (fault) {
    case FAULT_HANG_AFTER:
        close(MIP_CHILD_OUT);
        for (;;)
            pause();
    case FAULT_VALUE:
        task->value[1] = 7;
        break;
    case FAULT_FRACTION:
        task->value[1] = 0.5;
        break;
    case FAULT_OBJECTIVE:
        reply->objective -= 1;
        break;
    case FAULT_BOUND:
        reply->bound = reply->objective + 1;
        break;
    case FAULT_NAN:
        task->value[1] = (double)NAN;
        break;
    case FAULT_IMPOSSIBLE:
        reply->status = MIP_INFEASIBLE;
        break;
    case FAULT_STATUS:
        reply->status = (MipStatus)77;
        break;
    default:
        break;
    }
}

static void broken_solver(const MipTask *task, MipReply *reply) {
    const int fault = (int)task->problem->program->column[0].cost;
    misbehave_in_process(fault);
    mip_glpk_solve(task, reply);
    misbehave_in_answer(fault, task, reply);
}

// 5 columns, of which two must be taken; the start takes dearer ones than it must.
static Mip *small_program(Arena *a, int first_cost) {
    Mip *p = mip_create(a, "small");
    for (int j = 0; j < 5; j++)
        mip_add_column(p, (MipColumn){.name = arena_format(a, "x%d", j),
                                      .kind = MIP_BINARY,
                                      .cost = j == 0 ? first_cost : 30 + j});
    mip_add_row(p, 2, 5);
    for (int j = 1; j < 5; j++)
        mip_put(p, j, 1);
    return p;
}

Test(mip, faults_are_survived) {
    static const char *const want[FAULT_COUNT] = {[FAULT_HANG] = "hung",
                                                  [FAULT_HANG_AFTER] = "sent 0 bytes",
                                                  [FAULT_ABORT] = "signal 6",
                                                  [FAULT_EXIT] = "status 1",
                                                  [FAULT_KILLED] = "signal 9",
                                                  [FAULT_MEMORY] = "the solver ",
                                                  [FAULT_SHORT] = "sent 17 bytes",
                                                  [FAULT_SILENT] = "sent 0 bytes",
                                                  [FAULT_LONG] = "bytes where",
                                                  [FAULT_NOISE] = "bytes where",
                                                  [FAULT_VALUE] = "violate",
                                                  [FAULT_FRACTION] = "violate",
                                                  [FAULT_OBJECTIVE] = "for values that cost",
                                                  [FAULT_BOUND] = "its values cost",
                                                  [FAULT_NAN] = "violate",
                                                  [FAULT_IMPOSSIBLE] = "though the start is",
                                                  [FAULT_STATUS] = "no sense"};
    Arena *a = arena_create();
    const double start[5] = {0, 0, 0, 1, 1};
    MipProblem problem[FAULT_COUNT];
    MipAnswer answer[FAULT_COUNT];
    for (int i = 0; i < FAULT_COUNT; i++)
        problem[i] = (MipProblem){.program = small_program(a, i),
                                  .start = start,
                                  .limits = {.guard_seconds = i == FAULT_HANG ? 0.2 : 100}};
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    mip_solve_all_with(broken_solver, problem, FAULT_COUNT, 3, a, answer);
    clock_gettime(CLOCK_MONOTONIC, &end);
    cr_assert(end.tv_sec - begin.tv_sec < 60);
    for (int i = 0; i < FAULT_COUNT; i++) {
        if (i == FAULT_NONE) {
            cr_assert(!answer[i].degraded && answer[i].objective == 63);
            continue;
        }
        cr_assert(answer[i].degraded && strstr(answer[i].degraded, want[i]), "%d: %s", i,
                  answer[i].degraded);
        // The start stands, and nothing is known beside it.
        cr_assert(answer[i].status == MIP_FEASIBLE && answer[i].objective == 67);
        cr_assert(memcmp(answer[i].value, start, sizeof start) == 0);
        cr_assert(isinf(answer[i].bound) && isinf(answer[i].gap) && answer[i].nodes == 0);
    }
    // Without a start there is no answer at all.
    problem[FAULT_ABORT].start = NULL;
    mip_solve_all_with(broken_solver, &problem[FAULT_ABORT], 1, 1, a, answer);
    cr_assert(answer[0].status == MIP_NONE && !answer[0].value && answer[0].degraded);
    arena_release(a);
}

static void *keep_allocating(void *user) {
    atomic_bool *stop = user;
    while (!atomic_load(stop))
        for (size_t i = 1; i < 400; i++) {
            void *volatile block = malloc(16 * i);
            free(block);
        }
    return NULL;
}

// A child is made while other threads hold the allocator's locks.
Test(mip, threads_of_the_parent_do_no_harm) {
    enum { COUNT = SLOW ? 30 : 120 };
    static atomic_bool stop;
    Arena *a = arena_create();
    pthread_t thread[3];
    MipProblem problem[COUNT];
    MipAnswer answer[COUNT];
    for (int i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, keep_allocating, &stop), 0);
    for (int i = 0; i < COUNT; i++)
        problem[i] = (MipProblem){.program = small_program(a, 0), .limits = {.guard_seconds = 30}};
    mip_solve_all(problem, COUNT, 4, a, answer);
    atomic_store(&stop, true);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < COUNT; i++)
        cr_assert(!answer[i].degraded && answer[i].objective == 63, "%s", answer[i].degraded);
    arena_release(a);
}

// Whether children are left over, or their pipes.
Test(mip, nothing_is_left_behind) {
    Arena *a = arena_create();
    const int before = dup(0);
    close(before);
    MipProblem problem[20];
    MipAnswer answer[20];
    for (int i = 0; i < 20; i++)
        problem[i] = (MipProblem){.program = small_program(a, i % 2 ? FAULT_EXIT : FAULT_LONG)};
    mip_solve_all_with(broken_solver, problem, 20, 7, a, answer);
    const int after = dup(0);
    close(after);
    cr_assert_eq(before, after);
    arena_release(a);
}

static const char *const lp_text = "\\ sample: 5 columns, 4 rows, 7 entries\n"
                                   "Minimize\n"
                                   " cost: + 3 x_0 - 2.5 y + 1 z\n"
                                   "Subject To\n"
                                   " r0_low: + 1 x_0 + 2 y >= 1\n"
                                   " r0_high: + 1 x_0 + 2 y <= 7\n"
                                   " r1: + 1 y - 1 z = -3\n"
                                   " r2: + 0.10000000000000001 x_0 - 1 free_one <= 0\n"
                                   " r3: + 1 bottom >= -8\n"
                                   "Bounds\n"
                                   " 0 <= x_0 <= 1\n"
                                   " 0 <= y <= 9\n"
                                   " 0 <= z\n"
                                   " free_one free\n"
                                   " -inf <= bottom <= 4\n"
                                   "Generals\n"
                                   " x_0\n"
                                   " y\n"
                                   "End\n";

static Mip *sample_program(Arena *a) {
    Mip *p = mip_create(a, "sample");
    const double no = HUGE_VAL;
    const int x = mip_add_column(p, (MipColumn){.name = "x_0", .kind = MIP_BINARY, .cost = 3});
    const int y =
        mip_add_column(p, (MipColumn){.name = "y", .kind = MIP_INTEGER, .high = 9, .cost = -2.5});
    const int z = mip_add_column(p, (MipColumn){.name = "z", .high = no, .cost = 1});
    const int f = mip_add_column(p, (MipColumn){.name = "free_one", .low = -no, .high = no});
    const int b = mip_add_column(p, (MipColumn){.name = "bottom", .low = -no, .high = 4});
    mip_add_row(p, 1, 7);
    mip_put(p, x, 1);
    mip_put(p, y, 2);
    mip_add_row(p, -3, -3);
    mip_put(p, y, 1);
    mip_put(p, z, -1);
    mip_add_row(p, -no, 0);
    mip_put(p, x, 0.1);
    mip_put(p, f, -1);
    mip_add_row(p, -8, no);
    mip_put(p, b, 1);
    return p;
}

Test(mip, lp_text) {
    Arena *a = arena_create();
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    mip_lp_print(sample_program(a), out);
    fclose(out);
    cr_assert_str_eq(text, lp_text, "%s", text);
    free(text);
    arena_release(a);
}

// The optimum of a file, by GLPK's own reader; HUGE_VAL where there is none.
static double optimum_of_file(const char *path) {
    glp_term_out(GLP_OFF);
    glp_prob *g = glp_create_prob();
    cr_assert_eq(glp_read_lp(g, NULL, path), 0, "%s", path);
    glp_iocp p;
    glp_init_iocp(&p);
    p.presolve = GLP_ON;
    const int failed = glp_intopt(g, &p);
    const bool found = !failed && glp_mip_status(g) == GLP_OPT;
    const double best = found ? glp_mip_obj_val(g) : HUGE_VAL;
    glp_delete_prob(g);
    return best;
}

Test(mip, lp_files_have_the_same_optimum) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    char dir[TEMPORARY_MAX];
    cr_assert(temporary_folder(dir, "plim_lp"));
    for (int i = 0; i < 41; i++) {
        Mip *p = i == 40 ? sample_program(a) : random_program(a, (uint64_t)i);
        MipAnswer answer;
        mip_solve_all(&(MipProblem){.program = p}, 1, 1, a, &answer);
        cr_assert(mip_lp_write(p, dir, d));
        const char *path = arena_format(a, "%s/%s.lp", dir, p->name);
        const double got = optimum_of_file(path);
        cr_assert(answer.value ? fabs(got - answer.objective) < 1e-6 : isinf(got), "%s", p->name);
        cr_assert_eq(unlink(path), 0);
    }
    cr_assert_eq(rmdir(dir), 0);
    // A folder that can't be made.
    cr_assert(!mip_lp_write(sample_program(a), "/dev/null/x", d));
    cr_assert_eq(diag_item(d, 0)->code, 805);
    arena_release(a);
}

// A degraded plan is told of, and refused where that was asked for.
Test(mip, degraded_plans_are_told_of) {
    Arena *a = arena_create();
    PassOptions options = {0};
    PassCtx cx = {.arena = a, .scratch = a, .diag = diag_create(a), .options = &options};
    cr_assert(mip_report(&cx, "the layout of train", "the solver died of signal 6"));
    cr_assert(cx.degraded == 1 && diag_error_count(cx.diag) == 0);
    cr_assert(diag_item(cx.diag, 0)->level == DIAG_WARNING && diag_item(cx.diag, 0)->code == 806);
    cr_assert_str_eq(diag_item(cx.diag, 0)->message,
                     "the layout of train is degraded: the solver died of signal 6");
    options.strict = true;
    cr_assert(!mip_report(&cx, "the layout of train", "the solver died of signal 6"));
    cr_assert(cx.degraded == 2 && diag_error_count(cx.diag) == 1);
    arena_release(a);
}
