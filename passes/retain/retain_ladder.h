// What there is to choose from: for every entry, in every variant of the module, a row of rungs.
//
// A variant is the module as it came or, with --far, with states in far memory. A rung is a point
// of one entry's frontier. Entries run one after another in the same memory behind the states, so
// each has a rung of its own: an arena is as large as the entry that needs most wants it, and the
// time of a variant is the sum of its entries'. Rungs depend on no budget. An entry's first one is
// its fastest, so its frontier needs solving only once that one has turned out not to do.
#ifndef PLIM_PASSES_RETAIN_RETAIN_LADDER_H
#define PLIM_PASSES_RETAIN_RETAIN_LADDER_H

#include "passes/far_states.h"
#include "passes/retain/retain_build.h"

typedef struct {
    bool tried;                  // all the way: bytes are what its arenas come to
    uint64_t bytes[SPACE_COUNT]; // final arenas by kind of space, at least
} RetainRung;

typedef struct {
    RetainGraph *graph;      // NULL where there is nothing to choose: one rung that takes no time
    RetainFrontier frontier; // its first point until it is solved
    const RetainFrontier *ahead; // solved before it was known to be needed; NULL: not
    bool solved;
    RetainRung *rung;  // by point
    int64_t offset;    // of the first rung's least load from what the solver says: once looked at
    uint64_t far_load; // of the first rung's far memory: once looked at
    int at;            // the fastest rung that may do; frontier.count: none does
} RetainEntry;

typedef struct {
    const Module *m;
    FarStatesOptions far; // how it came to be
    uint64_t bound;       // of its bytes: once looked at
    RetainEntry *entry;   // by entry of m; NULL until it is opened
} RetainVariant;

typedef struct {
    Arena *a;
    const Rates *rates;
    int variant_count; // 0 where there is no choice
    RetainVariant *variant;
    int made, kinds; // of the kinds of variants, in their order: those made so far; all
    int64_t *copied; // by kind: picoseconds of copies out once a step, at least; -1: unknown
    const MemoryKnown *known; // of trials that went all the way
} RetainLadder;

// Everything lives in cx->scratch and points into m. Under a budget only the module as it came is
// there at first, open if it may do: retain_ladder_grow adds others.
RetainLadder *retain_ladder(const Module *m, PassCtx *cx);
// Picoseconds that no variant that is not made yet takes less than; INT64_MAX: all are made.
int64_t retain_ladder_rest(const RetainLadder *l, const PassCtx *cx);
// Makes a few more and opens those that may do with the budget, if one may take no longer than so
// many picoseconds. False: none may.
bool retain_ladder_grow(RetainLadder *l, int64_t time, const PassCtx *cx);
// Opens those that are not open yet and may do with so many bytes, as far as is proved; 0: all that
// there can be.
void retain_ladder_open(RetainLadder *l, uint64_t limit, const PassCtx *cx);
// Solves the entry, whose first rung was tried; nothing where it is solved.
void retain_ladder_solve(RetainLadder *l, RetainEntry *e, PassCtx *cx);

// The same work, of which solving makes use, while the first rung is tried: in a, which the
// ladder's memory holds. Nothing where that rung's far memory matters.
void retain_ladder_solve_ahead(RetainEntry *e, const PassOptions *options, Arena *a);
// Whether the first rung, not tried yet, is most likely to need more than the budget, and one
// behind it may do.
bool retain_is_needed(const RetainVariant *v, const RetainEntry *e, const PassOptions *options);

// One rung.
typedef struct {
    int variant, entry, point;
} RetainSpot;

// Bytes of the device that the rung counts as needing at least, from the first rung of its row,
// which was tried.
uint64_t retain_floor(const RetainEntry *e, int point);
// What all rungs behind the first count as needing at least, known before they are.
uint64_t retain_floor_of_all(const RetainEntry *e, const PassOptions *options);

// Writes the rung's schedule into the entry's graph, or a copy of it. False: it was that of the
// graph.
bool retain_ladder_apply(const RetainEntry *e, int point, Graph *g, Arena *scratch);
// Changes the module to what the variant's entries have at their `at`. SAME where that is the
// module as it is.
PassResult retain_take(const RetainLadder *l, int variant, Module *m, PassCtx *cx);

#endif
