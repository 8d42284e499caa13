// Training: the loop above the step, with its reports, evaluations and saves.
#ifndef PLIM_RUNTIME_TRAIN_H
#define PLIM_RUNTIME_TRAIN_H

#include "runtime/options.h"
#include "runtime/session.h"

// The command: runs the entry "train"; progress to stderr, one JSON line a step to log, weights to
// save. A file that was written stays when a later step fails.
PlimStatus train_run(PlimSession *s, const PlimOptions *o, PlimError *error);

#endif
