// Solving a problem of ordering: list schedules, cut into segments, search where they leave a gap.
//
// Tasks that use no memory are contracted, those that only make some wait until they are needed
// (passes/memory/order_delay.c), and the rest is cut at memory-insensitive tasks
// (passes/memory/order_part.c). In every segment the best list schedule is kept, whichever won in
// others: segments are independent. The largest bound of any segment bounds the whole, so only
// segments that lie above it are searched (passes/memory/order_search.c), the highest first, and
// those that look like one searched before (repeated layers) take over its order. Where a gap is
// left, windows around the peak are searched, beginning with what was found and with each list
// (passes/memory/order_window.c). Cost: n log n, the bounds' n^2 / 64, and the searches' stated
// work.
#include "passes/memory/order_solve.h"

#include "ir/check.h"
#include "passes/memory/order_delay.h"
#include "passes/memory/order_flow.h"
#include "passes/memory/order_part.h"
#include "passes/memory/order_search.h"
#include "passes/memory/order_window.h"

#include <stdlib.h>
#include <string.h>

// Steps of one cut at most.
#define CUT_WORK 100000000LL

static const char *const list_name[ORDER_LIST_COUNT] = {"program", "depth-first", "list", "eager"};

const char *order_list_name(OrderList which) {
    return list_name[which];
}

void order_list_make(const OrderGraph *og, OrderList which, Arena *scratch, int *order) {
    switch (which) {
    case ORDER_PROGRAM:
        order_program(og, order);
        return;
    case ORDER_DEPTH_FIRST:
        order_depth_first(og, scratch, order);
        return;
    case ORDER_LIST:
        order_list(og, LIST_LEAST, scratch, order);
        return;
    case ORDER_EAGER:
        order_list(og, LIST_EAGER, scratch, order);
        return;
    case ORDER_LIST_COUNT:
        break;
    }
    UNREACHABLE();
}

// One segment being solved. Loads are those of its own problem: without what it carries along.
typedef struct {
    const OrderSegment *segment;
    int *order;          // of its tasks
    int64_t load, bound; // of its order; proved
    bool searched;
} Leaf;

typedef struct {
    const OrderGraph *og; // contracted, and with edges that lose nothing
    Arena *a;
    Leaf *leaf;
    int leaf_count;
    int64_t work;                  // left
    int64_t limit;                 // where the bound is above it, search ends
    int64_t work_max, window_work; // for one search; left for all windows
    OrderAnswer out;
} SolveWork;

// The list schedule's part in every segment, where it is the best so far.
static void take_list(SolveWork *w, const int *order) {
    Arena *scratch = arena_create();
    int *part = arena_array(scratch, int, w->og->task_count + 1);
    for (int i = 0; i < w->leaf_count; i++) {
        Leaf *l = &w->leaf[i];
        const int begin = l->segment->begin, count = l->segment->end - begin;
        for (int k = 0; k < count; k++)
            part[k] = order[begin + k] - begin;
        const int64_t load = order_load(l->segment->og, part, scratch, NULL);
        if (load >= l->load)
            continue;
        l->load = load;
        memcpy(l->order, part, (size_t)count * sizeof *part);
    }
    arena_release(scratch);
}

static int64_t leaf_height(const Leaf *l) {
    return l->segment->base + l->load;
}

static int compare_leaves(const void *a, const void *b) {
    const Leaf *x = *(const Leaf *const *)a, *y = *(const Leaf *const *)b;
    if (leaf_height(x) != leaf_height(y))
        return leaf_height(x) > leaf_height(y) ? -1 : 1;
    return (x > y) - (x < y);
}

// A leaf searched before whose problem is the same.
static const Leaf *find_twin(Leaf *const *sorted, int count, const Leaf *l) {
    for (int i = 0; i < count; i++)
        if (sorted[i]->searched && sorted[i]->segment->hash == l->segment->hash &&
            order_graph_equal(sorted[i]->segment->og, l->segment->og))
            return sorted[i];
    return NULL;
}

// The best bound a cut at the order's peak proves. Where it meets the load, the order is proved.
static void bound_peak(SolveWork *w, Leaf *l) {
    const OrderGraph *og = l->segment->og;
    Arena *scratch = arena_create();
    int peak;
    order_load(og, l->order, scratch, &peak);
    int64_t work = CUT_WORK;
    const int64_t bound = order_cut_bound(og, l->order[peak], &work, scratch);
    l->bound = bound > l->bound ? bound : l->bound;
    w->out.work += CUT_WORK - work;
    arena_release(scratch);
}

// floor: a load of this much does no harm, for some segment needs it anyway.
static void search_leaf(SolveWork *w, Leaf *l, int64_t floor) {
    const int64_t low = floor > l->bound ? floor : l->bound;
    const OrderSearch s = order_search(l->segment->og, low, l->load, w->work, l->order);
    l->load = s.load;
    // Below the floor nothing was proved.
    if (s.bound > low)
        l->bound = s.bound;
    l->searched = true;
    w->work -= s.work;
    w->out.work += s.work;
    w->out.searched++;
}

// Bytes that no order needs fewer of, as far as the segments tell.
static int64_t bound_of_leaves(const SolveWork *w) {
    int64_t bound = 0;
    for (int i = 0; i < w->leaf_count; i++) {
        const int64_t own = w->leaf[i].segment->base + w->leaf[i].bound;
        bound = own > bound ? own : bound;
    }
    return bound;
}

static void solve_leaves(SolveWork *w) {
    Leaf **sorted = arena_array(w->a, Leaf *, w->leaf_count + 1);
    int64_t bound = bound_of_leaves(w);
    for (int i = 0; i < w->leaf_count; i++)
        sorted[i] = &w->leaf[i];
    qsort(sorted, (size_t)w->leaf_count, sizeof *sorted, compare_leaves);
    w->out.early = bound;
    for (int i = 0; i < w->leaf_count && leaf_height(sorted[i]) > bound; i++) {
        Leaf *l = sorted[i];
        if (i > 0 && bound > w->limit)
            break;
        const Leaf *twin = find_twin(sorted, i, l);
        if (twin && twin->load <= l->load) {
            l->load = twin->load;
            l->bound = twin->bound;
            memcpy(l->order, twin->order,
                   (size_t)(l->segment->end - l->segment->begin) * sizeof *l->order);
            w->out.repeated++;
        }
        if (leaf_height(l) > bound && l->bound < l->load)
            bound_peak(w, l);
        bound = l->segment->base + l->bound > bound ? l->segment->base + l->bound : bound;
        w->out.early = i == 0 ? bound : w->out.early;
        if (leaf_height(l) > bound && bound <= w->limit && w->work > 0) {
            search_leaf(w, l, bound - l->segment->base);
            // Another peak may prove more.
            if (l->bound < l->load)
                bound_peak(w, l);
        }
        const int64_t own = l->segment->base + l->bound;
        bound = own > bound ? own : bound;
    }
    w->out.bound = bound;
}

// Segments, with bounds and the best of the lists.
static void make_leaves(SolveWork *w) {
    const OrderSegment *segment = order_segments(w->og, w->a, &w->leaf_count);
    w->leaf = arena_array(w->a, Leaf, w->leaf_count + 1);
    Arena *scratch = arena_create();
    for (int i = 0; i < w->leaf_count; i++) {
        const int count = segment[i].end - segment[i].begin;
        w->leaf[i] = (Leaf){.segment = &segment[i],
                            .order = arena_array(w->a, int, count + 1),
                            .load = INT64_MAX,
                            .bound = order_bound(segment[i].og, scratch)};
        arena_reset(scratch);
    }
    arena_release(scratch);
    int *list = arena_array(w->a, int, w->og->task_count + 1);
    for (OrderList i = 0; i < ORDER_LIST_COUNT; i++) {
        order_list_make(w->og, i, w->a, list);
        take_list(w, list);
    }
}

// The list schedules of the problem as it stands: their loads, and the best of them in order.
static int64_t try_lists(const OrderGraph *og, Arena *scratch, int *order, OrderAnswer *out) {
    int *list = arena_array(scratch, int, og->task_count + 1);
    int64_t best = INT64_MAX;
    for (OrderList i = 0; i < ORDER_LIST_COUNT; i++) {
        order_list_make(og, i, scratch, list);
        out->list_load[i] = order_load(og, list, scratch, NULL);
        if (out->list_load[i] >= best)
            continue;
        best = out->list_load[i];
        out->how = list_name[i];
        memcpy(order, list, (size_t)og->task_count * sizeof *order);
    }
    return best;
}

// The segments' orders, one after another, in the tasks of the contracted problem.
static void join_leaves(const SolveWork *w, const int *of, int *order) {
    for (int i = 0; i < w->leaf_count; i++) {
        const Leaf *l = &w->leaf[i];
        for (int k = l->segment->begin; k < l->segment->end; k++)
            order[k] = of[l->order[k - l->segment->begin] + l->segment->begin];
    }
}

// Windows of the order, kept in best where that becomes lower.
static void try_windows(SolveWork *w, const OrderGraph *og, int *order, int *best) {
    const int64_t most = w->window_work < w->work_max ? w->window_work : w->work_max;
    const OrderWindowOptions options = {.bound = w->out.bound, .work = most};
    if (most <= 0 || w->out.bound > w->limit)
        return;
    const OrderWindows better = order_improve(og, options, w->a, order);
    w->out.work += better.work;
    w->out.windows += better.windows;
    w->window_work -= better.work;
    if (better.load >= w->out.load)
        return;
    w->out.load = better.load;
    w->out.how = "searched";
    memmove(best, order, (size_t)og->task_count * sizeof *order);
}

// From the best order, and from others near it: they may lead further down.
static void improve(SolveWork *w, const OrderGraph *og, int *joined, int *best) {
    int *list = arena_array(w->a, int, og->task_count + 1);
    if (w->out.load > w->out.bound) {
        memcpy(list, best, (size_t)og->task_count * sizeof *list);
        try_windows(w, og, list, best);
    }
    if (w->out.load > w->out.bound)
        try_windows(w, og, joined, best);
    for (OrderList i = 0; i < ORDER_LIST_COUNT && w->out.load > w->out.bound; i++) {
        if (w->out.list_load[i] / 2 > w->out.load)
            continue;
        order_list_make(og, i, w->a, list);
        try_windows(w, og, list, best);
    }
}

// Whether a list, or the best of them in every segment, will do. order: room for one.
static bool is_plain_enough(SolveWork *w, const OrderGraph *og, const int *of, int64_t best,
                            int *order) {
    w->out.early = w->out.bound = bound_of_leaves(w);
    join_leaves(w, of, order);
    const int64_t joined = order_load(og, order, w->a, NULL);
    best = joined < best ? joined : best;
    return best <= w->limit && best > w->out.bound;
}

OrderAnswer order_solve(const OrderGraph *og, const OrderOptions *options, Arena *scratch,
                        int *order) {
    int *of, *of_delayed;
    const OrderGraph *small = order_contract(og, scratch, &of);
    SolveWork w = {.og = order_delay(small, scratch, &of_delayed),
                   .a = scratch,
                   .work_max = options && options->work ? options->work : ORDER_WORK,
                   .limit = options && options->limit ? options->limit : INT64_MAX};
    w.work = w.work_max;
    w.window_work = 3 * w.work_max;
    int *best = arena_array(scratch, int, small->task_count + 1);
    int *joined = arena_array(scratch, int, small->task_count + 1);
    const int64_t best_load = try_lists(small, scratch, best, &w.out);
    make_leaves(&w);
    const bool asked = options && options->plain && options->limit;
    w.out.plain = asked && is_plain_enough(&w, small, of_delayed, best_load, joined);
    if (!w.out.plain)
        solve_leaves(&w);
    w.out.segments = w.leaf_count;
    join_leaves(&w, of_delayed, joined);
    w.out.load = order_load(small, joined, scratch, NULL);
    // Of equals the plain one stays.
    if (w.out.load < best_load) {
        w.out.how = "searched";
        memcpy(best, joined, (size_t)small->task_count * sizeof *best);
    }
    w.out.load = w.out.load < best_load ? w.out.load : best_load;
    if (!w.out.plain)
        improve(&w, small, joined, best);
    order_expand(og, of, best, small->task_count, scratch, order);
    // Where no task uses memory, what is carried along is all there is.
    if (small->task_count == 0)
        w.out.load = w.out.bound = w.out.early = order_load(og, order, scratch, NULL);
    w.out.exact = w.out.load == w.out.bound;
    return w.out;
}
