// The loop above the step: data in, steps, reports out.
#ifndef PLIM_RUNTIME_TRAIN_H
#define PLIM_RUNTIME_TRAIN_H

#include "runtime/options.h"
#include "runtime/session.h"

// Runs the entry "train": progress to stderr, one JSON line a step to log, weights to save. A file
// that was written stays when a later step fails.
PlimStatus train_run(PlimSession *s, const PlimOptions *o, PlimError *error);
// Runs the entry "eval" and prints the mean of its first result over the steps to stdout.
PlimStatus eval_run(PlimSession *s, const PlimOptions *o, PlimError *error);

#endif
