// Evaluation: the mean of an entry's first result over data that are not trained on.
#ifndef PLIM_RUNTIME_EVAL_H
#define PLIM_RUNTIME_EVAL_H

#include "runtime/loop.h"

// The data the entry "eval" takes: those held out by --holdout and --seed, else all, in their
// order.
DataUse eval_use(const PlimOptions *o);
// Steps of one pass over the open loop's data, at least one.
int64_t eval_steps(const Loop *l);
// Runs that many steps from the first; *mean is their mean loss.
PlimStatus eval_mean(Loop *l, int64_t steps, double *mean, PlimError *error);

// The command: runs the entry "eval" and prints the mean to stdout.
PlimStatus eval_run(PlimSession *s, const PlimOptions *o, PlimError *error);

#endif
