// The end of the line for our own mistakes: one sentence, exit 70, at once. Nothing is tidied up on
// the way out: outputs are written whole and renamed, so there is nothing half-done to remove, and
// state that broke a CHECK is not to be walked again. It keeps no state and never returns.
#include "ir/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void check_fail(const char *file, int line, const char *text) {
    fflush(stdout);
    fprintf(stderr, "plimsoll: internal error: %s:%d: %s\n", file, line, text);
    const char *wants_abort = getenv("PLIM_ABORT");
    if (wants_abort && strcmp(wants_abort, "1") == 0)
        abort();
    _Exit(70);
}
