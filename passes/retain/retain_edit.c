// Changes of a schedule's steps, one at a time: for schedules in which parts of the forward run
// again and again, whose values have another fate each time.
//
//   RUN t again   =>  nothing        the copy before it lives on
//   FETCH v       =>  nothing        the copy before it lives on
//   RUN t again   =>  FETCH v        t makes v alone; STORE v behind its first run
//   FETCH v       =>  RUN t          t makes v
//   step          =>  FETCH v, step  which reads v: the copy before it need not wait for the step
//   step          =>  RUN t, step    the same, t making v of what is there at the step; what isn't
//   is
//                                    fetched or made before it
//
// A copy lives to the last step that reads it, so each of these is allowed wherever it is done.
// What nobody reads any more is left out then: runs again, fetches, stores that nothing fetches.
//
// Cost: O(steps + reads) and measuring, for each change.
#include "passes/retain/retain_edit.h"

#include <string.h>

typedef struct {
    int at;     // the step that is changed
    bool drops; // it is left out
    int store;  // a value that is stored as soon as it is made, -1: none
} Change;

struct RetainEdit {
    const RetainIndex *x;
    RetainFront *front;
    bool moves;
    Arena *each; // reset for every schedule
    int64_t work;
    // Of the schedule looked at.
    const RetainSchedule *s;
    int *last;      // by copy: the step that reads it last
    int *made;      // by copy: the step that makes it
    int *first_run; // by task: step
    int *store;     // by value: the step that stores it, -1: none
    int *latest;    // by value: its latest copy before the step at hand, -1: none
    // Of the one being made.
    RetainStep *put; // in front of the changed step, or in its place
    int put_count;
    bool *is_put; // by value: made or fetched there
    RetainStep *step;
    int count;
    bool *wanted, *wanted_far; // by value
    int *first_at;             // by task: its first run
};

RetainEdit *retain_edit(const RetainIndex *x, bool moves, RetainFront *front, Arena *a) {
    const int values = x->p->value_count + 1, tasks = x->p->task_count + 1;
    RetainEdit *e = arena_new(a, RetainEdit);
    *e = (RetainEdit){.x = x, .front = front, .moves = moves, .each = arena_create()};
    e->first_run = arena_array(a, int, tasks);
    e->first_at = arena_array(a, int, tasks);
    e->store = arena_array(a, int, values);
    e->latest = arena_array(a, int, values);
    e->put = arena_array(a, RetainStep, values + tasks);
    e->is_put = arena_array(a, bool, values);
    e->wanted = arena_array(a, bool, values);
    e->wanted_far = arena_array(a, bool, values);
    return e;
}

void retain_edit_end(RetainEdit *e) {
    arena_release(e->each);
}

// --- A changed schedule ---

// Wanted by a later step: a copy that lives on to it, or bytes in far memory.
static bool is_wanted(const RetainEdit *e, RetainStep s) {
    if (s.kind != RETAIN_RUN)
        return s.kind == RETAIN_STORE ? e->wanted_far[s.what] : e->wanted[s.what];
    const RetainTask *t = &e->x->p->task[s.what];
    for (int i = 0; i < t->result_count; i++)
        if (e->wanted[t->result[i]])
            return true;
    return false;
}

static void want_for(RetainEdit *e, RetainStep s) {
    if (s.kind == RETAIN_STORE) {
        e->wanted[s.what] = true;
        return;
    }
    if (s.kind == RETAIN_FETCH) {
        e->wanted[s.what] = false;
        e->wanted_far[s.what] = true;
        return;
    }
    const RetainTask *t = &e->x->p->task[s.what];
    for (int i = 0; i < t->result_count; i++)
        e->wanted[t->result[i]] = false;
    for (int i = 0; i < t->operand_count; i++)
        e->wanted[t->operand[i]] = true;
}

// Leaves out what nobody reads; tasks that run for the first time stay.
static void prune(RetainEdit *e) {
    const RetainProblem *p = e->x->p;
    for (int v = 0; v < p->value_count; v++) {
        e->wanted[v] = p->value[v].kept;
        e->wanted_far[v] = false;
    }
    int first = p->task_count - 1, to = e->count; // the last first run that was not met yet
    for (int i = 0, next = 0; i < e->count; i++)
        if (e->step[i].kind == RETAIN_RUN && e->step[i].what == next)
            e->first_at[next++] = i;
    for (int i = e->count - 1; i >= 0; i--) {
        const bool stays = first >= 0 && e->first_at[first] == i;
        first -= stays;
        if (!stays && !is_wanted(e, e->step[i]))
            continue;
        want_for(e, e->step[i]);
        e->step[--to] = e->step[i];
    }
    e->count -= to;
    memmove(e->step, e->step + to, sizeof *e->step * (size_t)e->count);
}

static void try_change(RetainEdit *e, Change c) {
    const int store_after = c.store >= 0 ? e->first_run[e->x->p->value[c.store].maker] : -1;
    e->count = 0;
    for (int i = 0; i < e->s->count; i++) {
        for (int k = 0; i == c.at && k < e->put_count; k++)
            e->step[e->count++] = e->put[k];
        if (i != c.at || !c.drops)
            e->step[e->count++] = e->s->step[i];
        if (i == store_after)
            e->step[e->count++] = (RetainStep){.kind = RETAIN_STORE, .what = c.store};
    }
    prune(e);
    e->work += e->count;
    retain_front_add(e->front, (RetainSchedule){.count = e->count, .step = e->step});
}

// --- What may change ---

static void put_step(RetainEdit *e, RetainKind kind, int what) {
    e->put[e->put_count++] = (RetainStep){.kind = kind, .what = what};
}

// Whether the value can be fetched before the step: *store as in Change.
static bool may_fetch(const RetainEdit *e, int value, int at, int *store) {
    *store = -1;
    if (e->store[value] >= 0)
        return e->store[value] < at;
    *store = value;
    return e->moves && retain_movable(e->x->p, value);
}

static bool lives(const RetainEdit *e, int value, int at) {
    const int copy = e->latest[value];
    return copy < 0 || e->last[copy] >= at || !retain_bytes(e->x->p, value);
}

// The value made again for the step, of what lives there, in front of it.
static void put_run(RetainEdit *e, int value, int at) {
    const RetainTask *t = &e->x->p->task[e->x->p->value[value].maker];
    for (int i = 0; i < t->result_count; i++)
        e->is_put[t->result[i]] = true;
    for (int i = 0; i < t->operand_count; i++) {
        const int v = t->operand[i];
        if (e->is_put[v] || lives(e, v, at))
            continue;
        e->is_put[v] = true;
        if (e->store[v] >= 0 && e->store[v] < at)
            put_step(e, RETAIN_FETCH, v);
        else if (retain_again(e->x->p, v))
            put_run(e, v, at);
    }
    put_step(e, RETAIN_RUN, e->x->p->value[value].maker);
}

static void begin_puts(RetainEdit *e) {
    e->put_count = 0;
    memset(e->is_put, 0, sizeof *e->is_put * (size_t)e->x->p->value_count);
}

static void try_drop(RetainEdit *e, int at) {
    begin_puts(e);
    try_change(e, (Change){.at = at, .drops = true, .store = -1});
}

// In front of the step, or in its place.
static void try_fetch(RetainEdit *e, int value, int at, bool drops) {
    Change c = {.at = at, .drops = drops};
    if (!may_fetch(e, value, at, &c.store))
        return;
    begin_puts(e);
    put_step(e, RETAIN_FETCH, value);
    try_change(e, c);
}

static void try_run(RetainEdit *e, int value, int at, bool drops) {
    if (!retain_again(e->x->p, value))
        return;
    begin_puts(e);
    put_run(e, value, at);
    try_change(e, (Change){.at = at, .drops = drops, .store = -1});
}

static void change_run(RetainEdit *e, int at) {
    const RetainTask *t = &e->x->p->task[e->s->step[at].what];
    if (at != e->first_run[e->s->step[at].what]) {
        try_drop(e, at);
        if (t->result_count == 1)
            try_fetch(e, t->result[0], at, true);
    }
    for (int i = 0; i < t->operand_count; i++) {
        const int v = t->operand[i], copy = e->latest[v];
        if (copy < 0 || e->made[copy] >= at - 1 || !retain_bytes(e->x->p, v))
            continue;
        try_fetch(e, v, at, false);
        try_run(e, v, at, false);
    }
}

static void change_fetch(RetainEdit *e, int at) {
    try_drop(e, at);
    try_run(e, e->s->step[at].what, at, true);
}

// Makes the copies of the step the latest ones.
static void pass_step(RetainEdit *e, int at, int *copies) {
    const RetainStep s = e->s->step[at];
    const RetainTask *t = s.kind == RETAIN_RUN ? &e->x->p->task[s.what] : NULL;
    const int *made = t ? t->result : &s.what;
    const int count = t ? t->result_count : s.kind == RETAIN_FETCH;
    for (int i = 0; i < count; i++) {
        e->made[*copies] = e->last[*copies] = at;
        e->latest[made[i]] = (*copies)++;
    }
}

static void read_step(RetainEdit *e, int at) {
    const RetainStep s = e->s->step[at];
    const RetainTask *t = s.kind == RETAIN_RUN ? &e->x->p->task[s.what] : NULL;
    const int *read = t ? t->operand : &s.what;
    const int count = t ? t->operand_count : s.kind == RETAIN_STORE;
    for (int i = 0; i < count; i++)
        if (e->latest[read[i]] >= 0)
            e->last[e->latest[read[i]]] = at;
}

// Where its copies are made and read last, tasks run first, and values are stored.
static void look_at(RetainEdit *e, const RetainSchedule *s) {
    const RetainProblem *p = e->x->p;
    int room = 1, copies = 0, next = 0;
    arena_reset(e->each);
    for (int i = 0; i < s->count; i++)
        room += s->step[i].kind == RETAIN_RUN ? p->task[s->step[i].what].result_count : 1;
    e->s = s;
    e->made = arena_array(e->each, int, room);
    e->last = arena_array(e->each, int, room);
    e->step = arena_array(e->each, RetainStep, s->count + p->value_count + p->task_count + 2);
    memset(e->store, -1, sizeof *e->store * (size_t)p->value_count);
    memset(e->latest, -1, sizeof *e->latest * (size_t)p->value_count);
    for (int i = 0; i < s->count; i++) {
        const RetainStep step = s->step[i];
        if (step.kind == RETAIN_STORE)
            e->store[step.what] = i;
        if (step.kind == RETAIN_RUN && step.what == next)
            e->first_run[next++] = i;
        read_step(e, i);
        pass_step(e, i, &copies);
    }
    for (int v = 0; v < p->value_count; v++)
        if (p->value[v].kept && e->latest[v] >= 0)
            e->last[e->latest[v]] = s->count;
}

int64_t retain_edit_each(RetainEdit *e, const RetainSchedule *s, int64_t work) {
    int copies = 0;
    look_at(e, s);
    memset(e->latest, -1, sizeof *e->latest * (size_t)e->x->p->value_count);
    e->work = 0;
    for (int i = 0; i < s->count && e->work < work; i++) {
        if (s->step[i].kind == RETAIN_RUN)
            change_run(e, i);
        else if (s->step[i].kind == RETAIN_FETCH)
            change_fetch(e, i);
        pass_step(e, i, &copies);
    }
    return e->work;
}
