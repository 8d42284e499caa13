// The C header of a library that plimc writes.
#ifndef PLIM_CODEGEN_LIBRARY_HEADER_H
#define PLIM_CODEGEN_LIBRARY_HEADER_H

#include "ir/arena.h"
#include "runtime/plan.h"

// Its text: runtime/plim.h, the arena's size, the functions of runtime/embed.h as NAME_open, ...,
// and an inline function for each entry. name is a C identifier. In C99 and C++.
const char *library_header(Arena *a, const Plan *p, const char *name);

#endif
