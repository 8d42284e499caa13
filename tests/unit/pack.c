// Packing: what search finds and proves equals trying every offset; hard instances with known
// heights; what is promised of answers (no collisions, alignments, fixed offsets, gaps, the grid,
// the same every time).
#include "passes/memory/pack.h"
#include "passes/memory/pack_mend.h"
#include "tests/unit/random_draw.h"
#include "tools/pack_csv.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_live(const PackItem *item, uint32_t time) {
    if (time < item->first || time > item->last)
        return false;
    for (uint32_t i = 0; i < item->gap_count; i++)
        if (item->gap[i].first <= time && time <= item->gap[i].last)
            return false;
    return true;
}

// Whether both live at one time: at a begin of one, or behind one of its gaps.
static bool meet(const PackItem *x, const PackItem *y) {
    if (is_live(x, y->first) || is_live(y, x->first))
        return true;
    for (uint32_t i = 0; i < x->gap_count; i++)
        if (is_live(y, x->gap[i].last + 1))
            return true;
    for (uint32_t i = 0; i < y->gap_count; i++)
        if (is_live(x, y->gap[i].last + 1))
            return true;
    return false;
}

static bool collide(const PackItem *x, uint64_t at, const PackItem *y, uint64_t there) {
    return at < there + y->size && there < at + x->size && meet(x, y);
}

static void check_answer(const PackItem *item, int count, const PackAnswer *answer) {
    uint64_t height = 0;
    for (int i = 0; i < count; i++) {
        if (item[i].size && item[i].offset + item[i].size > height)
            height = item[i].offset + item[i].size;
        cr_assert(!item[i].alignment || item[i].offset % item[i].alignment == 0);
        for (int k = 0; k < i; k++)
            cr_assert(!collide(&item[i], item[i].offset, &item[k], item[k].offset), "%d and %d", i,
                      k);
    }
    cr_assert_eq(height, answer->height);
    cr_assert(answer->load <= answer->bound && answer->bound <= answer->height);
    cr_assert_eq(answer->optimal, answer->height == answer->bound);
    cr_assert(answer->try_count <= PACK_TRIES_MAX);
}

// Whether items from number i on have offsets below height, trying all multiples of the unit.
static bool fits(PackItem *item, int count, int i, uint64_t height, uint64_t unit, uint64_t *at) {
    if (i == count)
        return true;
    for (uint64_t offset = 0; offset + item[i].size <= height; offset += unit) {
        if (item[i].fixed ? offset != item[i].offset
                          : item[i].alignment && offset % item[i].alignment)
            continue;
        bool clear = true;
        for (int k = 0; k < i && clear; k++)
            clear = !collide(&item[i], offset, &item[k], at[k]);
        at[i] = offset;
        if (clear && fits(item, count, i + 1, height, unit, at))
            return true;
    }
    return false;
}

enum { ITEMS = 7, UNIT = 8 };

// Sizes and offsets are multiples of UNIT, alignments too.
static int random_items(uint64_t seed, PackItem *item, PackSpan *gap) {
    uint64_t state = seed * 7919 + 1;
    const int count = 2 + (int)draw(&state, ITEMS - 1);
    const uint32_t times = 4 + draw(&state, 5);
    for (int i = 0; i < count; i++) {
        const uint32_t first = draw(&state, times);
        item[i] = (PackItem){.size = UNIT * (uint64_t)(1 + draw(&state, 4)),
                             .first = first,
                             .last = first + draw(&state, times - first)};
        if (seed % 3 == 1)
            item[i].alignment = (uint64_t)UNIT << draw(&state, 3);
        if (seed % 3 == 2 && item[i].last - first > 1 && draw(&state, 2)) {
            gap[i] = (PackSpan){first + 1, item[i].last - 1};
            item[i].gap = &gap[i];
            item[i].gap_count = 1;
        }
    }
    if (seed % 4 == 3) {
        item[0].fixed = true;
        item[0].offset = item[0].alignment ? item[0].alignment : UNIT * draw(&state, 6);
    }
    return count;
}

Test(pack, equals_trying_every_offset) {
    enum { COUNT = SLOW ? 100 : 1500 };
    int above_load = 0;
    for (uint64_t seed = 0; seed < COUNT; seed++) {
        Arena *a = arena_create();
        PackItem item[ITEMS];
        PackSpan gap[ITEMS];
        uint64_t at[ITEMS];
        const int count = random_items(seed, item, gap);
        const PackAnswer answer = pack_solve(item, count, NULL, a);
        check_answer(item, count, &answer);
        cr_assert(answer.optimal, "seed %llu", (unsigned long long)seed);
        cr_assert(!fits(item, count, 0, answer.height - UNIT, UNIT, at),
                  "seed %llu: lower than %llu", (unsigned long long)seed,
                  (unsigned long long)answer.height);
        above_load += answer.height > answer.load;
        arena_release(a);
    }
    // Proofs, not loads met, are what is tested.
    cr_assert(above_load > COUNT / 10, "%d", above_load);
}

// A block of time and memory cut into pieces: they pack without a hole, but no greedy order finds
// it.
Test(pack, cut_blocks_are_put_together) {
    enum { PIECES = 120, BLOCKS = SLOW ? 2 : 8, TIMES = 100, HEIGHT = 1024 };
    for (uint64_t seed = 1; seed <= BLOCKS; seed++) {
        Arena *a = arena_create();
        PackItem item[PIECES] = {{.size = HEIGHT, .first = 0, .last = TIMES - 1}};
        uint64_t state = seed;
        for (int count = 1; count < PIECES;) {
            PackItem *old = &item[draw(&state, (uint32_t)count)];
            const uint32_t width = old->last - old->first + 1;
            // Long pieces are cut in time, tall ones in memory.
            if (draw(&state, TIMES + HEIGHT / 10) < width && width > 1) {
                item[count] = *old;
                old->last = old->first + draw(&state, width - 1);
                item[count++].first = old->last + 1;
            } else if (old->size > 8) {
                item[count] = *old;
                item[count].size = 1 + draw(&state, (uint32_t)old->size - 1);
                old->size -= item[count++].size;
            }
        }
        const PackAnswer answer = pack_solve(item, PIECES, NULL, a);
        check_answer(item, PIECES, &answer);
        cr_assert(answer.optimal && answer.height == HEIGHT, "seed %llu: %llu, %s",
                  (unsigned long long)seed, (unsigned long long)answer.height, answer.how);
        arena_release(a);
    }
}

static PackCsv *read_file(const char *path, Arena *a) {
    FILE *in = fopen(path, "rb");
    cr_assert(in, "%s", path);
    char *text = arena_alloc(a, 1, 1 << 16);
    const size_t size = fread(text, 1, (1 << 16) - 1, in);
    fclose(in);
    PackCsv *csv = pack_csv_read(a, diag_create(a), path, text, size);
    cr_assert(csv, "%s", path);
    return csv;
}

Test(pack, minimalloc_instances_fit) {
    for (char name = 'A'; name <= 'F'; name++) {
        Arena *a = arena_create();
        PackCsv *csv = read_file(
            arena_format(a, PLIM_SOURCE_DIR "/tests/unit/minimalloc/%c.1048576.csv", name), a);
        const PackOptions options = {.capacity = 1048576};
        const PackAnswer answer = pack_solve(csv->item, csv->count, &options, a);
        check_answer(csv->item, csv->count, &answer);
        cr_assert(answer.height <= 1048576, "%c: %llu", name, (unsigned long long)answer.height);
        // Far below the default: a search that got slower shows here, whatever the machine.
        cr_assert(answer.work < 60000000, "%c: %lld steps", name, (long long)answer.work);
        for (int i = 0; i < csv->count; i++)
            cr_assert_eq(csv->item[i].offset % 1024, 0);
        arena_release(a);
    }
}

// Sizes that share a large divisor, times far apart, and an answer that is the same twice.
Test(pack, answers_repeat_on_the_grid) {
    enum { COUNT = 150 };
    for (uint64_t seed = 1; seed <= 10; seed++) {
        Arena *a = arena_create();
        PackItem item[COUNT], again[COUNT];
        uint64_t state = seed;
        for (int i = 0; i < COUNT; i++) {
            const uint32_t first = draw(&state, 60) * 70000000u;
            item[i] = (PackItem){.size = 3000 * (uint64_t)draw(&state, 50),
                                 .first = first,
                                 .last = first + draw(&state, 80000000)};
        }
        memcpy(again, item, sizeof item);
        const PackOptions options = {.work = 3000000};
        const PackAnswer x = pack_solve(item, COUNT, &options, a),
                         y = pack_solve(again, COUNT, &options, a);
        check_answer(item, COUNT, &x);
        cr_assert(memcmp(item, again, sizeof item) == 0 && x.height == y.height &&
                  x.work == y.work);
        for (int i = 0; i < COUNT; i++)
            cr_assert_eq(item[i].offset % 3000, 0);
        arena_release(a);
    }
}

// What lives always is put aside, and what never meets is packed by itself: neither costs height.
Test(pack, state_and_entries) {
    Arena *a = arena_create();
    PackItem item[] = {{.size = 100, .first = 0, .last = 99}, {.size = 30, .first = 0, .last = 9},
                       {.size = 20, .first = 10, .last = 30}, {.size = 25, .first = 20, .last = 49},
                       {.size = 7, .first = 0, .last = 99},   {.size = 40, .first = 50, .last = 99},
                       {.size = 0, .first = 3, .last = 4}};
    const int count = sizeof item / sizeof item[0];
    PackAnswer answer = pack_solve(item, count, NULL, a);
    check_answer(item, count, &answer);
    cr_assert_eq(answer.height, 152);
    cr_assert(answer.optimal && answer.load == 152 && answer.peak >= 20 && answer.peak <= 30);
    // Nothing at all is fine, too.
    answer = pack_solve(item, 0, NULL, a);
    cr_assert(answer.optimal && answer.height == 0);
    arena_release(a);
}

// Capacity ends the search; little work gives a valid answer all the same.
Test(pack, work_and_capacity_bound_the_search) {
    Arena *a = arena_create();
    PackCsv *csv = read_file(PLIM_SOURCE_DIR "/tests/unit/minimalloc/D.1048576.csv", a);
    const PackOptions little = {.work = 1}, some = {.work = 2000000},
                      enough = {.capacity = 2000000};
    const PackAnswer x = pack_solve(csv->item, csv->count, &little, a);
    check_answer(csv->item, csv->count, &x);
    const PackAnswer y = pack_solve(csv->item, csv->count, &some, a);
    check_answer(csv->item, csv->count, &y);
    cr_assert(y.work < 3000000 && y.height <= x.height);
    const PackAnswer z = pack_solve(csv->item, csv->count, &enough, a);
    cr_assert(z.height <= 2000000 && z.try_count == 1);
    arena_release(a);
}

// Lives and sizes of all magnitudes; a third each: plain, with alignments, with gaps.
static void random_magnitudes(uint64_t seed, PackItem *item, PackSpan *gap, int count) {
    uint64_t state = seed;
    for (int i = 0; i < count; i++) {
        const uint32_t first = draw(&state, 4 * (uint32_t)count);
        item[i] = (PackItem){.size = UNIT * (uint64_t)(1 + draw(&state, 2u << draw(&state, 16))),
                             .first = first,
                             .last = first + draw(&state, 2u << draw(&state, 11))};
        if (seed % 3 == 1)
            item[i].alignment = (uint64_t)UNIT << draw(&state, 3);
        if (seed % 3 == 2 && item[i].last - first > 10) {
            gap[i] = (PackSpan){first + 3, item[i].last - 3};
            item[i].gap = &gap[i];
            item[i].gap_count = 1;
        }
    }
}

// What sticks out finds room among the rest: lower than every order, and still a packing.
Test(pack, mending_lowers_what_orders_leave) {
    enum { COUNT = SLOW ? 600 : 2000, WORK = SLOW ? 20000000 : 100000000 };
    for (uint64_t seed = 0; seed < 6; seed++) {
        Arena *a = arena_create();
        PackItem *item = arena_array(a, PackItem, COUNT);
        random_magnitudes(seed, item, arena_array(a, PackSpan, COUNT), COUNT);
        const PackProblem *p = pack_problem_create(item, COUNT, a);
        Packing packing = {.offset = arena_array(a, uint64_t, p->count + 1)};
        pack_portfolio(p, p->bound, WORK, &packing, a);
        const uint64_t before = packing.height;
        pack_mend(p, p->bound, WORK, &packing, a);
        cr_assert(packing.height < before || before == p->bound, "seed %llu: %llu",
                  (unsigned long long)seed, (unsigned long long)before);
        for (int32_t i = 0; i < p->count; i++)
            item[p->part[i].index].offset = packing.offset[i] * p->grid;
        const PackAnswer answer = {.height = packing.height * p->grid,
                                   .bound = p->bound * p->grid,
                                   .optimal = packing.height == p->bound};
        check_answer(item, COUNT, &answer);
        arena_release(a);
    }
}

// Fixed parts can't make room: the packing stays as it is, and no work is spent.
Test(pack, mending_leaves_fixed_parts_alone) {
    Arena *a = arena_create();
    PackItem item[] = {{.size = 8, .first = 0, .last = 9, .fixed = true, .offset = 8},
                       {.size = 16, .first = 5, .last = 15}};
    const PackProblem *p = pack_problem_create(item, 2, a);
    Packing packing = {.offset = arena_array(a, uint64_t, p->count + 1)};
    pack_portfolio(p, p->bound, 1000, &packing, a);
    const Packing before = packing;
    pack_mend(p, p->bound, 1000, &packing, a);
    cr_assert(packing.height == before.height && packing.work == before.work);
    arena_release(a);
}
