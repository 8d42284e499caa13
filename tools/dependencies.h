// plimc -MD: what a program was made from, as a rule that make and Ninja read.
#ifndef PLIM_TOOLS_DEPENDENCIES_H
#define PLIM_TOOLS_DEPENDENCIES_H

#include "frontend/frontend.h"
#include "tools/plimc_flags.h"

// Writes "out: the input, every file it used and its configuration" to the request's -MD file. True
// where there is none; false after a sentence.
bool dependencies_write(const PlimcRequest *r, const FrontendFiles *used, const char *out);

#endif
