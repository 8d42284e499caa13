// The one interface to integer programs: a program and a first answer in; the best answer known, a
// bound, and how far they are apart out.
#ifndef PLIM_PASSES_MIP_MIP_SOLVE_H
#define PLIM_PASSES_MIP_MIP_SOLVE_H

#include "passes/mip/mip.h"

#include <stdint.h>

// What the solver may use; which of them help differs by class of programs (docs/decisions.md).
enum {
    MIP_CUTS_GOMORY = 1,
    MIP_CUTS_ROUNDING = 2, // mixed integer rounding
    MIP_CUTS_COVER = 4,
    MIP_CUTS_CLIQUE = 8,
    MIP_PRESOLVE = 16 // the program is rewritten first; then the solver can't be handed the start
};

// The fractional column to branch on.
typedef enum {
    MIP_BRANCH_LIKELY, // Driebeck and Tomlin's estimate of the worse branch
    MIP_BRANCH_FIRST,
    MIP_BRANCH_LAST,
    MIP_BRANCH_MIDDLE, // nearest to one half
    MIP_BRANCH_HISTORY // pseudo-costs
} MipBranch;

// Where to go on when a branch has ended.
typedef enum { MIP_NEXT_BEST, MIP_NEXT_DEEP, MIP_NEXT_LIKELY } MipNext;

typedef struct {
    unsigned use; // MIP_CUTS_..., MIP_PRESOLVE
    MipBranch branch;
    MipNext next;
} MipSettings;

// All but the guard are counts, so that the same program gives the same answer on any machine under
// any load; 0 is the default of each. The guard is there for a solver that hangs.
typedef struct {
    int64_t nodes;        // of the search tree, 20,000
    int64_t work;         // simplex steps times entries of the program, 1e8: some seconds
    int entries;          // larger programs are not tried, 200,000
    double guard_seconds; // 300
} MipLimits;

// With the defaults where it says 0.
MipLimits mip_limits_or_default(MipLimits limits);

typedef struct {
    const Mip *program;
    const double *start; // values that satisfy the program, such as a heuristic's; or NULL
    MipSettings settings;
    MipLimits limits;
} MipProblem;

typedef enum { MIP_NONE, MIP_FEASIBLE, MIP_OPTIMAL, MIP_INFEASIBLE } MipStatus;

typedef struct {
    MipStatus status;    // MIP_NONE: no values are known, nor that there are none
    const double *value; // one a column; whole where the program says so; NULL where there are none
    double objective;    // of value
    double bound;        // no values have a smaller objective; -HUGE_VAL where nothing is known
    double gap;          // (objective - bound) / |objective|: 0 where optimal, HUGE_VAL: unknown
    int64_t nodes, pivots; // work done; 0 where it was not tried
    const char *degraded;  // the solver died, hung or lied, and how: the start stands. Else NULL.
} MipAnswer;

// Solves each program in a child process, at most `children` at a time (0: one a processor, at most
// 8); the answers don't depend on their number. Every answer is checked: values must satisfy the
// program and have the objective that the solver claims. Answers live in a.
void mip_solve_all(const MipProblem *problem, int count, int children, Arena *a, MipAnswer *answer);

// The same with another solver in the children, for tests of what a solver may do.
struct MipTask;
struct MipReply;
typedef void (*MipSolver)(const struct MipTask *task, struct MipReply *reply);
void mip_solve_all_with(MipSolver solver, const MipProblem *problem, int count, int children,
                        Arena *a, MipAnswer *answer);

#endif
