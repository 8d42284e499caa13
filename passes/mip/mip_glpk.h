// GLPK as a solver of integer programs, to be run in a child process (passes/mip/mip_child.h).
#ifndef PLIM_PASSES_MIP_MIP_GLPK_H
#define PLIM_PASSES_MIP_MIP_GLPK_H

#include "passes/mip/mip_child.h"

// Aborts where GLPK finds itself wrong or out of memory.
void mip_glpk_solve(const MipTask *task, MipReply *reply);

#endif
