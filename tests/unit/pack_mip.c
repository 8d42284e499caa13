// The integer program of packing: on random items its answer is that of an exhaustive search, with
// alignments, gaps and fixed offsets; no two items that meet share bytes.
#include <criterion/criterion.h>

#include "passes/memory/pack_mip.h"
#include "passes/memory/programs.h"
#include "tests/unit/random_draw.h"

#include <string.h>

enum { ITEMS_MAX = 7 };

typedef struct {
    PackItem item[ITEMS_MAX];
    PackSpan gap[ITEMS_MAX];
    int count;
} Sample;

static bool live_at(const PackItem *x, uint32_t t) {
    for (uint32_t i = 0; i < x->gap_count; i++)
        if (x->gap[i].first <= t && t <= x->gap[i].last)
            return false;
    return x->first <= t && t <= x->last;
}

static bool meet(const PackItem *x, const PackItem *y) {
    for (uint32_t t = x->first; t <= x->last; t++)
        if (live_at(x, t) && live_at(y, t))
            return true;
    return false;
}

static bool collide(const PackItem *x, uint64_t at, const PackItem *y, uint64_t other) {
    return x->size && y->size && at < other + y->size && other < at + x->size && meet(x, y);
}

static void random_sample(uint64_t seed, Sample *s) {
    uint64_t state = seed * 31337 + 11;
    s->count = 3 + (int)draw(&state, ITEMS_MAX - 2);
    const uint32_t times = 4 + draw(&state, 8);
    for (int i = 0; i < s->count; i++) {
        const uint32_t first = draw(&state, times);
        s->item[i] = (PackItem){.size = 64 * (uint64_t)draw(&state, 9),
                                .first = first,
                                .last = first + draw(&state, times - first)};
        if (seed % 3 == 1 && draw(&state, 2))
            s->item[i].alignment = 64u << draw(&state, 3);
        if (seed % 3 == 2 && s->item[i].last - first > 2 && draw(&state, 2)) {
            s->gap[i] = (PackSpan){first + 1, s->item[i].last - 1};
            s->item[i].gap = &s->gap[i];
            s->item[i].gap_count = 1;
        }
    }
    // One item lies where it lies: nothing else is fixed, so nothing collides with it.
    if (seed % 4 == 3) {
        s->item[0].fixed = true;
        s->item[0].offset = s->item[0].alignment ? 2 * s->item[0].alignment : 64 * draw(&state, 9);
    }
}

typedef struct {
    const Sample *s;
    uint64_t at[ITEMS_MAX];
    uint64_t best;
} Brute;

// Items are pushed down in some lowest packing: so each lies at the bottom, or on one that is
// placed already, rounded up; trying all orders of placing finds it.
static void try_places(Brute *b, unsigned placed, uint64_t height) {
    const Sample *s = b->s;
    if (height >= b->best)
        return;
    if (placed == (1u << s->count) - 1) {
        b->best = height;
        return;
    }
    for (int i = 0; i < s->count; i++) {
        if (placed >> i & 1)
            continue;
        const PackItem *item = &s->item[i];
        for (int k = -1; k < s->count; k++) {
            if (k >= 0 && (!(placed >> k & 1) || item->fixed))
                continue;
            const uint64_t alignment = item->alignment ? item->alignment : 1;
            uint64_t at = k < 0 ? 0 : b->at[k] + s->item[k].size;
            at = item->fixed ? item->offset : (at + alignment - 1) / alignment * alignment;
            bool clear = true;
            for (int j = 0; j < s->count && clear; j++)
                clear = !(placed >> j & 1) || !collide(item, at, &s->item[j], b->at[j]);
            if (!clear)
                continue;
            b->at[i] = at;
            const uint64_t top = item->size ? at + item->size : 0;
            try_places(b, placed | 1u << i, top > height ? top : height);
        }
        // What is fixed, or takes no room, is the same whenever it is placed.
        if (item->fixed || item->size == 0)
            return;
    }
}

static void check_packing(const Sample *s, const PackMipAnswer *got) {
    uint64_t height = 0;
    for (int i = 0; i < s->count; i++) {
        const PackItem *item = &s->item[i];
        const uint64_t at = got->offset[i];
        cr_assert(!item->fixed || at == item->offset);
        cr_assert(!item->alignment || at % item->alignment == 0);
        height = item->size && at + item->size > height ? at + item->size : height;
        for (int k = 0; k < i; k++)
            cr_assert(!collide(item, at, &s->item[k], got->offset[k]), "%d and %d", k, i);
    }
    cr_assert_eq(height, got->height);
}

Test(pack_mip, equals_trying_every_place) {
    enum { COUNT = SLOW ? 40 : 300 };
    static Sample sample[COUNT];
    Arena *a = arena_create();
    PackMipProblem problem[COUNT];
    PackMipAnswer answer[COUNT];
    int above_load = 0, agreed = 0;
    for (int i = 0; i < COUNT; i++) {
        random_sample((uint64_t)i, &sample[i]);
        problem[i] =
            (PackMipProblem){.item = sample[i].item, .count = sample[i].count, .name = "random"};
        if (i % 2) {
            pack_solve(sample[i].item, sample[i].count, NULL, a);
            problem[i].packed = true;
        }
    }
    pack_mip_solve(problem, COUNT, 2, a, answer);
    for (int i = 0; i < COUNT; i++) {
        cr_assert(!answer[i].degraded && answer[i].offset, "%d: %s", i, answer[i].degraded);
        check_packing(&sample[i], &answer[i]);
        Brute b = {.s = &sample[i], .best = UINT64_MAX};
        try_places(&b, 0, 0);
        cr_assert(answer[i].optimal && answer[i].height == b.best && answer[i].bound == b.best,
                  "%d: height %llu, bound %llu, every place: %llu", i,
                  (unsigned long long)answer[i].height, (unsigned long long)answer[i].bound,
                  (unsigned long long)b.best);
        uint32_t at;
        above_load += b.best > pack_load(sample[i].item, sample[i].count, a, &at);
        // Where the search of packing says that it is done, too.
        const PackAnswer exact = pack_solve(sample[i].item, sample[i].count, NULL, a);
        agreed += exact.optimal;
        cr_assert(exact.optimal ? exact.height == b.best : exact.height >= b.best);
        cr_assert(exact.bound <= b.best);
    }
    cr_assert(above_load >= COUNT / 20 && agreed > COUNT / 2, "%d %d", above_load, agreed);
    arena_release(a);
}

Test(pack_mip, limits_are_kept) {
    Arena *a = arena_create();
    enum { COUNT = 40 };
    PackItem item[COUNT];
    uint64_t state = 4;
    for (int i = 0; i < COUNT; i++) {
        const uint32_t first = draw(&state, 40);
        item[i] = (PackItem){.size = 64 * (uint64_t)(1 + draw(&state, 50)),
                             .first = first,
                             .last = first + draw(&state, 30)};
    }
    const PackAnswer start = pack_solve(item, COUNT, NULL, a);
    PackMipProblem problem[3] = {
        {.item = item, .count = COUNT, .name = "a", .packed = true, .limits = {.nodes = 20}},
        {.item = item, .count = COUNT, .name = "b", .limits = {.work = 1000}},
        {.item = item, .count = COUNT, .name = "c", .packed = true, .limits = {.entries = 100}}};
    PackMipAnswer answer[3], again[3];
    pack_mip_solve(problem, 3, 1, a, answer);
    pack_mip_solve(problem, 3, 3, a, again);
    for (int i = 0; i < 3; i++) {
        cr_assert(!answer[i].degraded && answer[i].height == again[i].height &&
                  answer[i].bound == again[i].bound && answer[i].nodes == again[i].nodes);
        // The load is known without any search.
        cr_assert(answer[i].bound >= start.load);
    }
    cr_assert(answer[0].offset && answer[0].height <= start.height);
    cr_assert(!answer[1].offset && !answer[1].optimal);
    cr_assert(answer[2].offset && answer[2].height == start.height && answer[2].nodes == 0);
    cr_assert(!pack_mip_program(&problem[2], a));
    arena_release(a);
}

// What --effort does: with less than 2 nothing, with 2 the gap is closed.
Test(pack_mip, effort_closes_a_gap) {
    for (int effort = 0; effort < 3; effort++) {
        Arena *a = arena_create();
        PassOptions options = {.effort = effort};
        PassCtx cx = {.arena = a, .scratch = a, .diag = diag_create(a), .options = &options};
        Sample s;
        random_sample(3 * 17, &s);
        PackAnswer packed = {.how = "naive"};
        for (int i = 0; i < s.count; i++) {
            s.item[i].fixed = false;
            s.item[i].offset = packed.height;
            packed.height += s.item[i].size;
        }
        const uint64_t naive = packed.height;
        packed.bound = packed.load = pack_load(s.item, s.count, a, &packed.peak);
        cr_assert(programs_pack(&cx, "train", s.item, s.count, &packed));
        cr_assert_eq(packed.optimal, effort == 2);
        cr_assert(effort == 2 ? packed.height < naive : packed.height == naive);
        const PackMipAnswer got = {.height = packed.height,
                                   .offset = (uint64_t[]){s.item[0].offset, s.item[1].offset,
                                                          s.item[2].offset, s.item[3].offset,
                                                          s.item[4].offset, s.item[5].offset,
                                                          s.item[6].offset}};
        check_packing(&s, &got);
        cr_assert(cx.degraded == 0 && diag_item_count(cx.diag) == 0);
        arena_release(a);
    }
}
