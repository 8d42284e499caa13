// Schedules of a chain of blocks for every memory, by dynamic programming in the manner of Rotor
// (Beaumont et al., Optimal checkpointing for heterogeneous chains, arXiv 1911.13214), with a
// choice of ways per block as in Rockmate (2307.01236), of which some move values to far memory.
//
//   C(s, t, m)  least time of blocks s .. t forward and back, with what goes into s there and m
//               bytes for everything of theirs
//             = min of
//     way w     F(s) + C(s + 1, t, m - kept(w)) + again(w) + B(s)
//     split r   F(s .. r - 1), keeping only what goes into s + C(r, t, m - enters(s)) + C(s, r - 1,
//     m)
//     split r, what goes into s moved: C(r, t, m) in place of C(r, t, m - enters(s)), and
//     C(s, r - 1, m - enters(s)), since it has come back by then
//   where the peaks allow it. A block alone, not for the first time, keeps nothing: what its later
//   tasks want is made when they want it.
//
// The part after a split runs once more later. So (s, last block) is always the first run of its
// blocks, everything else a repetition. What can't be made again stays from the first run on. Where
// the later tasks of a block read what goes out of it ("tail"), a repetition either finds it there,
// held all the while, or has lost it; two tables.
//
// How far copies fit beside the tasks depends on all of them together, which no state here knows.
// So they have a price (retain_tree.h). It rises along the chain, because the first blocks' values
// are away for longest: for some price so many blocks move as the engines keep up with, which is
// the fraction that MEMO (2407.12117) computes for equal layers. Several prices are tried.
//
// Memory is in slots, sizes rounded to the nearest: what a schedule really needs is measured. Times
// of a cell, and of what is offered to it, fall with memory; so a range in which an offer is
// nowhere faster is seen by its ends (take_offer). Schedules whose choices were all made before,
// under other terms or with other memory, are not written again. Cost: at most blocks cubed times
// slots / 6, and for each terms blocks squared times slots; mostly a small part of that, as most
// offers lose everywhere.
#include "passes/retain/retain_tree.h"

#include "ir/fork_join.h"
#include "passes/retain/retain_program.h"

#include <string.h>

// Memory has as many slots as CELLS in all allow.
// BATCH: schedules that are written at a time.
enum { BATCH = 32 };
enum { SLOTS_MIN = 480, SLOTS_MAX = 4000, CELLS = 6 << 20, NONE = INT16_MIN };
#define NEVER (INT64_MAX / 4)

typedef enum { HELD, LOST, MODES } Tail;

// A split, as a choice below zero: what goes into the first part is moved or stays.
typedef struct {
    int at;
    Tail second; // of the first part when it runs again
    bool moved;
} Split;

// What is best with so many slots, by their number. choice: a way >= 0, or a split.
typedef struct {
    int64_t *time;
    int16_t *choice;
} Cells;

// Picoseconds.
typedef struct {
    int64_t out, in;
} Copies;

struct RetainTree {
    const RetainChain *c;
    const RetainBlock *block;
    RetainTerms terms;
    Arena *a;
    int64_t unit; // bytes of a slot
    Tail modes;   // 1 where there are no tails
    int slots;
    Cells *cell;       // by (s, t, mode), slots + 1 each
    int64_t *out, *in; // by block: sum of the shares of copies of the blocks before
    Copies *entering;  // by block: of all that goes into it; none where it can't move, or goes on
    int64_t *once;     // by block: sum of `once` of the blocks before
    int64_t *run;      // by block: sum of forward times of the blocks before
    RetainPeak *bare;  // by block: peak of the first way
    RetainWriter *w;
    uint64_t *written; // signs of schedules written, by hash
    int written_count, written_room;
};

typedef RetainTree Tree;

static Cells *cells_of(const Tree *x, int s, int t, Tail mode) {
    return &x->cell[((size_t)s * (size_t)x->c->count + (size_t)t) * MODES + mode];
}

static int slots_of(const Tree *x, int64_t bytes) {
    return (int)((bytes + x->unit / 2) / x->unit);
}

static bool is_first(const Tree *x, int t) {
    return t == x->c->count - 1;
}

// What is there besides while blocks s .. t run again: gradients, what must not be lost, the tail.
static int64_t besides(const Tree *x, int s, int t, Tail mode) {
    if (is_first(x, t))
        return 0;
    return x->c->late[x->c->back[t + 1]] + x->once[t + 1] - x->once[s + 1] +
           (mode == HELD ? x->block[t].tail : 0);
}

static int64_t beyond(int64_t copies, int64_t room) {
    return copies > room ? copies - room : 0;
}

static int split_code(Split p) {
    return -4 * p.at - 2 * p.moved - (int)p.second - 1;
}

static Split split_of(int choice) {
    const int code = -choice - 1;
    return (Split){.at = code / 4, .moved = code / 2 % 2 > 0, .second = (Tail)(code % 2)};
}

// What copies of blocks s .. r - 1 are taken to cost, beside `again` picoseconds of what runs
// again; a little even where they are hidden. Tasks beside them lose time in any case.
static int64_t copy_time(const Tree *x, int s, int r, Copies copy, int64_t again) {
    if (!copy.out && !copy.in)
        return 0;
    const RetainProblem *p = x->c->x->p;
    const double copies = 0.5 * (double)(copy.out + copy.in);
    const double along = (double)(s + 1) / (double)x->c->count;
    const int64_t lost = (int64_t)(1e-3 * ((double)copy.out * (double)p->out_slows +
                                           (double)copy.in * (double)p->in_slows));
    if (x->terms.copies == RETAIN_PRICE)
        return lost + (int64_t)(2 * x->terms.price * along * copies) + 1;
    return lost + beyond(copy.out, x->out[r] - x->out[s]) +
           beyond(copy.in, x->in[r] - x->in[s] + again) + (int64_t)(copies * along / 128) + 1;
}

// What a choice takes with m slots: own + after[m - shift] + before[m - shift_before].
typedef struct {
    int choice;
    int64_t own;
    const int64_t *after, *before; // NULL: none
    int shift, shift_before;
} Offer;

static int64_t offer_time(const Offer *o, int m) {
    return o->own + (o->after ? o->after[m - o->shift] : 0) +
           (o->before ? o->before[m - o->shift_before] : 0);
}

// Takes the offer where it is faster, of begin .. end slots.
static void take_offer(Cells *cell, const Offer *o, int begin, int end) {
    enum { FEW = 16 };
    // With the most memory it takes the least time, the cell with the least memory the most.
    if (begin > end || offer_time(o, end) >= cell->time[begin])
        return;
    if (end - begin >= FEW) {
        const int middle = begin + (end - begin) / 2;
        take_offer(cell, o, begin, middle);
        take_offer(cell, o, middle + 1, end);
        return;
    }
    for (int m = begin; m <= end; m++) {
        const int64_t time = offer_time(o, m);
        if (time >= cell->time[m])
            continue;
        cell->time[m] = time;
        cell->choice[m] = (int16_t)o->choice;
    }
}

static bool may_move(const Tree *x, int s, int t) {
    return x->terms.copies != RETAIN_STAY && is_first(x, t) &&
           (!x->terms.movers || s < x->terms.movers);
}

static void try_ways(Tree *x, int s, int t, Tail mode, Cells *cell) {
    const RetainBlock *b = &x->block[s];
    const Cells *rest = s < t ? cells_of(x, s + 1, t, mode) : NULL;
    const int64_t tail = !is_first(x, t) && s < t && mode == HELD ? b[t - s].tail : 0;
    for (int i = 0; i < b->count; i++) {
        const RetainWay *way = &b->way[i];
        if (way->out && !may_move(x, s, t))
            continue;
        int64_t peak = b->peak[i].forward + besides(x, s, t, mode);
        peak = peak > b->peak[i].later + tail ? peak : b->peak[i].later + tail;
        const int shift = slots_of(x, way->kept);
        int least = slots_of(x, peak);
        least = rest && shift > least ? shift : least;
        const int64_t own = x->c->forward[s] + x->c->later[s] + way->again +
                            copy_time(x, s, s + 1, (Copies){way->out, way->in}, way->again);
        const Offer offer = {
            .choice = i, .own = own, .after = rest ? rest->time : NULL, .shift = shift};
        take_offer(cell, &offer, least, x->slots);
    }
}

// One block, again: what its later tasks want is made when they want it.
static void try_alone(Tree *x, int s, Tail mode, Cells *cell) {
    const RetainBlock *b = &x->block[s];
    const bool lost = mode == LOST;
    const Offer offer = {.own = x->c->later[s] + (lost ? b->lost_again : b->way[0].again)};
    take_offer(cell, &offer, slots_of(x, lost ? b->lost_peak : b->peak[0].later), x->slots);
}

// peak: bytes while blocks s .. split.at - 1 run, with what goes into s if it stays.
static void try_split(Tree *x, int s, int t, Tail mode, Split split, int64_t peak, Cells *cell) {
    const int r = split.at;
    const int64_t once = x->once[r] - x->once[s];
    const int shift = slots_of(x, once + (split.moved ? 0 : x->c->enters[s]));
    const int shift_before = split.moved ? slots_of(x, x->c->enters[s]) : 0;
    int least = slots_of(x, peak + besides(x, s, t, mode));
    least = least > shift ? least : shift;
    least = least > shift_before ? least : shift_before;
    const Cells *after = cells_of(x, r, t, mode), *before = cells_of(x, s, r - 1, split.second);
    const int64_t run = x->run[r] - x->run[s];
    const Offer offer = {.choice = split_code(split),
                         .own = run + (split.moved ? copy_time(x, s, r, x->entering[s], run) : 0),
                         .after = after->time,
                         .before = before->time,
                         .shift = shift,
                         .shift_before = shift_before};
    take_offer(cell, &offer, least, x->slots);
}

static void try_splits(Tree *x, int s, int t, Tail mode, Cells *cell) {
    const bool moves = may_move(x, s, t) && x->terms.what == RETAIN_OF_PARTS && x->entering[s].out;
    int64_t peak = 0, peak_moved = 0;
    for (int r = s + 1; r <= t; r++) {
        // Blocks s .. r - 1 run, and what goes into s stays, or goes as soon as s has run.
        const int64_t own = x->bare[r - 1].forward + x->once[r - 1] - x->once[s];
        const int64_t stays = own + (r - 1 > s ? x->c->enters[s] : 0);
        peak = stays > peak ? stays : peak;
        peak_moved = own > peak_moved ? own : peak_moved;
        for (Tail second = HELD; second < x->modes; second++) {
            try_split(x, s, t, mode, (Split){r, second, false}, peak, cell);
            if (moves)
                try_split(x, s, t, mode, (Split){r, second, true}, peak_moved, cell);
        }
    }
}

static void make_cell(Tree *x, int s, int t, Tail mode) {
    Cells *cell = cells_of(x, s, t, mode);
    if (cell->time)
        return;
    cell->time = arena_array(x->a, int64_t, x->slots + 1);
    cell->choice = arena_array(x->a, int16_t, x->slots + 1);
}

static void solve_cell(Tree *x, int s, int t, Tail mode) {
    Cells *cell = cells_of(x, s, t, mode);
    for (int m = 0; m <= x->slots; m++) {
        cell->time[m] = NEVER;
        cell->choice[m] = NONE;
    }
    if (s == t && !is_first(x, t))
        try_alone(x, s, mode, cell);
    else
        try_ways(x, s, t, mode, cell);
    if (s < t)
        try_splits(x, s, t, mode, cell);
}

// --- Writing the schedule of a cell ---

// Nothing reads this copy any more; what can't be made again or fetched is never lost.
static void lose(Tree *x, int value) {
    if (retain_again(x->c->x->p, value) || x->w->stored[value])
        x->w->there[value] = false;
}

// Runs the block for the first time, its moved values on their way as soon as they are made.
static void run_block(Tree *x, int b, const RetainWay *way) {
    const RetainChain *c = x->c;
    const int begin = c->member_begin[b];
    for (int i = begin; way && i < c->member_begin[b + 1]; i++)
        if (way->fate[i - begin] == RETAIN_MOVE && retain_enters(c, c->member[i]))
            retain_store(x->w, c->member[i]);
    for (int t = c->begin[b]; t < c->begin[b + 1]; t++) {
        retain_run(x->w, t);
        for (int i = begin; way && i < c->member_begin[b + 1]; i++)
            if (way->fate[i - begin] == RETAIN_MOVE && c->x->p->value[c->member[i]].maker == t)
                retain_store(x->w, c->member[i]);
    }
}

// What goes from before block b to it and later ones, which is what lets them run.
static void want_entering(Tree *x, int b) {
    for (int i = x->c->cross_begin[b]; i < x->c->cross_begin[b + 1]; i++)
        retain_want(x->w, x->c->cross[i]);
}

static void lose_entering(Tree *x, int b) {
    for (int i = x->c->cross_begin[b]; i < x->c->cross_begin[b + 1]; i++)
        lose(x, x->c->cross[i]);
}

static void go_back(Tree *x, int b) {
    const RetainChain *c = x->c;
    for (int t = c->back[b + 1]; t < c->back[b]; t++)
        retain_run(x->w, t);
    for (int i = c->member_begin[b]; i < c->member_begin[b + 1]; i++)
        if (c->last[c->member[i]] == b)
            lose(x, c->member[i]);
    // Of later blocks what was held for this one.
    if (b + 1 < c->count)
        for (int i = c->member_begin[b + 1]; i < c->member_begin[b + 2]; i++)
            if (c->last[c->member[i]] == b)
                lose(x, c->member[i]);
}

// What goes into block b is stored before it runs; its values are all the block's own.
static void store_entering(Tree *x, int b) {
    for (int i = x->c->cross_begin[b]; i < x->c->cross_begin[b + 1]; i++)
        retain_store(x->w, x->c->cross[i]);
}

static void write_cell(Tree *x, int s, int t, Tail mode, int m);

static void write_way(Tree *x, int s, int t, Tail mode, int m, const RetainWay *way) {
    const RetainChain *c = x->c;
    const int begin = c->member_begin[s];
    if (is_first(x, t))
        run_block(x, s, way);
    else
        for (int i = begin; i < c->member_begin[s + 1]; i++)
            if (way->fate[i - begin] == RETAIN_KEEP)
                retain_want(x->w, c->member[i]);
    if (!is_first(x, t) && s < t)
        want_entering(x, s + 1);
    for (int i = begin; i < c->member_begin[s + 1]; i++)
        if (way->fate[i - begin] != RETAIN_KEEP)
            lose(x, c->member[i]);
    if (s < t)
        write_cell(x, s + 1, t, mode, m - slots_of(x, way->kept));
    go_back(x, s);
}

static void write_split(Tree *x, int s, int t, Tail mode, Split split, int m) {
    const RetainChain *c = x->c;
    const int r = split.at;
    const int64_t stays = split.moved ? 0 : c->enters[s], back = c->enters[s] - stays;
    if (split.moved)
        store_entering(x, s);
    for (int b = s; b < r && is_first(x, t); b++)
        run_block(x, b, NULL);
    if (!is_first(x, t))
        want_entering(x, r);
    for (int b = s; b < r; b++)
        for (int i = c->member_begin[b]; i < c->member_begin[b + 1]; i++)
            if (c->x->p->value[c->member[i]].maker >= c->begin[s])
                lose(x, c->member[i]);
    if (split.moved)
        lose_entering(x, s);
    write_cell(x, r, t, mode, m - slots_of(x, x->once[r] - x->once[s] + stays));
    if (split.second == LOST)
        lose_entering(x, r);
    write_cell(x, s, r - 1, split.second, m - slots_of(x, back));
}

static void write_cell(Tree *x, int s, int t, Tail mode, int m) {
    const int choice = cells_of(x, s, t, mode)->choice[m];
    if (s == t && !is_first(x, t))
        go_back(x, s);
    else if (choice >= 0)
        write_way(x, s, t, mode, m, &x->block[s].way[choice]);
    else
        write_split(x, s, t, mode, split_of(choice), m);
}

// Schedules being written, for the memories in slots.
typedef struct {
    const Tree *x;
    const int *slots;
} Writing;

static RetainSchedule write(const void *writing, int index, Arena *a) {
    const Writing *k = writing;
    Tree own = *k->x; // its writer is this one's alone
    own.w = retain_writer(own.c->x, a);
    write_cell(&own, 0, own.c->count - 1, HELD, k->slots[index]);
    return retain_written(own.w);
}

// --- Schedules that were written before ---

static uint64_t mix(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

// Of all choices that write_cell follows.
static uint64_t cell_sign(const Tree *x, int s, int t, Tail mode, int m, uint64_t hash) {
    const int choice = cells_of(x, s, t, mode)->choice[m];
    hash = mix(hash, (uint64_t)(uint32_t)choice);
    if (s == t)
        return hash;
    if (choice >= 0)
        return cell_sign(x, s + 1, t, mode, m - slots_of(x, x->block[s].way[choice].kept), hash);
    const Split split = split_of(choice);
    const int64_t stays = split.moved ? 0 : x->c->enters[s], back = x->c->enters[s] - stays;
    const int shift = slots_of(x, x->once[split.at] - x->once[s] + stays);
    hash = cell_sign(x, split.at, t, mode, m - shift, hash);
    return cell_sign(x, s, split.at - 1, split.second, m - slots_of(x, back), hash);
}

// Where the sign stands, or would stand.
static uint64_t *find_sign(uint64_t *written, int room, uint64_t sign) {
    size_t at = (size_t)(sign % (uint64_t)room);
    while (written[at] && written[at] != sign)
        at = at + 1 == (size_t)room ? 0 : at + 1;
    return &written[at];
}

// Whether such a schedule was written before; from now on one was.
static bool was_written(Tree *x, int m) {
    const uint64_t sign = cell_sign(x, 0, x->c->count - 1, HELD, m, 1) | 1; // 0: free
    if (2 * x->written_count >= x->written_room) {
        const int room = 2 * x->written_room + 1024;
        uint64_t *larger = arena_array(x->a, uint64_t, room);
        for (int i = 0; i < x->written_room; i++)
            if (x->written[i])
                *find_sign(larger, room, x->written[i]) = x->written[i];
        x->written = larger;
        x->written_room = room;
    }
    uint64_t *at = find_sign(x->written, x->written_room, sign);
    if (*at)
        return true;
    *at = sign;
    x->written_count++;
    return false;
}

// Bytes that the block holds where nothing of it runs again or moves, and its peak then.
static int64_t find_ample(const RetainBlock *b, int64_t *peak) {
    int64_t kept = INT64_MAX;
    *peak = 0;
    for (int i = 0; i < b->count; i++) {
        const RetainPeak p = b->peak[i];
        if (b->way[i].again || b->way[i].out || b->way[i].kept >= kept)
            continue;
        kept = b->way[i].kept;
        *peak = p.forward > p.later ? p.forward : p.later;
    }
    return kept < INT64_MAX ? kept : b->way[0].kept;
}

// Copies of what goes into block b, none where some of it can't move or is read beyond the block.
static Copies entering_copies(const RetainChain *c, int b) {
    Copies sum = {0};
    for (int i = c->cross_begin[b]; i < c->cross_begin[b + 1]; i++) {
        const int v = c->cross[i];
        if (!retain_movable(c->x->p, v) || c->home[v] != b)
            return (Copies){0};
        sum.out += c->x->p->value[v].out;
        sum.in += c->x->p->value[v].in;
    }
    return sum;
}

static void start(Tree *x) {
    const RetainChain *c = x->c;
    const size_t count = (size_t)c->count;
    x->cell = arena_array(x->a, Cells, count * count * MODES + 1);
    x->out = arena_array(x->a, int64_t, count + 1);
    x->in = arena_array(x->a, int64_t, count + 1);
    x->entering = arena_array(x->a, Copies, count + 1);
    x->once = arena_array(x->a, int64_t, count + 1);
    x->run = arena_array(x->a, int64_t, count + 1);
    x->bare = arena_array(x->a, RetainPeak, count + 1);
    x->modes = 1;
    int64_t most = 0, kept = 0;
    for (int b = 0; b < c->count; b++) {
        x->out[b + 1] = x->out[b] + retain_copies_out(c, b);
        x->in[b + 1] = x->in[b] + retain_copies_in(c, b);
        x->entering[b] = entering_copies(c, b);
        x->once[b + 1] = x->once[b] + c->once[b];
        x->run[b + 1] = x->run[b] + c->forward[b];
        x->bare[b] = x->block[b].peak[0];
        x->modes = x->block[b].tail ? MODES : x->modes;
        int64_t peak;
        const int64_t own = find_ample(&x->block[b], &peak);
        most = kept + peak > most ? kept + peak : most;
        kept += own;
    }
    const int64_t slots = CELLS / ((int64_t)(count * (count + 1) / 2) * x->modes);
    x->slots = slots < SLOTS_MIN ? SLOTS_MIN : slots > SLOTS_MAX ? SLOTS_MAX : (int)slots;
    x->unit = most / x->slots + 1;
}

// Cells of a length: their parts are shorter, so none needs another one of them.
typedef struct {
    Tree *x;
    int length; // t - s
} Diagonal;

static void solve_diagonal(void *diagonal, int index) {
    const Diagonal *d = diagonal;
    const int s = index / (int)d->x->modes;
    solve_cell(d->x, s, s + d->length, (Tail)(index % (int)d->x->modes));
}

RetainTree *retain_tree(const RetainChain *c, const RetainBlock *block, Arena *a) {
    Tree *x = arena_new(a, Tree);
    *x = (Tree){.c = c, .block = block, .a = a};
    start(x);
    for (int t = 0; t < c->count; t++)
        for (int s = 0; s <= t; s++)
            for (Tail mode = HELD; mode < (t < c->count - 1 ? x->modes : LOST); mode++)
                make_cell(x, s, t, mode);
    for (int length = 0; length < c->count - 1; length++) {
        Diagonal d = {.x = x, .length = length};
        fork_join((c->count - 1 - length) * (int)x->modes, solve_diagonal, &d);
    }
    return x;
}

void retain_tree_add(RetainTree *x, RetainTerms terms, int rungs, RetainFront *front) {
    const int last = x->c->count - 1;
    x->terms = terms;
    for (int s = last; s >= 0; s--)
        solve_cell(x, s, last, HELD);
    // The least memory of each time, evenly; the least of all in any case.
    const Cells *cell = cells_of(x, 0, last, HELD);
    int slots[BATCH], count = 0;
    const Writing writing = {.x = x, .slots = slots};
    const int apart = x->slots / rungs > 0 ? x->slots / rungs : 1;
    int written = -1;
    for (int m = 0; m <= x->slots; m++) {
        if (cell->time[m] >= NEVER || (m && cell->time[m] == cell->time[m - 1]) ||
            (written >= 0 && m - written < apart))
            continue;
        written = m;
        if (was_written(x, m))
            continue;
        slots[count++] = m;
        if (count == BATCH) {
            retain_front_add_each(front, count, write, &writing);
            count = 0;
        }
    }
    retain_front_add_each(front, count, write, &writing);
}
