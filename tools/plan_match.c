// Both sides become lists of (entry, name, size, number), sorted; a merge pairs what is equal up to
// the number, and a second one what is left up to the size: gradients have the names of what they
// are gradients of, and a few more of one name must not shift all the others. Kernels are compared
// by their text without the name in its first line, which is only a number.
#include "tools/plan_match.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *entry, *name;
    uint64_t size;   // bytes of a buffer, operations of an instruction
    uint32_t number; // of the buffer or kernel; of the instruction, over all entries
} Item;

static int compare_places(const Item *x, const Item *y) {
    int order = strcmp(x->entry, y->entry);
    if (order || (order = strcmp(x->name, y->name)))
        return order;
    return (x->size > y->size) - (x->size < y->size);
}

static int compare_items(const void *a, const void *b) {
    const Item *x = a, *y = b;
    const int order = compare_places(x, y);
    return order ? order : (x->number > y->number) - (x->number < y->number);
}

// One merge of both lists, sorted here.
static void pair_equal(Item *before, uint32_t before_count, Item *after, uint32_t after_count,
                       uint32_t *before_of, uint32_t *after_of) {
    qsort(before, before_count, sizeof *before, compare_items);
    qsort(after, after_count, sizeof *after, compare_items);
    for (uint32_t i = 0, k = 0; i < before_count && k < after_count;) {
        const int order = compare_places(&before[i], &after[k]);
        if (order == 0) {
            before_of[after[k].number] = before[i].number;
            after_of[before[i].number] = after[k].number;
        }
        i += order <= 0;
        k += order >= 0;
    }
}

// Items without a mate, and without a size. Returns how many.
static uint32_t keep_single(Item *item, uint32_t count, const uint32_t *mate) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (mate[item[i].number] == UINT32_MAX) {
            item[kept] = item[i];
            item[kept++].size = 0;
        }
    return kept;
}

// before_of[number after] and after_of[number before].
static void pair(Item *before, uint32_t before_count, Item *after, uint32_t after_count,
                 uint32_t *before_of, uint32_t *after_of) {
    for (uint32_t i = 0; i < after_count; i++)
        before_of[after[i].number] = UINT32_MAX;
    for (uint32_t i = 0; i < before_count; i++)
        after_of[before[i].number] = UINT32_MAX;
    pair_equal(before, before_count, after, after_count, before_of, after_of);
    before_count = keep_single(before, before_count, after_of);
    after_count = keep_single(after, after_count, before_of);
    pair_equal(before, before_count, after, after_count, before_of, after_of);
}

// Instructions of all entries, each once however often it is called.
static uint32_t count_steps(const PlanUses *u) {
    uint32_t count = 0;
    for (uint32_t e = 0; e < u->plan->entry_count; e++)
        count += u->entry[e].step_count;
    return count;
}

static Item *list_buffers(const Plan *p, PlanMemory *pm) {
    Item *item = plan_alloc(pm, (size_t)p->buffer_count + 1, sizeof *item);
    for (uint32_t i = 0; item && i < p->buffer_count; i++) {
        const PlanBuffer *b = &p->buffer[i];
        item[i] =
            (Item){b->entry == UINT32_MAX ? "" : p->entry[b->entry].name, b->name, b->bytes, i};
    }
    return item;
}

static Item *list_steps(const PlanUses *u, PlanMemory *pm) {
    Item *item = plan_alloc(pm, (size_t)count_steps(u) + 1, sizeof *item);
    uint32_t number = 0;
    for (uint32_t e = 0; item && e < u->plan->entry_count; e++)
        for (uint32_t i = 0; i < u->entry[e].step_count; i++, number++)
            item[number] = (Item){u->plan->entry[e].name, u->entry[e].step[i].instr->name,
                                  u->entry[e].step[i].instr->flops, number};
    return item;
}

// "kernel k12 rows [4, 8] {..." from "rows" on: the name says nothing of what it does.
static const char *kernel_code(const PlanKernel *k) {
    const size_t length = strlen(k->name);
    const char *text = k->text;
    return strncmp(text, "kernel ", 7) == 0 && strncmp(text + 7, k->name, length) == 0 &&
                   text[7 + length] == ' '
               ? text + 7 + length
               : text;
}

static Item *list_kernels(const Plan *p, PlanMemory *pm) {
    Item *item = plan_alloc(pm, (size_t)p->kernel_count + 1, sizeof *item);
    for (uint32_t i = 0; item && i < p->kernel_count; i++)
        item[i] = (Item){"", kernel_code(&p->kernel[i]), 0, i};
    return item;
}

static bool match_buffers(PlanMatch *m, const Plan *before, const Plan *after, PlanMemory *pm) {
    Item *x = list_buffers(before, pm), *y = list_buffers(after, pm);
    m->buffer_before = plan_alloc(pm, (size_t)after->buffer_count + 1, sizeof *m->buffer_before);
    m->buffer_after = plan_alloc(pm, (size_t)before->buffer_count + 1, sizeof *m->buffer_after);
    if (!x || !y || !m->buffer_before || !m->buffer_after)
        return false;
    pair(x, before->buffer_count, y, after->buffer_count, m->buffer_before, m->buffer_after);
    return true;
}

// Numbers run through all entries while pairing; afterwards they are positions again.
static bool match_steps(PlanMatch *m, const PlanUses *before, const PlanUses *after,
                        PlanMemory *pm) {
    const uint32_t x_count = count_steps(before), y_count = count_steps(after);
    Item *x = list_steps(before, pm), *y = list_steps(after, pm);
    uint32_t *before_of = plan_alloc(pm, (size_t)y_count + 1, sizeof *before_of);
    uint32_t *after_of = plan_alloc(pm, (size_t)x_count + 1, sizeof *after_of);
    // by number before: its position in its entry
    uint32_t *position = plan_alloc(pm, (size_t)x_count + 1, sizeof *position);
    m->step_before = plan_alloc(pm, (size_t)after->plan->entry_count + 1, sizeof *m->step_before);
    if (!x || !y || !before_of || !after_of || !position || !m->step_before)
        return false;
    pair(x, x_count, y, y_count, before_of, after_of);
    m->step_after = plan_alloc(pm, (size_t)before->plan->entry_count + 1, sizeof *m->step_after);
    if (!m->step_after)
        return false;
    for (uint32_t e = 0, number = 0; e < before->plan->entry_count; e++) {
        m->step_after[e] = after_of + number;
        number += before->entry[e].step_count;
    }
    for (uint32_t e = 0, number = 0; e < before->plan->entry_count; e++)
        for (uint32_t i = 0; i < before->entry[e].step_count; i++)
            position[number++] = i;
    for (uint32_t e = 0, number = 0; e < after->plan->entry_count; e++) {
        m->step_before[e] = before_of + number;
        for (uint32_t i = 0; i < after->entry[e].step_count; i++, number++)
            if (before_of[number] != UINT32_MAX)
                before_of[number] = position[before_of[number]];
    }
    return true;
}

// Entries share kernels: all stand in one list.
static bool match_kernels(PlanMatch *m, const Plan *before, const Plan *after, PlanMemory *pm) {
    Item *x = list_kernels(before, pm), *y = list_kernels(after, pm);
    uint32_t *before_of = plan_alloc(pm, (size_t)after->kernel_count + 1, sizeof *before_of);
    uint32_t *after_of = plan_alloc(pm, (size_t)before->kernel_count + 1, sizeof *after_of);
    m->kernel_is_new = plan_alloc(pm, (size_t)after->kernel_count + 1, sizeof *m->kernel_is_new);
    if (!x || !y || !before_of || !after_of || !m->kernel_is_new)
        return false;
    pair(x, before->kernel_count, y, after->kernel_count, before_of, after_of);
    for (uint32_t i = 0; i < after->kernel_count; i++) {
        m->kernel_is_new[i] = before_of[i] == UINT32_MAX;
        m->kernel_new += m->kernel_is_new[i];
    }
    for (uint32_t i = 0; i < before->kernel_count; i++)
        m->kernel_gone += after_of[i] == UINT32_MAX;
    return true;
}

PlanMatch *plan_match_new(const PlanUses *before, const PlanUses *after, PlanMemory *pm) {
    PlanMatch *m = plan_alloc(pm, 1, sizeof *m);
    const bool good = m && match_buffers(m, before->plan, after->plan, pm) &&
                      match_steps(m, before, after, pm) &&
                      match_kernels(m, before->plan, after->plan, pm);
    return good ? m : NULL;
}

const char *plan_buffer_path(const PlanBuffer *b) {
    return *b->scope ? b->scope : b->name;
}
