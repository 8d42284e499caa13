// From items to the problem that is searched.
//
// Time: only sections count, the times at which what lives is a largest set. Sweeping over births
// and deaths in order, a birth behind a death begins a new section, and births in a row share one:
// what lives at the earlier of two such times lives at the later one too. So there are at most as
// many sections as items, however long time is.
//
// Bytes: some lowest packing has every item at an offset that is a sum of sizes, rounded up to
// alignments, above the bottom or something fixed (push every item down until it rests on another).
// So offsets need only be multiples of the greatest common divisor, the grid. Sizes are counted in
// its steps.
//
// Cost: n log n.
#include "passes/memory/pack_problem.h"

#include "ir/check.h"

#include <stdlib.h>

// The begin or end of a time without gaps.
typedef struct {
    uint64_t time; // of an end: the first time it is over
    bool birth;
    uint32_t run; // number of the PackRun
} Event;

// Ends first, so that what ends as another begins does not meet it.
static int compare_events(const void *a, const void *b) {
    const Event *x = a, *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    if (x->birth != y->birth)
        return x->birth ? 1 : -1;
    return (x->run > y->run) - (x->run < y->run);
}

static uint64_t gcd(uint64_t a, uint64_t b) {
    while (b) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static uint64_t find_grid(const PackItem *item, int count) {
    uint64_t grid = 0;
    for (int i = 0; i < count; i++) {
        if (item[i].size == 0)
            continue;
        grid = gcd(grid, item[i].size);
        if (item[i].alignment > 1)
            grid = gcd(grid, item[i].alignment);
        if (item[i].fixed)
            grid = gcd(grid, item[i].offset);
    }
    return grid ? grid : 1;
}

// Two events a run: live from first to the gap, from behind it to the next one, ...
static int add_events(const PackItem *item, Event *event, int count, uint32_t run) {
    uint64_t first = item->first;
    for (uint32_t i = 0; i <= item->gap_count; i++) {
        const uint64_t end = i < item->gap_count ? item->gap[i].first : (uint64_t)item->last + 1;
        CHECK(first < end);
        event[count++] = (Event){first, true, run};
        event[count++] = (Event){end, false, run++};
        first = i < item->gap_count ? (uint64_t)item->gap[i].last + 1 : 0;
    }
    return count;
}

// Sets every run's sections, and the sections' times.
static void cut_sections(PackProblem *p, Event *event, int count, PackRun *run) {
    qsort(event, (size_t)count, sizeof *event, compare_events);
    bool died = true;
    for (int i = 0; i < count; i++) {
        if (!event[i].birth) {
            run[event[i].run].hi = p->section_count;
            died = true;
            continue;
        }
        p->section_count += died;
        died = false;
        run[event[i].run].lo = p->section_count - 1;
        p->time[p->section_count - 1] = (uint32_t)event[i].time;
    }
}

static void sum_loads(PackProblem *p, Arena *a) {
    p->load = arena_array(a, uint64_t, p->section_count + 1);
    for (int i = 0; i < p->count; i++)
        for (int k = 0; k < p->part[i].run_count; k++) {
            p->load[p->part[i].run[k].lo] += p->part[i].size;
            p->load[p->part[i].run[k].hi] -= p->part[i].size; // Wraps; the sums below don't
        }
    for (int s = 1; s < p->section_count; s++) {
        p->load[s] += p->load[s - 1];
        p->peak = p->load[s] > p->load[p->peak] ? s : p->peak;
    }
    p->bound = p->load[p->peak];
    for (int i = 0; i < p->count; i++)
        if (p->part[i].fixed && p->part[i].offset + p->part[i].size > p->bound)
            p->bound = p->part[i].offset + p->part[i].size;
}

PackProblem *pack_problem_create(const PackItem *item, int count, Arena *a) {
    PackProblem *p = arena_new(a, PackProblem);
    p->part = arena_array(a, PackPart, count + 1);
    p->grid = find_grid(item, count);
    size_t run_count = 0;
    for (int i = 0; i < count; i++)
        run_count += item[i].size ? item[i].gap_count + 1 : 0;
    PackRun *run = arena_array(a, PackRun, run_count + 1);
    Event *event = arena_array(a, Event, 2 * run_count + 1);
    p->time = arena_array(a, uint32_t, run_count + 1);
    int events = 0;
    for (int i = 0; i < count; i++) {
        const PackItem *it = &item[i];
        if (it->size == 0)
            continue;
        const uint64_t alignment = it->alignment ? it->alignment : p->grid;
        p->part[p->count++] = (PackPart){.size = it->size / p->grid,
                                         .alignment = alignment > p->grid ? alignment / p->grid : 1,
                                         .offset = it->offset / p->grid,
                                         .fixed = it->fixed,
                                         .run_count = (int32_t)it->gap_count + 1,
                                         .run = run + events / 2,
                                         .index = (uint32_t)i};
        events = add_events(it, event, events, (uint32_t)(events / 2));
    }
    cut_sections(p, event, events, run);
    for (int i = 0; i < p->count; i++) {
        PackPart *part = &p->part[i];
        part->lo = part->run[0].lo;
        part->hi = part->run[part->run_count - 1].hi;
        p->has_gaps |= part->run_count > 1;
        p->has_fixed |= part->fixed;
        p->has_alignment |= part->alignment > 1;
    }
    sum_loads(p, a);
    return p;
}

bool pack_parts_meet(const PackPart *x, const PackPart *y) {
    if (x->lo >= y->hi || y->lo >= x->hi)
        return false;
    // Both run lists are in order: advance the one that ends first.
    for (int i = 0, k = 0; i < x->run_count && k < y->run_count;) {
        if (x->run[i].lo < y->run[k].hi && y->run[k].lo < x->run[i].hi)
            return true;
        if (x->run[i].hi <= y->run[k].hi)
            i++;
        else
            k++;
    }
    return false;
}
