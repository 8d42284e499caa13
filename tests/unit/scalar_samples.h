// Scalar kernels for the tests of printers, and operands for them: the same ones on every machine.
#ifndef PLIM_TESTS_UNIT_SCALAR_SAMPLES_H
#define PLIM_TESTS_UNIT_SCALAR_SAMPLES_H

#include "ir/kernel.h"

// xorshift64*.
uint64_t sample_next(uint64_t *state);
// Values around 0, no larger than 2; small whole numbers, some negative; 0 or 1.
void sample_fill(DType t, void *at, int64_t count, uint64_t *state);
// Element i, widened.
double sample_element(DType t, const void *at, int64_t i);
// Row-major strides over dims.
void sample_dense(int rank, const int64_t *dim, int64_t *stride);

// Loads from, and stores to, a new dense operand.
KRef load_dense(KernelBuilder *kb, DType t);
void store_dense(KernelBuilder *kb, DType t, KRef value);

// An operation on dense operands of that type; NULL where it doesn't take it.
Kernel *sample_operation(Arena *a, KOp op, DType type, const int64_t *dim);
// Mean, variance, normalised; and the variance stored once a row.
Kernel *sample_layer_norm(Arena *a, const int64_t *dim, DType t);
Kernel *sample_softmax(Arena *a, const int64_t *dim, DType t);
// A chain of operations that keep values small, with up to two reductions on the way, of one of the
// column counts.
Kernel *sample_random(Arena *a, const int64_t *column_counts, int count, uint64_t *state);

#endif
