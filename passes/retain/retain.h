// What to keep for the backward pass, what to compute again, what to move away and fetch: the
// problem, abstract, and the points that are worth having between most memory and least time.
//
// Tasks stand in an order that is allowed. A value is made by one task and read by later ones; a
// copy of it lives from the step that makes it to the last step that reads this copy. In a schedule
// every task runs at least once; one that is not marked `once` may run again, which makes fresh
// copies of its results from the latest copies of its operands.
//
// A value may be cut into equal parts along its rows. Where it goes away, some parts may stay,
// copied within the device's memory, and some be made again instead of moving; when it is fetched,
// they are joined to one copy.
#ifndef PLIM_PASSES_RETAIN_RETAIN_H
#define PLIM_PASSES_RETAIN_RETAIN_H

#include "ir/arena.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    RETAIN_ONCE = 1, // runs once, in its place: backward and update tasks, attention, collectives
    RETAIN_FREE = 2, // its results take no memory and cost nothing to make again: constants
    RETAIN_ROWS = 4, // may run for some parts of its results alone
    RETAIN_OUT = 8,  // a copy to far memory, or from it: of the operand to the result, beside other
    RETAIN_IN = 16   // tasks, as what STORE and FETCH move
};

typedef struct {
    int64_t time;      // picoseconds of one run; of a copy, beside tasks
    int64_t transient; // bytes it needs for itself while it runs
    unsigned flags;
    int operand_count, result_count;
    const int *operand, *result; // values, each once
} RetainTask;

typedef struct {
    int64_t bytes;
    int maker;       // task, or -1: there before the first task and never lost (arguments)
    bool kept;       // read after the last task: a result
    int64_t out, in; // picoseconds to move it to far memory and to fetch it, beside tasks; 0: can't
                     // be moved
    int parts;       // equal ones that it may be cut into; 0: none
    int64_t copy;    // of one with parts: picoseconds to copy it within the device's memory
    const void *owner; // whom to name it after; solvers don't look at it
} RetainValue;

typedef struct {
    int task_count, forward_count; // tasks 0 .. forward_count - 1 are the forward's
    const RetainTask *task;
    int barrier; // copies of tasks from this one on begin no earlier than it; 0: there is none
    int value_count;
    const RetainValue *value;
    // Thousandths of a second that tasks lose by a second of copies beside them; below 1000.
    int64_t out_slows, in_slows;
} RetainProblem;

typedef enum { RETAIN_RUN, RETAIN_STORE, RETAIN_FETCH } RetainKind;

// RUN a task; STORE the latest copy of a value; FETCH a fresh copy of one that was stored.
typedef struct {
    RetainKind kind;
    int what; // task or value
    // Of STORE: the first `near` parts of the value are copied and stay, the last `again` ones are
    // made again by its maker at each FETCH, which then reads what the maker reads; the rest moves.
    int near, again;
} RetainStep;

typedef struct {
    int count;
    const RetainStep *step;
} RetainSchedule;

// What a schedule comes to.
typedef struct {
    int64_t bytes; // most that is live at once, transients included
    int64_t time;  // picoseconds: what runs, and what copies don't find room beside
    int64_t far;   // bytes that far memory holds at once, at most
} RetainCost;

// NULL where the schedule is allowed; else what is wrong with it, in a.
const char *retain_check(const RetainProblem *p, const RetainSchedule *s, Arena *a);
// Of a schedule that is allowed: live bytes step by step; copies run beside the tasks, one at a
// time each way, a fetch as early as room under the peak allows.
RetainCost retain_cost(const RetainProblem *p, const RetainSchedule *s, Arena *scratch);

typedef struct {
    RetainCost cost;
    RetainSchedule schedule;
} RetainPoint;

// The same, of falling bytes and rising time some points being known: where one of them is as good,
// the time is one that it is no less than, but not less than that point's, and far says nothing.
RetainCost retain_cost_beyond(const RetainProblem *p, const RetainSchedule *s,
                              const RetainPoint *point, int count, Arena *scratch);

typedef struct {
    int64_t far;   // bytes of far memory there may be; 0: nothing is moved
    int rungs;     // about how many points are wanted, 0: 24
    int64_t nodes; // limit of an integer program's search, 0: its default
} RetainOptions;

typedef struct {
    int count;
    // Rising time; falling bytes among those without cut values, and among those with such. The
    // first one runs every task once.
    const RetainPoint *point;
    int64_t bound; // no schedule needs fewer bytes
    int degraded;  // integer programs that failed: their first answers stand
} RetainFrontier;

// Every task once, nothing moved: the first point of every frontier.
RetainPoint retain_once(const RetainProblem *p, Arena *a);

// Bytes below which no schedule gets, with moves or without.
int64_t retain_least(const RetainProblem *p, bool far);

// Deterministic: work is counted. Everything lives in a.
RetainFrontier retain_frontier(const RetainProblem *p, const RetainOptions *options, Arena *a);

#endif
