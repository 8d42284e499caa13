// The best schedules found so far. Cost of an addition: that of measuring, and O(points).
#include "passes/retain/retain_front.h"

#include <string.h>

RetainFront *retain_front(const RetainProblem *p, int64_t far, Arena *a) {
    RetainFront *f = arena_new(a, RetainFront);
    *f = (RetainFront){.p = p, .far = far, .a = a, .trial = arena_create()};
    return f;
}

void retain_front_end(RetainFront *f) {
    arena_release(f->trial);
    f->trial = NULL;
}

static void insert(RetainFront *f, int at, int drop, RetainPoint point) {
    RetainStep *copy = arena_array(f->a, RetainStep, point.schedule.count + 1);
    memcpy(copy, point.schedule.step, sizeof *copy * (size_t)point.schedule.count);
    point.schedule.step = copy;
    if (f->count == f->room) {
        const int room = f->room ? 2 * f->room : 64;
        f->point = arena_grow(f->a, f->point, (size_t)f->room, (size_t)room, sizeof *f->point);
        f->room = room;
    }
    memmove(f->point + at + 1, f->point + at + drop,
            sizeof *f->point * (size_t)(f->count - at - drop));
    f->point[at] = point;
    f->count += 1 - drop;
}

RetainCost retain_front_add(RetainFront *f, RetainSchedule s) {
    arena_reset(f->trial);
    const RetainCost cost = retain_cost_beyond(f->p, &s, f->point, f->count, f->trial);
    if (cost.far > f->far)
        return cost;
    // Of the points that need no more bytes the first is the fastest.
    int end = 0;
    while (end < f->count && f->point[end].cost.bytes > cost.bytes)
        end++;
    if (end < f->count && f->point[end].cost.time <= cost.time)
        return cost;
    int begin = end;
    while (begin > 0 && f->point[begin - 1].cost.time >= cost.time)
        begin--;
    end += end < f->count && f->point[end].cost.bytes == cost.bytes;
    insert(f, begin, end - begin, (RetainPoint){.cost = cost, .schedule = s});
    return cost;
}
