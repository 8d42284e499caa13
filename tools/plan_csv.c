// Sizes are padded to the arena's alignment, so that any packing of the rows is one the plan could
// have, and the lowest height of the rows is the arena's.
#include "tools/plan_csv.h"

#include <string.h>

static bool is_row(const Plan *p, const PlanBuffer *b) {
    return b->bytes > 0 && b->space < p->space_count && p->space[b->space].kind == SPACE_DEVICE;
}

// Where the entry's positions begin in the time of the file.
static uint64_t entry_begin(const Plan *p, uint32_t entry) {
    uint64_t at = 0;
    for (uint32_t e = 0; e < entry; e++) {
        uint64_t end = 0;
        for (uint32_t i = 0; i < p->buffer_count; i++)
            if (p->buffer[i].entry == e && is_row(p, &p->buffer[i]) &&
                (uint64_t)p->buffer[i].last + 1 > end)
                end = (uint64_t)p->buffer[i].last + 1;
        at += end;
    }
    return at;
}

// Names are for people: what would end a field is replaced.
static void print_name(const char *name, FILE *out) {
    for (; *name; name++) {
        const bool plain = *name > ' ' && *name != ',' && *name != '"' && *name != 127;
        fputc(plain ? *name : '_', out);
    }
}

static void print_row(uint32_t number, const PlanBuffer *b, uint64_t lower, uint64_t upper,
                      FILE *out) {
    const uint64_t size =
        (b->bytes + PLAN_ARENA_ALIGNMENT - 1) / PLAN_ARENA_ALIGNMENT * PLAN_ARENA_ALIGNMENT;
    fprintf(out, "%u:", number);
    print_name(b->name, out);
    fprintf(out, ",%llu,%llu,%llu,%llu\n", (unsigned long long)lower, (unsigned long long)upper,
            (unsigned long long)size, (unsigned long long)b->offset);
}

void plan_csv_print(const Plan *p, FILE *out) {
    uint64_t end = entry_begin(p, p->entry_count);
    end = end ? end : 1;
    fprintf(out, "id,lower,upper,size,offset\n");
    // Persistent buffers, then each entry's: the plan lists them so, and begins are found once an
    // entry.
    uint32_t entry = UINT32_MAX;
    uint64_t begin = 0;
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        const PlanBuffer *b = &p->buffer[i];
        if (!is_row(p, b))
            continue;
        if (b->entry == UINT32_MAX) {
            print_row(i, b, 0, end, out);
            continue;
        }
        if (b->entry != entry) {
            entry = b->entry;
            begin = entry_begin(p, entry);
        }
        print_row(i, b, begin + b->first, begin + b->last + 1, out);
    }
}
