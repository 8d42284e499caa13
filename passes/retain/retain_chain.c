// Cuts the forward into a chain of blocks, by structure alone.
//
// Between two tasks those values cross that were made before and are read after, by the forward.
// Where that is one value there is a cut, as between the layers of most networks; a block that
// would be long is cut where the fewest bytes cross. Values that are read all over (an encoder's
// output, a mask) would cross everywhere: they are set aside and kept. Tasks after the forward
// belong to the block whose values they read; they come in the order opposite to that of the
// blocks, or are counted to a later block than they need be.
//
// Cost: O(tasks log tasks + reads).
#include "passes/retain/retain_chain.h"

#include <limits.h>
#include <stdlib.h>

// READ_FAR: a value read further on than this, in tasks and in parts of all, is set aside.
// TASKS_LONG: of a block, where cutting it means that more than one value crosses.
enum { READ_FAR = 48, READ_FAR_PARTS = 6, TASKS_LONG = 64 };

bool retain_enters(const RetainChain *c, int value) {
    return c->x->p->value[value].maker < c->begin[c->home[value]];
}

static int far_apart(int tasks) {
    return tasks / READ_FAR_PARTS > READ_FAR ? tasks / READ_FAR_PARTS : READ_FAR;
}

// Does the forward make it, and may it be lost in time?
static bool belongs(const RetainIndex *x, int v) {
    const RetainProblem *p = x->p;
    const int maker = p->value[v].maker;
    if (maker < 0 || maker >= p->forward_count || p->value[v].kept || !retain_bytes(p, v))
        return false;
    return x->last_forward[v] - maker <= far_apart(p->forward_count) &&
           x->last_backward[v] - x->first_backward[v] <=
               far_apart(p->task_count - p->forward_count);
}

static int by_size(const void *x, const void *y) {
    const int64_t *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

// What crosses before each task of the forward.
typedef struct {
    int *count;
    int64_t *bytes;
} Crossing;

// Cuts begin .. end where at most so much crosses. Returns the length of the longest block; writes
// them to c where it is not NULL.
static int cut_at(RetainChain *c, const Crossing *x, int begin, int end, int64_t most) {
    int from = begin, longest = 0;
    for (int t = begin + 1; t <= end; t++) {
        if (t < end && x->bytes[t] > most)
            continue;
        longest = t - from > longest ? t - from : longest;
        if (c)
            c->begin[c->count++] = from;
        from = t;
    }
    return longest;
}

// Cuts a block that is too long where the fewest bytes cross.
static void cut_long(RetainChain *c, const Crossing *x, int begin, int end, Arena *a) {
    int64_t *bytes = arena_array(a, int64_t, end - begin + 1);
    int low = 0, high = end - begin - 2; // the least that will do is among them; else the last
    for (int t = begin + 1; t < end; t++)
        bytes[t - begin - 1] = x->bytes[t];
    qsort(bytes, (size_t)(end - begin - 1), sizeof *bytes, by_size);
    while (low < high) {
        const int middle = (low + high) / 2;
        if (cut_at(NULL, x, begin, end, bytes[middle]) <= TASKS_LONG)
            high = middle;
        else
            low = middle + 1;
    }
    cut_at(c, x, begin, end, bytes[low]);
}

static Crossing find_crossings(const RetainIndex *x, Arena *a) {
    const int tasks = x->p->forward_count;
    const Crossing out = {arena_array(a, int, tasks + 2), arena_array(a, int64_t, tasks + 2)};
    for (int v = 0; v < x->p->value_count; v++) {
        if (!belongs(x, v))
            continue;
        const int begin = x->p->value[v].maker + 1, end = x->last_forward[v] + 1;
        out.count[begin]++;
        out.count[end]--;
        out.bytes[begin] += retain_bytes(x->p, v);
        out.bytes[end] -= retain_bytes(x->p, v);
    }
    for (int t = 1; t <= tasks; t++) {
        out.count[t] += out.count[t - 1];
        out.bytes[t] += out.bytes[t - 1];
    }
    return out;
}

static void find_blocks(RetainChain *c, Arena *a) {
    const int tasks = c->x->p->forward_count;
    const Crossing crossing = find_crossings(c->x, a);
    c->begin = arena_array(a, int, tasks + 2);
    int from = 0;
    for (int t = 1; t <= tasks; t++) {
        if (t < tasks && crossing.count[t] > 1)
            continue;
        if (t - from > TASKS_LONG)
            cut_long(c, &crossing, from, t, a);
        else
            c->begin[c->count++] = from;
        from = t;
    }
    // Several in a row are one, so that there are not too many; the last one may be shorter.
    const int together = (c->count + RETAIN_BLOCKS_MAX - 1) / RETAIN_BLOCKS_MAX;
    int count = 0;
    for (int b = 0; b < c->count; b += together)
        c->begin[count++] = c->begin[b];
    c->begin[count] = tasks;
    c->count = count;
}

static void find_homes(RetainChain *c, int *block, Arena *a) {
    const RetainProblem *p = c->x->p;
    c->home = arena_array(a, int, p->value_count + 1);
    c->member_begin = arena_array(a, int, c->count + 3);
    for (int b = 0; b < c->count; b++)
        for (int t = c->begin[b]; t < c->begin[b + 1]; t++)
            block[t] = b;
    int total = 0;
    for (int v = 0; v < p->value_count; v++) {
        c->home[v] = belongs(c->x, v) ? block[c->x->last_forward[v]] : -1;
        if (c->home[v] >= 0) {
            c->member_begin[c->home[v] + 2]++;
            total++;
        } else if (p->value[v].maker < p->forward_count)
            c->always += retain_bytes(p, v);
    }
    for (int b = 2; b <= c->count; b++)
        c->member_begin[b] += c->member_begin[b - 1];
    c->member = arena_array(a, int, total + 1);
    for (int v = 0; v < p->value_count; v++)
        if (c->home[v] >= 0)
            c->member[c->member_begin[c->home[v] + 1]++] = v;
}

// The first and the last block that a later task may belong to: where a value that it reads was
// made and where it was read last by the forward, for all of them if that is possible.
static void find_span(const RetainChain *c, const int *block, int task, int *low, int *high) {
    const RetainTask *t = &c->x->p->task[task];
    int most = -1;
    *low = -1;
    *high = INT_MAX;
    for (int i = 0; i < t->operand_count; i++) {
        const int home = c->home[t->operand[i]];
        if (home < 0)
            continue;
        const int made = block[c->x->p->value[t->operand[i]].maker];
        most = home > most ? home : most;
        *low = made > *low ? made : *low;
        *high = home < *high ? home : *high;
    }
    if (*low > *high)
        *low = *high = most;
}

// The block of each later task, in falling order: that of the task before as long as it may be, but
// none before a block that a task after it belongs to.
static void find_back(RetainChain *c, int *block, Arena *a) {
    const RetainProblem *p = c->x->p;
    int *low = arena_array(a, int, p->task_count + 2),
        *high = arena_array(a, int, p->task_count + 1);
    low[p->task_count] = 0;
    for (int t = p->task_count - 1; t >= p->forward_count; t--) {
        find_span(c, block, t, &low[t], &high[t]);
        low[t] = low[t] > low[t + 1] ? low[t] : low[t + 1];
    }
    // One that reads none belongs with what comes next: its results are the next block's business.
    int now = c->count - 1;
    for (int t = p->forward_count; t < p->task_count; t++) {
        now = high[t] < now ? high[t] : now;
        now = low[t] > now ? low[t] : now;
        block[t] = now;
    }
    for (int t = p->task_count - 1; t >= p->forward_count; t--)
        if (high[t] == INT_MAX)
            block[t] = t + 1 < p->task_count ? block[t + 1] : 0;
    // back[b] is where the tasks of the blocks before b begin.
    for (int b = 0; b <= c->count; b++)
        c->back[b] = p->task_count;
    for (int t = p->task_count - 1; t >= p->forward_count; t--)
        for (int b = block[t] + 1; b <= c->count && c->back[b] > t; b++)
            c->back[b] = t;
    c->back[c->count] = p->forward_count;
    c->back[0] = p->task_count;
}

static void find_last(RetainChain *c, const int *block, Arena *a) {
    const RetainIndex *x = c->x;
    c->last = arena_array(a, int, x->p->value_count + 1);
    for (int v = 0; v < x->p->value_count; v++) {
        c->last[v] = c->home[v];
        if (c->home[v] >= 0 && x->last_backward[v] >= 0 && block[x->last_backward[v]] < c->home[v])
            c->last[v] = block[x->last_backward[v]];
    }
}

static void find_late(RetainChain *c, Arena *a) {
    const RetainIndex *x = c->x;
    const RetainProblem *p = x->p;
    c->late = arena_array(a, int64_t, p->task_count + 2);
    for (int v = 0; v < p->value_count; v++) {
        const int maker = p->value[v].maker;
        if (maker < p->forward_count)
            continue;
        int last = x->last_backward[v] > maker ? x->last_backward[v] : maker;
        last = p->value[v].kept ? p->task_count : last;
        c->late[maker + 1] += retain_bytes(p, v);
        c->late[last + 1] -= retain_bytes(p, v);
    }
    for (int t = 1; t <= p->task_count; t++)
        c->late[t] += c->late[t - 1];
}

// Values that can't be made again and that somebody may want after the forward.
static bool must_stay(const RetainIndex *x, int v) {
    const RetainProblem *p = x->p;
    if (retain_again(p, v))
        return false;
    for (int i = x->reader_begin[v]; i < x->reader_begin[v + 1]; i++)
        if (x->reader[i] >= p->forward_count || !(p->task[x->reader[i]].flags & RETAIN_ONCE))
            return true;
    return false;
}

static void find_crossing(RetainChain *c, const int *block, Arena *a) {
    const RetainProblem *p = c->x->p;
    c->enters = arena_array(a, int64_t, c->count + 1);
    c->cross_begin = arena_array(a, int, c->count + 3);
    for (int v = 0; v < p->value_count; v++)
        for (int b = c->home[v] < 0 ? 0 : block[p->value[v].maker] + 1; b <= c->home[v]; b++) {
            c->cross_begin[b + 2]++;
            c->enters[b] += retain_bytes(p, v);
        }
    for (int b = 2; b <= c->count + 1; b++)
        c->cross_begin[b] += c->cross_begin[b - 1];
    c->cross = arena_array(a, int, c->cross_begin[c->count + 1] + 1);
    for (int v = 0; v < p->value_count; v++)
        for (int b = c->home[v] < 0 ? 0 : block[p->value[v].maker] + 1; b <= c->home[v]; b++)
            c->cross[c->cross_begin[b + 1]++] = v;
}

static void find_sums(RetainChain *c, Arena *a) {
    const RetainProblem *p = c->x->p;
    c->once = arena_array(a, int64_t, c->count + 1);
    c->forward = arena_array(a, int64_t, c->count + 1);
    c->later = arena_array(a, int64_t, c->count + 1);
    for (int b = 0; b < c->count; b++) {
        for (int t = c->begin[b]; t < c->begin[b + 1]; t++)
            c->forward[b] += retain_time(p, t);
        for (int t = c->back[b + 1]; t < c->back[b]; t++)
            c->later[b] += retain_time(p, t);
        for (int i = c->member_begin[b]; i < c->member_begin[b + 1]; i++) {
            const int v = c->member[i];
            c->once[b] += must_stay(c->x, v) ? retain_bytes(p, v) : 0;
        }
    }
}

RetainChain *retain_chain(const RetainIndex *x, Arena *a) {
    RetainChain *c = arena_new(a, RetainChain);
    c->x = x;
    find_blocks(c, a);
    int *block = arena_array(a, int, x->p->task_count + 1);
    find_homes(c, block, a);
    c->back = arena_array(a, int, c->count + 2);
    find_back(c, block, a);
    find_last(c, block, a);
    find_late(c, a);
    find_crossing(c, block, a);
    find_sums(c, a);
    return c;
}
