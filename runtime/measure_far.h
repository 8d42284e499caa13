// Far memory of a CPU, measured: what copies take alone, and copies without end for what runs
// beside them.
#ifndef PLIM_RUNTIME_MEASURE_FAR_H
#define PLIM_RUNTIME_MEASURE_FAR_H

#include "runtime/plan_rates.h"

typedef struct MeasureFar MeasureFar;

// Copies of one size that ran to their end.
typedef struct {
    double seconds; // of all of them
    uint32_t count;
} FarCopies;

// Takes a file in the folder, as far_memory_new says, and times copies each way, alone and both
// ways at once. PLIM_IO, PLIM_NO_MEMORY or PLIM_MACHINE with a sentence.
PlimStatus measure_far_new(const char *folder, MeasureFar **out, PlimError *error);
void measure_far_release(MeasureFar *f); // NULL is allowed

// What was timed: the curves of RATE_OUT and RATE_IN, and how much they slow each other.
void measure_far_rates(const MeasureFar *f, Rates *r);

// From now on copies go one way, one after another, on a thread of their own.
PlimStatus measure_far_begin(MeasureFar *f, RateFamily direction, PlimError *error);
// No more from now on: those that had begun and ended by now. Returns when none is under way.
FarCopies measure_far_end(MeasureFar *f);
// How many times as long these took as such copies alone.
double measure_far_slowed(const MeasureFar *f, RateFamily direction, const FarCopies *copies);

#endif
