// Lowering a packing of many parts: what reaches above a target is taken out and put in again
// below it, and where there is no hole for it, others make room.
//
// The target lies an eighth of the excess below the height. A part that has no hole under it goes
// where those in its way are cheapest, and these must find other places, the largest first. What a
// part costs is its size times the sections it lives through, times how often it was forced in so
// far: so small parts move, which find holes, and nothing is pushed to and fro for long (ejection
// with counts, after Nagata and Braysy, Operations Research Letters 2009, who do it for routes).
// When all lie below the target, that is a lower packing, and the target falls again. When a fifth
// of the parts is out, or a round's work is spent, the lowest packing is where the next round
// starts, with smaller steps, and every other round counts a part's size twice: which price is the
// better one differs from problem to problem.
//
// Placed parts are in two lines, by offset and by end. Those that live while a part does are
// gathered from both; running through them side by side, the price of a place is the price of all
// that begins below its end less that of all that ends below its begin. Lines are blocks of parts,
// so that a change moves few of them, and that comparing with a block is vector code. So a move
// costs a pass over what is placed at a fraction of a nanosecond each, and some steps for each part
// it meets in time.
//
// It helps where sizes differ: where they are alike and large, no hole is large enough for anything
// and all is pushed about in vain. Fixed parts can't make room: problems that have them are left as
// they are.
#include "passes/memory/pack_mend.h"

#include <math.h>
#include <string.h>

enum {
    BLOCK = 64, // parts
    ROUNDS = 8,
    STEP = 8 // the first round lowers the height by this share of the excess
};

// A part that is placed.
typedef struct {
    uint64_t key, other; // its offset and its end, or the other way round
    double price;
    int32_t part;
} Placed;

typedef struct {
    int32_t count;
    int32_t lo[BLOCK], hi[BLOCK]; // sections; behind count no part meets them
    Placed placed[BLOCK];
} Block;

// Placed parts by key, then by number, in blocks none of which is empty.
typedef struct {
    Block **block;
    int32_t block_count;
    Block **spare;
    int32_t spare_count;
} Line;

typedef struct {
    const PackProblem *p;
    uint64_t *offset; // by part
    double *base;     // by part: price of taking it out the first time
    double *price;    // by part: now
    Line by_offset, by_end;
    Placed *begins, *ends; // those that meet a part, from both lines
    int32_t meets;
    int32_t *out; // parts that wait for a place
    int32_t out_count;
    int64_t work;
    Arena *arena;
} Mender;

static Block *block_new(Mender *m, Line *line) {
    Block *b = line->spare_count ? line->spare[--line->spare_count] : arena_new(m->arena, Block);
    b->count = 0;
    for (int32_t k = 0; k < BLOCK; k++)
        b->lo[k] = INT32_MAX;
    return b;
}

static bool is_before(const Placed *x, const Placed *y) {
    return x->key != y->key ? x->key < y->key : x->part < y->part;
}

// The block a part is in or belongs to.
static int32_t find_block(const Line *line, const Placed *it) {
    int32_t low = 0, high = line->block_count - 1;
    while (low < high) {
        const int32_t middle = (low + high + 1) / 2;
        if (is_before(it, &line->block[middle]->placed[0]))
            high = middle - 1;
        else
            low = middle;
    }
    return low;
}

static int32_t find_slot(const Block *b, const Placed *it) {
    int32_t k = 0;
    while (k < b->count && is_before(&b->placed[k], it))
        k++;
    return k;
}

static void move_slots(Block *to, int32_t k, const Block *from, int32_t i, int32_t count) {
    memmove(to->lo + k, from->lo + i, (size_t)count * sizeof *to->lo);
    memmove(to->hi + k, from->hi + i, (size_t)count * sizeof *to->hi);
    memmove(to->placed + k, from->placed + i, (size_t)count * sizeof *to->placed);
}

static void truncate_block(Block *b, int32_t count) {
    for (int32_t k = count; k < b->count; k++)
        b->lo[k] = INT32_MAX;
    b->count = count;
}

static void open_block(Mender *m, Line *line, int32_t at) {
    memmove(line->block + at + 1, line->block + at,
            (size_t)(line->block_count++ - at) * sizeof *line->block);
    line->block[at] = block_new(m, line);
}

static void close_block(Line *line, int32_t at) {
    line->spare[line->spare_count++] = line->block[at];
    memmove(line->block + at, line->block + at + 1,
            (size_t)(--line->block_count - at) * sizeof *line->block);
}

static void line_add(Mender *m, Line *line, Placed it) {
    if (line->block_count == 0)
        open_block(m, line, 0);
    int32_t at = find_block(line, &it);
    if (line->block[at]->count == BLOCK) {
        open_block(m, line, at + 1);
        Block *full = line->block[at], *upper = line->block[at + 1];
        move_slots(upper, 0, full, BLOCK / 2, BLOCK / 2);
        upper->count = BLOCK / 2;
        truncate_block(full, BLOCK / 2);
        at += !is_before(&it, &upper->placed[0]);
    }
    Block *b = line->block[at];
    const int32_t k = find_slot(b, &it);
    move_slots(b, k + 1, b, k, b->count - k);
    b->lo[k] = m->p->part[it.part].lo;
    b->hi[k] = m->p->part[it.part].hi;
    b->placed[k] = it;
    b->count++;
    m->work += BLOCK + line->block_count / 16;
}

static void line_remove(Mender *m, Line *line, Placed it) {
    int32_t at = find_block(line, &it);
    Block *b = line->block[at];
    const int32_t k = find_slot(b, &it);
    move_slots(b, k, b, k + 1, b->count - k - 1);
    truncate_block(b, b->count - 1);
    m->work += BLOCK + line->block_count / 16;
    // Neighbours that fill half a block are one.
    at -= at > 0 && line->block[at - 1]->count + b->count <= BLOCK / 2;
    if (at + 1 < line->block_count &&
        line->block[at]->count + line->block[at + 1]->count <= BLOCK / 2) {
        Block *lower = line->block[at], *upper = line->block[at + 1];
        move_slots(lower, lower->count, upper, 0, upper->count);
        lower->count += upper->count;
        close_block(line, at + 1);
    }
    if (line->block[at]->count == 0)
        close_block(line, at);
}

static void put_in(Mender *m, int32_t i, uint64_t at) {
    const uint64_t end = at + m->p->part[i].size;
    line_add(m, &m->by_offset, (Placed){at, end, m->price[i], i});
    line_add(m, &m->by_end, (Placed){end, at, m->price[i], i});
    m->offset[i] = at;
}

static void take_out(Mender *m, int32_t i) {
    const uint64_t at = m->offset[i], end = at + m->p->part[i].size;
    line_remove(m, &m->by_offset, (Placed){.key = at, .part = i});
    line_remove(m, &m->by_end, (Placed){.key = end, .part = i});
    m->out[m->out_count++] = i;
}

static bool any_meets(const Block *b, int32_t lo, int32_t hi, uint8_t meets[static BLOCK]) {
    uint8_t any = 0;
    for (int32_t k = 0; k < BLOCK; k++) {
        meets[k] = (uint8_t)((b->lo[k] < hi) & (b->hi[k] > lo));
        any |= meets[k];
    }
    return any;
}

// Copies those of the line that live while the part does; returns how many.
static int32_t gather(Mender *m, const Line *line, const PackPart *part, Placed *out) {
    uint8_t meets[BLOCK];
    int32_t count = 0;
    for (int32_t at = 0; at < line->block_count; at++) {
        const Block *b = line->block[at];
        m->work += BLOCK / 8;
        if (!any_meets(b, part->lo, part->hi, meets))
            continue;
        m->work += BLOCK;
        for (int32_t k = 0; k < b->count; k++) {
            out[count] = b->placed[k]; // Written in any case: no branch
            count += meets[k];
        }
    }
    if (!m->p->has_gaps)
        return count;
    int32_t left = 0;
    for (int32_t k = 0; k < count; k++)
        if (pack_parts_meet(&m->p->part[out[k].part], part))
            out[left++] = out[k];
    return left;
}

static uint64_t align_up(uint64_t at, uint64_t alignment) {
    return alignment > 1 ? (at + alignment - 1) / alignment * alignment : at;
}

// The lowest offset that is free.
static uint64_t find_free(const Mender *m, const PackPart *part) {
    uint64_t at = 0;
    for (int32_t k = 0; k < m->meets; k++) {
        if (m->begins[k].key >= at + part->size)
            return at;
        at = m->begins[k].other > at ? align_up(m->begins[k].other, part->alignment) : at;
    }
    return at;
}

// The offset below the limit whose price is least, the lowest of those: the bottom at worst.
static uint64_t find_cheapest(Mender *m, const PackPart *part, uint64_t limit) {
    uint64_t best = 0;
    double lowest = HUGE_VAL, begun = 0, ended = 0;
    int32_t b = 0, e = 0;
    m->work += 2 * m->meets;
    for (int32_t k = -1; k < m->meets; k++) {
        const uint64_t at = k < 0 ? 0 : align_up(m->ends[k].key, part->alignment);
        if (at + part->size > limit)
            break;
        while (b < m->meets && m->begins[b].key < at + part->size)
            begun += m->begins[b++].price;
        while (e < m->meets && m->ends[e].key <= at)
            ended += m->ends[e++].price;
        if (begun - ended < lowest) {
            lowest = begun - ended;
            best = at;
        }
    }
    return best;
}

static int32_t pop_largest(Mender *m) {
    int32_t best = 0;
    for (int32_t k = 1; k < m->out_count; k++) {
        const double x = m->base[m->out[k]], y = m->base[m->out[best]];
        if (x > y || (!(x < y) && m->out[k] < m->out[best]))
            best = k;
    }
    m->work += m->out_count;
    const int32_t i = m->out[best];
    m->out[best] = m->out[--m->out_count];
    return i;
}

// Puts part i below the limit, whatever that takes out.
static void force_in(Mender *m, int32_t i, uint64_t limit) {
    const PackPart *part = &m->p->part[i];
    m->meets = gather(m, &m->by_offset, part, m->begins);
    uint64_t at = find_free(m, part);
    if (at + part->size > limit) {
        gather(m, &m->by_end, part, m->ends);
        at = find_cheapest(m, part, limit);
        for (int32_t k = 0; k < m->meets && m->begins[k].key < at + part->size; k++)
            if (m->begins[k].other > at)
                take_out(m, m->begins[k].part);
        m->price[i] += m->base[i];
    }
    put_in(m, i, at);
}

// The largest end; 0 where nothing is placed.
static uint64_t height_of_placed(const Mender *m) {
    if (m->by_end.block_count == 0)
        return 0;
    const Block *b = m->by_end.block[m->by_end.block_count - 1];
    return b->placed[b->count - 1].key;
}

static void take_out_above(Mender *m, uint64_t limit) {
    while (height_of_placed(m) > limit) {
        const Block *b = m->by_end.block[m->by_end.block_count - 1];
        take_out(m, b->placed[b->count - 1].part);
    }
}

// All parts at these offsets, and prices that no move has raised.
static void start(Mender *m, const uint64_t *offset, int round) {
    while (m->by_offset.block_count)
        close_block(&m->by_offset, m->by_offset.block_count - 1);
    while (m->by_end.block_count)
        close_block(&m->by_end, m->by_end.block_count - 1);
    m->out_count = 0;
    for (int32_t i = 0; i < m->p->count; i++) {
        const PackPart *part = &m->p->part[i];
        const double size = (double)part->size;
        m->base[i] = size * (part->hi - part->lo) * (round % 2 ? size : 1);
        m->price[i] = m->base[i];
    }
    for (int32_t i = 0; i < m->p->count; i++)
        put_in(m, i, offset[i]);
}

// Whether all lie below the limit in the end.
static bool lower(Mender *m, uint64_t limit, int64_t work_end) {
    const int32_t hopeless = m->p->count / 5;
    take_out_above(m, limit);
    while (m->out_count > 0) {
        if (m->out_count > hopeless || m->work > work_end)
            return false;
        force_in(m, pop_largest(m), limit);
    }
    return true;
}

static Line line_create(int32_t room, Arena *a) {
    return (Line){.block = arena_array(a, Block *, room), .spare = arena_array(a, Block *, room)};
}

void pack_mend(const PackProblem *p, uint64_t enough, int64_t work, Packing *packing, Arena *a) {
    if (p->has_fixed)
        return;
    const int32_t room = p->count + BLOCK; // A block is copied whole
    Mender m = {.p = p,
                .offset = arena_array(a, uint64_t, room),
                .base = arena_array(a, double, room),
                .price = arena_array(a, double, room),
                .begins = arena_array(a, Placed, room),
                .ends = arena_array(a, Placed, room),
                .out = arena_array(a, int32_t, room),
                .by_offset = line_create(room, a),
                .by_end = line_create(room, a),
                .arena = a};
    // The first round is the longest: most of what can be had is had there.
    const int64_t length = work / 3 * 2;
    uint64_t height = packing->height;
    for (int round = 0; round < ROUNDS && height > enough && m.work < work; round++) {
        start(&m, packing->offset, round);
        const int64_t end = m.work + length < work ? m.work + length : work;
        while (height > enough) {
            const uint64_t drop = ((height - enough) / STEP) >> round;
            if (!lower(&m, height - (drop ? drop : 1), end))
                break;
            height = height_of_placed(&m);
            packing_offer(packing, p, "mended", height, m.offset);
        }
    }
    packing->work += m.work;
}
