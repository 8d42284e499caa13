// What this machine takes for this program: the measuring behind `tune`.
#ifndef PLIM_RUNTIME_MEASURE_H
#define PLIM_RUNTIME_MEASURE_H

#include "runtime/session.h"

// "2 threads of Intel(R) Xeon(R) ...": what rates are of, and predictions are for.
enum { MEASURE_MACHINE_MAX = 96 };
void measure_machine(const PlimSession *s, char out[MEASURE_MACHINE_MAX]);

typedef struct {
    int steps;              // of each entry alone that count at most, at least 1
    bool may_end;           // long steps end when they agree
    const char *far_folder; // for far memory; NULL: where runs have it
    bool quiet;
} MeasureOptions;

// Runs every entry but the initialising one on made-up data, and writes rates (plan_rates.h) of
// what its instructions took. States are lost.
PlimStatus measure_rates(PlimSession *s, const MeasureOptions *o, FILE *out, PlimError *error);

#endif
