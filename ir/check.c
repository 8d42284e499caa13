// The end of the line for our own mistakes: one sentence, exit 70. Handlers of atexit run, so that
// a half-written output is removed. It keeps no state and never returns.
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
    exit(70);
}
