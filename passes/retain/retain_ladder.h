// The rungs between most memory and least time: what each is, and what it comes to in the end.
//
// A rung is a variant of the module (as it came; with --far, with states in far memory) and a point
// of its frontiers. Rungs stand in order of time and depend on no budget. A variant's first rung is
// its fastest, so its frontiers need solving only once that one has turned out not to do: until
// then the ladder is as it will be up to there.
#ifndef PLIM_PASSES_RETAIN_RETAIN_LADDER_H
#define PLIM_PASSES_RETAIN_RETAIN_LADDER_H

#include "passes/far_states.h"
#include "passes/retain/retain_build.h"

typedef struct {
    const Module *m;
    FarStates far;            // how it came to be
    RetainGraph **graph;      // by entry: NULL where there is nothing to choose
    RetainFrontier *frontier; // by entry that has a graph; its first point until it is solved
    bool solved;
    uint64_t fixed[SPACE_COUNT]; // bytes that entries without a choice take: once one is tried
    bool tried;
    int64_t offset; // of the final load from what the solver says, of the first rung: once tried
} RetainVariant;

typedef struct {
    int variant;
    int point;                   // of each entry's frontier; one with fewer has its last taken
    int64_t time;                // picoseconds: of all entries that have a choice
    bool tried;                  // all the way: its bytes are known
    uint64_t least[SPACE_COUNT]; // bytes it needs at least, as far as trials told
} RetainRung;

typedef struct {
    Arena *a;
    const Rates *rates;
    int variant_count;
    RetainVariant *variant;
    int rung_count;
    int rung_room;
    RetainRung *rung; // by rising time, variant, point
} RetainLadder;

// Everything lives in cx->scratch and points into m. rung_count is 0 where there is no choice.
RetainLadder *retain_ladder(const Module *m, PassCtx *cx);
// Solves the variant; its rungs but the first come behind that one. Nothing where it is solved.
void retain_ladder_solve(RetainLadder *l, int variant, PassCtx *cx);

// The point of the entry's frontier that a rung means.
const RetainPoint *retain_rung_point(const RetainLadder *l, const RetainRung *r, int entry);

// A rung through the rest of the pipeline.
typedef struct {
    uint64_t bytes[SPACE_COUNT]; // final arenas, by kind of space
    uint64_t load[SPACE_COUNT];  // no arena is smaller than its load
    bool whole;                  // else the load was above a limit, and bytes mean nothing
    uint64_t state;              // of the device's: persistent bytes
    Plan *plan;                  // of the entries tried; goes with memory
    PlanMemory *memory;
    Arena *arena;
} RetainTrial;

// Under limits packing goes no further than it takes to tell whether they are kept; without, it is
// the real thing. What is whole is known to fit or not to, and only what fits may be larger than it
// would be without limits.
typedef enum { RETAIN_LIMITS, RETAIN_NO_LIMITS } RetainTrialKind;

// False after diagnostics: then there is nothing to release.
bool retain_try(RetainLadder *l, const RetainRung *r, RetainTrialKind kind, PassCtx *cx,
                RetainTrial *out);
void retain_trial_release(RetainTrial *t);

// Changes the module to what the rung says. SAME where that is the module as it is.
PassResult retain_take(const RetainLadder *l, const RetainRung *r, Module *m, PassCtx *cx);

#endif
