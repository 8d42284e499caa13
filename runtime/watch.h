// What is watched while an entry runs: --digest, --check-finite, --trace and --profile.
#ifndef PLIM_RUNTIME_WATCH_H
#define PLIM_RUNTIME_WATCH_H

#include "runtime/options.h"
#include "runtime/trace.h"

typedef struct PlimWatch PlimWatch;

// What the options ask to be watched of the entry; *out is NULL where that is nothing. Until it is
// closed the session runs nothing unwatched. PLIM_IO where the trace's file can't be opened.
PlimStatus watch_open(PlimSession *s, const PlimOptions *o, const PlanEntry *entry, PlimWatch **out,
                      PlimError *error);

// A step's times, in seconds of clock_seconds. The loader prepared its data meanwhile or before;
// the step asked for them at begins and had them at data.
typedef struct {
    double loader_begins, loader_ends;
    double begins, data, ends;
} StepTimes;

// Before and after each step, counted from 1. PLIM_IO where what was watched can't be written.
// Nothing where w is NULL.
void watch_begin(PlimWatch *w, int64_t step);
PlimStatus watch_end(PlimWatch *w, const StepTimes *times, PlimError *error);
// Ends the trace and prints the profile to stdout. NULL is allowed.
PlimStatus watch_close(PlimWatch *w, PlimError *error);

#endif
