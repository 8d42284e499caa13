// What plans are held against (tests/bench): orders and layouts of others, by the examples their
// authors give, and on random problems that they answer soundly.
#include "passes/memory/order_solve.h"
#include "tests/bench/best_fit.h"
#include "tests/bench/graph_bound.h"
#include "tests/bench/xla_orders.h"

#include <criterion/criterion.h>

static uint32_t draw(uint64_t *state, uint32_t below) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % below;
}

// Task `maker` makes an object that the readers read.
static void put_object(OrderBuild *b, int64_t bytes, int maker, const int *reader, int count) {
    const int object = order_build_object(b, bytes, 0, NULL);
    order_build_use(b, object, maker);
    for (int i = 0; i < count; i++) {
        order_build_use(b, object, reader[i]);
        order_build_edge(b, maker, reader[i]);
    }
}

static OrderGraph *random_problem(uint64_t seed, int tasks, Arena *a) {
    uint64_t state = seed * 7919 + 1;
    OrderBuild *b = order_build_create(tasks, a);
    for (int t = 0; t < tasks; t++) {
        int reader[3], count = 0;
        for (int i = 0; i < 3 && t + 1 < tasks; i++)
            reader[count++] = t + 1 + (int)draw(&state, (uint32_t)(tasks - t - 1));
        // From 64 bytes, which is a scalar, to 576.
        const int64_t bytes = 64 * (1 + (int64_t)draw(&state, 9));
        put_object(b, bytes, t, reader, count ? 1 + (int)draw(&state, (uint32_t)count) : 0);
        order_build_transient(b, t, draw(&state, 4) ? 0 : 64);
    }
    return order_build_finish(b);
}

// The example in the source of XLA's list scheduler: A feeds B, D and E; B makes two units, which
// are always put off; C reads them, F reads D and E, G reads C and F.
Test(plan_baselines, xla_list_puts_off_what_makes_more) {
    enum { A, B, C, D, E, F, G, TASKS };
    enum { UNIT = 1024 }; // no scalars
    Arena *a = arena_create();
    OrderBuild *b = order_build_create(TASKS, a);
    put_object(b, UNIT, A, (int[]){B, D, E}, 3);
    put_object(b, 2 * UNIT, B, (int[]){C}, 1);
    put_object(b, UNIT, C, (int[]){G}, 1);
    put_object(b, UNIT, D, (int[]){F}, 1);
    put_object(b, UNIT, E, (int[]){F}, 1);
    put_object(b, 2 * UNIT, F, (int[]){G}, 1);
    const OrderGraph *og = order_build_finish(b);
    int order[TASKS];
    baseline_order(og, XLA_LIST, a, order);
    // D and E are equal: what became ready last goes first.
    const int expected[TASKS] = {A, E, D, F, B, C, G};
    cr_assert_arr_eq(order, expected, sizeof expected);
    arena_release(a);
}

// The second operand has a user more, so depth first visits it first; post-order does not look.
Test(plan_baselines, xla_depth_first_looks_at_users) {
    enum { LEFT, RIGHT, OTHER, END, TASKS };
    Arena *a = arena_create();
    OrderBuild *b = order_build_create(TASKS, a);
    put_object(b, 1024, LEFT, (int[]){END}, 1);
    put_object(b, 1024, RIGHT, (int[]){OTHER, END}, 2);
    put_object(b, 1024, OTHER, (int[]){END}, 1);
    const OrderGraph *og = order_build_finish(b);
    int order[TASKS];
    baseline_order(og, XLA_DEPTH_FIRST, a, order);
    cr_assert_arr_eq(order, ((int[]){RIGHT, OTHER, LEFT, END}), sizeof order);
    baseline_order(og, XLA_POST_ORDER, a, order);
    cr_assert_arr_eq(order, ((int[]){LEFT, RIGHT, OTHER, END}), sizeof order);
    arena_release(a);
}

// Of two gaps the smaller one is taken, though the larger lies lower.
Test(plan_baselines, the_smallest_gap_is_taken) {
    Arena *a = arena_create();
    PackItem item[] = {{.size = 100, .first = 0, .last = 0},
                       {.size = 90, .first = 0, .last = 9},
                       {.size = 80, .first = 0, .last = 0},
                       {.size = 70, .first = 0, .last = 9},
                       {.size = 60, .first = 5, .last = 9}};
    cr_assert_eq(best_fit(item, 5, BEST_FIT_SIZE, a), 340);
    cr_assert_eq(item[1].offset, 100);
    cr_assert_eq(item[3].offset, 270);
    // Gaps while it lives: 0 to 100, and 190 to 270.
    cr_assert_eq(item[4].offset, 190);
    arena_release(a);
}

static void check_layout(const OrderGraph *og, const int *order, BestFitRule rule, Arena *a) {
    int count;
    PackItem *item = order_items(og, order, a, &count);
    uint32_t at;
    const uint64_t load = pack_load(item, count, a, &at), height = best_fit(item, count, rule, a);
    uint64_t top = 0;
    for (int i = 0; i < count; i++) {
        top = item[i].offset + item[i].size > top ? item[i].offset + item[i].size : top;
        for (int k = 0; k < i; k++)
            cr_assert(item[i].first > item[k].last || item[k].first > item[i].last ||
                      item[i].offset >= item[k].offset + item[k].size ||
                      item[k].offset >= item[i].offset + item[i].size);
    }
    cr_assert_eq(top, height);
    cr_assert_geq(height, load);
}

Test(plan_baselines, answers_are_sound) {
    enum { TASKS = 12 };
    for (uint64_t seed = 0; seed < 200; seed++) {
        Arena *a = arena_create();
        const OrderGraph *og = random_problem(seed, TASKS, a);
        int order[TASKS], task;
        const OrderAnswer least = order_solve(og, NULL, a, order);
        cr_assert(least.exact);
        cr_assert_leq(graph_bound(og, a, &task), least.load);
        for (BaselineOrder which = XLA_LIST; which <= GREEDY_LIST; which++) {
            baseline_order(og, which, a, order);
            cr_assert(order_is_allowed(og, order, a));
            cr_assert_geq(order_load(og, order, a, NULL), least.load);
            check_layout(og, order, BEST_FIT_SIZE, a);
            check_layout(og, order, BEST_FIT_TIME, a);
        }
        arena_release(a);
    }
}
