// Comparing what two runs computed: the checksums that --digest printed.
#ifndef PLIM_TOOLS_DIGEST_DIFF_H
#define PLIM_TOOLS_DIGEST_DIFF_H

#include "runtime/plim.h"

#include <stdbool.h>
#include <stdio.h>

// Whether the file begins with a line of --digest.
bool digest_is(const char *path);
// Names the first operator that computed something else, before -> after. *different: there is one,
// or one run did more. False after a sentence to stderr, or after setting error's text.
bool digest_diff(const char *before, const char *after, FILE *out, bool *different,
                 PlimError *error);

#endif
