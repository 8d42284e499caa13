// Rates from what instructions were measured to take.
#ifndef PLIM_RUNTIME_MEASURE_FIT_H
#define PLIM_RUNTIME_MEASURE_FIT_H

#include "runtime/plan_rates.h"

// One instruction that ran.
typedef struct {
    const PlanInstr *instr;
    RateFamily family;
    uint64_t key;   // of its kernel; 0: it has none
    double seconds; // of one run
} MeasuredInstr;

// Into rates, which hold what is assumed of families that were not measured: curves of those that
// were, and the time of every kernel. Reorders the samples. *name: by kernel, for rates_write; all
// of it in pm. False when there is no memory.
bool measure_fit(MeasuredInstr *sample, uint32_t count, PlanMemory *pm, Rates *rates,
                 const char *const **name);

// The middle of some values, which it sorts; count at least 1.
double measure_median(double *value, int count);

#endif
