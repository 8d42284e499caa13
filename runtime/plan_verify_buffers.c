// The verifier's rules 11 and 12: stated live ranges against stated places.
//
// A sweep over the positions of each entry keeps the live buffers in a set ordered by address. As
// long as no two of them share a byte, a buffer that becomes live can only meet its two neighbours.
#include "runtime/plan_verify.h"

#include "runtime/plan_index_set.h"

#include <stdlib.h>

// One buffer of the entry, or a persistent one.
typedef struct {
    uint64_t begin, end; // addresses
    uint64_t load;       // bytes as they count in the load
    uint32_t first, last;
    uint32_t buffer;
    uint32_t rank; // by address among those of the sweep
} Lived;

// Ties by buffer, so that rank is the same on every run.
static int compare_begin(const void *a, const void *b) {
    const Lived *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->buffer > y->buffer) - (x->buffer < y->buffer);
}

static int compare_first(const void *a, const void *b) {
    const Lived *x = *(const Lived *const *)a, *y = *(const Lived *const *)b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static int compare_last(const void *a, const void *b) {
    const Lived *x = *(const Lived *const *)a, *y = *(const Lived *const *)b;
    if (x->last != y->last)
        return x->last < y->last ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

typedef struct {
    Lived *lived; // by rank
    Lived **by_first, **by_last;
    uint32_t count;
    uint64_t *live, *most; // by space, bytes now and at most in any entry
} Sweep;

// low begins at or below high. True after refusing.
static bool overlaps(Verifier *v, const Lived *low, const Lived *high) {
    if (low->end <= high->begin)
        return false;
    const PlanBuffer *buffer = v->plan->buffer;
    verify_refuse(v, 11, "buffers %u (%.80s) and %u (%.80s) share bytes while both are live",
                  low->buffer, buffer[low->buffer].name, high->buffer, buffer[high->buffer].name);
    return true;
}

// The neighbours by address suffice: those live so far are disjoint.
static bool add_live(Verifier *v, Sweep *s, IndexSet *set, const Lived *b) {
    const uint32_t below = index_set_below(set, b->rank), above = index_set_above(set, b->rank);
    if ((below != UINT32_MAX && overlaps(v, &s->lived[below], b)) ||
        (above != UINT32_MAX && overlaps(v, b, &s->lived[above])))
        return false;
    index_set_add(set, b->rank);
    const uint32_t space = v->plan->buffer[b->buffer].space;
    if (__builtin_add_overflow(s->live[space], b->load, &s->live[space]))
        return verify_refuse(v, 12, "the sum of live bytes overflows");
    if (s->live[space] > s->most[space])
        s->most[space] = s->live[space];
    return true;
}

static bool sweep(Verifier *v, Sweep *s) {
    IndexSet set;
    if (!index_set_init(&set, s->count, v->memory))
        return verify_no_memory(v);
    for (uint32_t i = 0; i < v->plan->space_count; i++)
        s->live[i] = 0;
    uint32_t gone = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        // What was used before this position for the last time has left.
        for (; gone < s->count && s->by_last[gone]->last < s->by_first[i]->first; gone++) {
            const Lived *b = s->by_last[gone];
            index_set_remove(&set, b->rank);
            s->live[v->plan->buffer[b->buffer].space] -= b->load;
        }
        if (!add_live(v, s, &set, s->by_first[i]))
            return false;
    }
    return true;
}

// The persistent buffers and those of one entry (UINT32_MAX: of none).
static bool sweep_entry(Verifier *v, Sweep *s, uint32_t entry) {
    const Plan *p = v->plan;
    s->count = 0;
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        const PlanBuffer *b = &p->buffer[i];
        if (b->bytes == 0 || (b->entry != UINT32_MAX && b->entry != entry))
            continue;
        const uint64_t begin = v->space_base[b->space] + b->offset;
        // Alignments are powers of two (rule 2); the load counts padding, as rule 12 says.
        const uint64_t mask = (uint64_t)b->alignment - 1;
        s->lived[s->count++] = (Lived){.begin = begin,
                                       .end = begin + b->bytes,
                                       .load = (b->bytes + mask) & ~mask,
                                       .first = b->first,
                                       .last = b->last,
                                       .buffer = i};
    }
    qsort(s->lived, s->count, sizeof *s->lived, compare_begin);
    for (uint32_t i = 0; i < s->count; i++) {
        // Ranks are positions in the set, which is ordered as addresses are.
        s->lived[i].rank = i;
        s->by_first[i] = s->by_last[i] = &s->lived[i];
    }
    qsort(s->by_first, s->count, sizeof(Lived *), compare_first);
    qsort(s->by_last, s->count, sizeof(Lived *), compare_last);
    return sweep(v, s);
}

bool verify_buffers(Verifier *v) {
    const Plan *p = v->plan;
    PlanMemory *pm = v->memory;
    Sweep s = {.lived = plan_alloc(pm, p->buffer_count, sizeof(Lived)),
               .by_first = plan_alloc(pm, p->buffer_count, sizeof(Lived *)),
               .by_last = plan_alloc(pm, p->buffer_count, sizeof(Lived *)),
               .live = plan_alloc(pm, p->space_count, sizeof(uint64_t)),
               .most = plan_alloc(pm, p->space_count, sizeof(uint64_t))};
    if (!s.lived || !s.by_first || !s.by_last || !s.live || !s.most)
        return verify_no_memory(v);
    for (uint32_t i = 0; i < p->entry_count; i++)
        if (!sweep_entry(v, &s, i))
            return false;
    // Persistent buffers are checked even where there is no entry.
    if (p->entry_count == 0 && !sweep_entry(v, &s, UINT32_MAX))
        return false;
    for (uint32_t i = 0; i < p->space_count; i++)
        if (s.most[i] != p->space[i].load)
            return verify_refuse(v, 12, "space %u states a load of %llu bytes, but it is %llu", i,
                                 (unsigned long long)p->space[i].load,
                                 (unsigned long long)s.most[i]);
    return true;
}
