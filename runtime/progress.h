// What a run tells people while it goes: one rewritten line on a terminal, plain lines elsewhere.
#ifndef PLIM_RUNTIME_PROGRESS_H
#define PLIM_RUNTIME_PROGRESS_H

#include "runtime/plim.h"

#include <stdbool.h>

typedef struct PlimProgress PlimProgress;

typedef struct {
    uint64_t step, steps; // this one, counted from 1, and all
    double loss;
    bool evaluated;   // held-out data were evaluated after the step
    double eval_loss; // then
    double step_ms, tokens_per_s;
    double data_ms;      // of step_ms, until the data were there
    double predicted_ms; // what the plan says of step_ms; 0: nothing
    double epoch;        // passes over the data, this step counted
    bool has_rate;
    double rate; // the knob lr, where the entry has it
    uint64_t plan_peak_bytes, arena_peak_bytes, far_bytes;
} StepReport;

// quiet: nothing is told. NULL when there is no memory.
PlimProgress *progress_new(bool quiet);
// Ends the line on the terminal. NULL is allowed.
void progress_close(PlimProgress *p);
// Tells of one step to stderr, when it is time to.
void progress_step(PlimProgress *p, const StepReport *r);

// A line to stderr between those of steps, unless quiet.
void progress_note(PlimProgress *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

double clock_seconds(void);         // monotonic
uint64_t resident_bytes(void);      // of this process, now; 0 where the system does not say
uint64_t resident_peak_bytes(void); // since it began

#endif
