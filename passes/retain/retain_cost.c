// What a schedule comes to: bytes, time, far bytes.
//
// Bytes are those of the steps in a row: a copy of a value takes memory from the step that makes it
// (a task, or a fetch) to the last step that reads it (a task, or a store), both included.
// Arguments are there always, kept values to the end, results of `free` tasks never.
//
// Time: tasks run one after another; copies run beside them on one engine each way, in the order
// of their steps. A store begins when the tasks before its step have run. Its source stays where it
// is until the copy is over, beyond its last reader if there is room under the peak; where there is
// none the next task waits. A fetch begins before its step, as early as there is room under the
// peak at every step from there on, but not before its store is over. A task waits for what it
// reads, and loses a share of the time that copies go on beside it (they take memory's time, and on
// a CPU the processor's). So copies never make the bytes more; they make the time more, most where
// they don't fit beside the tasks. That is what the schedule pass does with a plan's copies.
//
// Tasks that are copies themselves (of states that live in far memory) go the same two ways.
//
// Of a value that is cut the parts that stay are a copy from the store to the last fetch; copying
// them there and back, and making others again, takes the tasks' time. Its source stays whole.
//
// Where others are known, all this is done only until one of them is seen to be as good: first its
// bytes and what it takes at least (passes/retain/retain_load.c), then, step by step, what is still
// to come.
//
// Loads are kept with the largest of every few steps, so that a row of steps is looked at, and
// added to, by rows at a time. Cost: O(steps + reads), and for each fetch a 64th of the steps that
// it is brought forward by.
#include "passes/retain/retain_index.h"

#include "ir/check.h"
#include "passes/retain/retain_load.h"

#include <string.h>

typedef struct {
    int64_t bytes;
    int made, last;  // steps
    int64_t arrival; // of a fetched one: when it is there
} Copy;

typedef struct {
    int64_t end;
    int copy;
    int next;  // of those whose source is read last at the same step, -1: none
    bool held; // its source has no other reader any more
} Store;

// Steps of a row.
enum { ROW = 64 };

typedef struct {
    const RetainProblem *p;
    const RetainSchedule *s;
    Copy *copy;
    int copy_count;
    int *read, *read_begin; // by step: the copies it reads
    int *made_by;           // by step: its first copy
    int *cut_at;            // by value that is stored: the step that does it
    int *rest;              // by value: the copy of the parts that stay, -1: none
    int64_t *load;          // by step, without what its row has been raised by
    int64_t *raised, *most; // by row: bytes more at all of its steps; the largest load
    int64_t peak, far;
    bool moves;
    // The walk through time.
    int64_t now, out_free, in_free; // picoseconds
    RetainLoad left;                // times of what is still to come
    Store *store;                   // of all of them, those from held on are not over yet
    int store_count, held;
    int *dying;          // by step: the last store whose source is read last there, -1: none
    int64_t held_bytes;  // of stores not over yet, beyond their sources' last readers
    int *stored_at;      // by value: step, -1: not yet
    int64_t *stored_end; // by value: when its store is over
    int *fetch;          // steps that fetch, in order
    int fetch_count, fetch_next;
    int barrier;       // the step at which the problem's barrier is run; 0: there is none
    int fetch_blocked; // the next one finds no room before this step
} Walk;

static void make_copy(Walk *w, int step, int value, int *latest) {
    latest[value] = w->copy_count;
    w->copy[w->copy_count++] =
        (Copy){.bytes = retain_bytes(w->p, value), .made = step, .last = step};
}

static void read_copy(Walk *w, int step, int copy, int *reads) {
    if (copy < 0)
        return; // an argument
    w->copy[copy].last = step;
    w->read[(*reads)++] = copy;
}

static void read_operands(Walk *w, int step, int task, const int *latest, int *reads) {
    const RetainTask *t = &w->p->task[task];
    for (int k = 0; k < t->operand_count; k++)
        read_copy(w, step, latest[t->operand[k]], reads);
}

// Parts of what is stored; of what is fetched those it was stored in.
static RetainParts parts_of(const Walk *w, RetainStep s) {
    return retain_parts(w->p, w->s->step[w->cut_at[s.what]]);
}

static void begin_store(Walk *w, int step, const int *latest, int *reads) {
    const int value = w->s->step[step].what;
    w->cut_at[value] = step;
    const RetainParts parts = parts_of(w, w->s->step[step]);
    read_copy(w, step, latest[value], reads);
    if (!parts.near)
        return;
    w->rest[value] = w->copy_count;
    w->copy[w->copy_count++] =
        (Copy){.bytes = retain_share(retain_bytes(w->p, value), parts.near, parts.all),
               .made = step,
               .last = step};
}

// What doesn't move is there when the tasks get to the step.
static void begin_fetch(Walk *w, int step, int *latest, int *reads) {
    const int value = w->s->step[step].what;
    const RetainParts parts = parts_of(w, w->s->step[step]);
    read_copy(w, step, w->rest[value], reads);
    if (parts.again)
        read_operands(w, step, w->p->value[value].maker, latest, reads);
    if (parts.far)
        w->fetch[w->fetch_count++] = step;
    make_copy(w, step, value, latest);
}

static void count_copies(const Walk *w, int *copies, int *reads) {
    for (int i = 0; i < w->s->count; i++) {
        const RetainStep s = w->s->step[i];
        const int task = s.kind == RETAIN_RUN ? s.what : w->p->value[s.what].maker;
        *copies += s.kind == RETAIN_RUN ? w->p->task[task].result_count : 1;
        *reads += w->p->task[task].operand_count + 1;
    }
}

static void begin_run(Walk *w, int step, int *latest, int *reads) {
    const RetainStep s = w->s->step[step];
    const RetainTask *t = &w->p->task[s.what];
    read_operands(w, step, s.what, latest, reads);
    for (int k = 0; k < t->result_count; k++)
        make_copy(w, step, t->result[k], latest);
    w->moves = w->moves || t->flags & (RETAIN_OUT | RETAIN_IN);
    if (t->flags & RETAIN_IN)
        w->fetch[w->fetch_count++] = step;
    if (w->p->barrier && s.what == w->p->barrier)
        w->barrier = step;
}

// Every copy, the steps that make it and read it last.
static void find_copies(Walk *w, Arena *a) {
    const RetainProblem *p = w->p;
    const int steps = w->s->count;
    int copies = 0, reads = 0;
    count_copies(w, &copies, &reads);
    w->copy = arena_array(a, Copy, copies + 1);
    w->read = arena_array(a, int, reads + 1);
    w->read_begin = arena_array(a, int, steps + 1);
    w->made_by = arena_array(a, int, steps + 1);
    w->fetch = arena_array(a, int, copies + 1);
    w->cut_at = arena_array(a, int, p->value_count + 1);
    w->rest = arena_array(a, int, p->value_count + 1);
    memset(w->rest, -1, sizeof *w->rest * (size_t)p->value_count);
    int *latest = arena_array(a, int, p->value_count + 1);
    memset(latest, -1, sizeof *latest * (size_t)p->value_count);
    reads = 0;
    for (int i = 0; i < steps; i++) {
        const RetainStep s = w->s->step[i];
        w->read_begin[i] = reads;
        w->made_by[i] = w->copy_count;
        w->moves = w->moves || s.kind != RETAIN_RUN;
        if (s.kind == RETAIN_STORE)
            begin_store(w, i, latest, &reads);
        else if (s.kind == RETAIN_FETCH)
            begin_fetch(w, i, latest, &reads);
        else
            begin_run(w, i, latest, &reads);
    }
    w->read_begin[steps] = reads;
    for (int v = 0; v < p->value_count; v++)
        if (p->value[v].kept && latest[v] >= 0)
            w->copy[latest[v]].last = steps - 1;
}

static int64_t load_at(const Walk *w, int step) {
    return w->load[step] + w->raised[step / ROW];
}

static void find_rows(Walk *w, Arena *a) {
    const int steps = w->s->count, rows = steps / ROW + 1;
    w->raised = arena_array(a, int64_t, rows);
    w->most = arena_array(a, int64_t, rows);
    for (int i = 0; i < steps; i++)
        w->most[i / ROW] = w->load[i] > w->most[i / ROW] ? w->load[i] : w->most[i / ROW];
}

// More bytes at the steps from .. to - 1.
static void raise_load(Walk *w, int from, int to, int64_t bytes) {
    while (from < to) {
        const int row = from / ROW, end = (row + 1) * ROW;
        if (from % ROW == 0 && end <= to) {
            w->raised[row] += bytes;
            w->most[row] += bytes;
            from = end;
            continue;
        }
        for (; from < end && from < to; from++) {
            w->load[from] += bytes;
            w->most[row] = load_at(w, from) > w->most[row] ? load_at(w, from) : w->most[row];
        }
    }
}

// The last of the steps from .. to - 1 with a load above the limit; -1: there is none.
static int find_above(const Walk *w, int from, int to, int64_t limit) {
    for (int i = to - 1; i >= from;) {
        const int begin = i / ROW * ROW;
        if (w->most[i / ROW] > limit)
            for (; i >= begin && i >= from; i--)
                if (load_at(w, i) > limit)
                    return i;
        i = begin - 1;
    }
    return -1;
}

static void find_load(Walk *w, Arena *a) {
    const int steps = w->s->count;
    w->load = arena_array(a, int64_t, steps + 2);
    w->load[0] = retain_ambient(w->p);
    for (int c = 0; c < w->copy_count; c++) {
        w->load[w->copy[c].made] += w->copy[c].bytes;
        w->load[w->copy[c].last + 1] -= w->copy[c].bytes;
    }
    for (int i = 1; i < steps; i++)
        w->load[i] += w->load[i - 1];
    w->peak = w->load[0];
    for (int i = 0; i < steps; i++) {
        const RetainStep s = w->s->step[i];
        w->load[i] += s.kind == RETAIN_RUN ? w->p->task[s.what].transient : 0;
        w->peak = w->load[i] > w->peak ? w->load[i] : w->peak;
    }
}

// A value is in far memory from its store to its last fetch.
static void find_far(Walk *w, Arena *a) {
    const int steps = w->s->count;
    int64_t *change = arena_array(a, int64_t, steps + 2);
    int *last = arena_array(a, int, w->p->value_count + 1);
    for (int i = 0; i < steps; i++)
        if (w->s->step[i].kind == RETAIN_FETCH)
            last[w->s->step[i].what] = i;
    for (int i = 0; i < steps; i++) {
        const RetainStep s = w->s->step[i];
        if (s.kind != RETAIN_STORE)
            continue;
        const RetainParts parts = parts_of(w, s);
        const int64_t bytes = retain_share(w->p->value[s.what].bytes, parts.far, parts.all);
        change[i] += bytes;
        change[(last[s.what] > i ? last[s.what] : i) + 1] -= bytes;
    }
    int64_t now = 0;
    for (int i = 0; i < steps; i++) {
        now += change[i];
        w->far = now > w->far ? now : w->far;
    }
}

// The tasks get to the step: sources that were read last at the one before are held.
static void hold_sources(Walk *w, int step) {
    for (int i = step > 0 ? w->dying[step - 1] : -1; i >= w->held; i = w->store[i].next) {
        w->store[i].held = true;
        w->held_bytes += w->copy[w->store[i].copy].bytes;
    }
}

static void end_store(Walk *w) {
    const Store *s = &w->store[w->held++];
    w->held_bytes -= s->held ? w->copy[s->copy].bytes : 0;
}

static void wait_for_room(Walk *w, int step) {
    while (w->held < w->store_count && w->store[w->held].end <= w->now)
        end_store(w);
    while (w->held < w->store_count && load_at(w, step) + w->held_bytes > w->peak) {
        w->now = w->store[w->held].end > w->now ? w->store[w->held].end : w->now;
        end_store(w);
    }
}

static bool has_room(Walk *w, int from, int to, int64_t bytes) {
    int above = find_above(w, from, to, w->peak - bytes);
    if (above < 0 && from < to && load_at(w, from) + w->held_bytes > w->peak - bytes)
        above = from;
    if (above >= 0)
        w->fetch_blocked = above + 1;
    return above < 0;
}

// What a step fetches from far memory: a value that was sent there; -1: one that is there always.
static int source_of(const Walk *w, RetainStep s) {
    if (s.kind == RETAIN_FETCH)
        return s.what;
    const RetainTask *t = &w->p->task[s.what];
    return t->operand_count && w->p->value[t->operand[0]].maker >= 0 ? t->operand[0] : -1;
}

static int64_t fetch_time(const Walk *w, RetainStep s) {
    if (s.kind == RETAIN_RUN)
        return retain_time(w->p, s.what);
    const RetainParts parts = parts_of(w, s);
    return retain_share(w->p->value[s.what].in, parts.far, parts.all);
}

// Whether what the step fetches is there to be fetched before the tasks get to it.
static bool may_come_early(const Walk *w, int step, int at, int source) {
    if (source >= 0 && w->stored_at[source] < 0)
        return false;
    return step >= w->barrier || at < w->barrier;
}

// Fetches that can begin now: in order, each in room that stays free until its step.
static void begin_fetches(Walk *w, int step) {
    for (; w->fetch_next < w->fetch_count; w->fetch_next++) {
        const int at = w->fetch[w->fetch_next], source = source_of(w, w->s->step[at]);
        Copy *c = &w->copy[w->made_by[at]];
        if (at > step && (w->fetch_blocked > step || !may_come_early(w, step, at, source) ||
                          !has_room(w, step, at, c->bytes)))
            return;
        raise_load(w, step, at, c->bytes);
        int64_t begin = w->now > w->in_free ? w->now : w->in_free;
        if (source >= 0 && w->stored_end[source] > begin)
            begin = w->stored_end[source];
        const int64_t time = fetch_time(w, w->s->step[at]);
        w->in_free = c->arrival = begin + time;
        w->left.in -= time;
        w->fetch_blocked = 0;
    }
}

// A task that begins now takes longer while an engine is busy: in `busy` picoseconds it loses
// busy * slows / 1000.
static int64_t stretch(int64_t time, int64_t busy, int64_t slows) {
    if (busy <= 0 || slows <= 0)
        return time;
    const int64_t whole = (int64_t)((double)time * 1000 / (double)(1000 - slows));
    return whole <= busy ? whole : time + (int64_t)((double)busy * (double)slows / 1000);
}

// What the tasks' stream does at the step, once what it reads is there.
static void run_for(Walk *w, int step, int64_t time) {
    w->left.tasks -= time;
    for (int k = w->read_begin[step]; k < w->read_begin[step + 1]; k++)
        if (w->copy[w->read[k]].arrival > w->now)
            w->now = w->copy[w->read[k]].arrival;
    w->now += stretch(stretch(time, w->out_free - w->now, w->p->out_slows), w->in_free - w->now,
                      w->p->in_slows);
}

// The step's first operand goes out, for so long, and is in far memory as this value.
static void send(Walk *w, int step, int value, int64_t time) {
    const int read = w->read_begin[step];
    const int copy = read < w->read_begin[step + 1] ? w->read[read] : -1;
    int64_t begin = w->now > w->out_free ? w->now : w->out_free;
    if (copy >= 0 && w->copy[copy].arrival > begin)
        begin = w->copy[copy].arrival;
    w->out_free = w->stored_end[value] = begin + time;
    w->left.out -= time;
    if (copy < 0)
        return;
    int *dying = &w->dying[w->copy[copy].last];
    w->store[w->store_count] = (Store){.end = w->out_free, .copy = copy, .next = *dying};
    *dying = w->store_count++;
}

static void take_store(Walk *w, int i, RetainParts parts) {
    const int value = w->s->step[i].what;
    w->stored_at[value] = i;
    if (parts.far)
        send(w, i, value, retain_share(w->p->value[value].out, parts.far, parts.all));
}

static void take_run(Walk *w, int i) {
    const int task = w->s->step[i].what;
    const RetainTask *t = &w->p->task[task];
    if (t->flags & RETAIN_IN)
        return; // it was begun as fetches are
    if (!(t->flags & RETAIN_OUT)) {
        run_for(w, i, retain_time(w->p, task));
        return;
    }
    w->stored_at[t->result[0]] = i;
    send(w, i, t->result[0], retain_time(w->p, task));
}

static void take_step(Walk *w, int i) {
    const RetainStep s = w->s->step[i];
    if (s.kind == RETAIN_RUN) {
        take_run(w, i);
        return;
    }
    const RetainParts parts = parts_of(w, s);
    const RetainValue *v = &w->p->value[s.what];
    int64_t time = retain_share(v->copy, parts.near, parts.all);
    if (s.kind == RETAIN_STORE)
        take_store(w, i, parts);
    else if (parts.again)
        time += retain_share(retain_time(w->p, v->maker), parts.again, parts.all);
    if (time)
        run_for(w, i, time);
}

// What the whole takes at least, as far as it was walked.
static int64_t least_time(const Walk *w) {
    const int64_t run = w->now + w->left.tasks, out = w->out_free + w->left.out,
                  in = w->in_free + w->left.in;
    const int64_t copied = out > in ? out : in;
    return copied > run ? copied : run;
}

// Ends where the time is known to be so much or more.
static int64_t walk_time(Walk *w, int64_t enough, Arena *a) {
    w->store = arena_array(a, Store, w->s->count + 1);
    w->stored_at = arena_array(a, int, w->p->value_count + 1);
    w->dying = arena_array(a, int, w->s->count + 1);
    memset(w->dying, -1, sizeof *w->dying * (size_t)w->s->count);
    find_rows(w, a);
    memset(w->stored_at, -1, sizeof *w->stored_at * (size_t)w->p->value_count);
    w->stored_end = arena_array(a, int64_t, w->p->value_count + 1);
    int i = 0;
    for (; i < w->s->count && least_time(w) < enough; i++) {
        if (w->moves) {
            hold_sources(w, i);
            wait_for_room(w, i);
            begin_fetches(w, i);
        }
        take_step(w, i);
    }
    CHECK(i < w->s->count || (!w->left.tasks && !w->left.out && !w->left.in));
    return least_time(w);
}

// Of the points that need no more bytes the first is the fastest.
static int64_t time_to_beat(const RetainPoint *point, int count, int64_t bytes) {
    int first = 0;
    while (first < count && point[first].cost.bytes > bytes)
        first++;
    return first < count ? point[first].cost.time : INT64_MAX;
}

RetainCost retain_cost_beyond(const RetainProblem *p, const RetainSchedule *s,
                              const RetainPoint *point, int count, Arena *scratch) {
    Walk w = {.p = p, .s = s, .left = retain_load(p, s, scratch)};
    RetainCost cost = {.bytes = w.left.bytes, .time = least_time(&w)};
    const int64_t enough = time_to_beat(point, count, cost.bytes);
    if (cost.time >= enough)
        return cost;
    find_copies(&w, scratch);
    find_load(&w, scratch);
    CHECK(w.peak == cost.bytes);
    find_far(&w, scratch);
    cost.far = w.far;
    cost.time = walk_time(&w, enough, scratch);
    CHECK(w.peak == cost.bytes);
    return cost;
}

RetainCost retain_cost(const RetainProblem *p, const RetainSchedule *s, Arena *scratch) {
    return retain_cost_beyond(p, s, NULL, 0, scratch);
}
