// Solving in child processes: what a solver does there can't hurt this process.
#ifndef PLIM_PASSES_MIP_MIP_CHILD_H
#define PLIM_PASSES_MIP_MIP_CHILD_H

#include "passes/mip/mip_solve.h"

#include <stdint.h>

// What a solver gets. All of it is prepared before the child is made: there it may call malloc, but
// not an arena (out of memory would then end it as if it were the compiler).
typedef struct MipTask {
    const MipProblem *problem;       // limits are never 0 here
    int64_t node_limit, pivot_limit; // counted work after which it stops
    double *value;                   // its answer: one a column
    int *whole_room;                 // for the solver's use, columns + 1 of each
    double *number_room;
} MipTask;

// What a solver says, beside the values.
typedef struct MipReply {
    MipStatus status;
    int64_t nodes, pivots;
    double objective, bound; // bound: -HUGE_VAL for none
} MipReply;

typedef struct {
    MipReply reply;
    const char *fault; // why there is none, or NULL
} MipOutcome;

// MIP_CHILD_OUT: the pipe to the parent in the child, for tests of solvers that misuse it.
enum { MIP_CHILD_OUT = 3, MIP_CHILDREN_MAX = 64 };

// Runs solver (in a child it has /dev/null for its standard files) on each task in a child of its
// own, at most `children` at a time; tasks' values and outcomes are filled by index. Faults are
// texts in a.
void mip_child_run(MipSolver solver, MipTask *task, int count, int children, Arena *a,
                   MipOutcome *outcome);

#endif
