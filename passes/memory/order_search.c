// Is there an order with a load of at most T? Sets of executed tasks, depth first, under a rising
// limit T.
//
// What is live after a set S of tasks is a cut of a hypergraph, hence submodular:
// live(A) + live(B) >= live(A and B) + live(A or B), and with the tasks' running loads in between
// it stays so. Therefore, if some tasks lead from S to S' within T, and no allowed set between S
// and S' has less live than S', running them at once loses nothing: any order from S, with these
// tasks drawn to its front, is nowhere higher, because joining S' to its sets removes at least as
// much as it adds. (Takeovers become possible earlier, never later.) So:
//   1. a ready task that fits and leaves no more live than before runs at once, without branching;
//   2. likewise a few tasks in a row, where one that adds memory is made good by those behind it,
//      when all sets between are checked;
//   3. only then the search branches over the ready tasks that fit, and sets seen before (by their
//      keys) are not entered again.
// Weight updates thus run as soon as their gradient is there while they fit, and wait otherwise:
// where ROAM (arXiv 2310.19295) sets them aside by a delay radius, here it follows. The sets are
// Serenity's (MLSys 2020); the limit begins at the lower bound and rises to the least load that was
// refused, which is itself proved as a bound; where work runs out first, orders for limits between
// bound and best are tried without proof. Deterministic: work is counted.
#include "passes/memory/order_search.h"

#include "passes/memory/order_state.h"

#include <stdlib.h>
#include <string.h>

// Tasks a row of rule 2 has at most: all sets between are looked at.
enum { ROW_MAX = 6 };

typedef enum { RULE_PROGRAM, RULE_LEAST, RULE_COUNT } BranchRule;
_Static_assert(RULE_COUNT == (int)ORDER_RULES, "rules are asked for by number");

typedef enum { SEARCH_FOUND, SEARCH_REFUTED, SEARCH_UNDECIDED } SearchResult;

// A ready task and what tells which to try first.
typedef struct {
    int64_t key;
    int task;
} Branch;

// A set where the search branches.
typedef struct {
    int trail;            // tasks run before its first branch
    int begin, end, next; // its branches
} Frame;

typedef struct {
    OrderState *s;
    Arena *a; // of one try
    BranchRule rule;
    int64_t limit;   // T
    int64_t refused; // the least load above it that was met
    int64_t work_end;
    int *trail; // tasks run, in order
    int trail_count;
    Branch *branch;
    int branch_count, branch_capacity;
    Frame *frame;
    int frame_count, frame_capacity;
    OrderKey *seen; // hash set; key 0, 0 is free
    size_t seen_count, seen_capacity;
} Search;

static bool fits(Search *w, int64_t load) {
    if (load <= w->limit)
        return true;
    w->refused = load < w->refused ? load : w->refused;
    return false;
}

static void run(Search *w, int task) {
    order_state_run(w->s, task);
    w->trail[w->trail_count++] = task;
}

static void undo_to(Search *w, int count) {
    while (w->trail_count > count)
        order_state_undo(w->s, w->trail[--w->trail_count]);
}

static size_t seen_find(const OrderKey *seen, size_t capacity, OrderKey key) {
    size_t at = (size_t)key.low & (capacity - 1);
    while ((seen[at].low || seen[at].high) &&
           (seen[at].low != key.low || seen[at].high != key.high))
        at = (at + 1) & (capacity - 1);
    return at;
}

// False where the set has been entered before.
static bool enter(Search *w, OrderKey key) {
    if (2 * w->seen_count >= w->seen_capacity) {
        const size_t capacity = w->seen_capacity ? 4 * w->seen_capacity : 1024;
        OrderKey *seen = arena_array(w->a, OrderKey, capacity);
        for (size_t i = 0; i < w->seen_capacity; i++)
            if (w->seen[i].low || w->seen[i].high)
                seen[seen_find(seen, capacity, w->seen[i])] = w->seen[i];
        w->seen = seen;
        w->seen_capacity = capacity;
    }
    const size_t at = seen_find(w->seen, w->seen_capacity, key);
    if (w->seen[at].low || w->seen[at].high)
        return false;
    w->seen[at] = key;
    w->seen_count++;
    return true;
}

// Rule 1, until nothing is left to run so. Returns whether anything ran.
static bool run_safe(Search *w) {
    OrderState *s = w->s;
    bool any = false;
    for (bool again = true; again;) {
        again = false;
        s->work += s->ready_count;
        for (int i = 0; i < s->ready_count;) {
            const int task = s->ready[i];
            // After a run another task stands at this place.
            if (s->growth[task] <= 0 && fits(w, order_state_load(s, task)))
                run(w, task), again = any = true;
            else
                i++;
        }
    }
    return any;
}

// The least live bytes of the allowed sets made of the row's tasks from number i on, the state
// being any of them; not the one without any.
static int64_t least_between(OrderState *s, const int *row, int count, int i, int ran) {
    if (i == count)
        return ran ? s->live : INT64_MAX;
    int64_t least = least_between(s, row, count, i + 1, ran);
    if (s->ready_at[row[i]] >= 0) {
        order_state_run(s, row[i]);
        const int64_t with = least_between(s, row, count, i + 1, ran + 1);
        order_state_undo(s, row[i]);
        least = with < least ? with : least;
    }
    return least;
}

// The task that fits and leaves least live among those that share an edge or an object with
// `task`'s surroundings: followers that it made ready, and users of what it uses. -1: there is
// none.
static int next_of_row(Search *w, int task) {
    OrderState *s = w->s;
    const OrderGraph *og = s->og;
    int best = -1;
    for (int i = og->succ_begin[task]; i < og->succ_begin[task + 1]; i++) {
        const int t = og->succ[i];
        if (s->ready_at[t] >= 0 && fits(w, order_state_load(s, t)) &&
            (best < 0 || s->growth[t] < s->growth[best]))
            best = t;
    }
    for (int i = og->use_begin[task]; i < og->use_begin[task + 1]; i++) {
        const OrderObject *o = &og->object[og->use[i]];
        // An object that everybody uses tells nothing.
        for (int k = 0; k < o->user_count && o->user_count <= 16; k++) {
            const int t = o->user[k];
            if (s->ready_at[t] >= 0 && s->growth[t] < 0 && fits(w, order_state_load(s, t)) &&
                (best < 0 || s->growth[t] < s->growth[best]))
                best = t;
        }
    }
    return best;
}

// Rule 2 for rows that begin with the task, which fits. Returns whether one was run.
static bool try_row(Search *w, int task) {
    OrderState *s = w->s;
    const int trail = w->trail_count;
    const int64_t live = s->live;
    int row[ROW_MAX], count = 0;
    for (int t = task; t >= 0 && count < ROW_MAX;) {
        row[count++] = t;
        run(w, t);
        if (s->live <= live)
            break;
        // What it uses and what follows it; else what follows the row's beginning.
        t = next_of_row(w, t);
        for (int i = count - 2; t < 0 && i >= 0; i--)
            t = next_of_row(w, row[i]);
    }
    const int64_t reached = s->live;
    undo_to(w, trail);
    if (reached > live || least_between(s, row, count, 0, 0) < reached)
        return false;
    for (int i = 0; i < count; i++)
        run(w, row[i]);
    return true;
}

static int compare_branches(const void *a, const void *b) {
    const Branch *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->task > y->task) - (x->task < y->task);
}

static bool try_rows(Search *w, int begin, int end) {
    for (int i = begin; i < end; i++)
        if (try_row(w, w->branch[i].task))
            return true;
    return false;
}

// The ready tasks that fit, best first.
static void list_branches(Search *w) {
    OrderState *s = w->s;
    const int begin = w->branch_count;
    s->work += 4 * s->ready_count;
    for (int i = 0; i < s->ready_count; i++) {
        const int task = s->ready[i];
        if (!fits(w, order_state_load(s, task)))
            continue;
        if (w->branch_count == w->branch_capacity) {
            const int capacity = w->branch_capacity ? 2 * w->branch_capacity : 256;
            w->branch = arena_grow(w->a, w->branch, (size_t)w->branch_count, (size_t)capacity,
                                   sizeof *w->branch);
            w->branch_capacity = capacity;
        }
        w->branch[w->branch_count++] =
            (Branch){w->rule == RULE_LEAST ? s->growth[task] : task, task};
    }
    if (w->branch_count > begin)
        qsort(w->branch + begin, (size_t)(w->branch_count - begin), sizeof *w->branch,
              compare_branches);
}

static void push_frame(Search *w, int begin) {
    if (w->frame_count == w->frame_capacity) {
        const int capacity = w->frame_capacity ? 2 * w->frame_capacity : 256;
        w->frame =
            arena_grow(w->a, w->frame, (size_t)w->frame_count, (size_t)capacity, sizeof *w->frame);
        w->frame_capacity = capacity;
    }
    w->frame[w->frame_count++] = (Frame){w->trail_count, begin, w->branch_count, begin};
}

// Goes on from a new set: rules 1 and 2 as far as they lead, then branches. Nothing where the set
// was seen before.
static void advance(Search *w) {
    for (;;) {
        run_safe(w);
        if (w->trail_count == w->s->og->task_count || !enter(w, w->s->key))
            return;
        const int begin = w->branch_count;
        list_branches(w);
        // Sets along a row are left for good: they need not be entered.
        if (try_rows(w, begin, w->branch_count)) {
            w->branch_count = begin;
            continue;
        }
        push_frame(w, begin);
        return;
    }
}

// Everything is undone on return; found orders are in trail.
static SearchResult search(Search *w) {
    const int tasks = w->s->og->task_count;
    w->refused = INT64_MAX;
    // From the start nothing fits when what is there already doesn't.
    bool fine = fits(w, w->s->live);
    if (fine)
        advance(w);
    SearchResult result = SEARCH_REFUTED;
    while (fine && w->trail_count < tasks && w->frame_count > 0) {
        if (w->s->work > w->work_end) {
            result = SEARCH_UNDECIDED;
            break;
        }
        Frame *f = &w->frame[w->frame_count - 1];
        undo_to(w, f->trail);
        if (f->next == f->end) {
            w->branch_count = f->begin;
            w->frame_count--;
            continue;
        }
        run(w, w->branch[f->next++].task);
        advance(w);
    }
    if (fine && w->trail_count == tasks)
        result = SEARCH_FOUND;
    return result;
}

// One try: search under the limit. Found: order and *load are set. Refuted: *load is the new bound.
static SearchResult try_limit(OrderState *s, BranchRule rule, int64_t limit, int64_t work,
                              int *order, int64_t *load) {
    Arena *a = arena_create();
    const int tasks = s->og->task_count;
    Search w = {.s = s,
                .a = a,
                .rule = rule,
                .limit = limit,
                .work_end = s->work + work,
                .trail = arena_array(a, int, tasks + 1)};
    const SearchResult result = search(&w);
    if (result == SEARCH_FOUND) {
        memcpy(order, w.trail, (size_t)tasks * sizeof *order);
        *load = order_load(s->og, order, a, NULL);
    } else {
        *load = w.refused;
    }
    undo_to(&w, 0);
    arena_release(a);
    return result;
}

typedef struct {
    OrderState *s;
    OrderSearch out;
    int64_t end; // of work
    int *order;
} SearchRun;

// Limits from the bound upwards, each proved or given up after so much work. Returns whether the
// load met the bound.
static bool prove(SearchRun *r, int64_t work) {
    while (r->out.bound < r->out.load && r->s->work < r->end) {
        int64_t load;
        const int64_t rest = r->end - r->s->work;
        const SearchResult result =
            try_limit(r->s, RULE_PROGRAM, r->out.bound, work < rest ? work : rest, r->order, &load);
        if (result == SEARCH_UNDECIDED)
            return false;
        if (result == SEARCH_FOUND) {
            r->out.found = true;
            r->out.load = load;
        } else {
            r->out.bound = load < r->out.load ? load : r->out.load;
        }
    }
    return r->out.bound >= r->out.load;
}

// Better orders without proof: bisection between the bound and the best, to a thousandth.
static void improve(SearchRun *r, int64_t work) {
    int64_t low = r->out.bound;
    while (r->out.load - low > r->out.load / 1024 && r->s->work < r->end) {
        const int64_t limit = low + (r->out.load - low) / 2;
        bool found = false;
        for (BranchRule rule = 0; rule < RULE_COUNT && !found; rule++) {
            int64_t load;
            found = try_limit(r->s, rule, limit, work, r->order, &load) == SEARCH_FOUND;
            if (found)
                r->out.load = load;
        }
        r->out.found = r->out.found || found;
        if (!found)
            low = limit + 1;
    }
}

// Decides what is small. A way down with a few rows tried at each set takes some ten times as long.
static int64_t least_try(const OrderGraph *og) {
    return 20000 + 200 * (int64_t)og->task_count;
}

bool order_within(const OrderGraph *og, int rule, int64_t limit, int *order) {
    Arena *a = arena_create();
    int64_t load;
    const bool found = try_limit(order_state_create(og, a), (BranchRule)rule, limit, least_try(og),
                                 order, &load) == SEARCH_FOUND;
    arena_release(a);
    return found;
}

OrderSearch order_search(const OrderGraph *og, int64_t low, int64_t high, int64_t work,
                         int *order) {
    const int64_t first = least_try(og);
    Arena *a = arena_create();
    SearchRun r = {.s = order_state_create(og, a),
                   .out = {.load = high, .bound = low < high ? low : high},
                   .end = work,
                   .order = order};
    if (!prove(&r, first) && r.s->work < r.end) {
        improve(&r, first);
        improve(&r, 10 * first);
        // Budgets grow: a limit that was given up is tried again with all that is left in the end.
        for (int64_t t = 40 * first; !prove(&r, t) && r.s->work < r.end; t *= 4)
            ;
    }
    r.out.work = r.s->work;
    arena_release(a);
    return r.out;
}
