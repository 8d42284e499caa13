// How near the frontier with moves comes to POFO on random chains, at many more budgets than the
// unit test has time for.
//
//   bench_retain_moves [CHAINS [STAGES]]     100 chains of 10 to 30 stages
//
// Two comparisons at each budget: with the time of the schedule that POFO chooses, measured as ours
// is, at its bytes; and with the time POFO promises, at the budget, in its model where bytes move
// one by one. Exits 1 where ours is worse than the former.
#include "tests/unit/retain_oracle.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct {
    int equal, better, worse, none;
    double worst, sum; // our time over theirs
} Tally;

static void compare(int64_t ours, int64_t theirs, Tally *t) {
    if (ours == INT64_MAX) {
        t->none++;
        return;
    }
    t->equal += ours == theirs;
    t->better += ours < theirs;
    t->worse += ours > theirs;
    const double ratio = (double)ours / (double)theirs;
    t->worst = ratio > t->worst ? ratio : t->worst;
    t->sum += ratio;
}

static void try_chain(uint64_t seed, int count, Tally *measured, Tally *promised) {
    enum { BUDGETS = 8 };
    Arena *a = arena_create();
    const RetainStage *stage = retain_sample_stages(a, seed, count);
    const RetainProblem *p = retain_sample_chain(a, stage, count);
    const RetainOptions options = {.far = INT64_MAX, .rungs = 1000};
    const RetainFrontier f = retain_frontier(p, &options, a);
    const int64_t most = f.point[0].cost.bytes;
    const RetainRotor *rotor = retain_rotor(stage, count, most, a);
    for (int b = 0; b < BUDGETS; b++) {
        const int64_t budget = f.bound + (most - f.bound) * b / BUDGETS;
        const RetainPofo pofo = retain_pofo(p, stage, count, rotor, budget, a);
        if (pofo.promised == INT64_MAX)
            continue;
        const RetainCost c = retain_cost(p, &pofo.schedule, a);
        const int before = measured->worse + measured->none;
        compare(retain_time_within(&f, c.bytes), c.time, measured);
        compare(retain_time_within(&f, budget), pofo.promised, promised);
        if (measured->worse + measured->none > before)
            printf("chain %llu of %d, %lld bytes: %lld > %lld\n", (unsigned long long)seed, count,
                   (long long)c.bytes, (long long)retain_time_within(&f, c.bytes),
                   (long long)c.time);
    }
    arena_release(a);
}

static void report(const char *what, const Tally *t) {
    const int count = t->equal + t->better + t->worse;
    printf("%s: %d equal, %d better, %d worse, %d that we don't reach; ours over theirs %.4f on "
           "average, %.4f at worst\n",
           what, t->equal, t->better, t->worse, t->none, t->sum / (count ? count : 1), t->worst);
}

int main(int argc, char **argv) {
    const int chains = argc > 1 ? atoi(argv[1]) : 100, stages = argc > 2 ? atoi(argv[2]) : 0;
    Tally measured = {0}, promised = {0};
    for (int i = 0; i < chains; i++)
        try_chain((uint64_t)i, stages > 1 ? stages : 10 + i % 21, &measured, &promised);
    report("its schedules, measured", &measured);
    report("its promises", &promised);
    return measured.worse + measured.none > 0;
}
