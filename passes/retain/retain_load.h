// What a schedule comes to before its copies are timed: at a glance.
#ifndef PLIM_PASSES_RETAIN_RETAIN_LOAD_H
#define PLIM_PASSES_RETAIN_RETAIN_LOAD_H

#include "passes/retain/retain.h"

typedef struct {
    int64_t bytes;   // most that is live at once, transients included
    int64_t tasks;   // picoseconds of all that is no copy
    int64_t out, in; // of the copies each way
} RetainLoad;

// Of a schedule that is allowed. Whatever its copies find to do beside, it takes no less than any
// of the three times.
RetainLoad retain_load(const RetainProblem *p, const RetainSchedule *s, Arena *scratch);

#endif
