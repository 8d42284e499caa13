// The integer program of orders: on random problems its answer is that of trying every order; what
// it says of a start is what order_load says; too large is said, not tried.
#include <criterion/criterion.h>

#include "passes/memory/memory_known.h"
#include "passes/memory/order_mip.h"
#include "passes/memory/programs.h"
#include "tests/unit/random_draw.h"

#include <math.h>
#include <string.h>

// Objects with one maker and a few readers mostly; some there from the start or to the end, some
// without a maker that comes first; takeovers that exclude each other.
static OrderGraph *random_graph(Arena *a, uint64_t seed, int task_max) {
    uint64_t state = seed * 1000003 + 17;
    const int tasks = 2 + (int)draw(&state, (uint32_t)task_max - 1);
    OrderBuild *b = order_build_create(tasks, a);
    const int objects = tasks + (int)draw(&state, (uint32_t)tasks);
    // Few sizes, so that there is much to take over.
    for (int o = 0; o < objects; o++) {
        const int flags = draw(&state, 8)   ? 0
                          : draw(&state, 2) ? OBJECT_FROM_START
                                            : (int)draw(&state, 4);
        order_build_object(b, 64 * (int64_t)(1 + draw(&state, 4) * (1 + draw(&state, 5))), flags,
                           NULL);
        const int maker = (int)draw(&state, (uint32_t)tasks);
        order_build_use(b, o, maker);
        for (int i = (int)draw(&state, 4); i > 0 && maker + 1 < tasks; i--) {
            const int reader = maker + 1 + (int)draw(&state, (uint32_t)(tasks - maker - 1));
            order_build_use(b, o, reader);
            if (draw(&state, 10))
                order_build_edge(b, maker, reader);
        }
    }
    for (int i = (int)draw(&state, (uint32_t)tasks); i > 0; i--) {
        const int from = (int)draw(&state, (uint32_t)tasks - 1);
        if (draw(&state, 3) == 0)
            order_build_edge(b, from, from + 1 + (int)draw(&state, (uint32_t)(tasks - from - 1)));
        else
            order_build_transient(b, from, 64 * (int64_t)draw(&state, 10));
    }
    // Between objects that one task uses, of one size: found by trying. What is taken over was
    // there before the task.
    const OrderGraph *og = order_build_finish(b);
    OrderBuild *with = order_build_create(tasks, a);
    for (int o = 0; o < objects; o++) {
        order_build_object(with, og->object[o].bytes, og->object[o].flags, NULL);
        for (int i = 0; i < og->object[o].user_count; i++)
            order_build_use(with, o, og->object[o].user[i]);
    }
    for (int v = 0; v < tasks; v++) {
        order_build_transient(with, v, og->transient[v]);
        for (int k = og->pred_begin[v]; k < og->pred_begin[v + 1]; k++)
            order_build_edge(with, og->pred[k], v);
        for (int i = og->use_begin[v]; i < og->use_begin[v + 1]; i++)
            for (int k = og->use_begin[v]; k < og->use_begin[v + 1]; k++)
                if (og->use[i] != og->use[k] && draw(&state, 3) &&
                    (og->object[og->use[k]].user_count > 1 ||
                     og->object[og->use[k]].flags & OBJECT_FROM_START) &&
                    og->object[og->use[i]].bytes == og->object[og->use[k]].bytes)
                    order_build_takeover(with, v, (OrderTakeover){og->use[i], og->use[k]});
    }
    return order_build_finish(with);
}

typedef struct {
    const OrderGraph *og;
    Arena *scratch;
    int order[16];
    int left[16]; // by task: predecessors to come
    int64_t best;
} Brute;

static void try_orders(Brute *b, int position, unsigned done) {
    const OrderGraph *og = b->og;
    if (position == og->task_count) {
        arena_reset(b->scratch);
        const int64_t load = order_load(og, b->order, b->scratch, NULL);
        b->best = load < b->best ? load : b->best;
        return;
    }
    for (int v = 0; v < og->task_count; v++) {
        bool ready = !(done >> v & 1);
        for (int k = og->pred_begin[v]; ready && k < og->pred_begin[v + 1]; k++)
            ready = done >> og->pred[k] & 1;
        if (!ready)
            continue;
        b->order[position] = v;
        try_orders(b, position + 1, done | 1u << v);
    }
}

Test(order_mip, equals_trying_every_order) {
    enum { COUNT = SLOW ? 40 : 500, TASKS = 6 };
    Arena *a = arena_create(), *scratch = arena_create();
    OrderMipProblem problem[COUNT];
    OrderMipAnswer answer[COUNT];
    int64_t better = 0, searched = 0;
    for (int i = 0; i < COUNT; i++) {
        const OrderGraph *og = random_graph(a, (uint64_t)i, TASKS);
        int *start = arena_array(a, int, og->task_count);
        order_program(og, start);
        problem[i] = (OrderMipProblem){.og = og, .name = "random", .start = i % 4 ? start : NULL};
    }
    order_mip_solve(problem, COUNT, 2, a, answer);
    for (int i = 0; i < COUNT; i++) {
        const OrderGraph *og = problem[i].og;
        Brute b = {.og = og, .scratch = scratch, .best = INT64_MAX};
        try_orders(&b, 0, 0);
        cr_assert(!answer[i].degraded, "%d: %s", i, answer[i].degraded);
        cr_assert(answer[i].order && order_is_allowed(og, answer[i].order, a));
        cr_assert_eq(answer[i].load, order_load(og, answer[i].order, a, NULL));
        cr_assert(answer[i].optimal && answer[i].load == b.best && answer[i].bound == b.best,
                  "%d: load %lld, bound %lld, every order: %lld", i, (long long)answer[i].load,
                  (long long)answer[i].bound, (long long)b.best);
        // And the search made for orders, which says it is done on problems as small as these.
        const OrderAnswer exact = order_solve(og, NULL, a, b.order);
        cr_assert(exact.exact && exact.load == b.best, "%d", i);
        if (problem[i].start)
            better += answer[i].load < order_load(og, problem[i].start, a, NULL);
        searched += answer[i].nodes > 1;
    }
    // Not only trivial ones.
    cr_assert(better > COUNT / 40 && searched > COUNT / 50, "%d %d", (int)better, (int)searched);
    arena_release(scratch);
    arena_release(a);
}

// Stopped by counted work: the start or something better, a bound below it, the same every time.
Test(order_mip, limits_are_kept) {
    Arena *a = arena_create();
    const OrderGraph *og = random_graph(a, 5, 24);
    int *start = arena_array(a, int, og->task_count);
    order_program(og, start);
    const int64_t load = order_load(og, start, a, NULL);
    OrderMipProblem problem[3] = {
        {.og = og, .name = "a", .start = start, .limits = {.nodes = 3}},
        {.og = og, .name = "b", .limits = {.work = 1000}},
        {.og = og, .name = "c", .start = start, .limits = {.entries = 9}}};
    OrderMipAnswer answer[3], again[3];
    order_mip_solve(problem, 3, 1, a, answer);
    order_mip_solve(problem, 3, 3, a, again);
    for (int i = 0; i < 3; i++)
        cr_assert(!answer[i].degraded && answer[i].load == again[i].load &&
                  answer[i].bound == again[i].bound && answer[i].nodes == again[i].nodes);
    cr_assert(answer[0].order && answer[0].load <= load && answer[0].bound <= answer[0].load);
    cr_assert(!answer[1].order && !answer[1].optimal && answer[1].bound == 0);
    cr_assert(answer[2].order == start && answer[2].load == load && answer[2].nodes == 0);
    cr_assert(!order_mip_program(&problem[2], a));
    arena_release(a);
}

// What --effort does: with less than 2 nothing, with 2 segments above the bound are solved, and an
// order is taken where its buffers need less.
Test(order_mip, effort_closes_a_gap) {
    enum { COUNT = SLOW ? 10 : 40 };
    Arena *a = arena_create();
    int better = 0;
    for (int i = 0; i < COUNT; i++) {
        const OrderGraph *og = random_graph(a, (uint64_t)i + 1000, 12);
        PassOptions options = {.effort = 1};
        PassCtx cx = {.arena = a, .scratch = a, .diag = diag_create(a), .options = &options};
        int *order = arena_array(a, int, og->task_count), count;
        order_program(og, order);
        PackItem *item = order_items(og, order, a, &count);
        MemoryAnswer answer = {.load = order_load(og, order, a, NULL), .how = "program"};
        answer.height = (int64_t)pack_solve(item, count, NULL, a).height;
        const MemoryAnswer before = answer;
        cr_assert(programs_order(&cx, "train", og, &answer, order));
        cr_assert(answer.height == before.height && answer.order.bound == 0);
        options.effort = 2;
        cr_assert(programs_order(&cx, "train", og, &answer, order));
        cr_assert(cx.degraded == 0 && order_is_allowed(og, order, a));
        cr_assert_eq(answer.load, order_load(og, order, a, NULL));
        cr_assert(answer.height <= before.height && answer.height >= answer.load,
                  "%d: %lld %lld, was %lld %lld", i, (long long)answer.height,
                  (long long)answer.load, (long long)before.height, (long long)before.load);
        better += answer.height < before.height;
        // All segments were above the bound, so what is known now is what the search proves.
        int *least = arena_array(a, int, og->task_count);
        cr_assert_eq(answer.order.bound, order_solve(og, NULL, a, least).load, "%d", i);
    }
    cr_assert(better > COUNT / 10, "%d", better);
    arena_release(a);
}

static bool same_answer(const OrderGraph *og, MemoryAnswer x, const int *order, MemoryAnswer y,
                        const int *other) {
    return x.load == y.load && x.height == y.height && x.order.load == y.order.load &&
           x.order.bound == y.order.bound && x.packed == y.packed &&
           !memcmp(order, other, (size_t)og->task_count * sizeof *order);
}

// With and without what is known, whatever the limit is; and what is known is found: the work that
// its answer tells is that of then.
Test(memory_known, changes_no_answer) {
    enum { COUNT = SLOW ? 30 : 200, TASKS = 16 };
    Arena *a = arena_create(), *scratch = arena_create();
    const MemoryKnown *known = NULL;
    for (int i = 0; i < COUNT; i++) {
        const OrderGraph *og = random_graph(a, (uint64_t)i, TASKS);
        int *order = arena_array(a, int, TASKS), *again = arena_array(a, int, TASKS);
        OrderOptions o = {.work = ORDER_WORK};
        MemoryAnswer first = memory_solve_unless_known(known, og, &o, scratch, order);
        MemoryAnswer marked = first;
        marked.order.work = -1;
        known = memory_known_add(known, og, &o, &marked, order, a);
        for (int below = -1; below <= 1; below++) {
            o.limit = first.order.load - below;
            if (o.limit <= 0)
                continue;
            const MemoryAnswer now = memory_solve_unless_known(known, og, &o, scratch, again);
            cr_assert_eq(now.order.work == -1, below <= 0, "%d: known %d", i, below);
            first = memory_solve(og, &o, scratch, order);
            cr_assert(same_answer(og, first, order, now, again), "%d: under %d", i, below);
            // An answer above its limit is not kept.
            if (below > 0)
                cr_assert_eq(memory_known_add(known, og, &o, &now, again, a), known);
            first.order.load = o.limit + below;
        }
    }
    arena_release(a);
    arena_release(scratch);
}
