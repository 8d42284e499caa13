// A check of a driver with a plain main.
#ifndef PLIM_TESTS_TSAN_MUST_H
#define PLIM_TESTS_TSAN_MUST_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

// Ends the program with status 1 where it does not hold. what: what went wrong.
static inline void must(bool holds, const char *what) {
    if (holds)
        return;
    fprintf(stderr, "%s\n", what);
    exit(1);
}

#endif
