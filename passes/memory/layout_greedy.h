// Packing: intervals of time with sizes get offsets, so that those that meet in time don't meet in
// memory.
#ifndef PLIM_PASSES_MEMORY_LAYOUT_GREEDY_H
#define PLIM_PASSES_MEMORY_LAYOUT_GREEDY_H

#include "ir/arena.h"

#include <stdint.h>

// Sizes are multiples of the alignment, so all offsets are aligned too.
typedef struct {
    uint64_t size;
    uint32_t first, last; // both inclusive
    uint64_t offset;      // the answer
} PackItem;

// The largest sum of sizes at any time: no packing is lower. *at gets a time where it is reached.
uint64_t pack_load(const PackItem *item, int count, Arena *scratch, uint32_t *at);
// Sets every offset to the best of several greedy packings; returns the height. The name of the
// order that won is put in *order. The same items give the same answer.
uint64_t pack_greedy(PackItem *item, int count, Arena *scratch, const char **order);

#endif
