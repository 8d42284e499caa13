// Values in parts: schedules between those in which every value goes one way as a whole.
#ifndef PLIM_PASSES_RETAIN_RETAIN_SPLIT_H
#define PLIM_PASSES_RETAIN_RETAIN_SPLIT_H

#include "passes/retain/retain_front.h"
#include "passes/retain/retain_index.h"

// Adds to the front what becomes of its schedules where values are cut.
void retain_split(const RetainIndex *x, bool moves, RetainFront *front);

#endif
