// Giving every buffer an offset: the arena's size is what the plan promises and the run takes.
//
// Persistent buffers (state) lie at the bottom, side by side, shared by nobody. Above them every
// entry packs its own buffers (passes/memory/pack.h); entries never run at the same time,
// so they lie over each other, and the arena is as tall as the tallest. The load (the largest sum
// of live bytes) bounds it from below; both are in the plan. Over budget is an error that names
// what is live at the peak.
#include "passes/pass.h"

#include "ir/check.h"
#include "passes/memory/pack.h"
#include "passes/memory/programs.h"
#include "passes/storage.h"

#include <stdlib.h>
#include <string.h>

// One entry's buffers, packed.
typedef struct {
    int count;
    uint32_t *buffer; // index of item i's
    PackItem *item;
    uint64_t height, load; // above the persistent ones
    uint32_t peak;         // a position where the load is reached
} EntryLayout;

// In the module's order, so that a state has the same address in plans that differ only above.
static uint64_t place_persistent(Plan *p) {
    uint64_t at = 0;
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        PlanBuffer *b = &p->buffer[i];
        if (b->entry != UINT32_MAX)
            continue;
        // Empty buffers take no room and lie at 0.
        b->offset = b->bytes ? at : 0;
        at += storage_padded(b->bytes);
    }
    return at;
}

// Buffer numbers grouped by entry: begin[e] .. begin[e + 1].
static uint32_t *group_by_entry(const Plan *p, Arena *a, uint32_t *begin) {
    uint32_t *buffer = arena_array(a, uint32_t, p->buffer_count + 1);
    for (uint32_t i = 0; i < p->buffer_count; i++)
        if (p->buffer[i].entry != UINT32_MAX && p->buffer[i].bytes)
            begin[p->buffer[i].entry + 1]++;
    for (uint32_t e = 0; e < p->entry_count; e++)
        begin[e + 1] += begin[e];
    uint32_t *filled = arena_array(a, uint32_t, p->entry_count + 1);
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        const uint32_t e = p->buffer[i].entry;
        if (e != UINT32_MAX && p->buffer[i].bytes)
            buffer[begin[e] + filled[e]++] = i;
    }
    return buffer;
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

// False after a diagnostic.
static bool place_entry(Plan *p, PassCtx *cx, EntryLayout *e, const char *name, uint64_t base) {
    for (int i = 0; i < e->count; i++) {
        const PlanBuffer *b = &p->buffer[e->buffer[i]];
        // Padded to the alignment, so that every offset is aligned.
        e->item[i] =
            (PackItem){.size = storage_padded(b->bytes), .first = b->first, .last = b->last};
    }
    const bool naive = cx->options->arrange && strcmp(cx->options->arrange, "naive") == 0;
    const PackOptions options = {.work =
                                     PACK_WORK * (cx->options->effort ? cx->options->effort : 1)};
    PackAnswer packed = naive ? pack_naive(e->item, e->count, cx->scratch)
                              : pack_solve(e->item, e->count, &options, cx->scratch);
    if (!naive && !programs_pack(cx, name, e->item, e->count, &packed))
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
               "%d buffers in %llu bytes above %llu of state; their load is %llu, fragmentation "
               "%.2f %%; packed by %s; %s",
               e->count, (unsigned long long)e->height, (unsigned long long)base,
               (unsigned long long)e->load,
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

// P0801: the five largest buffers live at the peak, and the budget that would do.
static bool report_budget(const Plan *p, PassCtx *cx, uint32_t entry, const EntryLayout *e) {
    enum { NAMED = 5 };
    const PlanBuffer **live = arena_array(cx->scratch, const PlanBuffer *, p->buffer_count + 1);
    size_t count = 0;
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        const PlanBuffer *b = &p->buffer[i];
        // State is live always; of the entry, what is live at the position of its peak.
        if (b->entry == UINT32_MAX ||
            (b->entry == entry && b->first <= e->peak && e->peak <= b->last))
            live[count++] = b;
    }
    qsort(live, count, sizeof *live, compare_size);
    diag_error(cx->diag, (Loc){0}, 801,
               "entry %s needs %llu bytes, but the budget is %llu; the largest buffers at its peak "
               "follow",
               p->entry[entry].name, (unsigned long long)p->space[0].bytes,
               (unsigned long long)cx->options->budget);
    for (size_t i = 0; i < count && i < NAMED; i++)
        diag_note(cx->diag, (Loc){0}, "%s: %llu bytes of %s%s%s", live[i]->name,
                  (unsigned long long)live[i]->bytes, plan_buffer_kind_name(live[i]->kind),
                  *live[i]->where ? ", from " : "", live[i]->where);
    diag_help(cx->diag, "the smallest budget that fits is %llu bytes",
              (unsigned long long)p->space[0].bytes);
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
    const uint64_t base = place_persistent(p);
    uint32_t *begin = arena_array(cx->scratch, uint32_t, p->entry_count + 2);
    uint32_t *buffer = group_by_entry(p, cx->scratch, begin);
    EntryLayout *layout = arena_array(cx->scratch, EntryLayout, p->entry_count + 1);
    uint64_t height = 0, load = 0;
    uint32_t tallest = 0;
    for (uint32_t i = 0; i < p->entry_count; i++) {
        EntryLayout *e = &layout[i];
        e->buffer = buffer + begin[i];
        e->count = (int)(begin[i + 1] - begin[i]);
        e->item = arena_array(cx->scratch, PackItem, e->count + 1);
        if (!place_entry(p, cx, e, p->entry[i].name, base))
            return PASS_FAILED;
        load = e->load > load ? e->load : load;
        if (e->height > height) {
            height = e->height;
            tallest = i;
        }
    }
    p->space[0].bytes = base + height;
    p->space[0].load = base + load;
    p->degraded = cx->degraded > 0;
    take_remarks(p, cx);
    if (cx->options->budget > 0 && p->space[0].bytes > cx->options->budget && p->entry_count > 0) {
        report_budget(p, cx, tallest, &layout[tallest]);
        return PASS_FAILED;
    }
    return PASS_CHANGED;
}
