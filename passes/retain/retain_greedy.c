// First answers: what saves most bytes a second is given up first.
//
// Values that the forward makes and later tasks read are taken by the time that their maker needs a
// byte; one after another they are made again instead of being kept. What that needs and no later
// task reads is made again too, whatever it takes; what can't be made again is kept for it.
// Cost: a schedule written and measured for each of `rungs` steps of equal bytes.
#include "passes/retain/retain_greedy.h"

#include "passes/retain/retain_write.h"

#include <stdlib.h>

// CHOICES_MAX: of fates, for which all are tried.
enum { CHOICES_MAX = 20000 };

typedef struct {
    int value;
    int64_t bytes, time; // of it; of its maker
} Candidate;

// Less time a byte first.
static int by_rate(const void *x, const void *y) {
    const Candidate *a = x, *b = y;
    const double left = (double)a->time / (double)a->bytes;
    const double right = (double)b->time / (double)b->bytes;
    if (left != right)
        return left < right ? -1 : 1;
    return (a->value > b->value) - (a->value < b->value);
}

static Candidate *find_candidates(const RetainIndex *x, Arena *a, int *count) {
    const RetainProblem *p = x->p;
    Candidate *c = arena_array(a, Candidate, p->value_count + 1);
    *count = 0;
    for (int v = 0; v < p->value_count; v++)
        if (retain_again(p, v) && p->value[v].maker < p->forward_count && retain_bytes(p, v) &&
            x->first_backward[v] < p->task_count && !p->value[v].kept)
            c[(*count)++] = (Candidate){
                .value = v, .bytes = retain_bytes(p, v), .time = retain_time(p, p->value[v].maker)};
    qsort(c, (size_t)*count, sizeof *c, by_rate);
    return c;
}

// Kept: what later tasks read, and what can't be made again but is needed to make something again.
static void find_fates(const RetainIndex *x, const bool *given_up, RetainFate *fate) {
    const RetainProblem *p = x->p;
    for (int v = 0; v < p->value_count; v++) {
        const bool read = x->first_backward[v] < p->task_count || p->value[v].kept;
        fate[v] = retain_again(p, v) && (given_up[v] || !read) && retain_bytes(p, v) ? RETAIN_AGAIN
                                                                                     : RETAIN_KEEP;
    }
}

void retain_greedy(const RetainIndex *x, int rungs, RetainFront *front) {
    Arena *a = arena_create();
    int count;
    const Candidate *c = find_candidates(x, a, &count);
    bool *given_up = arena_array(a, bool, x->p->value_count + 1);
    RetainFate *fate = arena_array(a, RetainFate, x->p->value_count + 1);
    int64_t sum = 0, next = 0, done = 0;
    for (int i = 0; i < count; i++)
        sum += c[i].bytes;
    Arena *steps = arena_create();
    for (int i = 0; i <= count; i++) {
        if (done >= next || i == count) {
            arena_reset(steps);
            find_fates(x, given_up, fate);
            retain_front_add(front, retain_write(x, fate, steps));
            next = done + sum / rungs;
        }
        if (i == count)
            break;
        given_up[c[i].value] = true;
        done += c[i].bytes;
    }
    arena_release(steps);
    arena_release(a);
}

// Values whose fates make a difference, and how many fates each may have.
static int find_open(const RetainIndex *x, int *open, int64_t *choices) {
    const RetainProblem *p = x->p;
    int count = 0;
    *choices = 1;
    for (int v = 0; v < p->value_count && *choices <= CHOICES_MAX; v++) {
        const int maker = p->value[v].maker;
        if (maker < 0 || maker >= p->forward_count || p->value[v].kept || !retain_bytes(p, v))
            continue;
        const int fates = 1 + retain_again(p, v) + retain_movable(p, v);
        if (fates == 1)
            continue;
        open[count++] = v;
        *choices *= fates;
    }
    return count;
}

void retain_try_all(const RetainIndex *x, RetainFront *front) {
    const RetainProblem *p = x->p;
    Arena *a = arena_create(), *steps = arena_create();
    int *open = arena_array(a, int, p->value_count + 1);
    RetainFate *fate = arena_array(a, RetainFate, p->value_count + 1);
    int64_t choices;
    const int count = find_open(x, open, &choices);
    for (int64_t i = 0; i < choices && choices <= CHOICES_MAX; i++) {
        int64_t rest = i;
        for (int k = 0; k < count; k++) {
            const bool again = retain_again(p, open[k]), moves = retain_movable(p, open[k]);
            const int chosen = (int)(rest % (1 + again + moves));
            rest /= 1 + again + moves;
            fate[open[k]] = chosen == 0            ? RETAIN_KEEP
                            : chosen == 1 && again ? RETAIN_AGAIN
                                                   : RETAIN_MOVE;
        }
        arena_reset(steps);
        retain_front_add(front, retain_write(x, fate, steps));
    }
    arena_release(steps);
    arena_release(a);
}
