// Judging orders by the arena they need.
//
// The order of least load comes first. Where its buffers pack to that load and the load is proved,
// nothing can be lower. Otherwise other orders whose load lies below the height are packed as well:
// list schedules, and orders found under limits between load and height; the lowest stays. Very
// small problems are searched through: all orders, depth first, cut off where the live bytes reach
// the least height so far. Work of packing is bounded for each order; pass_layout spends more on
// the one that is taken.
#include "passes/memory/memory_solve.h"

#include "passes/memory/order_part.h"
#include "passes/memory/order_search.h"
#include "passes/memory/order_state.h"

#include <string.h>

// Steps of packing an order while orders are compared.
#define COMPARE_WORK 20000000LL

typedef struct {
    const OrderGraph *og;
    Arena *a; // for the answer; packing has arenas of its own
    MemoryAnswer out;
    int *best;     // order
    int64_t bound; // of the heights of orders whose packing is not proved
    // All orders:
    OrderState *state;
    int *trail;
} MemoryWork;

// Packs the order's buffers, and keeps the order where that is lower than what there was.
static void judge(MemoryWork *w, const int *order, const char *how) {
    Arena *scratch = arena_create();
    const int64_t load = order_load(w->og, order, scratch, NULL);
    if (load < w->out.height) {
        int count;
        PackItem *item = order_items(w->og, order, scratch, &count);
        const PackOptions options = {.work = COMPARE_WORK};
        const PackAnswer packed = pack_solve(item, count, &options, scratch);
        w->out.packed++;
        if (!packed.optimal && (int64_t)packed.bound < w->bound)
            w->bound = (int64_t)packed.bound;
        if ((int64_t)packed.height < w->out.height) {
            w->out.load = load;
            w->out.height = (int64_t)packed.height;
            w->out.how = how;
            memcpy(w->best, order, (size_t)w->og->task_count * sizeof *order);
        }
    }
    arena_release(scratch);
}

// Nothing fits: the order of least load as it is.
static void give_up(MemoryWork *w) {
    w->out.load = w->out.height = w->out.order.load;
    w->out.how = w->out.order.how;
    memcpy(w->best, w->trail, (size_t)w->og->task_count * sizeof *w->best);
}

static bool is_done(const MemoryWork *w) {
    return w->out.height <= w->out.order.bound;
}

// Every order whose load stays below the least height. Returns at once when the bound is met.
static void judge_all(MemoryWork *w, int count) {
    OrderState *s = w->state;
    if (count == w->og->task_count) {
        judge(w, w->trail, "packed best");
        return;
    }
    for (int task = 0; task < w->og->task_count && !is_done(w); task++) {
        if (s->ready_at[task] < 0 || order_state_load(s, task) >= w->out.height)
            continue;
        w->trail[count] = task;
        order_state_run(s, task);
        judge_all(w, count + 1);
        order_state_undo(s, task);
    }
}

// Orders of nearby load: found under limits from the least load to just below the height.
static void judge_nearby(MemoryWork *w) {
    enum { LIMITS = 4 };
    Arena *scratch = arena_create();
    int *order = arena_array(scratch, int, w->og->task_count + 1);
    const int64_t low = w->out.order.load, high = w->out.height - 1;
    for (int i = 0; i < LIMITS && !is_done(w); i++)
        for (int rule = 0; rule < ORDER_RULES && !is_done(w); rule++) {
            const int64_t limit = low + (high - low) * i / (LIMITS - 1);
            if (limit < w->out.height && order_within(w->og, rule, limit, order))
                judge(w, order, "packed best");
        }
    arena_release(scratch);
}

MemoryAnswer memory_solve(const OrderGraph *og, const OrderOptions *options, Arena *scratch,
                          int *order) {
    int *of;
    const OrderGraph *small = order_contract(og, scratch, &of);
    const int tasks = small->task_count;
    MemoryWork w = {.og = small, .a = scratch, .best = arena_array(scratch, int, tasks + 1)};
    w.trail = arena_array(scratch, int, tasks + 1);
    w.out.order = order_solve(small, options, scratch, w.trail);
    w.out.height = w.bound = INT64_MAX;
    if (options && options->limit && w.out.order.load > options->limit)
        give_up(&w);
    else
        judge(&w, w.trail, w.out.order.how);
    if (w.out.packed && !is_done(&w) && tasks <= MEMORY_TASKS_ALL) {
        w.state = order_state_create(small, scratch);
        judge_all(&w, 0);
        w.out.optimal = w.out.height <= w.bound;
    } else if (w.out.height > w.out.load) {
        for (OrderList i = 0; i < ORDER_LIST_COUNT && !is_done(&w); i++) {
            order_list_make(small, i, scratch, w.trail);
            judge(&w, w.trail, order_list_name(i));
        }
        judge_nearby(&w);
    }
    w.out.optimal = w.out.optimal || is_done(&w);
    order_expand(og, of, w.best, tasks, scratch, order);
    // Where no task uses memory, what is carried along is all there is.
    if (tasks == 0)
        w.out.load = w.out.height = w.out.order.load = w.out.order.bound = w.out.order.early =
            order_load(og, order, scratch, NULL);
    return w.out;
}
