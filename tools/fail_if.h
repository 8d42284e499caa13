// Conditions on what changed, for --fail-if: "peak>+1%,kernels>+0,time>20ms".
#ifndef PLIM_TOOLS_FAIL_IF_H
#define PLIM_TOOLS_FAIL_IF_H

#include "runtime/plim.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef enum { FIGURE_COUNT, FIGURE_BYTES, FIGURE_SECONDS } FigureUnit;

// A figure of both sides.
typedef struct {
    const char *name;
    FigureUnit unit;
    double before, after;
} Figure;

// Evaluates each condition, joined by commas: NAME>X or NAME<X, with X a change where it has a sign
// (+1%, -64MiB, +3) and what must not be crossed where it has none (80GiB, 20ms, 100); or the word
// different. *held: one of them holds; each that does is told on out, which may be NULL. False
// after setting the error: a condition that can't be read, or a figure there is none of.
bool fail_if_check(const char *conditions, const Figure *figure, uint32_t count, bool different,
                   bool *held, FILE *out, PlimError *error);

#endif
