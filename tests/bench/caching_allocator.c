// PyTorch's caching allocator as its users meet it: one stream, one device, default options, memory
// enough.
//
// Requests are rounded up to 512 bytes. Up to 1 MiB they come from the small pool, whose segments
// have 2 MiB; others from the large pool, whose segments have 20 MiB for requests below 10 MiB and
// the request's size in whole 2 MiB above. Of a pool's free blocks the smallest that fits is taken,
// of equals the one that lies lowest; the rest of it becomes a free block of its own where it has
// at least 512 bytes (small) or more than 1 MiB (large). A block given back joins its free
// neighbours of the same segment. Segments go back to the device only when it is full, which never
// happens here, so what counts is how much was reserved at most. Written after the published
// description and constants (c10/cuda/CUDACachingAllocator, c10/core/AllocatorConfig.h of PyTorch
// 2.x). Not modelled: other streams, roundup_power2_divisions, max_split_size, expandable segments.
// Cost: a request scans its pool's free blocks.
#include "tests/bench/caching_allocator.h"

#include "ir/check.h"

enum { ROUND = 512, SMALL_SEGMENT = 2 << 20, MEDIUM_SEGMENT = 20 << 20, LARGE_ROUND = 2 << 20 };
enum { SMALL_MAX = 1 << 20, MEDIUM_BELOW = 10 << 20 };
enum { POOL_SMALL, POOL_LARGE, POOL_COUNT };

#define NONE UINT32_MAX

typedef struct {
    uint64_t address, size;
    uint32_t before, after; // neighbours in the segment, or NONE
    uint32_t at_free;       // index in its pool's list, or NONE: handed out
    int pool;
} Block;

typedef struct {
    uint32_t *block;
    uint32_t count, capacity;
} FreeList;

struct CachingAllocator {
    Arena *a;
    Block *block;
    uint32_t count, capacity;
    uint64_t end; // address of the next segment
    FreeList free[POOL_COUNT];
    CachingStats stats;
};

CachingAllocator *caching_create(Arena *a) {
    CachingAllocator *ca = arena_new(a, CachingAllocator);
    ca->a = a;
    return ca;
}

CachingStats caching_stats(const CachingAllocator *ca) {
    return ca->stats;
}

uint64_t caching_address(const CachingAllocator *ca, uint32_t block) {
    return ca->block[block].address;
}

static uint64_t round_up(uint64_t bytes, uint64_t unit) {
    return (bytes + unit - 1) / unit * unit;
}

static uint32_t block_add(CachingAllocator *ca, Block b) {
    if (ca->count == ca->capacity) {
        const uint32_t capacity = ca->capacity ? 2 * ca->capacity : 256;
        ca->block = arena_grow(ca->a, ca->block, ca->count, capacity, sizeof *ca->block);
        ca->capacity = capacity;
    }
    ca->block[ca->count] = b;
    return ca->count++;
}

static void free_list_add(CachingAllocator *ca, uint32_t block) {
    FreeList *l = &ca->free[ca->block[block].pool];
    if (l->count == l->capacity) {
        const uint32_t capacity = l->capacity ? 2 * l->capacity : 256;
        l->block = arena_grow(ca->a, l->block, l->count, capacity, sizeof *l->block);
        l->capacity = capacity;
    }
    ca->block[block].at_free = l->count;
    l->block[l->count++] = block;
}

// The last one takes its place: the list has no order.
static void free_list_remove(CachingAllocator *ca, uint32_t block) {
    FreeList *l = &ca->free[ca->block[block].pool];
    const uint32_t at = ca->block[block].at_free, moved = l->block[--l->count];
    l->block[at] = moved;
    ca->block[moved].at_free = at;
    ca->block[block].at_free = NONE;
}

// The smallest free block of the pool that has so many bytes; the lowest of equals. Or NONE.
static uint32_t find_best(const CachingAllocator *ca, int pool, uint64_t size) {
    const FreeList *l = &ca->free[pool];
    uint32_t best = NONE;
    for (uint32_t i = 0; i < l->count; i++) {
        const Block *b = &ca->block[l->block[i]];
        const Block *least = best == NONE ? NULL : &ca->block[best];
        if (b->size >= size && (!least || b->size < least->size ||
                                (b->size == least->size && b->address < least->address)))
            best = l->block[i];
    }
    return best;
}

static uint32_t segment_add(CachingAllocator *ca, int pool, uint64_t size) {
    const uint64_t bytes = size <= SMALL_MAX     ? (uint64_t)SMALL_SEGMENT
                           : size < MEDIUM_BELOW ? (uint64_t)MEDIUM_SEGMENT
                                                 : round_up(size, LARGE_ROUND);
    const uint32_t block = block_add(ca, (Block){.address = ca->end,
                                                 .size = bytes,
                                                 .before = NONE,
                                                 .after = NONE,
                                                 .at_free = NONE,
                                                 .pool = pool});
    ca->end += bytes;
    ca->stats.reserved += bytes;
    if (ca->stats.reserved > ca->stats.reserved_peak)
        ca->stats.reserved_peak = ca->stats.reserved;
    return block;
}

// What is left above the first `size` bytes becomes a free block.
static void split(CachingAllocator *ca, uint32_t block, uint64_t size) {
    Block *b = &ca->block[block];
    const uint64_t left = b->size - size;
    if (b->pool == POOL_SMALL ? left < ROUND : left <= SMALL_MAX)
        return;
    const Block rest = {.address = b->address + size,
                        .size = left,
                        .before = block,
                        .after = b->after,
                        .at_free = NONE,
                        .pool = b->pool};
    const uint32_t number = block_add(ca, rest);
    b = &ca->block[block]; // The array may have moved.
    if (b->after != NONE)
        ca->block[b->after].before = number;
    b->after = number;
    b->size = size;
    free_list_add(ca, number);
}

uint32_t caching_alloc(CachingAllocator *ca, uint64_t bytes) {
    if (bytes == 0)
        return NONE;
    const uint64_t size = round_up(bytes, ROUND);
    const int pool = size <= SMALL_MAX ? POOL_SMALL : POOL_LARGE;
    uint32_t block = find_best(ca, pool, size);
    if (block == NONE)
        block = segment_add(ca, pool, size);
    else
        free_list_remove(ca, block);
    split(ca, block, size);
    ca->stats.allocated += ca->block[block].size;
    if (ca->stats.allocated > ca->stats.allocated_peak)
        ca->stats.allocated_peak = ca->stats.allocated;
    return block;
}

// Takes the upper of two free neighbours into the lower one.
static void join(CachingAllocator *ca, uint32_t lower, uint32_t upper) {
    Block *low = &ca->block[lower];
    const Block *high = &ca->block[upper];
    low->size += high->size;
    low->after = high->after;
    if (high->after != NONE)
        ca->block[high->after].before = lower;
}

void caching_free(CachingAllocator *ca, uint32_t block) {
    if (block == NONE)
        return;
    CHECK(ca->block[block].at_free == NONE);
    ca->stats.allocated -= ca->block[block].size;
    const uint32_t after = ca->block[block].after;
    if (after != NONE && ca->block[after].at_free != NONE) {
        free_list_remove(ca, after);
        join(ca, block, after);
    }
    const uint32_t before = ca->block[block].before;
    if (before != NONE && ca->block[before].at_free != NONE) {
        free_list_remove(ca, before);
        join(ca, before, block);
        block = before;
    }
    free_list_add(ca, block);
}
