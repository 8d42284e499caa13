// Windows: where a graph has no cuts, an order has: around its peak a stretch of it is taken out,
// with what it finds and leaves, and ordered anew as a problem of its own.
//
// The tasks in a window keep their place as a whole, so all edges to others stay obeyed, and what
// others see is the same; the load of the whole falls when that of the window at the peak does. A
// window begins small around the peak; where its search (passes/memory/order_search.c) finds
// nothing better, it grows; where it does, the next peak is looked at. It ends when no window size
// helps. Deterministic: work is counted. Cost: a walk over the order a window, and the stated work.
#include "passes/memory/order_window.h"

#include "passes/memory/order_part.h"
#include "passes/memory/order_search.h"

#include <string.h>

enum { WINDOW_MAX = 32 * ORDER_WINDOW };
// Steps of one window's search at most.
#define WINDOW_WORK 1000000LL

typedef struct {
    const OrderGraph *og;
    const int *order;
    int *position; // by task
    int begin, end;
    int *number; // by object: its number in the window, or -1
} Window;

// What of it lives before the window, and behind it.
static int window_flags(const Window *w, const OrderObject *o) {
    int flags = o->flags;
    for (int i = 0; i < o->user_count; i++) {
        const int at = w->position[o->user[i]];
        if (at < w->begin)
            flags |= OBJECT_FROM_START;
        if (at >= w->end)
            flags |= OBJECT_KEPT;
    }
    return flags;
}

// The window's tasks by position, as a problem of their own.
static OrderGraph *window_problem(const Window *w, Arena *a) {
    const OrderGraph *og = w->og;
    OrderBuild *b = order_build_create(w->end - w->begin, a);
    memset(w->number, 0xff, (size_t)og->object_count * sizeof *w->number);
    for (int p = w->begin; p < w->end; p++) {
        const int task = w->order[p], at = p - w->begin;
        for (int i = og->use_begin[task]; i < og->use_begin[task + 1]; i++) {
            const OrderObject *o = &og->object[og->use[i]];
            int *number = &w->number[og->use[i]];
            if (*number < 0)
                *number = order_build_object(b, o->bytes, window_flags(w, o), o->owner);
            order_build_use(b, *number, at);
        }
        for (int i = og->pred_begin[task]; i < og->pred_begin[task + 1]; i++)
            if (w->position[og->pred[i]] >= w->begin)
                order_build_edge(b, w->position[og->pred[i]] - w->begin, at);
        for (int i = og->over_begin[task]; i < og->over_begin[task + 1]; i++)
            order_build_takeover(
                b, at, (OrderTakeover){w->number[og->over[i].made], w->number[og->over[i].over]});
        order_build_transient(b, at, og->transient[task]);
    }
    return order_build_finish(b);
}

// Reorders the window in place if that makes it lower. excess: by how much it is worth to be lower.
static bool search_window(const Window *w, int64_t excess, int64_t work, int *order,
                          OrderWindows *out) {
    Arena *scratch = arena_create();
    const OrderGraph *part = window_problem(w, scratch);
    const int count = w->end - w->begin;
    int *found = arena_array(scratch, int, count + 1), *old = arena_array(scratch, int, count + 1);
    order_program(part, found);
    const int64_t load = order_load(part, found, scratch, NULL);
    const int64_t own = order_bound(part, scratch), enough = load - excess;
    const int64_t low = own > enough ? own : enough;
    OrderSearch s = {.load = load};
    if (low < load)
        s = order_search(part, low, load, work, found);
    out->work += s.work + count;
    out->windows++;
    memcpy(old, order + w->begin, (size_t)count * sizeof *old);
    for (int i = 0; i < count && s.found; i++)
        order[w->begin + i] = old[found[i]];
    arena_release(scratch);
    return s.found;
}

OrderWindows order_improve(const OrderGraph *og, OrderWindowOptions options, Arena *scratch,
                           int *order) {
    Window w = {.og = og,
                .order = order,
                .position = arena_array(scratch, int, og->task_count + 1),
                .number = arena_array(scratch, int, og->object_count + 1)};
    OrderWindows out = {0};
    Arena *walk = arena_create();
    for (int size = options.size ? options.size : ORDER_WINDOW;;) {
        int peak;
        out.load = order_load(og, order, walk, &peak);
        arena_reset(walk);
        if (out.load <= options.bound || size > WINDOW_MAX || out.work >= options.work)
            break;
        for (int p = 0; p < og->task_count; p++)
            w.position[order[p]] = p;
        w.begin = peak > size / 2 ? peak - size / 2 : 0;
        w.end = w.begin + size < og->task_count ? w.begin + size : og->task_count;
        const int64_t left = options.work - out.work, excess = out.load - options.bound;
        if (!search_window(&w, excess, left < WINDOW_WORK ? left : WINDOW_WORK, order, &out))
            size *= 2;
    }
    arena_release(walk);
    return out;
}
