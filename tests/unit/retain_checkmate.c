// Checkmate's integer program, as in arXiv 1910.02653, section 4.
//
// Stage t runs task t for the first time, after tasks before it that run again, in order:
//     R[t, i]  task i runs in stage t;  S[t, i]  its value is there when stage t begins
//     U[t, k]  bytes when task k of stage t has run, before what it lets go is let go
//     FREE[t, i, k]  after task k of stage t nobody needs the value of i any more
// U[t, k + 1] = U[t, k] - what is freed after k + R[t, k + 1] * bytes; FREE is forced by counting
// hazards: k doesn't run, the next stage keeps the value, or a later reader runs in this stage.
// A task's transient counts while it runs; kept values are there after the last stage.
#include "tests/unit/retain_oracle.h"

#include <math.h>

typedef struct {
    const RetainProblem *p;
    Arena *a;
    Mip *m;
    int count;      // stages, tasks
    int *r, *s, *u; // columns, by stage (s: and one more) and task; -1: zero
    int64_t ambient;
} Work;

static int binary(Work *w, const char *name, int t, int i, int k, double cost) {
    return mip_add_column(w->m,
                          (MipColumn){.name = arena_format(w->a, "%s_%d_%d_%d", name, t, i, k),
                                      .kind = MIP_BINARY,
                                      .cost = cost});
}

static int value_of(const RetainProblem *p, int task) {
    return p->task[task].result_count ? p->task[task].result[0] : -1;
}

static int64_t bytes_of(const RetainProblem *p, int task) {
    const int v = value_of(p, task);
    return v < 0 || p->task[task].flags & RETAIN_FREE ? 0 : p->value[v].bytes;
}

static int64_t time_of(const RetainProblem *p, int task) {
    return p->task[task].flags & RETAIN_FREE ? 0 : p->task[task].time;
}

static bool is_kept(const RetainProblem *p, int task) {
    return value_of(p, task) >= 0 && p->value[value_of(p, task)].kept;
}

static bool reads(const RetainProblem *p, int task, int of) {
    for (int i = 0; i < p->task[task].operand_count; i++)
        if (p->task[task].operand[i] == value_of(p, of))
            return value_of(p, of) >= 0;
    return false;
}

static void put(const Work *w, int column, double value) {
    if (column >= 0)
        mip_put(w->m, column, value);
}

static int *at(int *column, const Work *w, int t, int i) {
    return &column[t * w->count + i];
}

static void add_columns(Work *w, int64_t budget) {
    const int n = w->count;
    w->r = arena_array(w->a, int, (n + 1) * n + 1);
    w->s = arena_array(w->a, int, (n + 1) * n + 1);
    w->u = arena_array(w->a, int, (n + 1) * n + 1);
    for (int t = 0; t <= n; t++)
        for (int i = 0; i < n; i++) {
            const bool once = w->p->task[i].flags & RETAIN_ONCE;
            *at(w->r, w, t, i) = t < n && (i == t || (i < t && !once))
                                     ? binary(w, "R", t, i, 0, (double)time_of(w->p, i))
                                     : -1;
            *at(w->s, w, t, i) = i < t && value_of(w->p, i) >= 0 ? binary(w, "S", t, i, 0, 0) : -1;
            *at(w->u, w, t, i) = -1;
            if (t < n && i <= t)
                *at(w->u, w, t, i) =
                    mip_add_column(w->m, (MipColumn){.name = arena_format(w->a, "U_%d_%d", t, i),
                                                     .high = (double)(budget - w->ambient)});
        }
}

static void add_flow(Work *w) {
    const int n = w->count;
    for (int t = 0; t <= n; t++)
        for (int i = 0; i < n; i++) {
            if (t < n && i == t) {
                mip_add_row(w->m, 1, 1);
                put(w, *at(w->r, w, t, i), 1);
            }
            if (*at(w->s, w, t, i) >= 0) {
                mip_add_row(w->m, 0, HUGE_VAL);
                put(w, *at(w->s, w, t - 1, i), 1);
                put(w, *at(w->r, w, t - 1, i), 1);
                put(w, *at(w->s, w, t, i), -1);
            }
            if (t == n && is_kept(w->p, i)) {
                mip_add_row(w->m, 1, 1);
                put(w, *at(w->s, w, t, i), 1);
            }
            for (int k = 0; *at(w->r, w, t, i) >= 0 && k < i; k++)
                if (reads(w->p, i, k)) {
                    mip_add_row(w->m, 0, HUGE_VAL);
                    put(w, *at(w->r, w, t, k), 1);
                    put(w, *at(w->s, w, t, k), 1);
                    put(w, *at(w->r, w, t, i), -1);
                }
        }
}

// FREE[t, i, k], and its share of the row of U[t, k + 1], which is begun last after these.
static int add_free(Work *w, int t, int i, int k) {
    const int free = binary(w, "FREE", t, i, k, 0);
    // hazards = (1 - R[t, k]) + S[t + 1, i] + later readers that run
    int most = 2;
    for (int j = k + 1; j <= t; j++)
        most += reads(w->p, j, i) && *at(w->r, w, t, j) >= 0;
    for (int side = 0; side < 2; side++) {
        // 1 - FREE <= hazards, and most * (1 - FREE) >= hazards.
        const double factor = side ? most : 1;
        mip_add_row(w->m, side ? -HUGE_VAL : factor - 1, side ? factor - 1 : HUGE_VAL);
        put(w, free, factor);
        put(w, *at(w->r, w, t, k), -1);
        put(w, *at(w->s, w, t + 1, i), 1);
        for (int j = k + 1; j <= t; j++)
            if (reads(w->p, j, i))
                put(w, *at(w->r, w, t, j), 1);
    }
    return free;
}

static void add_memory(Work *w, int64_t budget) {
    for (int t = 0; t < w->count; t++)
        for (int k = 0; k <= t; k++) {
            // What task k - 1 lets go: its operands and its own result.
            int freed[64], value[64], count = 0;
            for (int i = 0; k > 0 && i <= k - 1; i++)
                if (*at(w->r, w, t, k - 1) >= 0 && value_of(w->p, i) >= 0 &&
                    (i == k - 1 || reads(w->p, k - 1, i))) {
                    freed[count] = add_free(w, t, i, k - 1);
                    value[count++] = i;
                }
            mip_add_row(w->m, 0, 0);
            put(w, *at(w->u, w, t, k), -1);
            put(w, *at(w->r, w, t, k), (double)bytes_of(w->p, k));
            if (k > 0)
                put(w, *at(w->u, w, t, k - 1), 1);
            else
                for (int i = 0; i < t; i++)
                    put(w, *at(w->s, w, t, i), (double)bytes_of(w->p, i));
            for (int i = 0; i < count; i++)
                mip_put(w->m, freed[i], -(double)bytes_of(w->p, value[i]));
            mip_add_row(w->m, -HUGE_VAL, (double)(budget - w->ambient));
            put(w, *at(w->u, w, t, k), 1);
            put(w, *at(w->r, w, t, k), (double)w->p->task[k].transient);
        }
}

Mip *retain_checkmate(const RetainProblem *p, int64_t budget, Arena *a) {
    Work w = {.p = p, .a = a, .m = mip_create(a, "checkmate"), .count = p->task_count};
    for (int v = 0; v < p->value_count; v++)
        w.ambient += p->value[v].maker < 0 ? p->value[v].bytes : 0;
    w.m->step = 1;
    add_columns(&w, budget);
    add_flow(&w);
    add_memory(&w, budget);
    return w.m;
}
