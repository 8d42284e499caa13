// A plan's layout problem, with its answer, in MiniMalloc's CSV (docs/packing-csv.md).
#ifndef PLIM_TOOLS_PLAN_CSV_H
#define PLIM_TOOLS_PLAN_CSV_H

#include "runtime/plan.h"

// The buffers of the device's memory, one a row, in the plan's order; those without bytes are left
// out. Entries, which never run together, follow each other in time; what is persistent lives
// through all of them.
void plan_csv_print(const Plan *p, FILE *out);

#endif
