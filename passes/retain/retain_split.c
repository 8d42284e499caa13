// Values in parts: of a schedule's values that move or are made again, one at a time is cut in
// every way there is, and what is as good as others stays in the front (retain.h says what parts
// do). So between two schedules of which one moves a value that the other keeps there are those
// that keep a quarter of it, and a schedule whose copies take longer than its tasks moves as much
// as they have time for, which is the fraction of MEMO (2407.12117) to the nearest part.
//
//   STORE x .. FETCH x            of parts a, b, c: a stays, b moves, c is made again
//   RUN t .. RUN t again, for x   STORE x behind the first, FETCH x in place of the second
//
// First come the values that the schedule before it in the front, which is faster, treats
// otherwise: those are what the step between the two is made of. Then those whose store or second
// run is latest: they wait least for their turn. Points that came from a cut are cut again.
//
// Cost: work is counted in steps measured. Where that is not enough to look at each schedule, those
// looked at are spread over the front.
#include "passes/retain/retain_split.h"

#include <string.h>

// SWEEPS: over the front, so many values of a schedule may be cut. CANDIDATES: of a schedule and
// sweep at most.
enum { STEPS_ALL = 1500000, SWEEPS = 3, CANDIDATES = 6 };

typedef struct {
    const RetainIndex *x;
    RetainFront *front;
    bool moves;
    Arena *a;
    // Of the schedule looked at, by value; -1: none.
    int *store, *fetch; // steps; of fetches the first
    int *run, *again;   // steps of the maker: the first, the second
    bool *twice;        // the maker runs more often than that
    bool *before;       // by value: the schedule before stores it or makes it again
    int64_t work;
} Split;

// Where values are stored, fetched and made.
static void find_steps(Split *k, const RetainSchedule *s) {
    const RetainProblem *p = k->x->p;
    for (int v = 0; v < p->value_count; v++) {
        k->store[v] = k->fetch[v] = k->run[v] = k->again[v] = -1;
        k->twice[v] = false;
    }
    for (int i = 0; i < s->count; i++) {
        const RetainStep *step = &s->step[i];
        if (step->kind == RETAIN_STORE)
            k->store[step->what] = i;
        if (step->kind == RETAIN_FETCH && k->fetch[step->what] < 0)
            k->fetch[step->what] = i;
        const RetainTask *t = step->kind == RETAIN_RUN ? &p->task[step->what] : NULL;
        for (int r = 0; t && r < t->result_count; r++) {
            const int v = t->result[r];
            k->twice[v] = k->again[v] >= 0;
            if (k->run[v] < 0)
                k->run[v] = i;
            else if (k->again[v] < 0)
                k->again[v] = i;
        }
    }
}

// A value that a cut can say more of: it goes away and comes back, or its maker runs just twice and
// for it alone.
static bool may_cut(const Split *k, int v) {
    const RetainProblem *p = k->x->p;
    if (!p->value[v].parts || p->value[v].kept)
        return false;
    if (k->store[v] >= 0)
        return k->fetch[v] > k->store[v] && k->run[v] >= 0 && k->again[v] < 0;
    return k->again[v] >= 0 && !k->twice[v] && p->task[p->value[v].maker].result_count == 1;
}

// Ways to cut a value of a schedule.
typedef struct {
    const Split *k;
    const RetainSchedule *s;
    int value;
    RetainStep *store; // by way
} Cuts;

static RetainSchedule cut(const void *cuts, int index, Arena *a) {
    const Cuts *c = cuts;
    const Split *k = c->k;
    const RetainSchedule *s = c->s;
    const int v = c->value;
    RetainStep *step = arena_array(a, RetainStep, s->count + 2);
    if (k->store[v] >= 0) {
        memcpy(step, s->step, sizeof *step * (size_t)s->count);
        step[k->store[v]] = c->store[index];
        return (RetainSchedule){.count = s->count, .step = step};
    }
    int count = 0;
    for (int i = 0; i < s->count; i++) {
        step[count++] =
            i == k->again[v] ? (RetainStep){.kind = RETAIN_FETCH, .what = v} : s->step[i];
        if (i == k->run[v])
            step[count++] = c->store[index];
    }
    return (RetainSchedule){.count = count, .step = step};
}

// Every way to cut v but those that leave it whole.
static void try_cuts(Split *k, const RetainSchedule *s, int v) {
    const RetainProblem *p = k->x->p;
    const int parts = p->value[v].parts, most = retain_rows(p, v) ? parts - 1 : 0;
    const bool moves = k->moves && retain_movable(p, v);
    Cuts c = {.k = k, .s = s, .value = v};
    int count = 0;
    c.store = arena_array(k->a, RetainStep, parts * (parts + 1) + 1);
    for (int near = 0; near < parts; near++)
        for (int again = 0; again <= most && near + again <= parts; again++) {
            if (!moves && near + again < parts)
                continue;
            c.store[count++] =
                (RetainStep){.kind = RETAIN_STORE, .what = v, .near = near, .again = again};
        }
    k->work += retain_front_add_each(k->front, count, cut, &c);
}

// Values of the schedule that may be cut, those to begin with first. before: NULL for none.
static int list_candidates(Split *k, const RetainSchedule *s, const RetainSchedule *before,
                           int *out) {
    const int values = k->x->p->value_count;
    memset(k->before, 0, sizeof *k->before * (size_t)values);
    if (before) {
        find_steps(k, before);
        for (int v = 0; v < values; v++)
            k->before[v] = k->store[v] >= 0 || k->again[v] >= 0;
    }
    find_steps(k, s);
    int count = 0;
    for (int changed = 1; changed >= 0; changed--)
        for (int i = s->count - 1; i >= 0 && count < CANDIDATES; i--) {
            const RetainStep *step = &s->step[i];
            const RetainTask *t = step->kind == RETAIN_RUN ? &k->x->p->task[step->what] : NULL;
            const int v = t ? t->result_count == 1 ? t->result[0] : -1 : step->what;
            if (v >= 0 && (i == k->store[v] || i == k->again[v]) && may_cut(k, v) &&
                k->before[v] == !changed)
                out[count++] = v;
        }
    return count;
}

static void sweep(Split *k, int64_t limit) {
    const int count = k->front->count;
    if (k->work >= limit)
        return;
    RetainPoint *point = arena_array(k->a, RetainPoint, count + 1);
    int64_t steps = 0;
    for (int i = 0; i < count; i++) {
        point[i] = k->front->point[i];
        steps += point[i].schedule.count;
    }
    // Some ten measurements a value.
    int64_t apart = steps * 2 * CANDIDATES / (limit - k->work) + 1;
    for (int64_t i = 0; i < count && k->work < limit; i += apart) {
        int candidate[CANDIDATES];
        const int candidates = list_candidates(k, &point[i].schedule,
                                               i > 0 ? &point[i - 1].schedule : NULL, candidate);
        for (int n = 0; n < candidates && k->work < limit; n++)
            try_cuts(k, &point[i].schedule, candidate[n]);
    }
}

void retain_split(const RetainIndex *x, bool moves, RetainFront *front) {
    bool any = false;
    for (int v = 0; v < x->p->value_count; v++)
        any = any || (x->p->value[v].parts && (moves || retain_rows(x->p, v)));
    if (!any)
        return;
    Split k = {.x = x, .front = front, .moves = moves, .a = arena_create()};
    const int values = x->p->value_count + 1;
    k.store = arena_array(k.a, int, values);
    k.fetch = arena_array(k.a, int, values);
    k.run = arena_array(k.a, int, values);
    k.again = arena_array(k.a, int, values);
    k.twice = arena_array(k.a, bool, values);
    k.before = arena_array(k.a, bool, values);
    for (int i = 1; i <= SWEEPS; i++)
        sweep(&k, (int64_t)STEPS_ALL / SWEEPS * i);
    arena_release(k.a);
}
