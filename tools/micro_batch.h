// How much of a batch to train on at once: --micro-batch auto.
#ifndef PLIM_TOOLS_MICRO_BATCH_H
#define PLIM_TOOLS_MICRO_BATCH_H

#include <stdbool.h>
#include <stdint.h>

// Compiles with micro-batches of this size. False where that fails or does not fit; *time gets the
// picoseconds of a step.
typedef bool MicroBatchTrial(void *user, int64_t size, uint64_t *time);

// Tries the divisors of the batch from large to small and returns the one with the least time, the
// larger of equals; 0 where none fits. Ends when two in a row that fit were slower than the best:
// smaller ones only add starts. At most 2 sqrt(batch) trials.
int64_t micro_batch_choose(int64_t batch, MicroBatchTrial *trial, void *user);

#endif
