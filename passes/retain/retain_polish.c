// Last changes to the best schedules found: each value of each of them is kept, made again or moved
// instead, one at a time, and what then is as good as others is changed further (a Pareto local
// search). A schedule is taken for the fates its steps show; one in which parts run again and again
// may not be among those that fates can say, and its changes are then changes of another.
//
// Work is counted in steps measured, of fates after each batch of changes: small problems are
// searched well, large ones hardly.
#include "passes/retain/retain_polish.h"

#include "passes/retain/retain_edit.h"
#include "passes/retain/retain_fill.h"

#include <string.h>

// BATCH: changes of fates that are measured at a time.
enum { STEPS_ALL = 3000000, BATCH = 16 };

// The value has another fate.
typedef struct {
    int value;
    RetainFate to;
} Change;

typedef struct {
    const RetainIndex *x;
    RetainFront *front;
    Arena *a, *steps, *fills;
    RetainFate *fate;
    Change change[BATCH];
    int change_count;
    RetainEdit *edit;
    const RetainStep **done; // schedules whose changes have been tried
    int done_count, done_room;
    int64_t work;
    bool moves;
} Polish;

static bool is_done(const Polish *k, const RetainStep *step) {
    for (int i = 0; i < k->done_count; i++)
        if (k->done[i] == step)
            return true;
    return false;
}

static void set_done(Polish *k, const RetainStep *step) {
    if (k->done_count == k->done_room) {
        const int room = 2 * k->done_room + 64;
        k->done = arena_grow(k->a, k->done, (size_t)k->done_room, (size_t)room, sizeof *k->done);
        k->done_room = room;
    }
    k->done[k->done_count++] = step;
}

// A value is moved if it is stored, made again if its maker runs again, and else kept.
static void find_fates(const Polish *k, const RetainSchedule *s) {
    const RetainProblem *p = k->x->p;
    int next = 0;
    memset(k->fate, 0, sizeof *k->fate * (size_t)p->value_count);
    for (int i = 0; i < s->count; i++) {
        const int what = s->step[i].what;
        if (s->step[i].kind == RETAIN_STORE)
            k->fate[what] = RETAIN_MOVE;
        if (s->step[i].kind != RETAIN_RUN || what == next++)
            continue;
        next--;
        for (int n = 0; n < p->task[what].result_count; n++)
            if (k->fate[p->task[what].result[n]] == RETAIN_KEEP)
                k->fate[p->task[what].result[n]] = RETAIN_AGAIN;
    }
}

static void measure(Polish *k) {
    arena_reset(k->steps);
    const RetainSchedule s = retain_write(k->x, k->fate, k->steps);
    k->work += s.count;
    retain_front_add(k->front, s);
}

static RetainSchedule write_change(const void *polish, int index, Arena *a) {
    const Polish *k = polish;
    const Change c = k->change[index];
    const int values = k->x->p->value_count;
    RetainFate *fate = arena_array(a, RetainFate, values + 1);
    memcpy(fate, k->fate, sizeof *fate * (size_t)values);
    fate[c.value] = c.to;
    return retain_write(k->x, fate, a);
}

static void measure_changes(Polish *k) {
    k->work += retain_front_add_each(k->front, k->change_count, write_change, k);
    k->change_count = 0;
}

static bool may_change(const RetainProblem *p, int value) {
    const int maker = p->value[value].maker;
    return maker >= 0 && maker < p->forward_count && !p->value[value].kept &&
           retain_bytes(p, value);
}

static void change_each(Polish *k) {
    const RetainProblem *p = k->x->p;
    for (int v = 0; v < p->value_count && k->work < STEPS_ALL; v++) {
        if (!may_change(p, v))
            continue;
        for (RetainFate to = RETAIN_KEEP; to <= RETAIN_MOVE; to++) {
            const bool may = to == RETAIN_KEEP    ? true
                             : to == RETAIN_AGAIN ? retain_again(p, v)
                                                  : k->moves && retain_movable(p, v);
            if (may && to != k->fate[v])
                k->change[k->change_count++] = (Change){v, to};
        }
        // A value has two other fates at most.
        if (k->change_count + 2 > BATCH)
            measure_changes(k);
    }
    measure_changes(k);
}

static void change_moved(Polish *k, const RetainSchedule *s) {
    RetainFate *fill[RETAIN_FILLS_MAX];
    find_fates(k, s);
    arena_reset(k->fills);
    const int count = retain_fill(k->x, k->fate, fill, k->fills);
    for (int i = 0; i < count; i++) {
        memcpy(k->fate, fill[i], sizeof *k->fate * (size_t)k->x->p->value_count);
        measure(k);
    }
}

static void change_steps(Polish *k, const RetainSchedule *s) {
    k->work += retain_edit_each(k->edit, s, STEPS_ALL - k->work);
}

static void change_fates(Polish *k, const RetainSchedule *s) {
    find_fates(k, s);
    change_each(k);
}

// Changes every point of the front, from its start again whenever something changed it.
static void climb(Polish *k, void (*change)(Polish *k, const RetainSchedule *s)) {
    k->done_count = 0;
    for (int i = 0; i < k->front->count && k->work < STEPS_ALL;) {
        const RetainSchedule s = k->front->point[i].schedule;
        if (is_done(k, s.step)) {
            i++;
            continue;
        }
        set_done(k, s.step);
        change(k, &s);
        i = i > 0 ? i - 1 : 0;
    }
}

void retain_polish(const RetainIndex *x, bool moves, RetainFront *front) {
    Polish k = {.x = x, .front = front, .moves = moves, .a = arena_create()};
    k.steps = arena_create();
    k.fate = arena_array(k.a, RetainFate, x->p->value_count + 1);
    k.edit = retain_edit(x, moves, front, k.a);
    k.fills = arena_create();
    climb(&k, change_fates);
    if (moves)
        climb(&k, change_moved);
    climb(&k, change_steps);
    retain_edit_end(k.edit);
    arena_release(k.steps);
    arena_release(k.fills);
    arena_release(k.a);
}
