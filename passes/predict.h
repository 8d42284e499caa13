// When each instruction of a step would run, and what it would wait for.
#ifndef PLIM_PASSES_PREDICT_H
#define PLIM_PASSES_PREDICT_H

#include "passes/cost.h"
#include "runtime/plan_uses.h"

typedef struct {
    uint64_t begin, end; // picoseconds from the beginning of the call of its segment
    Limit limit;         // LIMIT_START where starting it takes longer than doing it
} PredictedStep;

typedef struct {
    PredictedStep *step;         // by position of the entry
    uint64_t *call;              // by segment of the plan: picoseconds of one call
    uint64_t total;              // picoseconds of a whole step: all calls
    uint64_t limit[LIMIT_COUNT]; // picoseconds of all instructions, by what they are made of
} Prediction;

// Streams run their instructions in order and wait for events; a call begins when the one before
// has ended on all streams. Copies out to far memory share one engine, copies in another, whatever
// their streams. What runs at the same time slows each other as the rates say. Everything lies in
// pm; false when there is no memory.
bool predict_entry(const PlanUses *u, uint32_t entry, const Rates *rates, PlanMemory *pm,
                   Prediction *out);

// The times that the plan itself has, where it has any; what they are made of is by rates.
bool predict_planned(const PlanUses *u, uint32_t entry, const Rates *rates, PlanMemory *pm,
                     Prediction *out);

#endif
