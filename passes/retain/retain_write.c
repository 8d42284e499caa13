// Writing schedules: what is wanted is there or is made, with all that takes.
//
// What is made again is made right before the first task that wants it, so that it lives briefly;
// what is stored begins its way out as soon as it is made. Cost: O(steps + reads).
#include "passes/retain/retain_write.h"

#include "ir/check.h"

RetainWriter *retain_writer(const RetainIndex *x, Arena *a) {
    RetainWriter *w = arena_new(a, RetainWriter);
    w->x = x;
    w->a = a;
    w->there = arena_array(a, bool, x->p->value_count + 1);
    w->stored = arena_array(a, bool, x->p->value_count + 1);
    for (int v = 0; v < x->p->value_count; v++)
        w->there[v] = x->p->value[v].maker < 0;
    return w;
}

static void push(RetainWriter *w, RetainKind kind, int what) {
    if (w->count == w->room) {
        const int room = w->room ? 2 * w->room : 2 * w->x->p->task_count + 64;
        w->step = arena_grow(w->a, w->step, (size_t)w->room, (size_t)room, sizeof *w->step);
        w->room = room;
    }
    w->step[w->count++] = (RetainStep){.kind = kind, .what = what};
}

// Depth: the longest chain of makers, no more than tasks of the forward.
void retain_want(RetainWriter *w, int value) {
    if (w->there[value])
        return;
    if (w->stored[value]) {
        push(w, RETAIN_FETCH, value);
        w->there[value] = true;
        return;
    }
    CHECK(retain_again(w->x->p, value));
    retain_run(w, w->x->p->value[value].maker);
}

void retain_run(RetainWriter *w, int task) {
    const RetainTask *t = &w->x->p->task[task];
    for (int i = 0; i < t->operand_count; i++)
        retain_want(w, t->operand[i]);
    push(w, RETAIN_RUN, task);
    for (int i = 0; i < t->result_count; i++)
        w->there[t->result[i]] = true;
}

void retain_store(RetainWriter *w, int value) {
    CHECK(w->there[value] && !w->stored[value]);
    push(w, RETAIN_STORE, value);
    w->stored[value] = true;
}

RetainSchedule retain_written(const RetainWriter *w) {
    return (RetainSchedule){.count = w->count, .step = w->step};
}

RetainSchedule retain_write(const RetainIndex *x, const RetainFate *fate, Arena *a) {
    const RetainProblem *p = x->p;
    RetainWriter *w = retain_writer(x, a);
    for (int t = 0; t < p->forward_count; t++) {
        retain_run(w, t);
        for (int i = 0; i < p->task[t].result_count; i++)
            if (fate[p->task[t].result[i]] == RETAIN_MOVE)
                retain_store(w, p->task[t].result[i]);
    }
    for (int v = 0; v < p->value_count; v++)
        w->there[v] = w->there[v] && fate[v] == RETAIN_KEEP;
    for (int t = p->forward_count; t < p->task_count; t++)
        retain_run(w, t);
    return retain_written(w);
}
