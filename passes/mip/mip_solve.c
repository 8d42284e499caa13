// Running integer programs and judging what comes back.
//
// The start is checked here: a wrong one is our bug. Programs within the limits go to children.
// Each reply is held against its program, since a solver that computes in floating point may be
// wrong without knowing: values are rounded where they must be whole, put into every row, and
// priced again; a bound or a verdict that contradicts the start or the reply's own values is a lie.
// What went wrong is said in `degraded`, and nothing else is taken from that reply. Otherwise the
// better of start and answer stands. The bound alone can't be checked: it is the solver's word.
#include "passes/mip/mip_solve.h"

#include "passes/mip/mip_child.h"
#include "passes/mip/mip_glpk.h"

#include "ir/check.h"

#include <math.h>
#include <unistd.h>

// The largest difference between numbers of this size that means nothing.
static double slack(double x) {
    return MIP_TOLERANCE * (1 + fabs(x));
}

MipLimits mip_limits_or_default(MipLimits l) {
    l.nodes = l.nodes ? l.nodes : 20000;
    l.work = l.work ? l.work : 100000000;
    l.entries = l.entries ? l.entries : 200000;
    l.guard_seconds = l.guard_seconds > 0 ? l.guard_seconds : 300;
    return l;
}

// What is wrong with a reply, or NULL. value: its values, whole where they must be.
static const char *find_lie(const MipProblem *problem, const MipReply *reply, const double *value,
                            Arena *a) {
    const Mip *p = problem->program;
    const bool has_values = reply->status == MIP_FEASIBLE || reply->status == MIP_OPTIMAL;
    if (reply->status < MIP_NONE || reply->status > MIP_INFEASIBLE || reply->nodes < 0 ||
        reply->pivots < 0 || isnan(reply->bound) || reply->bound == HUGE_VAL)
        return "the solver's answer makes no sense";
    if (has_values) {
        const double violation = mip_violation(p, value), objective = mip_objective(p, value);
        if (!(violation <= MIP_TOLERANCE))
            return arena_format(a, "the solver's values violate the program by %g", violation);
        if (!(fabs(objective - reply->objective) <= slack(objective)))
            return arena_format(a, "the solver says %.17g for values that cost %.17g",
                                reply->objective, objective);
        if (reply->bound > objective + slack(objective))
            return arena_format(a, "the solver's bound is %.17g, but its values cost %.17g",
                                reply->bound, objective);
    }
    if (!problem->start)
        return NULL;
    const double start = mip_objective(p, problem->start);
    if (reply->status == MIP_INFEASIBLE)
        return "the solver finds no values possible, though the start is";
    if (reply->bound > start + slack(start))
        return arena_format(a, "the solver's bound is %.17g, but the start costs %.17g",
                            reply->bound, start);
    return NULL;
}

// The start alone, before anything is known.
static MipAnswer answer_of_start(const MipProblem *problem) {
    MipAnswer answer = {.status = MIP_NONE, .bound = -HUGE_VAL, .gap = HUGE_VAL};
    if (problem->start) {
        answer.status = MIP_FEASIBLE;
        answer.value = problem->start;
        answer.objective = mip_objective(problem->program, problem->start);
    }
    return answer;
}

// Up to the next multiple of the program's step; what is a hair above one counts as it.
static double rounded_bound(const Mip *p, double bound) {
    if (p->step <= 0 || !isfinite(bound))
        return bound;
    return p->step * ceil((bound - slack(bound)) / p->step);
}

static void judge(const MipProblem *problem, const MipOutcome *outcome, double *value, Arena *a,
                  MipAnswer *answer) {
    const Mip *p = problem->program;
    const MipReply *reply = &outcome->reply;
    *answer = answer_of_start(problem);
    for (int j = 0; j < p->column_count; j++)
        if (p->column[j].kind != MIP_CONTINUOUS &&
            fabs(value[j] - round(value[j])) <= MIP_TOLERANCE)
            value[j] = round(value[j]);
    answer->degraded = outcome->fault ? outcome->fault : find_lie(problem, reply, value, a);
    if (answer->degraded)
        return;
    answer->nodes = reply->nodes;
    answer->pivots = reply->pivots;
    answer->bound = rounded_bound(p, reply->bound);
    if (reply->status == MIP_INFEASIBLE || reply->status == MIP_NONE) {
        // With a start MIP_NONE means that it stands: only the bound is new.
        answer->status = problem->start ? MIP_FEASIBLE : reply->status;
    } else {
        const double objective = mip_objective(p, value);
        if (!answer->value || objective < answer->objective) {
            answer->value = value;
            answer->objective = objective;
        }
        answer->status = reply->status;
    }
    if (!answer->value)
        return;
    // A bound above what was found is rounding; and one that meets it is a proof.
    answer->bound = fmin(answer->bound, answer->objective);
    const bool met = answer->objective - answer->bound <= 1e-9 * (1 + fabs(answer->objective));
    // Where answers lie a step apart, a search to the end is a proof only if the solver can tell
    // one step from none; otherwise it is one to the solver's precision.
    if (met || p->step > 0)
        answer->status = met ? MIP_OPTIMAL : MIP_FEASIBLE;
    answer->gap = met ? 0 : (answer->objective - answer->bound) / fmax(fabs(answer->objective), 1);
}

// In this process, with memory for the child to fill.
static MipTask make_task(const MipProblem *problem, Arena *a) {
    const int columns = problem->program->column_count, entries = problem->program->entry_count;
    return (MipTask){.problem = problem,
                     .node_limit = problem->limits.nodes,
                     .pivot_limit = problem->limits.work / (entries + 1) + 1,
                     .value = arena_array(a, double, columns),
                     .whole_room = arena_array(a, int, columns + 1),
                     .number_room = arena_array(a, double, columns + 1)};
}

static int default_children(void) {
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors < 1 ? 1 : processors > 8 ? 8 : (int)processors;
}

void mip_solve_all_with(MipSolver solver, const MipProblem *problem, int count, int children,
                        Arena *a, MipAnswer *answer) {
    MipProblem *kept = arena_array(a, MipProblem, count);
    MipTask *task = arena_array(a, MipTask, count);
    MipOutcome *outcome = arena_array(a, MipOutcome, count);
    int *tried = arena_array(a, int, count), task_count = 0;
    for (int i = 0; i < count; i++) {
        kept[i] = problem[i];
        kept[i].limits = mip_limits_or_default(problem[i].limits);
        CHECK(!kept[i].start || mip_violation(kept[i].program, kept[i].start) <= MIP_TOLERANCE);
        answer[i] = answer_of_start(&kept[i]);
        if (kept[i].program->column_count == 0 ||
            kept[i].program->entry_count > kept[i].limits.entries)
            continue;
        tried[task_count] = i;
        task[task_count++] = make_task(&kept[i], a);
    }
    const int places = children > 0 ? children : default_children();
    mip_child_run(solver, task, task_count, places > MIP_CHILDREN_MAX ? MIP_CHILDREN_MAX : places,
                  a, outcome);
    for (int k = 0; k < task_count; k++)
        judge(&kept[tried[k]], &outcome[k], task[k].value, a, &answer[tried[k]]);
}

void mip_solve_all(const MipProblem *problem, int count, int children, Arena *a,
                   MipAnswer *answer) {
    mip_solve_all_with(mip_glpk_solve, problem, count, children, a, answer);
}
