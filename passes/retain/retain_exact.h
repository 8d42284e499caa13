// Small problems: the least time for every memory, proved.
#ifndef PLIM_PASSES_RETAIN_RETAIN_EXACT_H
#define PLIM_PASSES_RETAIN_RETAIN_EXACT_H

#include "passes/retain/retain_front.h"
#include "passes/retain/retain_index.h"

// Adds the best schedules without moves to the front, of falling bytes below `bytes`, no nearer
// together than apart. True where that is all of them: *least is then what every schedule needs at
// least. False where the problem is too large or counted work ran out.
bool retain_exact(const RetainIndex *x, int64_t bytes, int64_t apart, RetainFront *front,
                  int64_t *least);

#endif
