// A portfolio of greedy packings.
//
// Each takes the items in some order and puts every one at the lowest offset where it meets no item
// placed before it. Which order wins differs from graph to graph (by size; by size times duration;
// by first use; by duration, so that what lives long lies at the bottom and the short-lived nest
// above it), so all are tried and the lowest kept; a height equal to the load can't be improved and
// ends the search. Placed items are kept sorted by offset and scanned from the bottom: at most n^2
// / 2 cheap comparisons an order, so beyond a stated number of items only the first orders run
// (work is counted, never timed).
#include "passes/memory/layout_greedy.h"

#include "ir/check.h"

#include <stdlib.h>
#include <string.h>

enum { ORDER_FIRST_USE, ORDER_PEAK, ORDER_SIZE_DURATION, ORDER_SIZE, ORDER_DURATION, ORDER_COUNT };
// Comparisons spent at most, over all orders (the first order always runs).
#define PACK_WORK_MAX 400000000LL

static const char *const order_name[ORDER_COUNT] = {"first use", "peak", "size x duration", "size",
                                                    "duration"};

// Live bytes at every time; *end gets the number of times.
static uint64_t *load_profile(const PackItem *item, int count, Arena *scratch, uint32_t *end) {
    *end = 0;
    for (int i = 0; i < count; i++)
        *end = item[i].last >= *end ? item[i].last + 1 : *end;
    uint64_t *live = arena_array(scratch, uint64_t, (size_t)*end + 2);
    for (int i = 0; i < count; i++) {
        live[item[i].first] += item[i].size;
        live[item[i].last + 1] -= item[i].size; // Wraps; the sums below don't
    }
    for (uint32_t t = 1; t < *end; t++)
        live[t] += live[t - 1];
    return live;
}

uint64_t pack_load(const PackItem *item, int count, Arena *scratch, uint32_t *at) {
    uint32_t end;
    const uint64_t *live = load_profile(item, count, scratch, &end);
    *at = 0;
    for (uint32_t t = 1; t < end; t++)
        if (live[t] > live[*at])
            *at = t;
    return end ? live[*at] : 0;
}

// The largest load each item lives through: maxima over windows of 2^k times, two of which cover
// any range.
static uint64_t *peaks_of(const PackItem *item, int count, Arena *scratch) {
    enum { LEVELS = 32 };
    uint32_t end;
    uint64_t *level[LEVELS] = {load_profile(item, count, scratch, &end)};
    int levels = 1;
    for (; (uint64_t)1 << levels <= end; levels++) {
        const uint32_t half = 1u << (levels - 1);
        level[levels] = arena_array(scratch, uint64_t, end);
        for (uint32_t t = 0; t + 2 * half <= end; t++) {
            const uint64_t *below = level[levels - 1];
            level[levels][t] = below[t] > below[t + half] ? below[t] : below[t + half];
        }
    }
    uint64_t *peak = arena_array(scratch, uint64_t, (size_t)count + 1);
    for (int i = 0; i < count; i++) {
        const uint32_t times = item[i].last - item[i].first + 1;
        const int k = 31 - __builtin_clz(times);
        const uint64_t x = level[k][item[i].first], y = level[k][item[i].last + 1 - (1u << k)];
        peak[i] = x > y ? x : y;
    }
    return peak;
}

// What is sorted: larger key first, then the larger item, then earlier first use, then the item's
// number.
typedef struct {
    uint64_t key, size;
    uint32_t first, index;
} PackKey;

static int compare_keys(const void *a, const void *b) {
    const PackKey *x = a, *y = b;
    if (x->key != y->key)
        return x->key > y->key ? -1 : 1;
    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static uint64_t key_of(const PackItem *item, uint64_t peak, int order) {
    const uint64_t duration = (uint64_t)(item->last - item->first) + 1;
    uint64_t product;
    switch (order) {
    case ORDER_FIRST_USE:
        // Keys sort from large to small: earlier is larger.
        return UINT32_MAX - item->first;
    case ORDER_PEAK:
        return peak;
    case ORDER_SIZE_DURATION:
        return __builtin_mul_overflow(item->size, duration, &product) ? UINT64_MAX : product;
    case ORDER_SIZE:
        return item->size;
    case ORDER_DURATION:
        return duration;
    default:
        UNREACHABLE();
    }
}

// Placed items by offset.
typedef struct {
    uint64_t offset, end;
    uint32_t first, last;
} Placed;

static uint64_t pack_in_order(const PackItem *item, const PackKey *key, int count, Placed *placed,
                              uint64_t *offset) {
    uint64_t height = 0;
    for (int i = 0; i < count; i++) {
        const PackItem *it = &item[key[i].index];
        // The lowest offset that is free so far; invariant: nothing below the scan meets [at, at +
        // size).
        uint64_t at = 0;
        for (int k = 0; k < i; k++) {
            const Placed *p = &placed[k];
            if (p->first > it->last || p->last < it->first)
                continue;
            // Fits below this one, and all others that meet it in time lie above.
            if (p->offset >= at + it->size)
                break;
            at = p->end > at ? p->end : at;
        }
        // Insert by offset: the place is found by bisection.
        int low = 0, high = i;
        while (low < high) {
            const int middle = (low + high) / 2;
            if (placed[middle].offset <= at)
                low = middle + 1;
            else
                high = middle;
        }
        memmove(&placed[low + 1], &placed[low], (size_t)(i - low) * sizeof *placed);
        placed[low] = (Placed){at, at + it->size, it->first, it->last};
        offset[key[i].index] = at;
        height = at + it->size > height ? at + it->size : height;
    }
    return height;
}

uint64_t pack_greedy(PackItem *item, int count, Arena *scratch, const char **order) {
    uint32_t at;
    const uint64_t load = pack_load(item, count, scratch, &at);
    const uint64_t *peak = peaks_of(item, count, scratch);
    PackKey *key = arena_array(scratch, PackKey, count + 1);
    Placed *placed = arena_array(scratch, Placed, count + 1);
    uint64_t *offset = arena_array(scratch, uint64_t, count + 1);
    uint64_t best = UINT64_MAX;
    const int64_t work = (int64_t)count * count / 2;
    *order = order_name[0];
    for (int o = 0; o < ORDER_COUNT; o++) {
        if (o > 0 && (best == load || work * (o + 1) > PACK_WORK_MAX))
            break;
        for (int i = 0; i < count; i++)
            key[i] =
                (PackKey){key_of(&item[i], peak[i], o), item[i].size, item[i].first, (uint32_t)i};
        qsort(key, (size_t)count, sizeof *key, compare_keys);
        const uint64_t height = pack_in_order(item, key, count, placed, offset);
        if (height >= best)
            continue;
        best = height;
        *order = order_name[o];
        for (int i = 0; i < count; i++)
            item[i].offset = offset[i];
    }
    return count ? best : 0;
}
