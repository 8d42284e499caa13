// The best schedules found so far. Cost of an addition: that of measuring, and O(points).
//
// Several may be measured at a time: against the front as it was before the first of them, and
// taken in one after another then. Measuring stops early only for what some point beats anyway, so
// the front becomes what it would be with one at a time.
#include "passes/retain/retain_front.h"

#include "ir/fork_join.h"

#include <string.h>

RetainFront *retain_front(const RetainProblem *p, int64_t far, Arena *a) {
    RetainFront *f = arena_new(a, RetainFront);
    *f = (RetainFront){.p = p, .far = far, .a = a, .trial = arena_create()};
    return f;
}

void retain_front_end(RetainFront *f) {
    arena_release(f->trial);
    for (int i = 0; i < RETAIN_FRONT_LANES; i++) {
        arena_release(f->lane[i]);
        arena_release(f->lane_trial[i]);
    }
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

// Takes in what was measured, a copy of it, where it is worth having.
static void take(RetainFront *f, RetainPoint point) {
    const RetainCost cost = point.cost;
    if (cost.far > f->far)
        return;
    // Of the points that need no more bytes the first is the fastest.
    int end = 0;
    while (end < f->count && f->point[end].cost.bytes > cost.bytes)
        end++;
    if (end < f->count && f->point[end].cost.time <= cost.time)
        return;
    int begin = end;
    while (begin > 0 && f->point[begin - 1].cost.time >= cost.time)
        begin--;
    end += end < f->count && f->point[end].cost.bytes == cost.bytes;
    insert(f, begin, end - begin, point);
}

RetainCost retain_front_add(RetainFront *f, RetainSchedule s) {
    arena_reset(f->trial);
    const RetainCost cost = retain_cost_beyond(f->p, &s, f->point, f->count, f->trial);
    take(f, (RetainPoint){.cost = cost, .schedule = s});
    return cost;
}

typedef struct {
    const RetainFront *f;
    RetainMake make;
    const void *user;
    int count, lanes;
    RetainPoint *out; // by number
} Batch;

// Every so many of the schedules. What the front has already is beaten by costs that are too low,
// too, so it doesn't matter that those measured at the same time are not in it yet.
static void measure_lane(void *batch, int lane) {
    const Batch *b = batch;
    Arena *trial = b->f->lane_trial[lane];
    for (int i = lane; i < b->count; i += b->lanes) {
        arena_reset(trial);
        const RetainSchedule s = b->make(b->user, i, b->f->lane[lane]);
        b->out[i].schedule = s;
        b->out[i].cost = retain_cost_beyond(b->f->p, &s, b->f->point, b->f->count, trial);
    }
}

int64_t retain_front_add_each(RetainFront *f, int count, RetainMake make, const void *user) {
    const int width = fork_join_width();
    const int lanes = width < RETAIN_FRONT_LANES ? width : RETAIN_FRONT_LANES;
    Batch b = {.f = f, .make = make, .user = user, .count = count, .lanes = lanes};
    for (int i = 0; i < lanes; i++) {
        f->lane[i] = f->lane[i] ? f->lane[i] : arena_create();
        f->lane_trial[i] = f->lane_trial[i] ? f->lane_trial[i] : arena_create();
        arena_reset(f->lane[i]);
    }
    arena_reset(f->trial);
    b.out = arena_array(f->trial, RetainPoint, count + 1);
    fork_join(lanes, measure_lane, &b);
    int64_t steps = 0;
    for (int i = 0; i < count; i++) {
        steps += b.out[i].schedule.count;
        take(f, b.out[i]);
    }
    return steps;
}
