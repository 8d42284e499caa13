// An integer program as text in CPLEX LP format, which most solvers read.
#ifndef PLIM_PASSES_MIP_MIP_LP_H
#define PLIM_PASSES_MIP_MIP_LP_H

#include "ir/diag.h"
#include "passes/mip/mip.h"

// The same program gives the same bytes.
void mip_lp_print(const Mip *p, FILE *out);
// Writes DIR/NAME.lp, making the folder where there is none; a file of that name is replaced.
// False after a diagnostic.
bool mip_lp_write(const Mip *p, const char *dir, Diag *d);

#endif
