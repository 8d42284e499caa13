// Sets of values to move that keep the copies busy.
//
// Copies out go one after another, each from when its value is made. What is away before the turn
// costs no time, so of the sets that are over by some time that with most bytes is wanted: a
// knapsack whose items come one by one, solved forward. A price a byte, by which the dynamic
// program of blocks chooses, can't tell such sets apart: it leaves the link idle where the next
// value in its order is a little too long.
//
// Cost: values times sets.
#include "passes/retain/retain_fill.h"

#include <string.h>

// ALIKE: sets that are as good, of those that are looked at.
enum { ALIKE = 8 };

// A set: `value` beside those of the set before it.
typedef struct {
    int64_t free;      // picoseconds: when its copies are over
    int64_t bytes;     // of it
    int value, before; // -1: none
} Fill;

typedef struct {
    const RetainIndex *x;
    Arena *a;
    Fill *fill; // all that were made
    int count, room;
    int list[RETAIN_FILLS_MAX]; // those that are no worse than another: rising free and bytes
    int list_count;
    int64_t end; // of the forward
} Work;

static int add_fill(Work *w, Fill f) {
    if (w->count == w->room) {
        const int room = 2 * w->room + 256;
        w->fill = arena_grow(w->a, w->fill, (size_t)w->room, (size_t)room, sizeof f);
        w->room = room;
    }
    w->fill[w->count] = f;
    return w->count++;
}

// Of a list in order of time what has more bytes than all before; of too many every second or so.
static void take_best(Work *w, const int *all, int count) {
    int *best = arena_array(w->a, int, count + 1), kept = 0, alike = 0;
    for (int i = 0; i < count; i++) {
        const Fill *f = &w->fill[all[i]], *last = kept ? &w->fill[best[kept - 1]] : NULL;
        alike = last && f->bytes == last->bytes && f->free == last->free ? alike + 1 : 0;
        if (!last || f->bytes > last->bytes || (alike && alike < ALIKE))
            best[kept++] = all[i];
    }
    w->list_count = kept < RETAIN_FILLS_MAX ? kept : RETAIN_FILLS_MAX;
    for (int i = 0; i < w->list_count; i++)
        w->list[i] = best[(int64_t)i * kept / w->list_count];
}

// Each set with the value, which is made now, and without.
static void offer(Work *w, int value, int64_t now) {
    const RetainValue *v = &w->x->p->value[value];
    int with[RETAIN_FILLS_MAX], all[2 * RETAIN_FILLS_MAX], count = 0, next = 0, more = 0;
    for (int i = 0; i < w->list_count; i++) {
        const Fill f = w->fill[w->list[i]];
        const int64_t over = (f.free > now ? f.free : now) + v->out;
        if (over <= w->end)
            with[more++] = add_fill(w, (Fill){over, f.bytes + v->bytes, value, w->list[i]});
    }
    for (int i = 0; i < w->list_count; i++) {
        while (next < more && w->fill[with[next]].free < w->fill[w->list[i]].free)
            all[count++] = with[next++];
        all[count++] = w->list[i];
    }
    while (next < more)
        all[count++] = with[next++];
    take_best(w, all, count);
}

static bool may_move(const RetainIndex *x, const RetainFate *fate, int value) {
    return fate[value] != RETAIN_AGAIN && retain_movable(x->p, value) && !x->p->value[value].kept &&
           retain_bytes(x->p, value) && x->first_backward[value] < x->p->task_count;
}

int retain_fill(const RetainIndex *x, const RetainFate *fate, RetainFate **out, Arena *a) {
    const RetainProblem *p = x->p;
    Work w = {.x = x, .a = a};
    int64_t now = 0;
    for (int t = 0; t < p->forward_count; t++)
        w.end += retain_time(p, t);
    w.list[w.list_count++] = add_fill(&w, (Fill){.value = -1, .before = -1});
    for (int t = 0; t < p->forward_count; t++) {
        now += retain_time(p, t);
        for (int r = 0; r < p->task[t].result_count; r++)
            if (may_move(x, fate, p->task[t].result[r]))
                offer(&w, p->task[t].result[r], now);
    }
    for (int i = 0; i < w.list_count; i++) {
        out[i] = arena_array(a, RetainFate, p->value_count + 1);
        for (int v = 0; v < p->value_count; v++)
            out[i][v] = fate[v] == RETAIN_MOVE ? RETAIN_KEEP : fate[v];
        for (int f = w.list[i]; w.fill[f].value >= 0; f = w.fill[f].before)
            out[i][w.fill[f].value] = RETAIN_MOVE;
    }
    return w.list_count;
}
