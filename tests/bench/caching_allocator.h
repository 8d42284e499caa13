// A model of PyTorch's caching allocator for CUDA: what a program that asks and gives back in some
// order makes it reserve.
#ifndef PLIM_TESTS_BENCH_CACHING_ALLOCATOR_H
#define PLIM_TESTS_BENCH_CACHING_ALLOCATOR_H

#include "ir/arena.h"

#include <stdint.h>

typedef struct CachingAllocator CachingAllocator;

// Bytes now and at most so far. Allocated: of blocks handed out. Reserved: of segments.
typedef struct {
    uint64_t allocated, allocated_peak, reserved, reserved_peak;
} CachingStats;

// Everything is in a.
CachingAllocator *caching_create(Arena *a);
// A block of at least so many bytes, by number; 0 bytes give no block: UINT32_MAX.
uint32_t caching_alloc(CachingAllocator *ca, uint64_t bytes);
// Gives a block back. UINT32_MAX is allowed.
void caching_free(CachingAllocator *ca, uint32_t block);
CachingStats caching_stats(const CachingAllocator *ca);
// Where the block lies; segments are numbered by address in the order of their making.
uint64_t caching_address(const CachingAllocator *ca, uint32_t block);

#endif
