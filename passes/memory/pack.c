// Packing in stages, each only where the one before left something to gain.
//
// Items that are never live together with those of another group (a time that nothing crosses lies
// between them) are packed by themselves, the group with the largest load first: a later group
// needs no less than the highest so far. In a group a portfolio of greedy orders comes first
// (passes/memory/pack_portfolio.c); real graphs mostly end there, at their load. Otherwise exact
// search lowers the height (passes/memory/pack_lower.c), or proves that it can't be lower, unless
// there are too many; and what still sticks out is packed again among the rest
// (passes/memory/pack_mend.c).
//
// All of it stops by counted work, so that the same items give the same answer everywhere.
#include "passes/memory/pack.h"

#include "ir/check.h"
#include "passes/memory/pack_lower.h"
#include "passes/memory/pack_mend.h"
#include "passes/memory/pack_portfolio.h"

#include <stdlib.h>

uint64_t pack_load(const PackItem *item, int count, Arena *scratch, uint32_t *at) {
    const PackProblem *p = pack_problem_create(item, count, scratch);
    *at = p->section_count ? p->time[p->peak] : 0;
    return p->section_count ? p->load[p->peak] * p->grid : 0;
}

// What lives always lies at the bottom, side by side: whatever lies below it in some packing can
// change places with it. Not so with alignments, or where offsets are given. Returns the items
// left, their numbers in index, and the bytes taken.
static int put_aside(const PackProblem *p, PackItem *item, uint32_t *index, uint64_t *bytes) {
    int left = 0;
    *bytes = 0;
    const bool may = !p->has_alignment && !p->has_fixed;
    for (int32_t i = 0; i < p->count; i++) {
        const PackPart *part = &p->part[i];
        if (may && part->lo == 0 && part->hi == p->section_count && part->run_count == 1) {
            item[part->index].offset = *bytes;
            *bytes += part->size * p->grid;
        } else {
            index[left++] = part->index;
        }
    }
    return left;
}

// Items that live from section lo to before hi; none crosses its borders.
typedef struct {
    int32_t lo, hi;
    uint64_t bound; // bytes
    int count;
    PackItem *item;
    uint32_t *index; // of the caller's items
} Group;

static int compare_groups(const void *a, const void *b) {
    const Group *x = a, *y = b;
    if (x->bound != y->bound)
        return x->bound > y->bound ? -1 : 1;
    return (x->lo > y->lo) - (x->lo < y->lo);
}

// Groups by falling bound; returns how many.
static int split_groups(const PackProblem *p, const PackItem *item, Arena *a, Group **out) {
    const int sections = p->section_count;
    int32_t *cross =
        arena_array(a, int32_t, sections + 1); // parts that live on both sides of a section's begin
    int32_t *owner = arena_array(a, int32_t, sections + 1);
    for (int32_t i = 0; i < p->count; i++) {
        cross[p->part[i].lo + 1]++;
        cross[p->part[i].hi]--;
    }
    Group *group = arena_array(a, Group, sections + 1);
    int count = 0;
    for (int32_t t = 0, crossing = 0; t < sections; t++) {
        crossing += cross[t];
        if (crossing == 0)
            group[count++].lo = t;
        owner[t] = count - 1;
        group[count - 1].hi = t + 1;
    }
    for (int32_t i = 0; i < p->count; i++)
        group[owner[p->part[i].lo]].count++;
    for (int k = 0; k < count; k++) {
        group[k].item = arena_array(a, PackItem, group[k].count);
        group[k].index = arena_array(a, uint32_t, group[k].count);
        group[k].count = 0;
        for (int32_t t = group[k].lo; t < group[k].hi; t++)
            if (p->load[t] * p->grid > group[k].bound)
                group[k].bound = p->load[t] * p->grid;
    }
    for (int32_t i = 0; i < p->count; i++) {
        Group *of = &group[owner[p->part[i].lo]];
        of->index[of->count] = p->part[i].index;
        of->item[of->count++] = item[p->part[i].index];
    }
    qsort(group, (size_t)count, sizeof *group, compare_groups);
    *out = group;
    return count;
}

// Packs a group no lower than needed: enough is bytes.
static void pack_group(const Group *group, uint64_t enough, int64_t work, PackAnswer *answer,
                       Arena *a) {
    const PackProblem *p = pack_problem_create(group->item, group->count, a);
    Packing packing = {.offset = arena_array(a, uint64_t, p->count + 1)};
    uint64_t bound = p->bound;
    const uint64_t goal = enough / p->grid > bound ? enough / p->grid : bound;
    // Search leaves a fifth of the work to mending, orders half of the rest to search.
    const bool fits = pack_lower_fits(p);
    pack_portfolio(p, goal, fits ? work / 5 * 2 : work / 3, &packing, a);
    if (packing.height > goal && fits)
        bound = pack_lower(p, bound, goal, work / 5 * 4, &packing, a);
    const uint64_t lowest = goal > bound ? goal : bound;
    if (packing.height > lowest)
        pack_mend(p, lowest, work - packing.work, &packing, a);
    for (int32_t i = 0; i < p->count; i++)
        group->item[p->part[i].index].offset = packing.offset[i] * p->grid;
    answer->work += packing.work;
    if (bound * p->grid > answer->bound)
        answer->bound = bound * p->grid;
    // What decides the height is what the answer tells of.
    if (packing.height * p->grid <= answer->height)
        return;
    answer->height = packing.height * p->grid;
    answer->how = packing.how;
    answer->try_count = packing.try_count;
    for (int k = 0; k < packing.try_count; k++)
        answer->tried[k] = (PackTry){packing.tried[k].name, packing.tried[k].height * p->grid};
}

// One problem: at least one item, and none of them lives always where that can be told apart.
static void pack_groups(PackItem *item, int count, const PackProblem *p, uint64_t capacity,
                        int64_t work, PackAnswer *answer, Arena *a) {
    Group *group;
    const int groups = split_groups(p, item, a, &group);
    CHECK(count > 0);
    for (int k = 0; k < groups; k++) {
        uint64_t enough = answer->height > capacity ? answer->height : capacity;
        enough = answer->bound > enough ? answer->bound : enough;
        const int64_t left = work - answer->work;
        pack_group(&group[k], enough, left > 0 ? left : 0, answer, a);
        for (int i = 0; i < group[k].count; i++)
            item[group[k].index[i]].offset = group[k].item[i].offset;
    }
}

PackAnswer pack_solve(PackItem *item, int count, const PackOptions *options, Arena *scratch) {
    PackAnswer answer = {.how = "stacking", .optimal = true};
    // An order of many items takes steps by their square.
    const int64_t many = (int64_t)count * (count < 30000 ? count : 30000) / 2;
    const int64_t work = options && options->work ? options->work : PACK_WORK + many;
    uint64_t capacity = options ? options->capacity : 0;
    for (int i = 0; i < count; i++)
        if (!item[i].fixed)
            item[i].offset = 0;
    const PackProblem *p = pack_problem_create(item, count, scratch);
    if (p->count == 0)
        return answer;
    uint32_t *index = arena_array(scratch, uint32_t, p->count);
    uint64_t base;
    const int left = put_aside(p, item, index, &base);
    capacity = capacity > base ? capacity - base : 0;
    if (left > 0) {
        PackItem *rest = arena_array(scratch, PackItem, left);
        for (int i = 0; i < left; i++)
            rest[i] = item[index[i]];
        const PackProblem *inner = left < p->count ? pack_problem_create(rest, left, scratch) : p;
        answer.bound = inner->bound * inner->grid;
        pack_groups(left < p->count ? rest : item, left, inner, capacity, work, &answer, scratch);
        for (int i = 0; i < left && left < p->count; i++)
            item[index[i]].offset = base + rest[i].offset;
    }
    answer.height += base;
    answer.bound += base;
    for (int k = 0; k < answer.try_count; k++)
        answer.tried[k].height += base;
    answer.load = p->load[p->peak] * p->grid;
    answer.peak = p->time[p->peak];
    answer.optimal = answer.height == answer.bound;
    return answer;
}
