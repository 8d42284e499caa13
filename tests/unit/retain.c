// What to keep for the backward pass: schedules are checked and measured as told, by hand here;
// frontiers hold what they promise.
#include <criterion/criterion.h>

#include "passes/retain/retain.h"
#include "tests/unit/random_draw.h"
#include "tests/unit/retain_sample.h"

#include <string.h>

// a = f(), b = g(a), c = h(b) forward; then d = k(c, b), e = m(d, a), kept.
static const RetainProblem *three(Arena *a) {
    RetainSample *s = retain_sample(a);
    const int x = retain_sample_argument(s, 1000);
    const int va = retain_sample_task(s, 5, 10, 0, RETAIN_READS(x));
    const int vb = retain_sample_task(s, 7, 20, 0, RETAIN_READS(va));
    const int vc = retain_sample_task(s, 3, 30, 0, RETAIN_READS(vb));
    retain_sample_turn(s);
    const int vd = retain_sample_task(s, 11, 5, RETAIN_ONCE, RETAIN_READS(vc, vb));
    const int ve = retain_sample_task(s, 13, 2, RETAIN_ONCE, RETAIN_READS(vd, va));
    s->task[3].transient = 100;
    s->value[ve].kept = true;
    s->value[va].out = 9;
    s->value[va].in = 4;
    return retain_sample_done(s);
}

enum { X, A, B, C, D, E }; // values of it

#define RUN(task) {RETAIN_RUN, task}
#define STORE(value) {RETAIN_STORE, value}
#define FETCH(value) {RETAIN_FETCH, value}
#define SCHEDULE(...)                                                                              \
    (&(RetainSchedule){.count = sizeof((RetainStep[]){__VA_ARGS__}) / sizeof(RetainStep),          \
                       .step = (RetainStep[]){__VA_ARGS__}})

static void expect_cost(const RetainSchedule *s, int64_t bytes, int64_t time, int64_t far) {
    Arena *a = arena_create();
    const RetainProblem *p = three(a);
    const char *wrong = retain_check(p, s, a);
    cr_assert_null(wrong, "%s", wrong);
    const RetainCost c = retain_cost(p, s, a);
    cr_assert_eq(c.bytes, bytes, "bytes %lld", (long long)c.bytes);
    cr_assert_eq(c.time, time, "time %lld", (long long)c.time);
    cr_assert_eq(c.far, far, "far %lld", (long long)c.far);
    arena_release(a);
}

Test(retain, costs_by_hand) {
    // At D: a 10, b 20, c 30, d 5, itself 100.
    expect_cost(SCHEDULE(RUN(0), RUN(1), RUN(2), RUN(3), RUN(4)), 1165, 39, 0);
    // a is made again, 5 longer; it isn't there at D: 10 less.
    expect_cost(SCHEDULE(RUN(0), RUN(1), RUN(2), RUN(3), RUN(0), RUN(4)), 1155, 44, 0);
    // a goes away while B and C run (9 of their 10) and comes while D runs: it has no room there,
    // the peak, so it comes after it.
    expect_cost(SCHEDULE(RUN(0), STORE(A), RUN(1), RUN(2), RUN(3), FETCH(A), RUN(4)), 1155, 43, 10);
    // Fetched before D, it is there at the peak and waited for nowhere: it is stored at 14, there
    // at 18.
    expect_cost(SCHEDULE(RUN(0), STORE(A), RUN(1), RUN(2), FETCH(A), RUN(3), RUN(4)), 1165, 39, 10);
    // Stored when C has run it goes out at 15 to 24, but D's peak has no room for its source.
    expect_cost(SCHEDULE(RUN(0), RUN(1), RUN(2), STORE(A), RUN(3), FETCH(A), RUN(4)), 1155, 52, 10);
    // b and c again after d... which reads them: no gain, only time.
    expect_cost(SCHEDULE(RUN(0), RUN(1), RUN(2), RUN(0), RUN(1), RUN(2), RUN(3), RUN(4)), 1165, 54,
                0);
}

static void expect_wrong(const RetainSchedule *s, const char *what) {
    Arena *a = arena_create();
    const char *wrong = retain_check(three(a), s, a);
    cr_assert_not_null(wrong, "taken; it should be: %s", what);
    cr_assert_str_eq(wrong, what);
    arena_release(a);
}

Test(retain, refuses_what_is_not_allowed) {
    expect_wrong(SCHEDULE(RUN(0), RUN(1), RUN(2), RUN(3)), "task 4 never runs");
    expect_wrong(SCHEDULE(RUN(0), RUN(2)), "step 1 runs task 2 before task 1");
    expect_wrong(SCHEDULE(RUN(0), RUN(1), RUN(2), RUN(3), RUN(3)),
                 "step 4 runs task 3 again, which runs once");
    expect_wrong(SCHEDULE(RUN(5)), "step 0 runs task 5; there are 5");
    expect_wrong(SCHEDULE(RUN(-1)), "step 0 runs task -1; there are 5");
    expect_wrong(SCHEDULE(STORE(A)), "step 0 stores value 1, which is not made yet");
    expect_wrong(SCHEDULE(RUN(0), STORE(A), STORE(A)), "step 2 stores value 1 a second time");
    expect_wrong(SCHEDULE(RUN(0), FETCH(A)), "step 1 fetches value 1, which is not stored");
    expect_wrong(SCHEDULE(RUN(0), STORE(X)), "step 1 moves value 0, which can't be moved");
    expect_wrong(SCHEDULE(RUN(0), RUN(1), STORE(B)), "step 2 moves value 2, which can't be moved");
    expect_wrong(SCHEDULE(RUN(0), STORE(6)), "step 1 moves value 6; there are 6");
}

static void check_frontier(const RetainProblem *p, const RetainFrontier *f, int64_t far) {
    Arena *a = arena_create();
    cr_assert_geq(f->count, 1);
    cr_assert_eq(f->point[0].schedule.count, p->task_count);
    for (int i = 0; i < f->count; i++) {
        const char *wrong = retain_check(p, &f->point[i].schedule, a);
        cr_assert_null(wrong, "%s", wrong);
        const RetainCost c = retain_cost(p, &f->point[i].schedule, a);
        cr_assert_eq(memcmp(&c, &f->point[i].cost, sizeof c), 0);
        cr_assert_geq(c.bytes, f->bound);
        cr_assert_leq(c.far, far);
        cr_assert(!i || c.bytes < f->point[i - 1].cost.bytes);
        cr_assert(!i || c.time >= f->point[i - 1].cost.time);
    }
    arena_release(a);
}

Test(retain, frontiers_hold_what_they_promise) {
    for (uint64_t seed = 0; seed < (SLOW ? 10 : 60); seed++) {
        Arena *a = arena_create();
        const RetainProblem *p =
            retain_sample_random(a, seed, 3 + (int)(seed % 9), 2 + (int)(seed % 7));
        const RetainFrontier f = retain_frontier(p, &(RetainOptions){0}, a);
        check_frontier(p, &f, 0);
        arena_release(a);
    }
}
