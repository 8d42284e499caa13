// First fit: parts in a given order, each at the lowest offset where it meets none that came
// before.
//
// Placed parts are kept sorted by offset, as arrays of what is compared: first and last section. A
// new part is compared with blocks of them at once (plain loops that compilers turn into vector
// code), and only those that meet it in time are looked at one by one, from the bottom, until there
// is room. So a part costs a pass over what is placed at a fraction of a nanosecond each, plus what
// it meets: 20,000 parts take some tenths of a second. A tree of intervals finds the same parts,
// but not in the order of their offsets.
#include "passes/memory/pack_greedy.h"

#include <string.h>

enum { BLOCK = 64 };

struct PackGreedy {
    const PackProblem *p;
    int32_t *lo, *hi; // of the placed parts, by offset
    uint64_t *offset, *end;
    int32_t *part;
    int32_t count;
    int64_t work;
};

PackGreedy *pack_greedy_create(const PackProblem *p, Arena *a) {
    PackGreedy *g = arena_new(a, PackGreedy);
    g->p = p;
    // The last block is compared whole.
    const int32_t room = p->count + BLOCK;
    g->lo = arena_array(a, int32_t, room);
    g->hi = arena_array(a, int32_t, room);
    g->offset = arena_array(a, uint64_t, room);
    g->end = arena_array(a, uint64_t, room);
    g->part = arena_array(a, int32_t, room);
    return g;
}

// meets[k]: whether placed part begin + k lives while the part does, gaps aside. False where none
// does.
static bool compare_block(const PackGreedy *g, const PackPart *part, int32_t begin,
                          uint8_t meets[static BLOCK]) {
    const int32_t lo = part->lo, hi = part->hi;
    const int32_t *los = g->lo + begin, *his = g->hi + begin;
    uint8_t any = 0;
    for (int32_t k = 0; k < BLOCK; k++) {
        meets[k] = (uint8_t)((los[k] < hi) & (his[k] > lo));
        any |= meets[k];
    }
    return any;
}

static uint64_t align_up(uint64_t at, uint64_t alignment) {
    return alignment > 1 ? (at + alignment - 1) / alignment * alignment : at;
}

// The lowest offset that is free so far. Nothing below the scan meets [at, at + size).
static uint64_t find_offset(PackGreedy *g, const PackPart *part) {
    uint64_t at = 0;
    uint8_t meets[BLOCK];
    for (int32_t begin = 0; begin < g->count; begin += BLOCK) {
        g->work += BLOCK / 8;
        if (!compare_block(g, part, begin, meets))
            continue;
        const int32_t end = begin + BLOCK < g->count ? BLOCK : g->count - begin;
        g->work += BLOCK;
        for (int32_t k = 0; k < end; k++) {
            const int32_t q = begin + k;
            if (!meets[k] || g->end[q] <= at)
                continue;
            if (g->p->has_gaps && !pack_parts_meet(&g->p->part[g->part[q]], part))
                continue;
            // Fits below this one, and all others that meet it in time lie above.
            if (g->offset[q] >= at + part->size)
                return at;
            at = align_up(g->end[q], part->alignment);
        }
    }
    return at;
}

static void open_slot(void *array, size_t size, int32_t at, int32_t count) {
    char *slot = (char *)array + (size_t)at * size;
    memmove(slot + size, slot, (size_t)(count - at) * size);
}

// The place is found by bisection.
static void insert(PackGreedy *g, int32_t i, uint64_t at) {
    const PackPart *part = &g->p->part[i];
    int32_t low = 0, high = g->count;
    while (low < high) {
        const int32_t middle = (low + high) / 2;
        if (g->offset[middle] <= at)
            low = middle + 1;
        else
            high = middle;
    }
    open_slot(g->lo, sizeof *g->lo, low, g->count);
    open_slot(g->hi, sizeof *g->hi, low, g->count);
    open_slot(g->offset, sizeof *g->offset, low, g->count);
    open_slot(g->end, sizeof *g->end, low, g->count);
    open_slot(g->part, sizeof *g->part, low, g->count);
    g->work += (g->count - low) / 4;
    g->lo[low] = part->lo;
    g->hi[low] = part->hi;
    g->offset[low] = at;
    g->end[low] = at + part->size;
    g->part[low] = i;
    g->count++;
}

uint64_t pack_greedy_run(PackGreedy *g, const int32_t *order, uint64_t *offset) {
    const PackProblem *p = g->p;
    uint64_t height = 0;
    g->count = 0;
    for (int fixed = p->has_fixed ? 1 : 0; fixed >= 0; fixed--)
        for (int32_t k = 0; k < p->count; k++) {
            const int32_t i = order[k];
            const PackPart *part = &p->part[i];
            if (part->fixed != (fixed == 1))
                continue;
            const uint64_t at = part->fixed ? part->offset : find_offset(g, part);
            insert(g, i, at);
            offset[i] = at;
            height = at + part->size > height ? at + part->size : height;
        }
    return height;
}

int64_t pack_greedy_work(const PackGreedy *g) {
    return g->work;
}
