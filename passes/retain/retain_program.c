// The integer program of one block: what to keep, make again and move within a row of memory.
//
//   keep[v], move[v]  for each value of the block (binary)
//   again[t]          for each task of it that may run again (binary)
//   least  sum of again[t] * time of t
//   keep[v] + move[v] + again[maker of v]  >=  1           for v that later tasks read
//   keep[v] + move[v] + again[maker of v]  >=  again[t]    for v that t reads
//   sum of keep[v] * bytes of v            <=  memory
//   sum of move[v] * time out (and in)     <=  the copies' time
// Where what enters the block has no maker in it that term is missing. This is Checkmate's program
// (arXiv 1910.02653) of a single stage: what runs again runs once, before the block's later tasks.
// Small kept bytes and copies are preferred among equals. Some tens of binaries; GLPK takes
// milliseconds.
#include "passes/retain/retain_program.h"

#include "passes/mip/mip_solve.h"

#include <math.h>

// NODES: of one program's search. What is larger, or too many, is left to the greedy ways.
enum { RUNGS = 12, MEMBERS_MAX = 96, PROGRAMS_MAX = 192, NODES = 2000 };

typedef struct {
    int block;
    int64_t memory, out, in;  // right sides; out and in: INT64_MAX for none, -1: no moves
    int *keep, *move, *again; // columns, by member, member, task of the block; -1: none
    Mip *program;
} Try;

typedef struct {
    const RetainChain *c;
    const RetainClosure *z;
    Arena *a;
    Try *try;
    int count;
} ProgramWork;

static int64_t share(const RetainChain *c, int block, const int64_t *time) {
    double all = 0, own = 0, total = 0;
    for (int b = 0; b < c->count; b++) {
        for (int i = c->member_begin[b]; i < c->member_begin[b + 1]; i++) {
            const int v = c->member[i];
            if (!retain_movable(c->x->p, v) || !retain_is_wanted(c, v))
                continue;
            const double copy = (double)c->x->p->value[v].out;
            all += copy;
            own += b == block ? copy : 0;
        }
        total += (double)time[b];
    }
    return all > 0 ? (int64_t)(total * own / all) : 0;
}

int64_t retain_copies_out(const RetainChain *c, int block) {
    return share(c, block, c->forward);
}

int64_t retain_copies_in(const RetainChain *c, int block) {
    return share(c, block, c->later);
}

static int64_t block_bytes(const RetainChain *c, int b) {
    int64_t sum = 0;
    for (int i = c->member_begin[b]; i < c->member_begin[b + 1]; i++)
        sum += c->x->p->value[c->member[i]].bytes;
    return sum ? sum : 1;
}

static int64_t block_copies(const RetainChain *c, int b) {
    int64_t sum = 0;
    for (int i = c->member_begin[b]; i < c->member_begin[b + 1]; i++) {
        const RetainValue *v = &c->x->p->value[c->member[i]];
        sum += v->out + v->in;
    }
    return sum ? sum : 1;
}

static void add_columns(ProgramWork *w, Try *t) {
    const RetainChain *c = w->c;
    const RetainProblem *p = c->x->p;
    const int begin = c->member_begin[t->block], members = c->member_begin[t->block + 1] - begin;
    const int first = c->begin[t->block], tasks = c->begin[t->block + 1] - first;
    const double bytes = (double)block_bytes(c, t->block),
                 copies = (double)block_copies(c, t->block);
    const double time = c->forward[t->block] > 0 ? (double)c->forward[t->block] : 1;
    t->keep = arena_array(w->a, int, members + 1);
    t->move = arena_array(w->a, int, members + 1);
    t->again = arena_array(w->a, int, tasks + 1);
    for (int i = 0; i < members; i++) {
        const RetainValue *v = &p->value[c->member[begin + i]];
        t->keep[i] =
            mip_add_column(t->program, (MipColumn){.name = arena_format(w->a, "keep_%d", i),
                                                   .kind = MIP_BINARY,
                                                   .cost = 1e-2 * (double)v->bytes / bytes});
        t->move[i] = -1;
        if (t->out >= 0 && retain_movable(p, c->member[begin + i]))
            t->move[i] = mip_add_column(
                t->program, (MipColumn){.name = arena_format(w->a, "move_%d", i),
                                        .kind = MIP_BINARY,
                                        .cost = 5e-2 * (double)(v->out + v->in) / copies});
    }
    for (int i = 0; i < tasks; i++) {
        t->again[i] = -1;
        if (!(p->task[first + i].flags & RETAIN_ONCE))
            t->again[i] = mip_add_column(
                t->program, (MipColumn){.name = arena_format(w->a, "again_%d", i),
                                        .kind = MIP_BINARY,
                                        .cost = 100 * (double)retain_time(p, first + i) / time});
    }
}

// keep + move + again of the maker, on the left side of a row.
static void put_there(const ProgramWork *w, const Try *t, int member) {
    const RetainChain *c = w->c;
    const int v = c->member[c->member_begin[t->block] + member];
    mip_put(t->program, t->keep[member], 1);
    if (t->move[member] >= 0)
        mip_put(t->program, t->move[member], 1);
    const int task = c->x->p->value[v].maker - c->begin[t->block];
    if (task >= 0 && t->again[task] >= 0)
        mip_put(t->program, t->again[task], 1);
}

// What task reads must be there where it runs again: of other blocks only what it could be made
// from.
static void add_reads(const ProgramWork *w, const Try *t, int task, const int *local) {
    const RetainChain *c = w->c;
    const RetainTask *of = &c->x->p->task[c->begin[t->block] + task];
    for (int i = 0; i < of->operand_count; i++) {
        const int v = of->operand[i], maker = c->x->p->value[v].maker - c->begin[t->block];
        if (c->home[v] < 0 || (c->home[v] != t->block && (maker < 0 || t->again[maker] < 0)))
            continue;
        mip_add_row(t->program, 0, HUGE_VAL);
        if (c->home[v] == t->block)
            put_there(w, t, local[v]);
        else
            mip_put(t->program, t->again[maker], 1);
        mip_put(t->program, t->again[task], -1);
    }
}

static void add_rows(ProgramWork *w, Try *t, const int *local) {
    const RetainChain *c = w->c;
    const RetainProblem *p = c->x->p;
    const int begin = c->member_begin[t->block], members = c->member_begin[t->block + 1] - begin;
    for (int i = 0; i < members; i++)
        if (retain_is_wanted(c, c->member[begin + i])) {
            mip_add_row(t->program, 1, HUGE_VAL);
            put_there(w, t, i);
        }
    for (int i = 0; i < c->begin[t->block + 1] - c->begin[t->block]; i++)
        if (t->again[i] >= 0)
            add_reads(w, t, i, local);
    const double bytes = (double)block_bytes(c, t->block);
    mip_add_row(t->program, -HUGE_VAL, (double)t->memory / bytes);
    for (int i = 0; i < members; i++)
        mip_put(t->program, t->keep[i], (double)p->value[c->member[begin + i]].bytes / bytes);
    if (t->out < 0 || t->out == INT64_MAX)
        return;
    const double copies = (double)block_copies(c, t->block);
    mip_add_row(t->program, -HUGE_VAL, (double)t->out / copies);
    for (int i = 0; i < members; i++)
        if (t->move[i] >= 0)
            mip_put(t->program, t->move[i], (double)p->value[c->member[begin + i]].out / copies);
    mip_add_row(t->program, -HUGE_VAL, (double)t->in / copies);
    for (int i = 0; i < members; i++)
        if (t->move[i] >= 0)
            mip_put(t->program, t->move[i], (double)p->value[c->member[begin + i]].in / copies);
}

// The program's values for the best way that fits; NULL where none does.
static double *find_start(ProgramWork *w, const Try *t, const RetainBlock *ways, RetainClosure *z) {
    const int members = w->c->member_begin[t->block + 1] - w->c->member_begin[t->block];
    const RetainWay *best = NULL;
    for (int i = 0; i < ways->count; i++) {
        const RetainWay *way = &ways->way[i];
        const bool fits = way->kept <= t->memory &&
                          (t->out < 0 ? !way->out : way->out <= t->out && way->in <= t->in);
        if (fits && (!best || way->again < best->again))
            best = way;
    }
    if (!best)
        return NULL;
    RetainWay copy = *best;
    retain_close(z, t->block, &copy); // for what runs again
    double *value = arena_array(w->a, double, t->program->column_count + 1);
    for (int i = 0; i < members; i++) {
        value[t->keep[i]] = best->fate[i] == RETAIN_KEEP;
        if (t->move[i] >= 0)
            value[t->move[i]] = best->fate[i] == RETAIN_MOVE;
    }
    for (int i = w->c->begin[t->block]; i < w->c->begin[t->block + 1]; i++)
        if (t->again[i - w->c->begin[t->block]] >= 0)
            value[t->again[i - w->c->begin[t->block]]] = z->again[i];
    return mip_violation(t->program, value) <= MIP_TOLERANCE ? value : NULL;
}

static void add_try(ProgramWork *w, int block, int64_t memory, int64_t out, int64_t in,
                    const int *local) {
    Try *t = &w->try[w->count++];
    *t = (Try){.block = block, .memory = memory, .out = out, .in = in};
    t->program = mip_create(w->a, "retain");
    add_columns(w, t);
    add_rows(w, t, local);
}

// A ladder of memories; with moves a short one for each of some lengths of the copies.
static void add_tries(ProgramWork *w, int block, const RetainBlock *ways, bool far, int *local) {
    const RetainChain *c = w->c;
    const int begin = c->member_begin[block], members = c->member_begin[block + 1] - begin;
    const int most = far ? 2 * RUNGS : RUNGS;
    if (members > MEMBERS_MAX || !members || w->count + most > PROGRAMS_MAX)
        return;
    for (int i = 0; i < members; i++)
        local[c->member[begin + i]] = i;
    int64_t low = ways->way[0].kept, high = low;
    for (int i = 0; i < ways->count; i++) {
        low = ways->way[i].kept < low ? ways->way[i].kept : low;
        high = ways->way[i].kept > high ? ways->way[i].kept : high;
    }
    for (int i = 0; i < RUNGS && high > low; i++)
        add_try(w, block, low + (high - low) / RUNGS * i, -1, -1, local);
    if (!far)
        return;
    const int64_t out = retain_copies_out(c, block), in = retain_copies_in(c, block);
    for (int i = 0; i < 3; i++) {
        const int64_t memory = high / 3 * i;
        add_try(w, block, memory, out / 2, in / 2, local);
        add_try(w, block, memory, out, in, local);
        add_try(w, block, memory, 2 * out, 2 * in, local);
        add_try(w, block, memory, INT64_MAX, INT64_MAX, local);
    }
}

static void take_answer(const ProgramWork *w, const Try *t, const double *value, RetainClosure *z,
                        RetainBlock *ways, Arena *a) {
    const int members = w->c->member_begin[t->block + 1] - w->c->member_begin[t->block];
    RetainFate *fate = arena_array(w->a, RetainFate, members + 1);
    for (int i = 0; i < members; i++)
        fate[i] = value[t->keep[i]] > 0.5                      ? RETAIN_KEEP
                  : t->move[i] >= 0 && value[t->move[i]] > 0.5 ? RETAIN_MOVE
                                                               : RETAIN_AGAIN;
    retain_way_add(z, t->block, ways, fate, a);
}

int retain_programs(const RetainChain *c, RetainWays options, const int *which, int count,
                    RetainBlock *block, Arena *a) {
    Arena *scratch = arena_create();
    RetainClosure *z = retain_closure(c, scratch);
    ProgramWork w = {.c = c, .z = z, .a = scratch};
    w.try = arena_array(scratch, Try, PROGRAMS_MAX + 1);
    int *local = arena_array(scratch, int, c->x->p->value_count + 1);
    for (int i = 0; i < count; i++)
        add_tries(&w, which[i], &block[which[i]], options.far, local);
    MipProblem *problem = arena_array(scratch, MipProblem, w.count + 1);
    MipAnswer *answer = arena_array(scratch, MipAnswer, w.count + 1);
    for (int i = 0; i < w.count; i++) {
        problem[i].program = w.try[i].program;
        problem[i].start = find_start(&w, &w.try[i], &block[w.try[i].block], z);
        problem[i].limits.nodes = options.nodes ? options.nodes : NODES;
    }
    int degraded = 0;
    if (w.count)
        mip_solve_all(problem, w.count, 0, scratch, answer);
    for (int i = 0; i < w.count; i++) {
        degraded += answer[i].degraded != NULL;
        if (answer[i].value)
            take_answer(&w, &w.try[i], answer[i].value, z, &block[w.try[i].block], a);
    }
    arena_release(scratch);
    return degraded;
}
