// MODeL's integer program for orders (OLLA, arXiv 2210.12924), one task a step.
//
// MODeL has binaries that a tensor is generated at a step, and preserved at a step, inside the span
// between the earliest and the latest step its operator can run. Here
//     done[v, t]   task v has run by step t (binary); v runs at t where done[v, t] - done[v, t-1]
//     live[o, t]   object o takes memory at step t
//     over[i, t]   takeover i happens at step t
//     peak         the largest sum of bytes, minimised
// which is the same choice, summed up over steps: rows get two or three entries instead of whole
// spans, and the relaxation is at least as tight. Exactly one task runs a step, so that the spans
// are narrow: as many steps as there are ancestors are over before a task runs, as many as there
// are descendants follow it. live and over are whole by themselves where done is; over is forced
// where two takeovers exclude each other, so that the load is that of order_load.
//
// Bytes are counted in steps of their greatest common divisor. Cost: entries of the order of the
// sum of spans times users; small parts of graphs only.
#include "passes/memory/order_mip.h"

#include "ir/check.h"

#include <math.h>
#include <string.h>

enum { TASKS_MAX = 2048 }; // spans need a bit for every pair of tasks

typedef struct {
    const OrderGraph *og;
    Arena *a;
    Mip *p;
    int words;         // of a set of tasks
    uint64_t *before;  // by task: the set of its ancestors
    int *first, *last; // by task: its span
    int *done;         // by task: column of done[v, first]; columns up to last - 1 follow
    int *live;         // by object: column of live[o, live_first], or -1: it has none
    int *live_first, *live_last;
    int *over;    // by takeover: column of over[i, first of its task], or -1: none
    bool *always; // by takeover: it happens whenever its task runs
    int64_t unit; // bytes
    int64_t base; // units that are there at every step
} OrderProgram;

static bool comes_before(const OrderProgram *w, int earlier, int later) {
    return w->before[(size_t)later * (size_t)w->words + (size_t)earlier / 64] >> (earlier % 64) & 1;
}

static int64_t divisor(int64_t x, int64_t y) {
    while (y) {
        const int64_t rest = x % y;
        x = y;
        y = rest;
    }
    return x;
}

static void find_unit(OrderProgram *w) {
    for (int i = 0; i < w->og->object_count; i++)
        w->unit = divisor(w->unit, w->og->object[i].bytes);
    for (int v = 0; v < w->og->task_count; v++)
        w->unit = divisor(w->unit, w->og->transient[v]);
    // Nothing takes memory: any unit will do.
    w->unit = w->unit ? w->unit : 1;
}

static void find_spans(OrderProgram *w) {
    const OrderGraph *og = w->og;
    const int tasks = og->task_count;
    w->words = (tasks + 63) / 64;
    w->before = arena_array(w->a, uint64_t, (size_t)tasks *(size_t)w->words + 1);
    w->first = arena_array(w->a, int, tasks + 1);
    w->last = arena_array(w->a, int, tasks + 1);
    for (int v = 0; v < tasks; v++) {
        uint64_t *mine = w->before + (size_t)v * (size_t)w->words;
        for (int k = og->pred_begin[v]; k < og->pred_begin[v + 1]; k++) {
            const int u = og->pred[k];
            for (int i = 0; i < w->words; i++)
                mine[i] |= w->before[(size_t)u * (size_t)w->words + (size_t)i];
            mine[u / 64] |= (uint64_t)1 << (u % 64);
        }
        w->last[v] = tasks - 1;
    }
    for (int v = 0; v < tasks; v++)
        for (int u = 0; u < v; u++)
            if (comes_before(w, u, v)) {
                w->first[v]++;
                w->last[u]--;
            }
}

// Roughly the entries the program will have, without making it.
static int64_t estimate_entries(const OrderProgram *w) {
    const OrderGraph *og = w->og;
    int64_t sum = 0;
    for (int v = 0; v < og->task_count; v++) {
        const int64_t span = w->last[v] - w->first[v] + 1;
        const int ties = og->pred_begin[v + 1] - og->pred_begin[v] + og->use_begin[v + 1] -
                         og->use_begin[v] + og->over_begin[v + 1] - og->over_begin[v];
        sum += span * (4 + 3 * (int64_t)ties);
    }
    return sum;
}

// Adds factor * done[v, t] to a row; where that is no column the row's ends move.
static void put_done(const OrderProgram *w, int row, int v, int t, double factor) {
    if (t < w->first[v])
        return;
    if (t < w->last[v]) {
        mip_put(w->p, w->done[v] + t - w->first[v], factor);
        return;
    }
    w->p->row[row].low -= factor;
    w->p->row[row].high -= factor;
}

static void put_runs(const OrderProgram *w, int row, int v, int t, double factor) {
    put_done(w, row, v, t, factor);
    put_done(w, row, v, t - 1, -factor);
}

// done: what has run stays so, one more task a step, forerunners earlier.
static void add_done(OrderProgram *w) {
    const OrderGraph *og = w->og;
    w->done = arena_array(w->a, int, og->task_count + 1);
    for (int v = 0; v < og->task_count; v++) {
        w->done[v] = w->p->column_count;
        for (int t = w->first[v]; t < w->last[v]; t++)
            mip_add_column(w->p, (MipColumn){.name = arena_format(w->a, "done_%d_%d", v, t),
                                             .kind = MIP_BINARY});
    }
    for (int v = 0; v < og->task_count; v++)
        for (int t = w->first[v] + 1; t < w->last[v]; t++)
            put_runs(w, mip_add_row(w->p, 0, HUGE_VAL), v, t, 1);
    for (int t = 0; t < og->task_count; t++) {
        const int row = mip_add_row(w->p, t + 1, t + 1);
        for (int v = 0; v < og->task_count; v++)
            put_done(w, row, v, t, 1);
    }
    for (int v = 0; v < og->task_count; v++)
        for (int k = og->pred_begin[v]; k < og->pred_begin[v + 1]; k++)
            for (int t = w->first[v]; t <= w->last[og->pred[k]]; t++) {
                const int row = mip_add_row(w->p, 0, HUGE_VAL);
                put_done(w, row, og->pred[k], t - 1, 1);
                put_done(w, row, v, t, -1);
            }
}

// Users of an object without another one before them (side 0) or after them (side 1).
static int *outer_users(const OrderProgram *w, const OrderObject *o, int side, int *count) {
    int *user = arena_array(w->a, int, o->user_count + 1);
    *count = 0;
    for (int i = 0; i < o->user_count; i++) {
        bool outer = true;
        for (int k = 0; k < o->user_count && outer; k++)
            outer = side == 0 ? !comes_before(w, o->user[k], o->user[i])
                              : !comes_before(w, o->user[i], o->user[k]);
        if (outer)
            user[(*count)++] = o->user[i];
    }
    return user;
}

// live[o, t] >= done[begins, t] - done[ends, t - 1]; begins or ends -1: at the start, never.
static void add_live_row(OrderProgram *w, int column, int t, int begins, int ends) {
    if ((begins >= 0 && t < w->first[begins]) || (ends >= 0 && t - 1 >= w->last[ends]))
        return;
    const bool begun = begins < 0 || t >= w->last[begins];
    if (begun && (ends < 0 || t - 1 < w->first[ends])) {
        w->p->column[column].low = 1;
        return;
    }
    const int row = mip_add_row(w->p, begins < 0 ? 1 : 0, HUGE_VAL);
    mip_put(w->p, column, 1);
    if (begins >= 0)
        put_done(w, row, begins, t, -1);
    if (ends >= 0)
        put_done(w, row, ends, t - 1, 1);
}

static void add_live(OrderProgram *w, int object) {
    const OrderObject *o = &w->og->object[object];
    const bool at_start = o->flags & OBJECT_FROM_START, kept = o->flags & OBJECT_KEPT;
    w->live[object] = -1;
    if (at_start && kept)
        w->base += o->bytes / w->unit;
    if (o->bytes == 0 || o->user_count == 0 || (at_start && kept))
        return;
    int from = w->og->task_count, to = 0, begin_count, end_count;
    for (int i = 0; i < o->user_count; i++) {
        from = w->first[o->user[i]] < from ? w->first[o->user[i]] : from;
        to = w->last[o->user[i]] > to ? w->last[o->user[i]] : to;
    }
    w->live_first[object] = at_start ? 0 : from;
    w->live_last[object] = kept ? w->og->task_count - 1 : to;
    w->live[object] = w->p->column_count;
    for (int t = w->live_first[object]; t <= w->live_last[object]; t++)
        mip_add_column(w->p,
                       (MipColumn){.name = arena_format(w->a, "live_%d_%d", object, t), .high = 1});
    int *begins = outer_users(w, o, 0, &begin_count), *ends = outer_users(w, o, 1, &end_count);
    if (at_start)
        begins[0] = -1;
    if (kept)
        ends[0] = -1;
    for (int t = w->live_first[object]; t <= w->live_last[object]; t++)
        for (int i = 0; i < (at_start ? 1 : begin_count); i++)
            for (int k = 0; k < (kept ? 1 : end_count); k++)
                add_live_row(w, w->live[object] + t - w->live_first[object], t, begins[i], ends[k]);
}

// Whether a takeover can happen in some order; *always: whenever its task runs, as far as users go.
static bool is_possible(const OrderProgram *w, int task, OrderTakeover t, bool *always) {
    const OrderObject *made = &w->og->object[t.made], *over = &w->og->object[t.over];
    *always = true;
    if ((over->flags & OBJECT_KEPT) || (made->flags & OBJECT_FROM_START) || made->bytes == 0)
        return false;
    for (int i = 0; i < over->user_count; i++) {
        if (comes_before(w, task, over->user[i]))
            return false;
        *always = *always && (over->user[i] == task || comes_before(w, over->user[i], task));
    }
    for (int i = 0; i < made->user_count; i++) {
        if (comes_before(w, made->user[i], task))
            return false;
        *always = *always && (made->user[i] == task || comes_before(w, task, made->user[i]));
    }
    return true;
}

// over[i, t] is 1 only where the task runs, the other users of its operand are done and those of
// its result are not. With `forced` it is 1 wherever that holds and no takeover before it has
// either object. earlier: such takeovers.
static void add_over_rows(OrderProgram *w, int task, int i, int t, bool forced) {
    const OrderTakeover *all = w->og->over;
    const OrderObject *made = &w->og->object[all[i].made], *over = &w->og->object[all[i].over];
    const int column = w->over[i] + t - w->first[task];
    put_runs(w, (mip_add_row(w->p, -HUGE_VAL, 0)), task, t, -1);
    mip_put(w->p, column, 1);
    for (int k = 0; k < over->user_count; k++)
        if (over->user[k] != task) {
            const int row = mip_add_row(w->p, -HUGE_VAL, 0);
            mip_put(w->p, column, 1);
            put_done(w, row, over->user[k], t - 1, -1);
        }
    for (int k = 0; k < made->user_count; k++)
        if (made->user[k] != task) {
            const int row = mip_add_row(w->p, -HUGE_VAL, 1);
            mip_put(w->p, column, 1);
            put_done(w, row, made->user[k], t - 1, 1);
        }
    if (!forced)
        return;
    const int row = mip_add_row(w->p, -(double)(over->user_count - 1), HUGE_VAL);
    mip_put(w->p, column, 1);
    put_runs(w, row, task, t, -1);
    for (int k = 0; k < over->user_count; k++)
        if (over->user[k] != task)
            put_done(w, row, over->user[k], t - 1, -1);
    for (int k = 0; k < made->user_count; k++)
        if (made->user[k] != task)
            put_done(w, row, made->user[k], t - 1, 1);
    for (int k = w->og->over_begin[task]; k < i; k++)
        if (w->over[k] >= 0 && (all[k].made == all[i].made || all[k].over == all[i].over))
            mip_put(w->p, w->over[k] + t - w->first[task], 1);
}

// A pair of takeovers of one task that exclude each other.
static void add_exclusion(OrderProgram *w, int task, int i, int k) {
    for (int t = w->first[task]; t <= w->last[task]; t++) {
        mip_add_row(w->p, -HUGE_VAL, 1);
        mip_put(w->p, w->over[i] + t - w->first[task], 1);
        mip_put(w->p, w->over[k] + t - w->first[task], 1);
    }
}

static void add_takeovers(OrderProgram *w, int task) {
    const OrderGraph *og = w->og;
    const int begin = og->over_begin[task], end = og->over_begin[task + 1];
    bool *possible = arena_array(w->a, bool, end - begin + 1);
    bool *contested = arena_array(w->a, bool, end - begin + 1);
    for (int i = begin; i < end; i++) {
        possible[i - begin] = is_possible(w, task, og->over[i], &w->always[i]);
        for (int k = begin; possible[i - begin] && k < i; k++)
            if (possible[k - begin] &&
                (og->over[k].made == og->over[i].made || og->over[k].over == og->over[i].over))
                contested[i - begin] = contested[k - begin] = true;
    }
    for (int i = begin; i < end; i++) {
        w->over[i] = -1;
        w->always[i] = w->always[i] && possible[i - begin] && !contested[i - begin];
        if (!possible[i - begin] || w->always[i])
            continue;
        w->over[i] = w->p->column_count;
        for (int t = w->first[task]; t <= w->last[task]; t++)
            mip_add_column(w->p,
                           (MipColumn){.name = arena_format(w->a, "over_%d_%d", i, t),
                                       .kind = contested[i - begin] ? MIP_BINARY : MIP_CONTINUOUS,
                                       .high = 1});
        for (int t = w->first[task]; t <= w->last[task]; t++)
            add_over_rows(w, task, i, t, contested[i - begin]);
        for (int k = begin; k < i; k++)
            if (w->over[k] >= 0 &&
                (og->over[k].made == og->over[i].made || og->over[k].over == og->over[i].over))
                add_exclusion(w, task, i, k);
    }
}

// peak >= everything at step t.
static void add_peak(OrderProgram *w, int t) {
    const OrderGraph *og = w->og;
    const int row = mip_add_row(w->p, (double)w->base, HUGE_VAL);
    mip_put(w->p, 0, 1);
    for (int i = 0; i < og->object_count; i++)
        if (w->live[i] >= 0 && w->live_first[i] <= t && t <= w->live_last[i])
            mip_put(w->p, w->live[i] + t - w->live_first[i],
                    -(double)(og->object[i].bytes / w->unit));
    for (int v = 0; v < og->task_count; v++) {
        if (t < w->first[v] || t > w->last[v])
            continue;
        int64_t alone = og->transient[v] / w->unit;
        for (int i = og->over_begin[v]; i < og->over_begin[v + 1]; i++) {
            const int64_t saved = og->object[og->over[i].made].bytes / w->unit;
            if (w->always[i])
                alone -= saved;
            else if (w->over[i] >= 0)
                mip_put(w->p, w->over[i] + t - w->first[v], (double)saved);
        }
        if (alone != 0)
            put_runs(w, row, v, t, -(double)alone);
    }
}

// False where the program would be too large.
static bool make_program(OrderProgram *w, const OrderMipProblem *problem, Arena *a) {
    const OrderGraph *og = problem->og;
    const MipLimits limits = mip_limits_or_default(problem->limits);
    *w = (OrderProgram){.og = og, .a = a, .p = mip_create(a, problem->name)};
    if (og->task_count > TASKS_MAX)
        return false;
    find_spans(w);
    if (estimate_entries(w) > 4 * (int64_t)limits.entries)
        return false;
    find_unit(w);
    w->p->note = arena_format(a, "in units of %lld bytes", (long long)w->unit);
    w->p->step = 1;
    const int takeovers = og->over_begin[og->task_count];
    w->live = arena_array(a, int, og->object_count + 1);
    w->live_first = arena_array(a, int, og->object_count + 1);
    w->live_last = arena_array(a, int, og->object_count + 1);
    w->over = arena_array(a, int, takeovers + 1);
    w->always = arena_array(a, bool, takeovers + 1);
    mip_add_column(w->p, (MipColumn){.name = "peak", .high = HUGE_VAL, .cost = 1});
    add_done(w);
    for (int i = 0; i < og->object_count; i++)
        add_live(w, i);
    for (int v = 0; v < og->task_count; v++)
        add_takeovers(w, v);
    for (int t = 0; t < og->task_count; t++)
        add_peak(w, t);
    return w->p->entry_count <= limits.entries;
}

// Steps at which the object begins and ends under an order; position: by task.
static void lifetime(const OrderGraph *og, int object, const int *position, int *from, int *to) {
    const OrderObject *o = &og->object[object];
    *from = o->flags & OBJECT_FROM_START ? -1 : og->task_count;
    *to = o->flags & OBJECT_KEPT ? og->task_count : -1;
    for (int i = 0; i < o->user_count; i++) {
        const int p = position[o->user[i]];
        *from = p < *from ? p : *from;
        *to = p > *to ? p : *to;
    }
}

// Values of the columns over: as order_load decides them.
static void fill_takeovers(const OrderProgram *w, const int *position, double *value) {
    const OrderGraph *og = w->og;
    // In a takeover already, on either side; the same object may be on both, at different tasks.
    bool *taken = arena_array(w->a, bool, og->object_count + 1);
    bool *shares = arena_array(w->a, bool, og->object_count + 1);
    for (int v = 0; v < og->task_count; v++)
        for (int i = og->over_begin[v]; i < og->over_begin[v + 1]; i++) {
            const OrderTakeover t = og->over[i];
            int from, to, made_from, made_to;
            lifetime(og, t.over, position, &from, &to);
            lifetime(og, t.made, position, &made_from, &made_to);
            if (w->over[i] < 0 || to != position[v] || made_from != position[v] || taken[t.over] ||
                shares[t.made])
                continue;
            value[w->over[i] + position[v] - w->first[v]] = 1;
            taken[t.over] = shares[t.made] = true;
        }
}

// Values of all columns under an order.
static double *values_of(const OrderProgram *w, const int *order) {
    const OrderGraph *og = w->og;
    double *value = arena_array(w->a, double, w->p->column_count + 1);
    int *position = arena_array(w->a, int, og->task_count + 1);
    for (int p = 0; p < og->task_count; p++)
        position[order[p]] = p;
    for (int v = 0; v < og->task_count; v++)
        for (int t = w->first[v]; t < w->last[v]; t++)
            value[w->done[v] + t - w->first[v]] = position[v] <= t;
    for (int i = 0; i < og->object_count; i++) {
        int from, to;
        lifetime(og, i, position, &from, &to);
        for (int t = w->live_first[i]; w->live[i] >= 0 && t <= w->live_last[i]; t++)
            value[w->live[i] + t - w->live_first[i]] = from <= t && t <= to;
    }
    fill_takeovers(w, position, value);
    value[0] = (double)(order_load(og, order, w->a, NULL) / w->unit);
    return value;
}

static int *order_of(const OrderProgram *w, const double *value) {
    const OrderGraph *og = w->og;
    int *order = arena_array(w->a, int, og->task_count + 1);
    for (int v = 0; v < og->task_count; v++) {
        int t = w->first[v];
        while (t < w->last[v] && value[w->done[v] + t - w->first[v]] < 0.5)
            t++;
        order[t] = v;
    }
    return order;
}

Mip *order_mip_program(const OrderMipProblem *problem, Arena *a) {
    OrderProgram w;
    return make_program(&w, problem, a) ? w.p : NULL;
}

static void take_answer(const OrderProgram *w, const MipAnswer *from, OrderMipAnswer *to) {
    to->nodes = from->nodes;
    to->degraded = from->degraded;
    if (from->bound > 0 && from->bound < 9e15)
        to->bound = (int64_t)(from->bound + 0.5) * w->unit;
    if (!from->value)
        return;
    to->order = order_of(w, from->value);
    CHECK(order_is_allowed(w->og, to->order, w->a));
    to->load = order_load(w->og, to->order, w->a, NULL);
    to->optimal = from->status == MIP_OPTIMAL && to->load == to->bound;
}

void order_mip_solve(const OrderMipProblem *problem, int count, int children, Arena *a,
                     OrderMipAnswer *answer) {
    // Cuts don't tighten this relaxation, and Gomory's cost twice the time: docs/decisions.md.
    const MipSettings settings = {.next = MIP_NEXT_LIKELY};
    OrderProgram *w = arena_array(a, OrderProgram, count);
    MipProblem *made = arena_array(a, MipProblem, count);
    MipAnswer *solved = arena_array(a, MipAnswer, count);
    int *index = arena_array(a, int, count), made_count = 0;
    for (int i = 0; i < count; i++) {
        answer[i] = (OrderMipAnswer){.order = problem[i].start};
        if (problem[i].start)
            answer[i].load = order_load(problem[i].og, problem[i].start, a, NULL);
        if (!make_program(&w[i], &problem[i], a))
            continue;
        index[made_count] = i;
        made[made_count++] =
            (MipProblem){.program = w[i].p,
                         .start = problem[i].start ? values_of(&w[i], problem[i].start) : NULL,
                         .settings = settings,
                         .limits = problem[i].limits};
    }
    mip_solve_all(made, made_count, children, a, solved);
    for (int k = 0; k < made_count; k++)
        take_answer(&w[index[k]], &solved[k], &answer[index[k]]);
}
