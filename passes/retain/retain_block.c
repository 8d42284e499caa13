// What may become of the values of one block.
//
// Ways come from a greedy descent, which gives up one kept value at a time, the one that saves most
// bytes for what runs again then, and from an integer program for rows of memory in between
// (retain_program); of a block with few values all are tried. What a way needs at most while the
// block's tasks run is found by writing its steps. Blocks that are equal in everything the ways
// depend on share them: a model's layers are solved once. Cost: members squared times reads, per
// kind of block.
#include "passes/retain/retain_block.h"

#include "passes/retain/retain_closure.h"
#include "passes/retain/retain_program.h"

#include "ir/check.h"

#include <string.h>

enum { GREEDY_MEMBERS_MAX = 192 };

typedef struct {
    const RetainChain *c;
    RetainWays options;
    Arena *a, *scratch; // ways; the rest
    RetainClosure *z;
    RetainWriter *w;
    int64_t *change; // bytes by step, room for the steps of a block
    int *local;      // by value: its place among the block's members or the results of its tasks
    int *copy, *copy_last; // by value: step that made its latest copy, last step that read it
} BlockWork;

// --- Equal blocks ---

typedef struct {
    int64_t *word;
    int count, room;
} Shape;

static void say(Shape *s, int64_t word, Arena *a) {
    if (s->count == s->room) {
        const int room = 2 * s->room + 256;
        s->word = arena_grow(a, s->word, (size_t)s->room, (size_t)room, sizeof word);
        s->room = room;
    }
    s->word[s->count++] = word;
}

// Everything about a block that its ways depend on.
static Shape block_shape(BlockWork *k, int b) {
    const RetainChain *c = k->c;
    const RetainProblem *p = c->x->p;
    Shape s = {0};
    const int begin = c->member_begin[b], end = c->member_begin[b + 1];
    say(&s, end - begin, k->scratch);
    say(&s, c->later[b], k->scratch);
    for (int i = begin; i < end; i++) {
        const int v = c->member[i];
        k->local[v] = i - begin;
        say(&s, p->value[v].bytes, k->scratch);
        say(&s, p->value[v].out, k->scratch);
        say(&s, p->value[v].in, k->scratch);
        say(&s, retain_is_wanted(c, v), k->scratch);
        say(&s, retain_within(c, b, v), k->scratch);
    }
    for (int t = c->begin[b]; t < c->begin[b + 1]; t++) {
        say(&s, retain_time(p, t), k->scratch);
        say(&s, p->task[t].flags, k->scratch);
        for (int i = 0; i < p->task[t].operand_count; i++) {
            const int v = p->task[t].operand[i], maker = p->value[v].maker;
            say(&s,
                c->home[v] == b                           ? k->local[v]
                : c->home[v] >= 0 && maker >= c->begin[b] ? -2 - (maker - c->begin[b])
                                                          : -1,
                k->scratch);
        }
        say(&s, INT64_MIN, k->scratch);
        for (int i = 0; i < p->task[t].result_count; i++)
            say(&s, c->home[p->task[t].result[i]] == b ? k->local[p->task[t].result[i]] : -1,
                k->scratch);
        say(&s, INT64_MIN, k->scratch);
    }
    return s;
}

static bool same_shape(const Shape *x, const Shape *y) {
    return x->count == y->count && !memcmp(x->word, y->word, sizeof *x->word * (size_t)x->count);
}

// --- Ways ---

// Keeps what enters the block and what must not be lost.
static void add_bare(BlockWork *k, int b, RetainBlock *block) {
    const RetainChain *c = k->c;
    const int begin = c->member_begin[b], members = c->member_begin[b + 1] - begin;
    RetainFate *fate = arena_array(k->scratch, RetainFate, members + 1);
    for (int i = 0; i < members; i++)
        fate[i] = retain_within(c, b, c->member[begin + i]) ? RETAIN_AGAIN : RETAIN_KEEP;
    retain_way_add(k->z, b, block, fate, k->a);
}

// Gives up the kept value that saves most bytes a picosecond. False where none saves any.
static bool give_up_one(BlockWork *k, int b, RetainWay *now, RetainWay *trial, RetainWay *best) {
    const int members = k->c->member_begin[b + 1] - k->c->member_begin[b];
    double best_rate = 0;
    for (int i = 0; i < members; i++) {
        if (now->fate[i] != RETAIN_KEEP)
            continue;
        memcpy(trial->fate, now->fate, sizeof *now->fate * (size_t)members);
        trial->fate[i] = RETAIN_AGAIN;
        retain_close(k->z, b, trial);
        const double saved = (double)(now->kept - trial->kept);
        const double rate = saved / (double)(trial->again - now->again + 1);
        if (saved <= 0 || rate <= best_rate)
            continue;
        best_rate = rate;
        const RetainWay swap = *best;
        *best = *trial;
        *trial = swap;
    }
    const RetainWay swap = *now;
    *now = *best;
    *best = swap;
    return best_rate > 0;
}

static void add_greedy(BlockWork *k, int b, RetainBlock *block) {
    const RetainChain *c = k->c;
    const int begin = c->member_begin[b], members = c->member_begin[b + 1] - begin;
    RetainWay way[3];
    for (int i = 0; i < 3; i++)
        way[i] = (RetainWay){.fate = arena_array(k->scratch, RetainFate, members + 1)};
    for (int i = 0; i < members; i++)
        way[0].fate[i] = retain_is_wanted(c, c->member[begin + i]) ? RETAIN_KEEP : RETAIN_AGAIN;
    retain_close(k->z, b, &way[0]);
    retain_way_add(k->z, b, block, way[0].fate, k->a);
    if (members > GREEDY_MEMBERS_MAX)
        return;
    int kept = 0;
    for (int i = 0; i < members; i++)
        kept += way[0].fate[i] == RETAIN_KEEP;
    const int each = kept / (RETAIN_WAYS_MAX / 4) + 1;
    for (int step = 1; give_up_one(k, b, &way[0], &way[1], &way[2]); step++)
        if (step % each == 0)
            retain_way_add(k->z, b, block, way[0].fate, k->a);
    retain_way_add(k->z, b, block, way[0].fate, k->a);
}

// Every combination of fates. False where there are too many.
static bool add_all(BlockWork *k, int b, RetainBlock *block) {
    const RetainChain *c = k->c;
    const int begin = c->member_begin[b], members = c->member_begin[b + 1] - begin;
    const int fates = k->options.far ? 3 : 2;
    int count = 1;
    for (int i = 0; i < members; i++) {
        count *= fates;
        if (count > RETAIN_WAYS_MAX / 2)
            return false;
    }
    RetainFate *fate = arena_array(k->scratch, RetainFate, members + 1);
    for (int i = 0; i < count; i++) {
        for (int n = 0, rest = i; n < members; n++, rest /= fates) {
            fate[n] = (RetainFate)(rest % fates);
            if (fate[n] == RETAIN_MOVE && !retain_movable(c->x->p, c->member[begin + n]))
                fate[n] = RETAIN_KEEP;
        }
        retain_way_add(k->z, b, block, fate, k->a);
    }
    return true;
}

// --- Bytes while the block's tasks run ---

static bool counts(const RetainChain *c, int b, int v) {
    return c->home[v] >= 0 && (c->home[v] == b || c->x->p->value[v].maker >= c->begin[b]);
}

// What the block's own tasks need, first time: values to their last reader, kept ones to the end.
static int64_t forward_peak(BlockWork *k, int b, const RetainWay *way) {
    const RetainChain *c = k->c;
    const RetainProblem *p = c->x->p;
    const int begin = c->begin[b], tasks = c->begin[b + 1] - begin;
    memset(k->change, 0, sizeof *k->change * (size_t)(tasks + 2));
    for (int i = c->member_begin[b]; i < c->member_begin[b + 1]; i++) {
        const int v = c->member[i], maker = p->value[v].maker;
        const bool kept = way->fate[i - c->member_begin[b]] == RETAIN_KEEP;
        k->change[maker > begin ? maker - begin : 0] += p->value[v].bytes;
        k->change[kept ? tasks : c->x->last_forward[v] - begin + 1] -= p->value[v].bytes;
    }
    for (int t = begin; t < begin + tasks; t++)
        for (int i = 0; i < p->task[t].result_count; i++)
            if (c->home[p->task[t].result[i]] > b)
                k->change[t - begin] += p->value[p->task[t].result[i]].bytes;
    int64_t now = 0, most = 0;
    for (int i = 0; i < tasks; i++) {
        now += k->change[i];
        const int64_t here = now + p->task[begin + i].transient;
        most = here > most ? here : most;
    }
    return most;
}

static void note_read(BlockWork *k, int b, int v, int step) {
    if (counts(k->c, b, v))
        k->copy_last[v] = step;
}

static void end_copy(BlockWork *k, int v) {
    if (k->copy[v] < 0)
        return;
    const int64_t bytes = k->c->x->p->value[v].bytes;
    k->change[k->copy[v]] += bytes;
    k->change[k->copy_last[v] + 1] -= bytes;
    k->copy[v] = -1;
}

static void begin_copy(BlockWork *k, int b, int v, int step) {
    if (!counts(k->c, b, v))
        return;
    end_copy(k, v);
    k->copy[v] = k->copy_last[v] = step;
}

// Lives of the block's copies over its steps, from k->w; then the most bytes at once.
static int64_t measure_steps(BlockWork *k, int b) {
    const RetainProblem *p = k->c->x->p;
    const RetainStep *step = k->w->step;
    const int steps = k->w->count;
    for (int i = 0; i < steps; i++) {
        if (step[i].kind == RETAIN_FETCH) {
            begin_copy(k, b, step[i].what, i);
            continue;
        }
        const RetainTask *t = &p->task[step[i].what];
        for (int n = 0; n < t->operand_count; n++)
            note_read(k, b, t->operand[n], i);
        for (int n = 0; n < t->result_count; n++)
            if (step[i].what < p->forward_count)
                begin_copy(k, b, t->result[n], i);
    }
    for (int v = k->c->member_begin[b]; v < k->c->member_begin[b + 1]; v++)
        end_copy(k, k->c->member[v]);
    for (int t = k->c->begin[b]; t < k->c->begin[b + 1]; t++)
        for (int n = 0; n < p->task[t].result_count; n++)
            if (counts(k->c, b, p->task[t].result[n]))
                end_copy(k, p->task[t].result[n]);
    int64_t now = 0, most = 0;
    int later = k->c->back[b + 1]; // the next later task
    for (int i = 0; i < steps; i++) {
        now += k->change[i];
        const int task = step[i].what;
        int64_t here = now + k->c->late[later];
        if (step[i].kind == RETAIN_RUN) {
            here += p->task[task].transient;
            if (task >= p->forward_count) {
                for (int n = 0; n < p->task[task].result_count; n++)
                    here += retain_bytes(p, p->task[task].result[n]);
                later = task + 1;
            }
        }
        most = here > most ? here : most;
    }
    return most;
}

// What the block's later tasks need, with what they make again. lost: values of the next block that
// they read are not there any more.
static int64_t later_peak(BlockWork *k, int b, const RetainWay *way, bool lost, int64_t *again) {
    const RetainChain *c = k->c;
    const RetainProblem *p = c->x->p;
    RetainWriter *w = k->w;
    w->count = 0;
    for (int i = c->member_begin[b]; i < c->member_begin[b + 1]; i++) {
        const int v = c->member[i];
        const RetainFate fate = way->fate[i - c->member_begin[b]];
        w->stored[v] = fate == RETAIN_MOVE;
        w->there[v] = fate == RETAIN_KEEP || (fate == RETAIN_AGAIN && !retain_within(c, b, v));
        k->copy[v] = k->copy_last[v] = fate == RETAIN_KEEP ? 0 : -1;
    }
    for (int t = c->begin[b]; t < c->begin[b + 1]; t++)
        for (int n = 0; n < p->task[t].result_count; n++) {
            const int v = p->task[t].result[n];
            if (c->home[v] <= b)
                continue;
            w->there[v] = !(lost && retain_again(p, v));
            k->copy[v] = k->copy_last[v] = w->there[v] && c->last[v] <= b ? 0 : -1;
        }
    for (int t = c->back[b + 1]; t < c->back[b]; t++)
        retain_run(w, t);
    if (again) {
        *again = 0;
        for (int i = 0; i < w->count; i++)
            if (w->step[i].kind == RETAIN_RUN && w->step[i].what < p->forward_count)
                *again += retain_time(p, w->step[i].what);
    }
    memset(k->change, 0, sizeof *k->change * (size_t)(w->count + 2));
    const int64_t most = measure_steps(k, b);
    // As other blocks' writing expects it: everything is there.
    for (int i = c->member_begin[b]; i < c->member_begin[b + 1]; i++) {
        w->there[c->member[i]] = true;
        w->stored[c->member[i]] = false;
    }
    for (int t = c->begin[b]; t < c->begin[b + 1]; t++)
        for (int n = 0; n < p->task[t].result_count; n++)
            w->there[p->task[t].result[n]] = true;
    return most;
}

static void find_peaks(BlockWork *k, int b, RetainBlock *block) {
    const RetainChain *c = k->c;
    const RetainProblem *p = c->x->p;
    block->peak = arena_array(k->a, RetainPeak, block->count + 1);
    for (int i = 0; i < block->count; i++)
        block->peak[i] = (RetainPeak){.forward = forward_peak(k, b, &block->way[i]),
                                      .later = later_peak(k, b, &block->way[i], false, NULL)};
    block->lost_peak = later_peak(k, b, &block->way[0], true, &block->lost_again);
    for (int t = c->begin[b]; t < c->begin[b + 1]; t++)
        for (int n = 0; n < p->task[t].result_count; n++) {
            const int v = p->task[t].result[n];
            block->tail += c->home[v] > b && c->last[v] <= b ? p->value[v].bytes : 0;
        }
}

static BlockWork *start(const RetainChain *c, RetainWays options, Arena *a, Arena *scratch) {
    const RetainProblem *p = c->x->p;
    BlockWork *k = arena_new(scratch, BlockWork);
    *k = (BlockWork){
        .c = c, .options = options, .a = a, .scratch = scratch, .z = retain_closure(c, scratch)};
    k->w = retain_writer(c->x, scratch);
    memset(k->w->there, true, (size_t)p->value_count);
    k->local = arena_array(scratch, int, p->value_count + 1);
    k->copy = arena_array(scratch, int, p->value_count + 1);
    k->copy_last = arena_array(scratch, int, p->value_count + 1);
    // A block runs each of its tasks at most twice, and fetches each value once.
    k->change = arena_array(scratch, int64_t, 2 * p->task_count + p->value_count + 8);
    return k;
}

// The kind of block b: that of an equal one before, or a new one.
static int find_kind(BlockWork *k, int b, Shape *shape, int *kinds) {
    shape[*kinds] = block_shape(k, b);
    int i = 0;
    while (!same_shape(&shape[i], &shape[*kinds]))
        i++;
    *kinds += i == *kinds;
    return i;
}

RetainBlock *retain_blocks(const RetainChain *c, RetainWays options, int *degraded, Arena *a) {
    Arena *scratch = arena_create();
    BlockWork *k = start(c, options, a, scratch);
    RetainBlock *block = arena_array(a, RetainBlock, c->count + 1);
    Shape *shape = arena_array(scratch, Shape, c->count + 1);
    int *kind_of = arena_array(scratch, int, c->count + 1); // a kind's ways are at its first block
    int *first = arena_array(scratch, int, c->count + 1);
    int *solve = arena_array(scratch, int, c->count + 1);
    int kinds = 0, solve_count = 0;
    for (int b = 0; b < c->count; b++) {
        const int before = kinds;
        kind_of[b] = find_kind(k, b, shape, &kinds);
        if (kinds == before)
            continue;
        first[kind_of[b]] = b;
        block[b].way = arena_array(a, RetainWay, RETAIN_WAYS_MAX + 1);
        add_bare(k, b, &block[b]);
        if (add_all(k, b, &block[b]))
            continue;
        add_greedy(k, b, &block[b]);
        solve[solve_count++] = b;
    }
    *degraded = retain_programs(c, options, solve, solve_count, block, a);
    for (int b = 0; b < c->count; b++) {
        block[b].count = block[first[kind_of[b]]].count;
        block[b].way = block[first[kind_of[b]]].way;
        find_peaks(k, b, &block[b]);
    }
    arena_release(scratch);
    return block;
}
