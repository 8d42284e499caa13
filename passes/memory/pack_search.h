// Exact packing: is there a packing of a given height?
#ifndef PLIM_PASSES_MEMORY_PACK_SEARCH_H
#define PLIM_PASSES_MEMORY_PACK_SEARCH_H

#include "passes/memory/pack_problem.h"

typedef enum {
    SEARCH_FOUND,
    SEARCH_NONE, // proved: there is none
    SEARCH_OUT   // work ran out
} SearchResult;

// In which order places are filled; each has another luck. Any number: they repeat.
enum { SEARCH_RULES = 5 };

typedef struct PackSearch PackSearch;

// What a search keeps from one try to the next: memory, dead ends, and where it got stuck.
PackSearch *pack_search_create(const PackProblem *p, Arena *a);
// Searches for offsets (grid steps, by part) so that no part reaches above height. Stops after
// about that many steps of work. offset is written where it is SEARCH_FOUND.
SearchResult pack_search_try(PackSearch *s, uint64_t height, int rule, int64_t work,
                             uint64_t *offset);
// Steps spent by all tries so far.
int64_t pack_search_work(const PackSearch *s);

#endif
