// A portfolio of greedy packings: the same first fit (passes/memory/pack_greedy.c) under several
// orders.
//
// Which order wins differs from graph to graph, and the spread inside one graph is large, so all
// are tried and the lowest kept:
//   nested       what lives at the peak first, longest lives at the bottom: activations of outer
//   pairs of
//                forward and backward stack without holes, temporaries lie above
//   duration     the same without regard to the peak
//   size, size x duration, size x root     large first, the small fill the holes; lives count not
//   at all,
//                fully, half
//   peak         by the largest load an item lives through: where it is tight comes first
//   first use, last use                    as a stack would, forward and backward
// Then the best order is bent (after Joslin and Clements' squeaky wheel optimisation, JAIR 1999):
// what sticks out above the bound moves forward, and the packing is made again. A height that is
// enough ends it all.
#include "passes/memory/pack_portfolio.h"

#include "ir/check.h"
#include "passes/memory/pack_greedy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum {
    RANK_NESTED,
    RANK_SIZE,
    RANK_SIZE_ROOT,
    RANK_SIZE_DURATION,
    RANK_DURATION,
    RANK_PEAK,
    RANK_FIRST,
    RANK_LAST,
    RANK_COUNT
} Rank;

static const char *const rank_name[RANK_COUNT] = {"nested",          "size",     "size x root",
                                                  "size x duration", "duration", "peak",
                                                  "first use",       "last use"};

enum { BEND_ROUNDS = 8 };

// What is sorted: larger key first, then the larger part, then earlier first use, then the part's
// number.
typedef struct {
    double key; // exact below 2^53; ties and rounding are settled by the rest
    uint64_t size;
    int32_t first, part;
} RankKey;

static int compare_keys(const void *a, const void *b) {
    const RankKey *x = a, *y = b;
    if (x->key > y->key || x->key < y->key)
        return x->key > y->key ? -1 : 1;
    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return (x->part > y->part) - (x->part < y->part);
}

// The largest load each part lives through: maxima over windows of 2^k sections, two of which cover
// any range.
static uint64_t *peaks_of(const PackProblem *p, Arena *a) {
    enum { LEVELS = 32 };
    uint64_t *level[LEVELS] = {p->load};
    const int end = p->section_count;
    for (int k = 1; 1 << k <= end; k++) {
        const int half = 1 << (k - 1);
        level[k] = arena_array(a, uint64_t, end);
        for (int t = 0; t + 2 * half <= end; t++) {
            const uint64_t *below = level[k - 1];
            level[k][t] = below[t] > below[t + half] ? below[t] : below[t + half];
        }
    }
    uint64_t *peak = arena_array(a, uint64_t, p->count + 1);
    for (int i = 0; i < p->count; i++) {
        const int k = 31 - __builtin_clz((unsigned)(p->part[i].hi - p->part[i].lo));
        const uint64_t x = level[k][p->part[i].lo], y = level[k][p->part[i].hi - (1 << k)];
        peak[i] = x > y ? x : y;
    }
    return peak;
}

static double key_of(const PackProblem *p, const PackPart *part, uint64_t peak, Rank rank) {
    const double size = (double)part->size, duration = part->hi - part->lo;
    switch (rank) {
    case RANK_NESTED:
        // Those at the peak before all others; among the others by size.
        return part->lo <= p->peak && p->peak < part->hi ? 0x1p100 + 0x1p60 * duration : size;
    case RANK_DURATION:
        return duration;
    case RANK_SIZE_DURATION:
        return size * duration;
    case RANK_SIZE:
        return size;
    case RANK_SIZE_ROOT:
        return size * sqrt(duration);
    case RANK_PEAK:
        return (double)peak;
    case RANK_FIRST:
        return -(double)part->lo;
    case RANK_LAST:
        return (double)part->hi;
    case RANK_COUNT:
        break;
    }
    UNREACHABLE();
}

void packing_offer(Packing *packing, const PackProblem *p, const char *name, uint64_t height,
                   const uint64_t *offset) {
    if (packing->try_count < PACK_TRIES_MAX)
        packing->tried[packing->try_count++] = (PackTry){name, height};
    if (packing->how && height >= packing->height)
        return;
    packing->how = name;
    packing->height = height;
    memcpy(packing->offset, offset, (size_t)p->count * sizeof *offset);
}

// What one run needs.
typedef struct {
    const PackProblem *p;
    PackGreedy *greedy;
    RankKey *key;
    int32_t *order;
    uint64_t *offset;
} Runner;

static uint64_t run_sorted(Runner *r) {
    qsort(r->key, (size_t)r->p->count, sizeof *r->key, compare_keys);
    for (int32_t k = 0; k < r->p->count; k++)
        r->order[k] = r->key[k].part;
    return pack_greedy_run(r->greedy, r->order, r->offset);
}

static void rank_parts(Runner *r, const uint64_t *peak, Rank rank) {
    for (int32_t i = 0; i < r->p->count; i++) {
        const PackPart *part = &r->p->part[i];
        r->key[i] = (RankKey){key_of(r->p, part, peak[i], rank), part->size, part->lo, i};
    }
}

// Starts from the best order; what reaches into the upper three quarters of the excess is half as
// large again to the next round.
static void bend(Runner *r, const uint64_t *peak, Rank best, uint64_t enough, int64_t work,
                 Packing *out) {
    rank_parts(r, peak, best);
    // Keys that may be negative are shifted, so that a factor means forward.
    if (best == RANK_FIRST)
        for (int32_t i = 0; i < r->p->count; i++)
            r->key[i].key += r->p->section_count + 1;
    uint64_t height = run_sorted(r), lowest = height;
    for (int round = 0; round < BEND_ROUNDS; round++) {
        if (lowest <= enough || pack_greedy_work(r->greedy) > work)
            break;
        const uint64_t limit = enough + (height - enough) / 4;
        for (int32_t k = 0; k < r->p->count; k++) {
            const int32_t i = r->key[k].part;
            if (r->offset[i] + r->p->part[i].size > limit)
                r->key[k].key *= 1.5;
        }
        height = run_sorted(r);
        if (height < lowest) {
            lowest = height;
            packing_offer(out, r->p, "bent order", height, r->offset);
        }
    }
}

void pack_portfolio(const PackProblem *p, uint64_t enough, int64_t work, Packing *out, Arena *a) {
    const uint64_t *peak = peaks_of(p, a);
    Runner r = {.p = p,
                .greedy = pack_greedy_create(p, a),
                .key = arena_array(a, RankKey, p->count + 1),
                .order = arena_array(a, int32_t, p->count + 1),
                .offset = arena_array(a, uint64_t, p->count + 1)};
    uint64_t lowest = UINT64_MAX;
    Rank best = RANK_NESTED;
    for (int rank = 0; rank < RANK_COUNT; rank++) {
        if (lowest <= enough || (rank > 0 && pack_greedy_work(r.greedy) > work))
            break;
        rank_parts(&r, peak, (Rank)rank);
        const uint64_t height = run_sorted(&r);
        packing_offer(out, p, rank_name[rank], height, r.offset);
        if (height < lowest) {
            lowest = height;
            best = (Rank)rank;
        }
    }
    if (lowest > enough && pack_greedy_work(r.greedy) < work)
        bend(&r, peak, best, enough, work, out);
    out->work += pack_greedy_work(r.greedy);
}
