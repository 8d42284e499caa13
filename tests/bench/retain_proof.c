// A longer proof than the unit test has time for: on random graphs, at budgets spread over what
// there is to gain and one below the bound, our choice is no worse than the optimum of Checkmate's
// program.
//
//   bench_retain_proof [GRAPHS [FORWARD [BACKWARD]]]     200 graphs of up to 5 + 4 tasks
//
// Ours may be better where a task runs twice within a stage of theirs, or not in order; such cases
// are counted. Exits 1 where ours is worse.
#include "tests/unit/retain_oracle.h"

#include <stdio.h>
#include <stdlib.h>

enum { BUDGETS = 5 };

typedef struct {
    int equal, better, worse, none, unsolved;
} Tally;

static void compare(const MipAnswer *answer, int64_t time, Tally *t) {
    if (answer->status == MIP_INFEASIBLE) {
        t->none += time == INT64_MAX;
        t->better += time < INT64_MAX;
    } else if (answer->status != MIP_OPTIMAL)
        t->unsolved++;
    else if ((double)time > answer->objective + 1e-6)
        t->worse++;
    else if ((double)time < answer->objective - 1e-6)
        t->better++;
    else
        t->equal++;
}

static void try_graph(uint64_t seed, int forward, int backward, Tally *t) {
    Arena *a = arena_create();
    const RetainProblem *p = retain_sample_random(a, seed, 2 + (int)seed % (forward - 1),
                                                  2 + (int)seed % (backward - 1), 0);
    const RetainFrontier f = retain_frontier(p, &(RetainOptions){.rungs = 1000}, a);
    const int64_t most = f.point[0].cost.bytes;
    int64_t budget[BUDGETS];
    MipProblem problem[BUDGETS] = {0};
    MipAnswer answer[BUDGETS];
    for (int i = 0; i < BUDGETS; i++) {
        budget[i] = f.bound - 1 + (most - f.bound) * i / BUDGETS + (i > 0);
        problem[i].program = retain_checkmate(p, budget[i], a);
    }
    mip_solve_all(problem, BUDGETS, 0, a, answer);
    for (int i = 0; i < BUDGETS; i++) {
        const int before = t->worse;
        compare(&answer[i], retain_time_within(&f, budget[i]), t);
        if (t->worse > before)
            printf("graph %llu, %lld bytes: worse\n", (unsigned long long)seed,
                   (long long)budget[i]);
    }
    arena_release(a);
}

int main(int argc, char **argv) {
    const int graphs = argc > 1 ? atoi(argv[1]) : 200;
    const int forward = argc > 2 ? atoi(argv[2]) : 5, backward = argc > 3 ? atoi(argv[3]) : 4;
    Tally t = {0};
    for (int g = 0; g < graphs; g++)
        try_graph((uint64_t)g, forward > 2 ? forward : 2, backward > 2 ? backward : 2, &t);
    printf("%d graphs, %d budgets each: %d equal, %d none for both, %d better, %d worse, %d "
           "unsolved\n",
           graphs, BUDGETS, t.equal, t.none, t.better, t.worse, t.unsolved);
    return t.worse > 0;
}
