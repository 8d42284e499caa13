// A portfolio of greedy packings.
//
// Each takes the items in some order and puts every one at the lowest offset where it meets no item
// placed before it. Which order wins differs from graph to graph (by size; by size times duration;
// by first use; by duration, so that what lives long lies at the bottom and the short-lived nest
// above it), so all are tried and the lowest kept; a height equal to the load can't be improved and
// ends the search. Placed items are kept sorted by offset and scanned from the bottom: at most n^2
// / 2 cheap comparisons an order, so beyond a stated number of items only the first orders run
// (work is counted, never timed).
#include "passes/memory/pack.h"

#include "ir/check.h"
#include "passes/memory/pack_problem.h"

#include <stdlib.h>
#include <string.h>

enum { ORDER_FIRST_USE, ORDER_PEAK, ORDER_SIZE_DURATION, ORDER_SIZE, ORDER_DURATION, ORDER_COUNT };

static const char *const order_name[ORDER_COUNT] = {"first use", "peak", "size x duration", "size",
                                                    "duration"};

uint64_t pack_load(const PackItem *item, int count, Arena *scratch, uint32_t *at) {
    const PackProblem *p = pack_problem_create(item, count, scratch);
    *at = p->section_count ? p->time[p->peak] : 0;
    return p->section_count ? p->load[p->peak] * p->grid : 0;
}

// The largest load each part lives through: maxima over windows of 2^k sections, two of which cover
// any range.
static uint64_t *peaks_of(const PackProblem *p, Arena *scratch) {
    enum { LEVELS = 32 };
    uint64_t *level[LEVELS] = {p->load};
    const int end = p->section_count;
    for (int k = 1; 1 << k <= end; k++) {
        const int half = 1 << (k - 1);
        level[k] = arena_array(scratch, uint64_t, end);
        for (int t = 0; t + 2 * half <= end; t++) {
            const uint64_t *below = level[k - 1];
            level[k][t] = below[t] > below[t + half] ? below[t] : below[t + half];
        }
    }
    uint64_t *peak = arena_array(scratch, uint64_t, p->count + 1);
    for (int i = 0; i < p->count; i++) {
        const int k = 31 - __builtin_clz((unsigned)(p->part[i].hi - p->part[i].lo));
        const uint64_t x = level[k][p->part[i].lo], y = level[k][p->part[i].hi - (1 << k)];
        peak[i] = x > y ? x : y;
    }
    return peak;
}

// What is sorted: larger key first, then the larger part, then earlier first use, then the part's
// number.
typedef struct {
    uint64_t key, size;
    int32_t first, part;
} PackKey;

static int compare_keys(const void *a, const void *b) {
    const PackKey *x = a, *y = b;
    if (x->key != y->key)
        return x->key > y->key ? -1 : 1;
    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return (x->part > y->part) - (x->part < y->part);
}

static uint64_t key_of(const PackPart *part, uint64_t peak, int order) {
    const uint64_t duration = (uint64_t)(part->hi - part->lo);
    uint64_t product;
    if (part->fixed)
        return UINT64_MAX;
    switch (order) {
    case ORDER_FIRST_USE:
        // Keys sort from large to small: earlier is larger.
        return (uint64_t)(INT32_MAX - part->lo);
    case ORDER_PEAK:
        return peak;
    case ORDER_SIZE_DURATION:
        return __builtin_mul_overflow(part->size, duration, &product) ? UINT64_MAX - 1 : product;
    case ORDER_SIZE:
        return part->size;
    case ORDER_DURATION:
        return duration;
    default:
        UNREACHABLE();
    }
}

// Placed parts by offset.
typedef struct {
    uint64_t offset, end;
    const PackPart *part;
} Placed;

// The lowest offset that is free so far; invariant: nothing below the scan meets [at, at + size).
static uint64_t find_offset(const PackPart *part, const Placed *placed, int count) {
    if (part->fixed)
        return part->offset;
    uint64_t at = 0;
    for (int k = 0; k < count; k++) {
        const Placed *q = &placed[k];
        if (!pack_parts_meet(q->part, part))
            continue;
        // Fits below this one, and all others that meet it in time lie above.
        if (q->offset >= at + part->size)
            break;
        if (q->end > at)
            at = (q->end + part->alignment - 1) / part->alignment * part->alignment;
    }
    return at;
}

static uint64_t pack_in_order(const PackProblem *p, const PackKey *key, Placed *placed,
                              uint64_t *offset) {
    uint64_t height = 0;
    for (int i = 0; i < p->count; i++) {
        const PackPart *part = &p->part[key[i].part];
        const uint64_t at = find_offset(part, placed, i);
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
        placed[low] = (Placed){at, at + part->size, part};
        offset[key[i].part] = at;
        height = at + part->size > height ? at + part->size : height;
    }
    return height;
}

PackAnswer pack_solve(PackItem *item, int count, const PackOptions *options, Arena *scratch) {
    const PackProblem *p = pack_problem_create(item, count, scratch);
    const int64_t work_max = options && options->work ? options->work : PACK_WORK;
    const uint64_t *peak = peaks_of(p, scratch);
    PackKey *key = arena_array(scratch, PackKey, p->count + 1);
    Placed *placed = arena_array(scratch, Placed, p->count + 1);
    uint64_t *offset = arena_array(scratch, uint64_t, p->count + 1);
    PackAnswer answer = {.height = UINT64_MAX, .load = p->section_count ? p->load[p->peak] : 0};
    uint64_t enough = p->bound;
    if (options && options->capacity / p->grid > enough)
        enough = options->capacity / p->grid;
    for (int o = 0; o < ORDER_COUNT; o++) {
        if (o > 0 && (answer.height <= enough || answer.work > work_max))
            break;
        for (int i = 0; i < p->count; i++)
            key[i] = (PackKey){key_of(&p->part[i], peak[i], o), p->part[i].size, p->part[i].lo, i};
        qsort(key, (size_t)p->count, sizeof *key, compare_keys);
        const uint64_t height = pack_in_order(p, key, placed, offset);
        answer.work += (int64_t)p->count * p->count / 2;
        answer.tried[answer.try_count++] = (PackTry){order_name[o], height * p->grid};
        if (height >= answer.height)
            continue;
        answer.height = height;
        answer.how = order_name[o];
        for (int i = 0; i < p->count; i++)
            item[p->part[i].index].offset = offset[i] * p->grid;
    }
    for (int i = 0; i < count; i++)
        if (item[i].size == 0 && !item[i].fixed)
            item[i].offset = 0;
    answer.optimal = answer.height == p->bound;
    answer.bound = p->bound * p->grid;
    answer.height *= p->grid;
    answer.load *= p->grid;
    answer.peak = p->section_count ? p->time[p->peak] : 0;
    return answer;
}
