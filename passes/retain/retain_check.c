// Is a schedule allowed? One walk over its steps.
//
// Tasks run for the first time in their order, each at least once; `once` ones no second time.
// What a step reads has been made before it. A value goes to far memory at most once, and only one
// that can be moved unless every part of it stays or is made again; it is fetched, as often as
// wanted, after that.
#include "passes/retain/retain_index.h"

// NULL, or why the task can't run at this step.
static const char *check_run(const RetainProblem *p, int step, int task, int *next,
                             const bool *made, Arena *a) {
    if (task < 0 || task >= p->task_count)
        return arena_format(a, "step %d runs task %d; there are %d", step, task, p->task_count);
    const RetainTask *t = &p->task[task];
    if (task > *next)
        return arena_format(a, "step %d runs task %d before task %d", step, task, *next);
    if (task < *next && t->flags & RETAIN_ONCE)
        return arena_format(a, "step %d runs task %d again, which runs once", step, task);
    for (int i = 0; i < t->operand_count; i++)
        if (!made[t->operand[i]])
            return arena_format(a, "step %d reads value %d, which is not made yet", step,
                                t->operand[i]);
    *next += task == *next;
    return NULL;
}

static const char *check_move(const RetainProblem *p, int step, RetainStep s, const bool *made,
                              bool *far, Arena *a) {
    if (s.what < 0 || s.what >= p->value_count)
        return arena_format(a, "step %d moves value %d; there are %d", step, s.what,
                            p->value_count);
    if (s.kind == RETAIN_FETCH)
        return far[s.what]
                   ? NULL
                   : arena_format(a, "step %d fetches value %d, which is not stored", step, s.what);
    const RetainParts parts = retain_parts(p, s);
    if (parts.near < 0 || parts.far < 0 || parts.again < 0 || parts.near == parts.all ||
        parts.again == parts.all)
        return arena_format(a, "step %d cuts value %d into %d, %d and %d of %d parts", step, s.what,
                            parts.near, parts.far, parts.again, parts.all);
    if (parts.far && !retain_movable(p, s.what))
        return arena_format(a, "step %d moves value %d, which can't be moved", step, s.what);
    if (parts.again && !retain_rows(p, s.what))
        return arena_format(a, "step %d makes parts of value %d again, which can't be", step,
                            s.what);
    if (!made[s.what])
        return arena_format(a, "step %d stores value %d, which is not made yet", step, s.what);
    if (far[s.what])
        return arena_format(a, "step %d stores value %d a second time", step, s.what);
    far[s.what] = true;
    return NULL;
}

const char *retain_check(const RetainProblem *p, const RetainSchedule *s, Arena *a) {
    bool *made = arena_array(a, bool, p->value_count + 1);
    bool *far = arena_array(a, bool, p->value_count + 1);
    for (int v = 0; v < p->value_count; v++)
        made[v] = p->value[v].maker < 0;
    int next = 0;
    for (int i = 0; i < s->count; i++) {
        const RetainStep step = s->step[i];
        const char *wrong = step.kind == RETAIN_RUN ? check_run(p, i, step.what, &next, made, a)
                                                    : check_move(p, i, step, made, far, a);
        if (wrong)
            return wrong;
        if (step.kind == RETAIN_RUN)
            for (int k = 0; k < p->task[step.what].result_count; k++)
                made[p->task[step.what].result[k]] = true;
    }
    return next == p->task_count ? NULL : arena_format(a, "task %d never runs", next);
}
