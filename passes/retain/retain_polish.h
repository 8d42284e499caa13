// Last changes to the best schedules found, one value at a time.
#ifndef PLIM_PASSES_RETAIN_RETAIN_POLISH_H
#define PLIM_PASSES_RETAIN_RETAIN_POLISH_H

#include "passes/retain/retain_front.h"
#include "passes/retain/retain_index.h"

// Adds what is found to the front. moves: values may be moved.
void retain_polish(const RetainIndex *x, bool moves, RetainFront *front);

#endif
