// The rungs between most memory and least time: what each is, and what it comes to in the end.
//
// A rung is a variant of the module (as it came; with --far, with states in far memory) and a point
// of its frontiers. Rungs stand in order of time and depend on no budget.
#ifndef PLIM_PASSES_RETAIN_RETAIN_LADDER_H
#define PLIM_PASSES_RETAIN_RETAIN_LADDER_H

#include "passes/far_states.h"
#include "passes/retain/retain_build.h"

typedef struct {
    const Module *m;
    FarStates far;               // how it came to be
    RetainGraph **graph;         // by entry: NULL where there is nothing to choose
    RetainFrontier *frontier;    // by entry that has a graph
    uint64_t fixed[SPACE_COUNT]; // bytes that entries without a choice take: once one is tried
    bool tried;
    int64_t offset; // of the final arena from what the solver says, of the first rung: once tried
} RetainVariant;

typedef struct {
    int variant;
    int point;    // of each entry's frontier; one with fewer has its last taken
    int64_t time; // picoseconds: of all entries that have a choice
} RetainRung;

typedef struct {
    const Rates *rates;
    int variant_count;
    RetainVariant *variant;
    int rung_count;
    RetainRung *rung; // rising time
} RetainLadder;

// Everything lives in cx->scratch and points into m. rung_count is 0 where there is no choice.
RetainLadder *retain_ladder(const Module *m, PassCtx *cx);

// The point of the entry's frontier that a rung means.
const RetainPoint *retain_rung_point(const RetainLadder *l, const RetainRung *r, int entry);

// A rung through the rest of the pipeline.
typedef struct {
    uint64_t bytes[SPACE_COUNT]; // final arenas, by kind of space
    uint64_t state;              // of the device's: persistent bytes
    Plan *plan;                  // of the entries tried; goes with memory
    PlanMemory *memory;
    Arena *arena;
} RetainTrial;

// False after diagnostics: then there is nothing to release.
bool retain_try(RetainLadder *l, const RetainRung *r, PassCtx *cx, RetainTrial *out);
void retain_trial_release(RetainTrial *t);

// Changes the module to what the rung says. SAME where that is the module as it is.
PassResult retain_take(const RetainLadder *l, const RetainRung *r, Module *m, PassCtx *cx);

#endif
