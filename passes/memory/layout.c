// Giving every buffer an offset: the arena's size is what the plan promises and the run takes.
//
// Each memory space has an arena of its own, and buffers say which is theirs. In each, persistent
// buffers (state) lie at the bottom, side by side, shared by nobody. Above them every entry packs
// its own buffers (passes/memory/pack.h); entries never run at the same time, so they lie over each
// other, and the arena is as tall as the tallest. The load (the largest sum of live bytes) bounds
// it from below; both are in the plan. Over the budget, or over what --far allows of far memory, is
// an error that names what is live at the peak.
//
// A trial of a rung (passes/retain) packs with little work, and none where the load is above the
// limit. Under a limit the real thing does all that work too before its own, and keeps the lowest:
// so it fits wherever the trial did, and a budget is kept or refused by what trials came to. What
// was changed to fit is packed no further than that.
#include "passes/pass.h"

#include "ir/check.h"
#include "passes/memory/pack.h"
#include "passes/memory/programs.h"

#include <stdlib.h>
#include <string.h>

// One entry's buffers in one space, packed.
typedef struct {
    uint32_t entry, space;
    int count;
    const uint32_t *buffer; // index of item i's
    PackItem *item;
    uint64_t height, load; // above the persistent ones
    uint32_t peak;         // a position where the load is reached
} EntryLayout;

// Rounded up to the alignment, so that what lies above it is aligned too.
static uint64_t padded(const PlanBuffer *b) {
    const uint64_t unit = b->alignment ? b->alignment : 1; // the verifier refuses 0 later
    return (b->bytes + unit - 1) / unit * unit;
}

// In the module's order, so that a state has the same address in plans that differ only above.
static uint64_t place_persistent(Plan *p, uint32_t space) {
    uint64_t at = 0;
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        PlanBuffer *b = &p->buffer[i];
        if (b->entry != UINT32_MAX || b->space != space)
            continue;
        // Empty buffers take no room and lie at 0.
        b->offset = b->bytes ? at : 0;
        at += padded(b);
    }
    return at;
}

// Buffers of an entry in a space are one group: buffer[begin[g]] .. buffer[begin[g + 1] - 1].
typedef struct {
    uint32_t *begin, *buffer;
} BufferGroups;

static uint32_t group_of(const Plan *p, uint32_t space, uint32_t entry) {
    return space * p->entry_count + entry;
}

// Numbers rise in each group; empty and persistent buffers are in none.
static BufferGroups group_buffers(const Plan *p, Arena *a) {
    const uint32_t count = p->space_count * p->entry_count;
    const BufferGroups out = {.begin = arena_array(a, uint32_t, count + 1),
                              .buffer = arena_array(a, uint32_t, p->buffer_count + 1)};
    uint32_t *filled = arena_array(a, uint32_t, count + 1);
    // Counted first, then filled in.
    for (int fill = 0; fill < 2; fill++) {
        for (uint32_t i = 0; i < p->buffer_count; i++) {
            const PlanBuffer *b = &p->buffer[i];
            if (b->entry == UINT32_MAX || !b->bytes)
                continue;
            const uint32_t group = group_of(p, b->space, b->entry);
            if (fill)
                out.buffer[out.begin[group] + filled[group]++] = i;
            else
                out.begin[group + 1]++;
        }
        for (uint32_t g = 0; !fill && g < count; g++)
            out.begin[g + 1] += out.begin[g];
    }
    return out;
}

// Every buffer has bytes of its own: what optimised layouts are compared with.
static PackAnswer pack_naive(PackItem *item, int count, Arena *scratch) {
    PackAnswer answer = {.how = "naive"};
    answer.load = pack_load(item, count, scratch, &answer.peak);
    for (int i = 0; i < count; i++) {
        item[i].offset = answer.height;
        answer.height += item[i].size;
    }
    answer.bound = answer.load;
    answer.optimal = answer.height == answer.load;
    return answer;
}

// Packs anew with that much work unless nothing can be lower; the lower packing stays, of equal
// ones the later. best: so far, UINT64_MAX high where there is none.
static void pack_lower_than(PackAnswer *best, PackItem *item, int count, int64_t work,
                            Arena *scratch) {
    if (best->optimal)
        return;
    PackItem *before = arena_array(scratch, PackItem, count + 1);
    memcpy(before, item, (size_t)count * sizeof *item);
    const PackAnswer now = pack_solve(item, count, &(PackOptions){.work = work}, scratch);
    if (now.height <= best->height)
        *best = now;
    else
        memcpy(item, before, (size_t)count * sizeof *item);
}

// Steps of packing in trials of rungs, which are many, and first where there is a limit.
static const int64_t TRIAL_WORK[] = {20000000, 100000000};

// capacity: what the limit leaves; UINT64_MAX: there is none. A trial ends where that is met, and
// asks the integer programs only where it is not: they take long, and trials without a limit are
// many. What a trial finds, the layout that counts finds too: it begins with the same steps. False
// after a diagnostic.
static bool pack_entry(const EntryLayout *e, PassCtx *cx, uint64_t capacity, const char *name,
                       PackAnswer *best) {
    uint32_t peak;
    const TrialKind trial = cx->options->trial;
    const int effort = cx->options->effort ? cx->options->effort : 1;
    const bool limited = capacity < UINT64_MAX;
    const bool fitting = trial == TRIAL_FITS || (cx->fitted && effort == 1);
    *best = (PackAnswer){.height = UINT64_MAX};
    if (trial && pack_load(e->item, e->count, cx->scratch, &peak) > capacity) {
        *best = pack_naive(e->item, e->count, cx->scratch);
        return true;
    }
    for (int i = 0; i < 2 && (trial || limited); i++) {
        pack_lower_than(best, e->item, e->count, TRIAL_WORK[i], cx->scratch);
        if (fitting && limited && best->height <= capacity)
            return true;
    }
    if (best->height > capacity && limited && trial != TRIAL_LEAST &&
        !programs_pack(cx, name, e->item, e->count, best))
        return false;
    if (trial)
        return true;
    pack_lower_than(best, e->item, e->count, PACK_WORK * effort, cx->scratch);
    return programs_pack(cx, name, e->item, e->count, best);
}

// Whether it can be lower, and what other ways of packing had come to.
static const char *judge_packing(const PackAnswer *packed, Arena *a) {
    const char *text = packed->optimal ? "none is lower"
                                       : arena_format(a, "none is lower than %llu",
                                                      (unsigned long long)packed->bound);
    for (int i = 0; i < packed->try_count; i++)
        // The winner's own height was said.
        if (packed->tried[i].height != packed->height)
            text = arena_format(a, "%s%s%s %llu", text,
                                strstr(text, "; ") ? ", " : "; others: ", packed->tried[i].name,
                                (unsigned long long)packed->tried[i].height);
    return text;
}

// False after a diagnostic. capacity: what the space's limit leaves above base.
static bool place_entry(Plan *p, PassCtx *cx, EntryLayout *e, uint64_t base, uint64_t capacity) {
    const char *name = p->entry[e->entry].name;
    for (int i = 0; i < e->count; i++) {
        const PlanBuffer *b = &p->buffer[e->buffer[i]];
        e->item[i] = (PackItem){.size = padded(b), .first = b->first, .last = b->last};
    }
    const bool naive = cx->options->arrange && strcmp(cx->options->arrange, "naive") == 0;
    PackAnswer packed;
    if (naive)
        packed = pack_naive(e->item, e->count, cx->scratch);
    else if (!pack_entry(e, cx, capacity, name, &packed))
        return false;
    e->height = packed.height;
    e->load = packed.load;
    e->peak = packed.peak;
    for (int i = 0; i < e->count; i++)
        p->buffer[e->buffer[i]].offset = base + e->item[i].offset;
    // An entry of states and inputs alone has nothing to say.
    if (e->count == 0)
        return true;
    remark_add(cx, "layout", name,
               "%d buffers in %llu bytes of %s above %llu of state; their load is %llu, "
               "fragmentation %.2f %%; packed by %s; %s",
               e->count, (unsigned long long)e->height, plan_space_name(p->space[e->space].kind),
               (unsigned long long)base, (unsigned long long)e->load,
               100.0 * (double)(e->height - e->load) / (double)(e->load ? e->load : 1), packed.how,
               judge_packing(&packed, cx->scratch));
    return true;
}

static int compare_size(const void *a, const void *b) {
    const PlanBuffer *x = *(const PlanBuffer *const *)a, *y = *(const PlanBuffer *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return (x > y) - (x < y); // both in one array: by number
}

// What may lie in a space, 0: anything.
static uint64_t limit_of(const PassCtx *cx, const PlanSpace *s) {
    return s->kind == SPACE_DEVICE ? cx->options->budget : cx->options->far_bytes;
}

// The five largest buffers live at the peak, and the limit that would do.
static bool report_limit(const Plan *p, PassCtx *cx, const EntryLayout *e) {
    enum { NAMED = 5 };
    const PlanSpace *space = &p->space[e->space];
    const PlanBuffer **live = arena_array(cx->scratch, const PlanBuffer *, p->buffer_count + 1);
    size_t count = 0;
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        const PlanBuffer *b = &p->buffer[i];
        // State is live always; of the entry, what is live at the position of its peak.
        if (b->space == e->space &&
            (b->entry == UINT32_MAX ||
             (b->entry == e->entry && b->first <= e->peak && e->peak <= b->last)))
            live[count++] = b;
    }
    qsort(live, count, sizeof *live, compare_size);
    const char *name = p->entry[e->entry].name;
    if (space->kind == SPACE_DEVICE)
        diag_error(cx->diag, (Loc){0}, 801,
                   "entry %s needs %llu bytes, but the budget is %llu; the largest buffers at its "
                   "peak follow",
                   name, (unsigned long long)space->bytes, (unsigned long long)limit_of(cx, space));
    else
        diag_error(cx->diag, (Loc){0}, 807,
                   "entry %s needs %llu bytes of %s, but --far allows %llu; the largest buffers "
                   "there follow",
                   name, (unsigned long long)space->bytes, plan_space_name(space->kind),
                   (unsigned long long)limit_of(cx, space));
    for (size_t i = 0; i < count && i < NAMED; i++)
        diag_note(cx->diag, (Loc){0}, "%s: %llu bytes of %s%s%s", live[i]->name,
                  (unsigned long long)live[i]->bytes, plan_buffer_kind_name(live[i]->kind),
                  *live[i]->where ? ", from " : "", live[i]->where);
    diag_help(cx->diag, "the smallest %s that fits is %llu bytes",
              space->kind == SPACE_DEVICE ? "budget" : "--far", (unsigned long long)space->bytes);
    return false;
}

// layout is the last pass: all remarks are there.
static void take_remarks(Plan *p, PassCtx *cx) {
    p->remark_count = (uint32_t)cx->remarks.count;
    p->remark = arena_array(cx->arena, PlanRemark, cx->remarks.count + 1);
    for (int i = 0; i < cx->remarks.count; i++)
        p->remark[i] = (PlanRemark){.pass = cx->remarks.item[i].pass,
                                    .subject = cx->remarks.item[i].subject,
                                    .text = cx->remarks.item[i].text};
}

// All entries in one space. *tallest is the entry that decides its height; false after a
// diagnostic.
static bool place_space(Plan *p, PassCtx *cx, uint32_t space, const BufferGroups *groups,
                        EntryLayout *tallest) {
    const uint64_t base = place_persistent(p, space), limit = limit_of(cx, &p->space[space]);
    const uint64_t capacity = !limit ? UINT64_MAX : limit > base ? limit - base : 0;
    uint64_t load = 0;
    *tallest = (EntryLayout){.space = space};
    for (uint32_t i = 0; i < p->entry_count; i++) {
        const uint32_t group = group_of(p, space, i);
        EntryLayout e = {.entry = i,
                         .space = space,
                         .buffer = groups->buffer + groups->begin[group],
                         .count = (int)(groups->begin[group + 1] - groups->begin[group])};
        e.item = arena_array(cx->scratch, PackItem, e.count + 1);
        if (!place_entry(p, cx, &e, base, capacity))
            return false;
        load = e.load > load ? e.load : load;
        if (e.height > tallest->height)
            *tallest = e;
    }
    p->space[space].bytes = base + tallest->height;
    p->space[space].load = base + load;
    return true;
}

PassResult pass_layout(Module *m, PassCtx *cx) {
    (void)m;
    Plan *p = cx->plan;
    CHECK(p != NULL);
    if (cx->options->arrange && strcmp(cx->options->arrange, "naive") != 0) {
        diag_error(cx->diag, (Loc){0}, 803, "there is no arrangement named %s",
                   cx->options->arrange);
        diag_help(cx->diag, "the only one to ask for is naive");
        return PASS_FAILED;
    }
    const BufferGroups groups = group_buffers(p, cx->scratch);
    for (uint32_t i = 0; i < p->space_count; i++) {
        EntryLayout tallest;
        if (!place_space(p, cx, i, &groups, &tallest))
            return PASS_FAILED;
        const uint64_t limit = limit_of(cx, &p->space[i]);
        if (!cx->options->trial && limit > 0 && p->space[i].bytes > limit && p->entry_count > 0) {
            report_limit(p, cx, &tallest);
            return PASS_FAILED;
        }
    }
    p->degraded = cx->degraded > 0;
    take_remarks(p, cx);
    return PASS_CHANGED;
}
