// A thread that prepares the next step's data while the current step runs.
#ifndef PLIM_RUNTIME_LOADER_H
#define PLIM_RUNTIME_LOADER_H

#include "runtime/data_inputs.h"

typedef struct PlimLoader PlimLoader;

// Takes memory for one prepared step (inputs_bytes) and starts the thread; nothing is allocated
// afterwards. Without data there is no thread, and taking does nothing. inputs outlive *out.
PlimStatus loader_new(const DataInputs *inputs, PlimLoader **out, PlimError *error);
// Ends the thread, after the step it may be preparing. NULL is allowed.
void loader_release(PlimLoader *l);

// Begins preparing a step, after the one begun before has been taken.
void loader_begin(PlimLoader *l, uint64_t step);
// Waits for the step begun last and copies it to where the entry reads it. A failure to prepare it
// is told here.
PlimStatus loader_take(PlimLoader *l, PlimRun *run, PlimError *error);

// When the thread worked on the step taken last, in seconds of clock_seconds; 0 without a thread.
void loader_times(const PlimLoader *l, double *begins, double *ends);

#endif
