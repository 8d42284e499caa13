// Is there a packing no higher than this? Depth-first, from the floor up.
//
// The idea is MiniMalloc's (Moffitt, ASPLOS 2023): if there is a packing, there is one in which no
// part can move down alone, so it is enough to place parts bottom-up, each on the floor of its
// sections, to keep for every section the least floor that what is left can have, and to give up
// where that and the sizes left reach above the height. What differs is where to go on:
//   - A valley is a run of level sections with higher neighbours. Whatever lies lowest above a
//   section of it either
//     begins on its floor, and then fits into the valley, or leaves a hole there. These are all the
//     ways on, few at the valley's ends; a hole makes the floor of that one section higher, by as
//     much as anything could. So no order of offsets has to be kept, and the place with the fewest
//     ways on is decided first, wherever it is.
//   - Sections count how often they were dead ends; such places are decided earlier (after the
//   weights of constraints
//     of Boussemart et al., ECAI 2004). The counts outlive a try.
//   - A part that could still move down is no way on; of equal parts one is tried; those that end
//   level with a
//     neighbour go first, then the rule's order.
//   - Ranges of sections that no unplaced part joins are searched by themselves.
//   - States that were dead ends (floors, tops, parts left) are remembered by 64-bit keys: two
//   different ones with one key
//     would make a wrong proof, which at 2^24 states happens once in about 10^5 searches.
// Fixed parts can only lie where they are; alignments round up the least offset of a part; a part
// with gaps waits until all its runs are level.
//
// A node costs a pass over the sections of its range and the parts at the ends of its valleys.
#include "passes/memory/pack_search.h"

#include "ir/check.h"

#include <stdlib.h>
#include <string.h>

enum {
    DEPTH_MAX = 6000,        // of recursion: 350 bytes of stack a level, 700 under sanitizers
    MEMO_SLOTS_MAX = 1 << 16 // dead ends remembered
};

typedef enum { TRAIL_LEAST, TRAIL_FLOOR, TRAIL_TOP } TrailKind;

// What one assignment replaced.
typedef struct {
    TrailKind kind;
    int32_t index;
    int64_t old;
} TrailEntry;

struct PackSearch {
    const PackProblem *p;
    Arena *arena;
    int64_t height; // grid steps
    int64_t work, work_end;
    bool out; // work or depth ran out: the answer is not known
    int depth;
    // By section.
    int64_t *floor;   // nothing more is put below
    int64_t *top;     // of the highest part placed here: below floor where room was given up
    int64_t *rest;    // sizes of what isn't placed yet
    int32_t *witness; // a part that can lie on the floor, where it still can
    int64_t *weight;  // how often it was a dead end
    int32_t *cover_begin, *cover; // parts that live there, in the rule's order
    int32_t *cross;               // by boundary, left of the section: unplaced parts on both sides
    // By part.
    int64_t *least; // no lower offset is left
    int64_t *offset;
    bool *placed;
    uint64_t *mark; // random, for keys of states
    int32_t *order;
    // Runs of unplaced parts by first section: lists through next and prev, with the
    // section's head at run_count + section.
    int32_t run_count;
    int32_t *run_part, *run_begin; // part of a run, first run of a part
    int32_t *next, *prev;
    TrailEntry *trail;
    size_t trail_count, trail_capacity;
    int32_t *stack; // candidates of all open nodes
    size_t stack_count, stack_capacity;
    uint64_t *memo; // keys of states that are dead ends
    uint64_t memo_slots;
};

static uint64_t mix(uint64_t x) {
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return x ^ x >> 32;
}

static void save(PackSearch *s, TrailKind kind, int32_t index, int64_t old) {
    if (s->trail_count == s->trail_capacity) {
        s->trail =
            arena_grow(s->arena, s->trail, s->trail_count, 2 * s->trail_count, sizeof *s->trail);
        s->trail_capacity *= 2;
    }
    s->trail[s->trail_count++] = (TrailEntry){kind, index, old};
}

static void set_floor(PackSearch *s, int32_t section, int64_t level) {
    save(s, TRAIL_FLOOR, section, s->floor[section]);
    s->floor[section] = level;
}

static void undo(PackSearch *s, size_t count) {
    while (s->trail_count > count) {
        const TrailEntry *t = &s->trail[--s->trail_count];
        (t->kind == TRAIL_LEAST   ? s->least
         : t->kind == TRAIL_FLOOR ? s->floor
                                  : s->top)[t->index] = t->old;
    }
}

// Part i may not lie below the level. False where it must.
static bool lift(PackSearch *s, int32_t i, int64_t level, PackRun *touched) {
    const PackPart *part = &s->p->part[i];
    if (s->placed[i] || s->least[i] >= level)
        return true;
    if (part->fixed)
        return false;
    if (part->alignment > 1) {
        const int64_t step = (int64_t)part->alignment;
        level = (level + step - 1) / step * step;
    }
    save(s, TRAIL_LEAST, i, s->least[i]);
    s->least[i] = level;
    touched->lo = part->lo < touched->lo ? part->lo : touched->lo;
    touched->hi = part->hi > touched->hi ? part->hi : touched->hi;
    return true;
}

// The floor of a section is where some part can lie. False where what is left then does not fit.
static bool settle(PackSearch *s, int32_t t) {
    const int32_t w = s->witness[t];
    if (s->rest[t] == 0 || (w >= 0 && !s->placed[w] && s->least[w] == s->floor[t]))
        return true;
    int64_t least = INT64_MAX;
    s->work += s->cover_begin[t + 1] - s->cover_begin[t];
    for (int32_t c = s->cover_begin[t]; c < s->cover_begin[t + 1] && least > s->floor[t]; c++) {
        const int32_t i = s->cover[c];
        if (s->placed[i] || s->least[i] >= least)
            continue;
        least = s->least[i];
        s->witness[t] = i;
    }
    if (least > s->floor[t])
        set_floor(s, t, least);
    return least + s->rest[t] <= s->height;
}

// Sections of the run have a new floor. Lifts the parts that live there, and then the floors of
// sections where nothing can lie any more. False: there is no packing.
static bool propagate(PackSearch *s, PackRun run, int64_t level, PackRun *touched) {
    for (int32_t c = s->cover_begin[run.lo]; c < s->cover_begin[run.lo + 1]; c++)
        if (!lift(s, s->cover[c], level, touched))
            return false;
    s->work += s->cover_begin[run.lo + 1] - s->cover_begin[run.lo] + run.hi - run.lo;
    for (int32_t t = run.lo + 1; t < run.hi; t++)
        for (int32_t r = s->next[s->run_count + t]; r < s->run_count; r = s->next[r], s->work++)
            if (!lift(s, s->run_part[r], level, touched))
                return false;
    return true;
}

static bool settle_all(PackSearch *s, PackRun touched) {
    s->work += touched.hi - touched.lo;
    for (int32_t t = touched.lo; t < touched.hi; t++)
        if (!settle(s, t))
            return false;
    return true;
}

// Puts part i on the floor of its sections. False: that leads nowhere. Either way unplace undoes
// it.
static bool place(PackSearch *s, int32_t i, int64_t at, bool *cut) {
    const PackPart *part = &s->p->part[i];
    const int64_t top = at + (int64_t)part->size;
    s->placed[i] = true;
    s->offset[i] = at;
    for (int32_t k = 0; k < part->run_count; k++) {
        const int32_t r = s->run_begin[i] + k;
        s->next[s->prev[r]] = s->next[r];
        s->prev[s->next[r]] = s->prev[r];
        for (int32_t t = part->run[k].lo; t < part->run[k].hi; t++) {
            save(s, TRAIL_TOP, t, s->top[t]);
            s->top[t] = top;
            set_floor(s, t, top);
            s->rest[t] -= (int64_t)part->size;
        }
    }
    *cut = part->lo == 0 || s->rest[part->lo] == 0 || s->rest[part->hi - 1] == 0;
    for (int32_t t = part->lo + 1; t < part->hi; t++)
        *cut |= --s->cross[t] == 0;
    PackRun touched = {part->lo, part->hi};
    for (int32_t k = 0; k < part->run_count; k++)
        if (!propagate(s, part->run[k], top, &touched))
            return false;
    return settle_all(s, touched);
}

static void unplace(PackSearch *s, int32_t i, size_t trail_count) {
    const PackPart *part = &s->p->part[i];
    undo(s, trail_count);
    s->placed[i] = false;
    for (int32_t k = part->run_count - 1; k >= 0; k--) {
        const int32_t r = s->run_begin[i] + k;
        s->next[s->prev[r]] = r;
        s->prev[s->next[r]] = r;
        for (int32_t t = part->run[k].lo; t < part->run[k].hi; t++)
            s->rest[t] += (int64_t)part->size;
    }
    for (int32_t t = part->lo + 1; t < part->hi; t++)
        s->cross[t]++;
}

// A place to fill: sections from..to are level, what is beside them is higher.
typedef struct {
    int32_t from, to;
    int32_t section; // whose lowest unplaced part is decided
    int64_t level;   // their floor
    int64_t waste;   // its next floor where nothing is put on this one; INT64_MAX: none
    int32_t count;   // candidates, on the stack
} Branch;

// Whether the part could move down: then the same packing with it lower is found elsewhere.
static bool is_supported(const PackSearch *s, const PackPart *part, int64_t at) {
    if (part->fixed)
        return true;
    for (int32_t k = 0; k < part->run_count; k++)
        for (int32_t t = part->run[k].lo; t < part->run[k].hi; t++)
            if (s->top[t] > at - (int64_t)part->alignment)
                return true;
    return false;
}

static bool is_same(const PackPart *x, const PackPart *y) {
    if (x->size != y->size || x->lo != y->lo || x->hi != y->hi || x->alignment != y->alignment ||
        x->fixed != y->fixed || x->run_count != y->run_count)
        return false;
    if (x->fixed && x->offset != y->offset)
        return false;
    return memcmp(x->run, y->run, (size_t)x->run_count * sizeof *x->run) == 0;
}

// With gaps a part may wait for another place to be filled first.
static bool is_level(const PackSearch *s, const PackPart *part, int64_t level) {
    for (int32_t k = 0; k < part->run_count; k++)
        for (int32_t t = part->run[k].lo; t < part->run[k].hi; t++)
            if (s->floor[t] != level)
                return false;
    return true;
}

static void push(PackSearch *s, int32_t i) {
    if (s->stack_count == s->stack_capacity) {
        s->stack =
            arena_grow(s->arena, s->stack, s->stack_count, 2 * s->stack_count, sizeof *s->stack);
        s->stack_capacity *= 2;
    }
    s->stack[s->stack_count++] = i;
}

// The candidates of a branch go on the stack. False: this place can't be decided yet.
static bool gather(PackSearch *s, Branch *b) {
    const size_t begin = s->stack_count;
    const int32_t t = b->section;
    bool gaps = false;
    int64_t higher = INT64_MAX;
    s->work += s->cover_begin[t + 1] - s->cover_begin[t];
    for (int32_t c = s->cover_begin[t]; c < s->cover_begin[t + 1]; c++) {
        const int32_t i = s->cover[c];
        const PackPart *part = &s->p->part[i];
        if (s->placed[i])
            continue;
        if (s->least[i] > b->level) {
            higher = s->least[i] < higher ? s->least[i] : higher;
            continue;
        }
        gaps |= part->run_count > 1;
        if (part->run_count > 1 && !is_level(s, part, b->level)) {
            s->stack_count = begin;
            return false;
        }
        if (!is_supported(s, part, b->level))
            continue;
        bool same = false;
        for (size_t k = begin; k < s->stack_count && !same; k++)
            same = is_same(&s->p->part[s->stack[k]], part);
        if (!same)
            push(s, i);
    }
    b->count = (int32_t)(s->stack_count - begin);
    // What could lie here and doesn't will rest on something put beside this section.
    int64_t small = gaps ? 1 : INT64_MAX;
    for (int32_t u = b->from; u < b->to; u++)
        for (int32_t r = s->next[s->run_count + u]; r < s->run_count; r = s->next[r], s->work++) {
            const int32_t i = s->run_part[r];
            const PackPart *part = &s->p->part[i];
            if (s->least[i] == b->level && (part->lo > t || part->hi <= t) &&
                (int64_t)part->size < small)
                small = (int64_t)part->size;
        }
    b->waste = higher;
    if (small < INT64_MAX && b->level + small < higher)
        b->waste = b->level + small;
    if (b->waste < INT64_MAX && b->waste + s->rest[t] > s->height)
        b->waste = INT64_MAX;
    return true;
}

static int bits(int64_t x) {
    return 64 - __builtin_clzll((uint64_t)x | 1);
}

// The place with the fewest ways on, dead ends of the past counting double. Its candidates stay on
// the stack.
static Branch choose(PackSearch *s, PackRun range) {
    const size_t begin = s->stack_count;
    Branch best = {.section = -1};
    int64_t best_score = INT64_MAX;
    s->work += range.hi - range.lo;
    for (int32_t t = range.lo, end; t < range.hi; t = end) {
        const int64_t level = s->floor[t];
        end = t + 1;
        if (s->rest[t] == 0)
            continue;
        while (end < range.hi && s->rest[end] > 0 && s->floor[end] == level)
            end++;
        if ((t > range.lo && s->rest[t - 1] > 0 && s->floor[t - 1] < level) ||
            (end < range.hi && s->rest[end] > 0 && s->floor[end] < level))
            continue;
        for (int side = 0; side < (end - t > 1 ? 2 : 1); side++) {
            const size_t kept = s->stack_count;
            Branch b = {.from = t, .to = end, .section = side ? end - 1 : t, .level = level};
            if (!gather(s, &b))
                continue;
            int64_t score = b.count + (b.waste < INT64_MAX);
            if (score > 1)
                score = score * 1000 / (1 + bits(s->weight[b.section]));
            if (score < best_score) {
                best_score = score;
                best = b;
                memmove(&s->stack[begin], &s->stack[kept], (size_t)b.count * sizeof *s->stack);
                s->stack_count = begin + (size_t)b.count;
            } else {
                s->stack_count = kept;
            }
        }
    }
    return best;
}

// Candidates that end level with a neighbour go first: they leave one step less in the floor.
static void prefer_flush(const PackSearch *s, PackRun range, const Branch *b, int32_t *candidate) {
    const bool left = b->from > range.lo && s->rest[b->from - 1] > 0;
    const bool right = b->to < range.hi && s->rest[b->to] > 0;
    const int64_t left_gap = (left ? s->floor[b->from - 1] : s->height) - b->level;
    const int64_t right_gap = (right ? s->floor[b->to] : s->height) - b->level;
    int32_t flush = 0;
    for (int32_t k = 0; k < b->count; k++) {
        const int32_t i = candidate[k];
        const int64_t size = (int64_t)s->p->part[i].size;
        if (size != left_gap && size != right_gap)
            continue;
        // The others keep their order.
        memmove(&candidate[flush + 1], &candidate[flush], (size_t)(k - flush) * sizeof *candidate);
        candidate[flush++] = i;
    }
}

static uint64_t state_key(const PackSearch *s, PackRun range) {
    uint64_t key = mix((uint64_t)range.lo << 32 | (uint32_t)range.hi) ^ mix((uint64_t)s->height);
    for (int32_t t = range.lo; t < range.hi; t++) {
        key = mix(key ^ (uint64_t)s->floor[t]) + (uint64_t)s->top[t] * 0x9e3779b97f4a7c15u;
        for (int32_t r = s->next[s->run_count + t]; r < s->run_count; r = s->next[r])
            key += s->mark[s->run_part[r]];
    }
    return key;
}

static bool search(PackSearch *s, PackRun range);

// Ranges that no unplaced part joins are independent.
static bool search_split(PackSearch *s, PackRun range) {
    for (int32_t begin = range.lo; begin < range.hi;) {
        int32_t end = begin + 1;
        while (end < range.hi && s->cross[end] > 0)
            end++;
        // Without crossing parts a longer range always has something left to place.
        if (s->rest[begin] > 0 || end - begin > 1)
            if (!search(s, (PackRun){begin, end}))
                return false;
        begin = end;
    }
    return true;
}

static bool try_branch(PackSearch *s, PackRun range, const Branch *b, size_t candidates) {
    const size_t trail = s->trail_count;
    for (int32_t k = 0; k < b->count && !s->out; k++) {
        const int32_t i = s->stack[candidates + (size_t)k];
        bool cut;
        bool found = place(s, i, b->level, &cut);
        if (found)
            found = cut ? search_split(s, range) : search(s, range);
        unplace(s, i, trail);
        if (found)
            return true;
    }
    if (b->waste == INT64_MAX || s->out)
        return false;
    set_floor(s, b->section, b->waste);
    PackRun touched = {b->section, b->section + 1};
    const bool found =
        propagate(s, touched, b->waste, &touched) && settle_all(s, touched) && search(s, range);
    undo(s, trail);
    return found;
}

static bool search(PackSearch *s, PackRun range) {
    if (s->work >= s->work_end || s->depth >= DEPTH_MAX) {
        s->out = true;
        return false;
    }
    s->work += range.hi - range.lo;
    const uint64_t key = state_key(s, range);
    uint64_t *slot = &s->memo[key % s->memo_slots];
    if (*slot == key)
        return false;
    const size_t candidates = s->stack_count;
    const Branch b = choose(s, range);
    // A lowest place can always be decided.
    CHECK(b.section >= 0);
    prefer_flush(s, range, &b, &s->stack[candidates]);
    s->depth++;
    const bool found = try_branch(s, range, &b, candidates);
    s->depth--;
    s->stack_count = candidates;
    if (found || s->out)
        return found;
    s->weight[b.section]++;
    *slot = key;
    return false;
}

// What is sorted: larger keys first.
typedef struct {
    int64_t key, second;
    int32_t part;
} RuleKey;

static int compare_keys(const void *a, const void *b) {
    const RuleKey *x = a, *y = b;
    if (x->key != y->key)
        return x->key > y->key ? -1 : 1;
    if (x->second != y->second)
        return x->second > y->second ? -1 : 1;
    return (x->part > y->part) - (x->part < y->part);
}

static RuleKey rule_key(const PackPart *part, int32_t i, int rule) {
    const int64_t size = (int64_t)part->size, width = part->hi - part->lo;
    switch (rule % SEARCH_RULES) {
    case 0:
        return (RuleKey){width, size, i};
    case 1:
        return (RuleKey){size, width, i};
    case 2:
        return (RuleKey){size > INT64_MAX / width ? INT64_MAX : size * width, 0, i};
    case 3:
        return (RuleKey){-width, size, i};
    default:
        return (RuleKey){-size, 0, i};
    }
}

// Sorts what lives in each section by the rule.
static void apply_rule(PackSearch *s, int rule) {
    const PackProblem *p = s->p;
    RuleKey *key = arena_array(s->arena, RuleKey, p->count + 1);
    for (int32_t i = 0; i < p->count; i++)
        key[i] = rule_key(&p->part[i], i, rule);
    qsort(key, (size_t)p->count, sizeof *key, compare_keys);
    int32_t *fill = arena_array(s->arena, int32_t, p->section_count + 1);
    memcpy(fill, s->cover_begin, (size_t)p->section_count * sizeof *fill);
    for (int32_t j = 0; j < p->count; j++) {
        const PackPart *part = &p->part[key[j].part];
        for (int32_t k = 0; k < part->run_count; k++)
            for (int32_t t = part->run[k].lo; t < part->run[k].hi; t++)
                s->cover[fill[t]++] = key[j].part;
    }
}

static void reset(PackSearch *s) {
    const PackProblem *p = s->p;
    s->trail_count = s->stack_count = 0;
    s->depth = 0;
    s->out = false;
    memset(s->cross, 0, (size_t)(p->section_count + 1) * sizeof *s->cross);
    for (int32_t t = 0; t < p->section_count; t++) {
        s->floor[t] = s->top[t] = 0;
        s->rest[t] = (int64_t)p->load[t];
        s->witness[t] = -1;
        s->next[s->run_count + t] = s->prev[s->run_count + t] = s->run_count + t;
    }
    for (int32_t i = 0; i < p->count; i++) {
        const PackPart *part = &p->part[i];
        s->least[i] = part->fixed ? (int64_t)part->offset : 0;
        s->placed[i] = false;
        for (int32_t t = part->lo + 1; t < part->hi; t++)
            s->cross[t]++;
        for (int32_t k = 0; k < part->run_count; k++) {
            const int32_t r = s->run_begin[i] + k, head = s->run_count + part->run[k].lo;
            s->prev[r] = s->prev[head];
            s->next[r] = head;
            s->next[s->prev[r]] = r;
            s->prev[head] = r;
        }
    }
}

PackSearch *pack_search_create(const PackProblem *p, Arena *a) {
    PackSearch *s = arena_new(a, PackSearch);
    const size_t sections = (size_t)p->section_count + 1, parts = (size_t)p->count + 1;
    s->p = p;
    s->arena = a;
    s->floor = arena_array(a, int64_t, sections);
    s->top = arena_array(a, int64_t, sections);
    s->rest = arena_array(a, int64_t, sections);
    s->witness = arena_array(a, int32_t, sections);
    s->weight = arena_array(a, int64_t, sections);
    s->cross = arena_array(a, int32_t, sections);
    s->cover_begin = arena_array(a, int32_t, sections + 1);
    s->least = arena_array(a, int64_t, parts);
    s->offset = arena_array(a, int64_t, parts);
    s->placed = arena_array(a, bool, parts);
    s->mark = arena_array(a, uint64_t, parts);
    s->run_begin = arena_array(a, int32_t, parts);
    for (int32_t i = 0; i < p->count; i++) {
        s->mark[i] = mix((uint64_t)i + 1);
        s->run_begin[i] = s->run_count;
        s->run_count += p->part[i].run_count;
        for (int32_t k = 0; k < p->part[i].run_count; k++)
            for (int32_t t = p->part[i].run[k].lo; t < p->part[i].run[k].hi; t++)
                s->cover_begin[t + 1]++;
    }
    for (int32_t t = 0; t < p->section_count; t++)
        s->cover_begin[t + 1] += s->cover_begin[t];
    s->cover = arena_array(a, int32_t, s->cover_begin[p->section_count] + 1);
    s->run_part = arena_array(a, int32_t, s->run_count + 1);
    for (int32_t i = 0; i < p->count; i++)
        for (int32_t k = 0; k < p->part[i].run_count; k++)
            s->run_part[s->run_begin[i] + k] = i;
    s->next = arena_array(a, int32_t, (size_t)s->run_count + sections);
    s->prev = arena_array(a, int32_t, (size_t)s->run_count + sections);
    s->trail_capacity = s->stack_capacity = 4 * (parts + sections);
    s->trail = arena_array(a, TrailEntry, s->trail_capacity);
    s->stack = arena_array(a, int32_t, s->stack_capacity);
    s->memo_slots = 256 * parts < MEMO_SLOTS_MAX ? 256 * parts : MEMO_SLOTS_MAX;
    s->memo = arena_array(a, uint64_t, s->memo_slots);
    return s;
}

SearchResult pack_search_try(PackSearch *s, uint64_t height, int rule, int64_t work,
                             uint64_t *offset) {
    s->height = (int64_t)height;
    s->work_end = s->work + work;
    apply_rule(s, rule);
    reset(s);
    const PackRun all = {0, s->p->section_count};
    if (settle_all(s, all) && search_split(s, all)) {
        for (int32_t i = 0; i < s->p->count; i++)
            offset[i] = (uint64_t)s->offset[i];
        return SEARCH_FOUND;
    }
    return s->out ? SEARCH_OUT : SEARCH_NONE;
}

int64_t pack_search_work(const PackSearch *s) {
    return s->work;
}
