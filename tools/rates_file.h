// A file of measured rates, read for a compiler.
#ifndef PLIM_TOOLS_RATES_FILE_H
#define PLIM_TOOLS_RATES_FILE_H

#include "ir/diag.h"
#include "runtime/plan_rates.h"

typedef struct {
    const char *tool; // whose messages they are
    const char *path;
    const char *target; // what is compiled for, as in Plan.target
    uint32_t threads;   // most that the program may use
} RatesRequest;

// False after a diagnostic, or after a sentence where the file can't be read. Rates of another
// target, another CPU or more threads than the program may use are taken, with a warning. Kernels
// lie in pm.
bool rates_file_read(const RatesRequest *r, Arena *a, Diag *d, PlanMemory *pm, Rates *out);

#endif
