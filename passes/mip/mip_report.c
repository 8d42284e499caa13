// A plan is degraded where a solver died, hung or lied: what stands is right, but a heuristic's,
// and another run may do better. So it is not what the same input gives elsewhere, and must be
// told.
#include "passes/mip/mip_report.h"

enum { P_DEGRADED = 806 };

bool mip_report(PassCtx *cx, const char *subject, const char *degraded) {
    cx->degraded++;
    if (cx->options->strict) {
        diag_error(cx->diag, (Loc){0}, P_DEGRADED, "%s is degraded: %s", subject, degraded);
        diag_help(cx->diag, "without --strict the best plan known without it is taken");
        return false;
    }
    diag_warning(cx->diag, (Loc){0}, P_DEGRADED, "%s is degraded: %s", subject, degraded);
    return true;
}
