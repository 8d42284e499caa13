// The points worth having: candidates from every method, each measured, none better than another.
#include "passes/retain/retain_front.h"
#include "passes/retain/retain_greedy.h"
#include "passes/retain/retain_index.h"

enum { RUNGS = 24 };

// While a task runs for the first time there are: what it reads and makes, its own bytes, the
// arguments; and what was made once, can't be moved and is read from then on.
static int64_t find_bound(const RetainIndex *x, const RetainOptions *o, Arena *a) {
    const RetainProblem *p = x->p;
    int64_t *load = arena_array(a, int64_t, p->task_count + 2);
    for (int v = 0; v < p->value_count; v++) {
        const int maker = p->value[v].maker;
        const int64_t bytes = retain_bytes(p, v);
        if (maker < 0 || !bytes)
            continue;
        int last = maker;
        for (int i = x->reader_begin[v]; i < x->reader_begin[v + 1]; i++)
            last = x->reader[i];
        last = p->value[v].kept ? p->task_count - 1 : last;
        if (!retain_again(p, v) && !(o->far && retain_movable(p, v))) {
            load[maker] += bytes;
            load[last + 1] -= bytes;
            continue;
        }
        load[maker] += bytes;
        load[maker + 1] -= bytes;
        for (int i = x->reader_begin[v]; i < x->reader_begin[v + 1]; i++) {
            load[x->reader[i]] += bytes;
            load[x->reader[i] + 1] -= bytes;
        }
    }
    int64_t now = 0, most = 0;
    for (int t = 0; t < p->task_count; t++) {
        now += load[t];
        most = now + p->task[t].transient > most ? now + p->task[t].transient : most;
    }
    return most + retain_ambient(p);
}

// Everything runs once and nothing moves: the first point, even where another is as fast.
static RetainPoint run_once(const RetainProblem *p, Arena *a) {
    RetainStep *step = arena_array(a, RetainStep, p->task_count + 1);
    for (int t = 0; t < p->task_count; t++)
        step[t] = (RetainStep){.kind = RETAIN_RUN, .what = t};
    const RetainSchedule s = {.count = p->task_count, .step = step};
    return (RetainPoint){.cost = retain_cost(p, &s, a), .schedule = s};
}

RetainFrontier retain_frontier(const RetainProblem *p, const RetainOptions *options, Arena *a) {
    const RetainIndex *x = retain_index(p, a);
    RetainFront *front = retain_front(p, options->far, a);
    retain_greedy(x, options->rungs ? options->rungs : RUNGS, front);
    retain_front_end(front);
    RetainPoint *point = arena_array(a, RetainPoint, front->count + 1);
    int count = 1;
    point[0] = run_once(p, a);
    for (int i = 0; i < front->count; i++)
        if (front->point[i].cost.bytes < point[0].cost.bytes)
            point[count++] = front->point[i];
    return (RetainFrontier){.count = count, .point = point, .bound = find_bound(x, options, a)};
}
