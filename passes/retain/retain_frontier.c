// The points worth having: candidates from every method, each measured, none better than another.
#include "passes/retain/retain_exact.h"
#include "passes/retain/retain_front.h"
#include "passes/retain/retain_greedy.h"
#include "passes/retain/retain_polish.h"
#include "passes/retain/retain_split.h"
#include "passes/retain/retain_tree.h"

#include <math.h>

// MOVERS: parts of the chain up to which values move. EXACT_RUNGS: points looked for, for one that
// is wanted. CUT_WORTH: cut values are worth a rung where they save such a share of the time.
enum { RUNGS = 24, MOVERS = 12, EXACT_RUNGS = 4, CUT_WORTH = 200 };
// Of schedules with moves that are measured, in all.
#define MOVES_STEPS ((int64_t)6000000)

// While a task runs for the first time there are: what it reads and makes, its own bytes, the
// arguments; and what was made once, can't be moved and is read from then on.
static int64_t find_bound(const RetainIndex *x, bool far, Arena *a) {
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
        if (!retain_again(p, v) && !(far && retain_movable(p, v))) {
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

int64_t retain_least(const RetainProblem *p, bool far) {
    Arena *a = arena_create();
    const int64_t bound = find_bound(retain_index(p, a), far, a);
    arena_release(a);
    return bound;
}

// The first point even where another is as fast.
RetainPoint retain_once(const RetainProblem *p, Arena *a) {
    RetainStep *step = arena_array(a, RetainStep, p->task_count + 1);
    for (int t = 0; t < p->task_count; t++)
        step[t] = (RetainStep){.kind = RETAIN_RUN, .what = t};
    const RetainSchedule s = {.count = p->task_count, .step = step};
    return (RetainPoint){.cost = retain_cost(p, &s, a), .schedule = s};
}

// Terms under which more and more moves. A schedule has half as many steps again as there are
// tasks; there are some four dozen terms.
static void add_moves(RetainTree *tree, RetainMoves what, int tasks, int blocks, int rungs,
                      RetainFront *front) {
    const int64_t room = MOVES_STEPS / ((int64_t)tasks * 3 / 2 * 48 + 1);
    const int each = room < 4 ? 4 : room < 4 * (int64_t)rungs ? (int)room : 4 * rungs;
    retain_tree_add(tree, (RetainTerms){.copies = RETAIN_SHARE, .what = what}, each, front);
    for (int i = -6; i <= 4; i++)
        retain_tree_add(tree,
                        (RetainTerms){.copies = RETAIN_PRICE, .what = what, .price = ldexp(1, i)},
                        each, front);
    for (int i = 1; i < MOVERS; i++)
        if (blocks * i / MOVERS > blocks * (i - 1) / MOVERS)
            retain_tree_add(tree,
                            (RetainTerms){.copies = RETAIN_PRICE,
                                          .what = what,
                                          .price = 1.0 / 64,
                                          .movers = blocks * i / MOVERS},
                            each, front);
}

// Chains of blocks, with and without moves, and what polishing makes of them.
static int add_trees(const RetainIndex *x, const RetainOptions *o, int rungs, RetainFront *front) {
    Arena *a = arena_create();
    const RetainChain *c = retain_chain(x, a);
    int degraded = 0;
    const RetainWays options = {.nodes = o->nodes, .far = o->far > 0};
    const RetainBlock *block = retain_blocks(c, options, &degraded, a);
    RetainTree *tree = retain_tree(c, block, a);
    retain_tree_add(tree, (RetainTerms){.copies = RETAIN_STAY}, 4 * rungs, front);
    // What polishing finds depends on where it begins, and it does not begin well from parts that
    // run again: so they come after it, and then it goes on.
    for (RetainMoves what = RETAIN_OF_WAYS; options.far && what <= RETAIN_OF_PARTS; what++) {
        add_moves(tree, what, x->p->task_count, c->count, rungs, front);
        retain_polish(x, true, front);
    }
    if (!options.far)
        retain_polish(x, false, front);
    arena_release(a);
    return degraded;
}

// Of the front about as many points as wanted: of those that fit each rung of a ladder of bytes the
// fastest. The first and the last one are among them.
static int thin_out(const RetainFront *front, RetainPoint once, int rungs, RetainPoint *point) {
    int count = 0;
    point[count++] = once;
    int begin = 0;
    while (begin < front->count && front->point[begin].cost.bytes >= once.cost.bytes)
        begin++;
    if (begin == front->count)
        return count;
    const int64_t most = front->point[begin].cost.bytes;
    const int64_t least = front->point[front->count - 1].cost.bytes;
    int64_t limit = most;
    for (int i = begin; i < front->count; i++) {
        const int64_t bytes = front->point[i].cost.bytes;
        if (bytes > limit && i < front->count - 1)
            continue;
        point[count++] = front->point[i];
        while (limit >= bytes && most > least)
            limit -= (most - least) / rungs + 1;
    }
    return count;
}

static bool is_cut(const RetainSchedule *s) {
    for (int i = 0; i < s->count; i++)
        if (s->step[i].near || s->step[i].again)
            return true;
    return false;
}

static bool is_worth(const RetainPoint *whole, int count, const RetainPoint *cut) {
    int i = 0;
    while (i < count && whole[i].cost.bytes > cut->cost.bytes)
        i++;
    const int64_t time = cut->cost.time;
    return is_cut(&cut->schedule) && (i == count || time + time / CUT_WORTH < whole[i].cost.time);
}

// Points with cut values stand beside those without, by time, and replace none: what whole values
// need in the final arena may be less than is known here, where results are written over operands.
static int add_cut(const RetainPoint *whole, int whole_count, const RetainPoint *cut, int cut_count,
                   RetainPoint *out) {
    int count = 0, next = 0;
    for (int i = 0; i < cut_count; i++) {
        if (!is_worth(whole, whole_count, &cut[i]))
            continue;
        while (next < whole_count && whole[next].cost.time <= cut[i].cost.time)
            out[count++] = whole[next++];
        out[count++] = cut[i];
    }
    while (next < whole_count)
        out[count++] = whole[next++];
    return count;
}

RetainFrontier retain_frontier(const RetainProblem *p, const RetainOptions *options, Arena *a) {
    const int rungs = options->rungs ? options->rungs : RUNGS;
    const RetainIndex *x = retain_index(p, a);
    RetainFront *front = retain_front(p, options->far, a);
    retain_greedy(x, rungs, front);
    if (options->far)
        retain_try_all(x, front);
    const RetainPoint once = retain_once(p, a);
    int64_t bound = find_bound(x, options->far > 0, a), least = 0;
    int degraded = 0;
    const int64_t apart = (once.cost.bytes - bound) / (EXACT_RUNGS * (int64_t)rungs) + 1;
    if (!options->far && retain_exact(x, once.cost.bytes, apart, front, &least))
        bound = least > bound ? least : bound;
    else if (p->forward_count)
        degraded = add_trees(x, options, rungs, front);
    RetainPoint *whole = arena_array(a, RetainPoint, front->count + 2);
    const int whole_count = thin_out(front, once, rungs, whole);
    retain_split(x, options->far > 0, front);
    retain_front_end(front);
    RetainPoint *cut = arena_array(a, RetainPoint, front->count + 2);
    const int cut_count = thin_out(front, once, rungs, cut);
    RetainPoint *point = arena_array(a, RetainPoint, whole_count + cut_count);
    const int count = add_cut(whole, whole_count, cut, cut_count, point);
    // Where tasks are copies themselves, others that run longer might hide more of them.
    for (int i = 1; i < count; i++)
        if (point[i].cost.time < once.cost.time)
            point[i].cost.time = once.cost.time;
    return (RetainFrontier){.count = count, .point = point, .bound = bound, .degraded = degraded};
}
