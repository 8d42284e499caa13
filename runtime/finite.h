// --check-finite: the first result that is infinite or no number ends the run.
#ifndef PLIM_RUNTIME_FINITE_H
#define PLIM_RUNTIME_FINITE_H

#include "runtime/run.h"

// What the check needs to know; step is the current step's number and may change between runs.
typedef struct {
    const Plan *plan;
    int64_t step;
} FiniteCheck;

// An observer that checks every float result of every entry; the sentence names the operator, where
// it stands in the text, the step, and the value's index in its tensor. c outlives the observer.
RunObserver finite_observer(FiniteCheck *c);

#endif
