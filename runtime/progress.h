// What a run tells while it goes: one rewritten line on a terminal, plain lines elsewhere, JSON
// lines in a log.
#ifndef PLIM_RUNTIME_PROGRESS_H
#define PLIM_RUNTIME_PROGRESS_H

#include "runtime/plim.h"

#include <stdbool.h>

typedef struct PlimProgress PlimProgress;

typedef struct {
    uint64_t step, steps; // this one, counted from 1, and all
    double loss;
    double step_ms, tokens_per_s;
    uint64_t plan_peak_bytes, arena_peak_bytes;
} StepReport;

// log is the path of the JSON lines or NULL. PLIM_IO where it can't be opened.
PlimStatus progress_new(const char *log, bool quiet, PlimProgress **out, PlimError *error);
// Ends the line on the terminal and closes the log; PLIM_IO where the log could not be written
// whole.
PlimStatus progress_close(PlimProgress *p, PlimError *error);
// Tells of one step: to stderr when it is time to, to the log always.
void progress_step(PlimProgress *p, const StepReport *r);

double clock_seconds(void);         // monotonic
uint64_t resident_bytes(void);      // of this process, now; 0 where the system does not say
uint64_t resident_peak_bytes(void); // since it began

#endif
