// The log: one line of JSON a step.
#ifndef PLIM_RUNTIME_STEP_LOG_H
#define PLIM_RUNTIME_STEP_LOG_H

#include "runtime/progress.h"

typedef struct StepLog StepLog;

// Begins a log after the given number of steps. 0: whatever the file held is gone. Else the run
// goes on with an earlier one: the file keeps its lines of the steps before, those after them go.
// PLIM_IO where it can't be opened.
PlimStatus step_log_open(const char *path, uint64_t after, StepLog **out, PlimError *error);
// Appends r's line. Numbers that JSON can't say (infinity, NaN) are null.
void step_log_write(StepLog *log, const StepReport *r);
// PLIM_IO where some line could not be written. NULL is allowed.
PlimStatus step_log_close(StepLog *log, PlimError *error);

#endif
