// When each instruction of a step waited, ran and ended, and what each worker did meanwhile.
#ifndef PLIM_RUNTIME_TIMELINE_H
#define PLIM_RUNTIME_TIMELINE_H

#include "runtime/program.h"

// One worker's part in one instruction; ends is 0 where it had none. busy: of the time between,
// what it spent on tiles.
typedef struct {
    double begins, ends, busy;
} WorkerTimes;

typedef struct {
    Program program;
    int workers;
    RunTimes *instr;      // by number in the program, of the step that just ended
    WorkerTimes *worker;  // by number x workers
    RunObserver observer; // to be told of the run
} Timeline;

// Watches one entry. NULL when there is no memory.
Timeline *timeline_new(const Plan *plan, const PlanEntry *entry, int workers);
void timeline_release(Timeline *t); // NULL is allowed
// Forgets the last step; to be called before the next one.
void timeline_clear(Timeline *t);

#endif
