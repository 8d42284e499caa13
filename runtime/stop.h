// Ending on request: SIGTERM and SIGINT become a question that a loop asks between two steps.
#ifndef PLIM_RUNTIME_STOP_H
#define PLIM_RUNTIME_STOP_H

#include "runtime/plim.h"

typedef struct PlimStop PlimStop;

// From now on the first of these signals is only noted; the second ends the process at once.
// Before any other thread starts: threads inherit that the signals are not theirs.
PlimStatus stop_new(PlimStop **out, PlimError *error);
// The signals do what they did before. NULL is allowed.
void stop_release(PlimStop *s);
// The signal that came, 0 where none did. NULL is allowed.
int stop_signal(const PlimStop *s);

#endif
