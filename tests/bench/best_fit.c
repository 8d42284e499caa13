// Best-fit decreasing, as XLA's GlobalDecreasingSizeBestFitHeap and TFLite's greedy by size do it.
//
// Items are taken from large to small (ties: longer life, then number) or from long to short life
// (ties: size, then number). Each looks at those placed before that meet it in time, in the order
// of their offsets: of the gaps between them the smallest that has room is taken, the lowest of
// equals, or the top where none has. Cost: quadratic in items that meet.
#include "tests/bench/best_fit.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    uint64_t size, time;
    uint32_t number;
    BestFitRule rule;
} SortKey;

static int compare(uint64_t larger_first, uint64_t other) {
    return (larger_first < other) - (larger_first > other);
}

static int compare_keys(const void *a, const void *b) {
    const SortKey *x = a, *y = b;
    const int size = compare(x->size, y->size), time = compare(x->time, y->time);
    const int first = x->rule == BEST_FIT_SIZE ? size : time;
    const int second = x->rule == BEST_FIT_SIZE ? time : size;
    if (first || second)
        return first ? first : second;
    return (x->number > y->number) - (x->number < y->number);
}

// Where the item goes among those placed, which are sorted by offset.
static uint64_t find_offset(const PackItem *item, const PackItem *all, const uint32_t *placed,
                            int count) {
    uint64_t top = 0, best = 0, least = UINT64_MAX;
    for (int i = 0; i < count; i++) {
        const PackItem *p = &all[placed[i]];
        if (p->first > item->last || p->last < item->first)
            continue;
        if (p->offset >= top + item->size && p->offset - top < least) {
            least = p->offset - top;
            best = top;
        }
        top = p->offset + p->size > top ? p->offset + p->size : top;
    }
    return least == UINT64_MAX ? top : best;
}

uint64_t best_fit(PackItem *item, int count, BestFitRule rule, Arena *scratch) {
    SortKey *key = arena_array(scratch, SortKey, count + 1);
    uint32_t *placed = arena_array(scratch, uint32_t, count + 1);
    for (int i = 0; i < count; i++)
        key[i] = (SortKey){item[i].size, item[i].last - item[i].first, (uint32_t)i, rule};
    qsort(key, (size_t)count, sizeof *key, compare_keys);
    uint64_t height = 0;
    for (int i = 0; i < count; i++) {
        PackItem *it = &item[key[i].number];
        it->offset = find_offset(it, item, placed, i);
        height = it->offset + it->size > height ? it->offset + it->size : height;
        int at = i;
        for (; at > 0 && item[placed[at - 1]].offset > it->offset; at--)
            placed[at] = placed[at - 1];
        placed[at] = key[i].number;
    }
    return height;
}
