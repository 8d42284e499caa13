// Telling the user that a solver failed.
#ifndef PLIM_PASSES_MIP_MIP_REPORT_H
#define PLIM_PASSES_MIP_MIP_REPORT_H

#include "passes/pass.h"

// For MipAnswer.degraded, not NULL: counts it in cx, so that the plan is marked, and warns. Under
// --strict an error, and false. subject: what the program was about, such as "the layout of train".
bool mip_report(PassCtx *cx, const char *subject, const char *degraded);

#endif
