// MODeL's integer program for addresses (OLLA, arXiv 2210.12924).
//
//     at[i]        the offset of item i, in steps of the grid (of its alignment, where it has one)
//     below[i, k]  1: i lies below k, 0: above; for every pair that meets in time (binary)
//     height       minimised
//
//     at[i] + size[i] <= at[k] + most (1 - below[i, k])
//     at[k] + size[k] <= at[i] + most below[i, k]
//
// MODeL has a binary for each side; one is enough, since exactly one of two items is the lower one.
// `most` is the height of the packing to begin with: no better one is higher. The relaxation says
// nothing beyond the load, which bounds the height from the start: so the program is good at
// meeting the load and bad at proving that it can't be met. What comes back is packed anew in
// whole numbers from the binaries alone, so rounding can't make two items share bytes.
//
// Cost: six entries a pair of items that meet; tens of items.
#include "passes/memory/pack_mip.h"

#include "passes/memory/pack_problem.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
    int lower, upper; // parts; which is which is the column's to say
    int column;
} Pair;

typedef struct {
    const PackMipProblem *problem;
    const PackProblem *pack;
    Arena *a;
    Mip *p;
    uint64_t most; // steps of the grid
    int *at;       // by part: its column
    int pair_count;
    Pair *pair;
} PackProgram;

enum { HEIGHT = 0 }; // column

static uint64_t aligned(uint64_t x, uint64_t alignment) {
    return (x + alignment - 1) / alignment * alignment;
}

// Steps of the grid that are enough: of the given packing, or of everything on top of each other.
static uint64_t enough_height(const PackProgram *w) {
    uint64_t top = 0, sum = 0;
    for (int i = 0; i < w->pack->count; i++) {
        const PackPart *part = &w->pack->part[i];
        const uint64_t given = aligned(w->problem->item[part->index].offset, w->pack->grid);
        if (w->problem->packed || part->fixed)
            top =
                given / w->pack->grid + part->size > top ? given / w->pack->grid + part->size : top;
        sum += part->size + part->alignment - 1;
    }
    return w->problem->packed ? top : top + sum;
}

static void add_columns(PackProgram *w) {
    const PackProblem *pack = w->pack;
    mip_add_column(w->p, (MipColumn){.name = "height",
                                     .low = (double)pack->bound,
                                     .high = (double)w->most,
                                     .cost = 1});
    w->at = arena_array(w->a, int, pack->count + 1);
    for (int i = 0; i < pack->count; i++) {
        const PackPart *part = &pack->part[i];
        const double high = (double)((w->most - part->size) / part->alignment);
        const double fixed = (double)(part->offset / part->alignment);
        w->at[i] = mip_add_column(
            w->p, (MipColumn){.name = arena_format(w->a, "at_%u", part->index),
                              .kind = part->alignment > 1 ? MIP_INTEGER : MIP_CONTINUOUS,
                              .low = part->fixed ? fixed : 0,
                              .high = part->fixed ? fixed : high});
    }
}

// at[upper] - at[lower] >= size[lower] - (0 or most, as the pair's column has it)
static void add_above(const PackProgram *w, int lower, int upper, double end, int column,
                      double slope) {
    const PackPart *part = w->pack->part;
    mip_add_row(w->p, end, HUGE_VAL);
    mip_put(w->p, w->at[upper], (double)part[upper].alignment);
    mip_put(w->p, w->at[lower], -(double)part[lower].alignment);
    mip_put(w->p, column, slope);
}

typedef struct {
    int key, part;
} Ranked;

// The largest key first.
static int compare_ranked(const void *a, const void *b) {
    const Ranked *x = a, *y = b;
    return x->key != y->key ? (x->key < y->key ? 1 : -1) : x->part - y->part;
}

// Parts by how long they live.
static Ranked *longest_first(const PackProgram *w) {
    Ranked *rank = arena_array(w->a, Ranked, w->pack->count + 1);
    for (int i = 0; i < w->pack->count; i++)
        rank[i] = (Ranked){w->pack->part[i].hi - w->pack->part[i].lo, i};
    qsort(rank, (size_t)w->pack->count, sizeof *rank, compare_ranked);
    return rank;
}

// Columns stand in the order in which the search should decide them: what lives long meets most.
// False where the program would be too large.
static bool add_pairs(PackProgram *w, int64_t entries) {
    const PackProblem *pack = w->pack;
    const double most = (double)w->most;
    int room = 0;
    for (int i = 0; i < pack->count; i++)
        for (int k = 0; k < i; k++)
            room += pack_parts_meet(&pack->part[k], &pack->part[i]);
    if (6 * (int64_t)room + 2 * (int64_t)pack->count > entries)
        return false;
    w->pair = arena_array(w->a, Pair, room + 1);
    const Ranked *rank = longest_first(w);
    for (int m = 0; m < pack->count; m++)
        for (int n = 0; n < m; n++) {
            const int i = rank[m].part, k = rank[n].part;
            const PackPart *lower = &pack->part[k], *upper = &pack->part[i];
            if (!pack_parts_meet(lower, upper) || (lower->fixed && upper->fixed))
                continue;
            const int column = mip_add_column(
                w->p,
                (MipColumn){.name = arena_format(w->a, "below_%u_%u", lower->index, upper->index),
                            .kind = MIP_BINARY});
            add_above(w, k, i, (double)lower->size - most, column, -most);
            add_above(w, i, k, (double)upper->size, column, most);
            w->pair[w->pair_count++] = (Pair){k, i, column};
        }
    return true;
}

// False where the program would be too large.
static bool make_program(PackProgram *w, const PackMipProblem *problem, Arena *a) {
    const MipLimits limits = mip_limits_or_default(problem->limits);
    *w = (PackProgram){.problem = problem, .a = a};
    w->pack = pack_problem_create(problem->item, problem->count, a);
    // Pairs are counted one by one.
    if (w->pack->count > 20000)
        return false;
    w->most = enough_height(w);
    w->p = mip_create(a, problem->name);
    w->p->note = arena_format(a, "in units of %llu bytes", (unsigned long long)w->pack->grid);
    w->p->step = 1;
    add_columns(w);
    if (!add_pairs(w, limits.entries))
        return false;
    for (int i = 0; i < w->pack->count; i++) {
        mip_add_row(w->p, (double)w->pack->part[i].size, HUGE_VAL);
        mip_put(w->p, HEIGHT, 1);
        mip_put(w->p, w->at[i], -(double)w->pack->part[i].alignment);
    }
    return true;
}

// Values of all columns for the items' own offsets.
static double *values_of(const PackProgram *w) {
    double *value = arena_array(w->a, double, w->p->column_count + 1);
    value[HEIGHT] = (double)w->most;
    for (int i = 0; i < w->pack->count; i++) {
        const PackPart *part = &w->pack->part[i];
        value[w->at[i]] = (double)w->problem->item[part->index].offset /
                          (double)(w->pack->grid * part->alignment);
    }
    for (int i = 0; i < w->pair_count; i++)
        value[w->pair[i].column] = w->problem->item[w->pack->part[w->pair[i].lower].index].offset <
                                   w->problem->item[w->pack->part[w->pair[i].upper].index].offset;
    return value;
}

typedef struct {
    double at;
    int part;
} Place;

static int compare_places(const void *a, const void *b) {
    const Place *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return x->part - y->part;
}

// Every item as low as what lies below it allows, from the bottom up. NULL where a fixed item is in
// the way: then the solver's numbers were too far from whole ones.
static uint64_t *offsets_of(const PackProgram *w, const double *value) {
    const PackProblem *pack = w->pack;
    Place *place = arena_array(w->a, Place, pack->count + 1);
    uint64_t *at = arena_array(w->a, uint64_t, pack->count + 1); // steps of the grid
    uint64_t *offset = arena_array(w->a, uint64_t, w->problem->count + 1);
    for (int i = 0; i < pack->count; i++) {
        at[i] = pack->part[i].offset;
        place[i] = (Place){value[w->at[i]] * (double)pack->part[i].alignment, i};
    }
    qsort(place, (size_t)pack->count, sizeof *place, compare_places);
    for (int n = 0; n < pack->count; n++) {
        const int upper = place[n].part;
        uint64_t lowest = 0;
        for (int m = 0; m < n; m++) {
            const int lower = place[m].part;
            const uint64_t top = at[lower] + pack->part[lower].size;
            if (pack_parts_meet(&pack->part[lower], &pack->part[upper]) && top > lowest)
                lowest = top;
        }
        lowest = aligned(lowest, pack->part[upper].alignment);
        if (pack->part[upper].fixed && lowest > at[upper])
            return NULL;
        at[upper] = pack->part[upper].fixed ? at[upper] : lowest;
    }
    for (int i = 0; i < w->problem->count; i++)
        offset[i] = w->problem->item[i].fixed ? w->problem->item[i].offset : 0;
    for (int i = 0; i < pack->count; i++)
        offset[pack->part[i].index] = at[i] * pack->grid;
    return offset;
}

static uint64_t height_of(const PackMipProblem *problem, const uint64_t *offset) {
    uint64_t height = 0;
    for (int i = 0; i < problem->count; i++)
        if (problem->item[i].size && offset[i] + problem->item[i].size > height)
            height = offset[i] + problem->item[i].size;
    return height;
}

// The items' own offsets and the bound of their load.
static PackMipAnswer answer_of_start(const PackMipProblem *problem, uint64_t bound, Arena *a) {
    PackMipAnswer answer = {.bound = bound};
    if (!problem->packed)
        return answer;
    uint64_t *offset = arena_array(a, uint64_t, problem->count + 1);
    for (int i = 0; i < problem->count; i++)
        offset[i] = problem->item[i].offset;
    answer.offset = offset;
    answer.height = height_of(problem, offset);
    answer.optimal = answer.height == bound;
    return answer;
}

static void take_answer(const PackProgram *w, const MipAnswer *from, PackMipAnswer *to) {
    to->nodes = from->nodes;
    to->degraded = from->degraded;
    const double bound = from->bound * (double)w->pack->grid;
    if (bound > (double)to->bound && bound < 9e15)
        to->bound = (uint64_t)(bound + 0.5);
    if (from->value && !from->degraded) {
        const uint64_t *offset = offsets_of(w, from->value);
        if (!offset)
            to->degraded = "the solver's packing does not hold in whole numbers";
        else if (!to->offset || height_of(w->problem, offset) < to->height) {
            to->offset = offset;
            to->height = height_of(w->problem, offset);
        }
    }
    to->optimal = to->offset && to->height <= to->bound;
}

Mip *pack_mip_program(const PackMipProblem *problem, Arena *a) {
    PackProgram w;
    return make_program(&w, problem, a) ? w.p : NULL;
}

void pack_mip_solve(const PackMipProblem *problem, int count, int children, Arena *a,
                    PackMipAnswer *answer) {
    // Cuts cost more than they save, and guesses at the best column more than the order in which
    // they stand: docs/decisions.md.
    const MipSettings settings = {.branch = MIP_BRANCH_FIRST, .next = MIP_NEXT_DEEP};
    PackProgram *w = arena_array(a, PackProgram, count);
    MipProblem *made = arena_array(a, MipProblem, count);
    MipAnswer *solved = arena_array(a, MipAnswer, count);
    int *index = arena_array(a, int, count), made_count = 0;
    for (int i = 0; i < count; i++) {
        const bool fits = make_program(&w[i], &problem[i], a);
        answer[i] = answer_of_start(&problem[i], w[i].pack->bound * w[i].pack->grid, a);
        if (!fits)
            continue;
        index[made_count] = i;
        made[made_count++] = (MipProblem){.program = w[i].p,
                                          .start = problem[i].packed ? values_of(&w[i]) : NULL,
                                          .settings = settings,
                                          .limits = problem[i].limits};
    }
    mip_solve_all(made, made_count, children, a, solved);
    for (int k = 0; k < made_count; k++)
        take_answer(&w[index[k]], &solved[k], &answer[index[k]]);
}
