// Packing: what lives for intervals of time gets offsets, so that those that meet in time don't
// meet in memory, in as little memory as can be found.
#ifndef PLIM_PASSES_MEMORY_PACK_H
#define PLIM_PASSES_MEMORY_PACK_H

#include "ir/arena.h"

#include <stdbool.h>
#include <stdint.h>

// Times from first to last, both inclusive.
typedef struct {
    uint32_t first, last;
} PackSpan;

typedef struct {
    uint64_t size;        // bytes; 0: takes no room, lies at 0
    uint32_t first, last; // both inclusive; last < UINT32_MAX
    uint64_t alignment;   // of the offset; 0: any. Any number, not only powers of two
    bool fixed;           // the offset is given, and stays
    uint64_t offset;      // the answer
    uint32_t gap_count;   // times inside first .. last where others may have its bytes:
    const PackSpan *gap;  // in order, apart from each other, none of them touching first or last
} PackItem;

// Zero is the default of each.
typedef struct {
    int64_t work; // elementary steps at most (about a nanosecond each); 0: PACK_WORK, and half the
                  // square of the count
    uint64_t
        capacity; // enough: the search ends once the height is no larger; 0: the lowest is wanted
} PackOptions;
#define PACK_WORK 625000000LL

// One way of packing that was tried, for remarks.
typedef struct {
    const char *name;
    uint64_t height;
} PackTry;
enum { PACK_TRIES_MAX = 24 };

typedef struct {
    uint64_t height; // the largest offset + size
    uint64_t load;   // the largest sum of sizes at any time
    uint32_t peak;   // a time where the load is reached
    uint64_t bound;  // proved: no packing is lower (load <= bound <= height)
    bool optimal;    // height == bound
    const char *how; // the way that won
    int64_t work;    // steps spent
    int try_count;
    PackTry tried[PACK_TRIES_MAX];
} PackAnswer;

// Sets every offset that isn't fixed. Fixed items must not collide with each other. The same items
// and options give the same answer on every machine. NULL options: all zero. The names in the
// answer are constants.
PackAnswer pack_solve(PackItem *item, int count, const PackOptions *options, Arena *scratch);

// The load alone; *at gets a time where it is reached.
uint64_t pack_load(const PackItem *item, int count, Arena *scratch, uint32_t *at);

#endif
