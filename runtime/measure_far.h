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

// Which ways copies go.
typedef enum { FAR_OUT = 1, FAR_IN = 2, FAR_BOTH = FAR_OUT | FAR_IN } FarWays;

// Takes a file in the folder, as far_memory_new says, and measures a first round. PLIM_IO,
// PLIM_NO_MEMORY or PLIM_MACHINE with a sentence that says what failed, and why.
PlimStatus measure_far_new(const char *folder, MeasureFar **out, PlimError *error);
void measure_far_release(MeasureFar *f); // NULL is allowed

// Times copies each way once more, alone and both ways at once: some 160 MiB in all. The
// more rounds, and the further apart, the less a disk tells that has another speed every second.
// Errors as above.
PlimStatus measure_far_round(MeasureFar *f, PlimError *error);
// Medians of all rounds: the curves of RATE_OUT and RATE_IN, and how much they slow each other.
void measure_far_rates(const MeasureFar *f, Rates *r);

// From now on copies go these ways, one after another, on a thread for each.
PlimStatus measure_far_begin(MeasureFar *f, FarWays ways, PlimError *error);
// No more from now on: out has those that had begun and ended by now, out and in. Returns when none
// is under way; with PLIM_IO and a sentence where one failed.
PlimStatus measure_far_end(MeasureFar *f, FarCopies out[2], PlimError *error);
// How many times as long these took as such copies alone.
double measure_far_slowed(const MeasureFar *f, RateFamily direction, const FarCopies *copies);

#endif
