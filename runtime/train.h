// The loop above the step: data in, steps, reports out.
#ifndef PLIM_RUNTIME_TRAIN_H
#define PLIM_RUNTIME_TRAIN_H

#include "runtime/session.h"

enum { TRAIN_LIST_MAX = 64 };

typedef struct {
    const char *data[TRAIN_LIST_MAX]; // FILE or LOADER=FILE
    int data_count;
    const char *set[TRAIN_LIST_MAX]; // name=value
    int set_count;
    const char *weights, *save, *log; // or NULL
    int64_t steps, seed, save_every;  // steps 0: train 100; eval the whole file once
    bool quiet;
} TrainOptions;

// Runs the entry "train": progress to stderr, one JSON line a step to log, weights to save. A file
// that was written stays when a later step fails.
PlimStatus train_run(PlimSession *s, const TrainOptions *o, PlimError *error);
// Runs the entry "eval" and prints the mean of its first result over the steps to stdout.
PlimStatus eval_run(PlimSession *s, const TrainOptions *o, PlimError *error);

#endif
