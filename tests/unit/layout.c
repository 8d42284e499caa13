// Packing and budgets: no two live items share bytes, never below the load, never above no sharing
// at all; what nests packs without holes; time stays near n log n in practice.
#include "tests/unit/plan_machine.h"

#include "passes/memory/pack.h"
#include "tests/unit/random_draw.h"

#include <stdio.h>
#include <time.h>

static void check_packing(const PackItem *item, int count, uint64_t height) {
    uint64_t top = 0;
    for (int i = 0; i < count; i++) {
        top = item[i].offset + item[i].size > top ? item[i].offset + item[i].size : top;
        cr_assert_eq(item[i].offset % 64, 0);
        for (int k = 0; k < i; k++) {
            const bool meet = item[i].first <= item[k].last && item[k].first <= item[i].last;
            const bool apart = item[i].offset + item[i].size <= item[k].offset ||
                               item[k].offset + item[k].size <= item[i].offset;
            cr_assert(!meet || apart, "items %d and %d share bytes", k, i);
        }
    }
    cr_assert_eq(top, height);
}

Test(layout, random_items_never_collide) {
    for (uint64_t seed = 1; seed <= 60; seed++) {
        Arena *a = arena_create();
        uint64_t state = seed;
        PackItem item[120];
        const int count = 1 + (int)draw(&state, 120);
        uint64_t sum = 0;
        for (int i = 0; i < count; i++) {
            const uint32_t first = draw(&state, 50);
            item[i] = (PackItem){.size = 64 * (uint64_t)draw(&state, 40),
                                 .first = first,
                                 .last = first + draw(&state, 20)};
            sum += item[i].size;
        }
        uint32_t at;
        const uint64_t load = pack_load(item, count, a, &at);
        const uint64_t height = pack_solve(item, count, NULL, a).height;
        check_packing(item, count, height);
        cr_assert(height >= load && height <= sum);
        arena_release(a);
    }
}

// The load by definition: summed at every time.
Test(layout, load_is_the_largest_sum) {
    uint64_t state = 7;
    PackItem item[80];
    for (int i = 0; i < 80; i++) {
        const uint32_t first = draw(&state, 30);
        item[i] = (PackItem){.size = 64 * (1 + (uint64_t)draw(&state, 9)),
                             .first = first,
                             .last = first + draw(&state, 9)};
    }
    uint64_t most = 0;
    for (uint32_t t = 0; t < 40; t++) {
        uint64_t live = 0;
        for (int i = 0; i < 80; i++)
            live += item[i].first <= t && t <= item[i].last ? item[i].size : 0;
        most = live > most ? live : most;
    }
    Arena *a = arena_create();
    uint32_t at;
    cr_assert_eq(pack_load(item, 80, a, &at), most);
    uint64_t live = 0;
    for (int i = 0; i < 80; i++)
        live += item[i].first <= at && at <= item[i].last ? item[i].size : 0;
    cr_assert_eq(live, most);
    arena_release(a);
}

// Forward and backward: what is made last is freed first.
Test(layout, nested_lives_pack_without_holes) {
    Arena *a = arena_create();
    PackItem item[200];
    for (uint32_t i = 0; i < 100; i++) {
        item[2 * i] =
            (PackItem){.size = 64 * (1 + (i * 7) % 13), .first = 2 * i, .last = 399 - 2 * i};
        item[2 * i + 1] =
            (PackItem){.size = 64 * (1 + (i * 5) % 17), .first = 2 * i, .last = 2 * i + 1};
    }
    uint32_t at;
    const uint64_t load = pack_load(item, 200, a, &at);
    cr_assert_eq(pack_solve(item, 200, NULL, a).height, load);
    arena_release(a);
}

Test(layout, many_items_are_fast) {
    enum { COUNT = 6000 };
    Arena *a = arena_create();
    PackItem *item = arena_array(a, PackItem, COUNT);
    uint64_t state = 3;
    for (uint32_t i = 0; i < COUNT; i++) {
        const uint32_t first = draw(&state, COUNT);
        const uint32_t left = COUNT - first;
        item[i] =
            (PackItem){.size = 64 * (1 + (uint64_t)draw(&state, 4000)),
                       .first = first,
                       .last = i % 3 ? first + 1 + draw(&state, 8) : first + draw(&state, left)};
    }
    const clock_t begin = clock();
    pack_solve(item, COUNT, NULL, a);
    const double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    cr_assert(seconds < 20, "%.1f s for %d items", seconds,
              COUNT); // Generous: a slow, shared machine
    arena_release(a);
}

static const char *const chain = "graph @f(%x: f32[1000]) -> (f32[1000]) {\n"
                                 "  %a: f32[1000] = exp %x\n"
                                 "  %p: f32[1000] = softmax %a\n"
                                 "  %q: f32[1000] = softmax %p\n"
                                 "  %b: f32[1000] = mul %a, %q\n"
                                 "  %c: f32[1000] = softmax %b\n"
                                 "  return %c\n"
                                 "}\n";

static bool compile(const char *text, PassOptions options, Arena *a, PassCtx *cx) {
    static const char *const pass[] = {"legalize", "fuse", "order", "lower", "schedule", "layout"};
    *cx = (PassCtx){.arena = a, .scratch = arena_create(), .diag = diag_create(a)};
    PassOptions *kept = arena_new(a, PassOptions);
    *kept = options;
    cx->options = kept;
    Module *m = module_parse(a, cx->diag, "test.graph", text, strlen(text));
    cr_assert(m != NULL);
    const bool done = pipeline_run(m, cx, pass, 6, NULL, NULL);
    arena_release(cx->scratch);
    return done;
}

Test(layout, budget_is_kept_or_refused) {
    Arena *a = arena_create();
    PassCtx cx;
    cr_assert(compile(chain, (PassOptions){0}, a, &cx));
    const uint64_t need = cx.plan->space[0].bytes;
    cr_assert(compile(chain, (PassOptions){.budget = need}, a, &cx));
    cr_assert(!compile(chain, (PassOptions){.budget = need - 1}, a, &cx));
    const DiagItem *error = diag_item(cx.diag, 0);
    cr_assert_eq(error->code, 801);
    cr_assert(strstr(error->help, arena_format(a, "%llu bytes", (unsigned long long)need)) != NULL);
    arena_release(a);
}

// What lies in another space takes no room in this one, and each space is as tall as its own load.
Test(layout, spaces_are_packed_apart) {
    static const char *const moved = "graph @f(%x: f32[1000]) -> (f32[1000]) {\n"
                                     "  %a: f32[1000] = exp %x\n"
                                     "  %far: f32[1000] = offload %a\n"
                                     "  %p: f32[1000] = softmax %a\n"
                                     "  %q: f32[1000] = softmax %p\n"
                                     "  %near: f32[1000] = fetch %far\n"
                                     "  %b: f32[1000] = mul %near, %q\n"
                                     "  %c: f32[1000] = softmax %b\n"
                                     "  return %c\n"
                                     "}\n";
    Arena *a = arena_create();
    PassCtx cx, with;
    cr_assert(compile(chain, (PassOptions){0}, a, &cx));
    cr_assert(compile(moved, (PassOptions){0}, a, &with));
    const Plan *p = with.plan;
    cr_assert_eq(p->space_count, 2u);
    // Rule 12 of the verifier has counted the loads of both anew.
    cr_assert(p->space[1].bytes == PLAN_DISK_ALIGNMENT && p->space[1].bytes == p->space[1].load);
    cr_assert(p->space[0].bytes <= cx.plan->space[0].bytes);
    arena_release(a);
}

Test(layout, naive_shares_nothing) {
    Arena *a = arena_create();
    PassCtx cx;
    cr_assert(compile(chain, (PassOptions){.arrange = "naive"}, a, &cx));
    const Plan *p = cx.plan;
    for (uint32_t i = 0; i < p->buffer_count; i++)
        for (uint32_t k = 0; k < i; k++)
            cr_assert(p->buffer[i].offset + p->buffer[i].bytes <= p->buffer[k].offset ||
                      p->buffer[k].offset + p->buffer[k].bytes <= p->buffer[i].offset);
    arena_release(a);
}

Test(layout, unknown_arrangement_is_an_error) {
    Arena *a = arena_create();
    PassCtx cx;
    cr_assert(!compile(chain, (PassOptions){.arrange = "tidy"}, a, &cx));
    cr_assert_eq(diag_item(cx.diag, 0)->code, 803);
    cr_assert(!compile(chain, (PassOptions){.order = "random"}, a, &cx));
    cr_assert_eq(diag_item(cx.diag, 0)->code, 802);
    arena_release(a);
}
