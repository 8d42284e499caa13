// What a schedule comes to at least, in one walk from its end to its beginning.
//
// From the end a copy of a value begins with the last step that reads it, and ends with the step
// that made it: so what is live is a set of values, and no list of copies is wanted. Of schedules
// that are measured most are beaten by others already, and this is enough to tell
// (retain_cost_beyond); retain_cost.c says what bytes and times are. Cost: O(steps + reads).
#include "passes/retain/retain_load.h"

#include "passes/retain/retain_index.h"

typedef struct {
    const RetainProblem *p;
    const RetainSchedule *s;
    bool *live, *rest_live; // by value: a copy of it; of its parts that stay
    int *cut_at;            // by value that is stored: the step that does it
    int64_t now;            // bytes that are live before the step at hand
    RetainLoad out;
} Load;

static void find_cuts(Load *w, Arena *a) {
    w->cut_at = arena_array(a, int, w->p->value_count + 1);
    for (int i = 0; i < w->s->count; i++)
        if (w->s->step[i].kind == RETAIN_STORE)
            w->cut_at[w->s->step[i].what] = i;
}

static void want(Load *w, int value) {
    if (w->live[value] || w->p->value[value].maker < 0)
        return; // arguments are there always
    w->live[value] = true;
    w->now += retain_bytes(w->p, value);
}

static void want_all(Load *w, const RetainTask *t) {
    for (int i = 0; i < t->operand_count; i++)
        want(w, t->operand[i]);
}

// The step makes a copy of the value: there is none before it. Its bytes.
static int64_t make(Load *w, int value) {
    const int64_t bytes = retain_bytes(w->p, value);
    w->now -= w->live[value] ? bytes : 0;
    w->live[value] = false;
    return bytes;
}

static int64_t load_run(Load *w, int task) {
    const RetainTask *t = &w->p->task[task];
    const int64_t time = retain_time(w->p, task);
    int64_t made = t->transient;
    *(t->flags & RETAIN_OUT  ? &w->out.out
      : t->flags & RETAIN_IN ? &w->out.in
                             : &w->out.tasks) += time;
    for (int i = 0; i < t->result_count; i++)
        made += make(w, t->result[i]);
    want_all(w, t);
    return made;
}

static int64_t load_store(Load *w, RetainStep s) {
    const RetainParts parts = retain_parts(w->p, s);
    const int64_t rest =
        parts.near ? retain_share(retain_bytes(w->p, s.what), parts.near, parts.all) : 0;
    w->out.out += retain_share(w->p->value[s.what].out, parts.far, parts.all);
    w->out.tasks += retain_share(w->p->value[s.what].copy, parts.near, parts.all);
    w->now -= w->rest_live[s.what] ? rest : 0;
    w->rest_live[s.what] = false;
    want(w, s.what);
    return rest;
}

static int64_t load_fetch(Load *w, int value) {
    const RetainParts parts = retain_parts(w->p, w->s->step[w->cut_at[value]]);
    const RetainValue *v = &w->p->value[value];
    const int64_t made = make(w, value);
    w->out.tasks += retain_share(v->copy, parts.near, parts.all);
    w->out.in += retain_share(v->in, parts.far, parts.all);
    if (parts.near && !w->rest_live[value]) {
        w->rest_live[value] = true;
        w->now += retain_share(made, parts.near, parts.all);
    }
    if (parts.again) {
        w->out.tasks += retain_share(retain_time(w->p, v->maker), parts.again, parts.all);
        want_all(w, &w->p->task[v->maker]);
    }
    return made;
}

RetainLoad retain_load(const RetainProblem *p, const RetainSchedule *s, Arena *scratch) {
    Load w = {.p = p, .s = s, .now = retain_ambient(p)};
    w.live = arena_array(scratch, bool, p->value_count + 1);
    w.rest_live = arena_array(scratch, bool, p->value_count + 1);
    find_cuts(&w, scratch);
    for (int v = 0; v < p->value_count; v++)
        if (p->value[v].kept)
            want(&w, v);
    w.out.bytes = w.now;
    for (int i = s->count - 1; i >= 0; i--) {
        const RetainStep step = s->step[i];
        const int64_t made = step.kind == RETAIN_RUN     ? load_run(&w, step.what)
                             : step.kind == RETAIN_STORE ? load_store(&w, step)
                                                         : load_fetch(&w, step.what);
        w.out.bytes = w.now + made > w.out.bytes ? w.now + made : w.out.bytes;
    }
    return w.out;
}
