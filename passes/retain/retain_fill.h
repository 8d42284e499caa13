// Sets of values to move that keep the copies busy.
#ifndef PLIM_PASSES_RETAIN_RETAIN_FILL_H
#define PLIM_PASSES_RETAIN_RETAIN_FILL_H

#include "passes/retain/retain_write.h"

enum { RETAIN_FILLS_MAX = 256 };

// Of the values that the fates keep or move other ones to move: one choice for each of some times
// at which the copies out are over, the last no later than the forward is. Returns how many, into
// out[RETAIN_FILLS_MAX], by value; all in a.
int retain_fill(const RetainIndex *x, const RetainFate *fate, RetainFate **out, Arena *a);

#endif
