// First answers: what saves most bytes a second is given up first.
#ifndef PLIM_PASSES_RETAIN_RETAIN_GREEDY_H
#define PLIM_PASSES_RETAIN_RETAIN_GREEDY_H

#include "passes/retain/retain_front.h"
#include "passes/retain/retain_index.h"

// Adds schedules of rising time to the front, the first of which runs every task once.
void retain_greedy(const RetainIndex *x, int rungs, RetainFront *front);
// Adds every choice of keeping, making again or moving each value, where there are few.
void retain_try_all(const RetainIndex *x, RetainFront *front);

#endif
