// Memory for plans, and looking things up in one.
//
// PlanMemory is a list of chunks; objects are cut from the newest and freed all at once. With
// PLIM_ARENA_MALLOC every object is a chunk of its own, so that the address sanitizer sees its end.
#include "runtime/plan.h"

#include "runtime/plan_fields.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

// Larger objects get a chunk of their own size.
enum { CHUNK_BYTES = 64 * 1024 };

typedef struct Chunk Chunk;
struct Chunk {
    Chunk *next;
    size_t used, size; // of data
    alignas(max_align_t) char data[];
};

struct PlanMemory {
    Chunk *head;
};

PlanMemory *plan_memory_new(void) {
    return calloc(1, sizeof(PlanMemory));
}

void plan_memory_release(PlanMemory *pm) {
    if (!pm)
        return;
    while (pm->head) {
        Chunk *next = pm->head->next;
        free(pm->head);
        pm->head = next;
    }
    free(pm);
}

// A zeroed chunk of at least bytes, now the newest. What the one before has left is given up.
static Chunk *chunk_push(PlanMemory *pm, size_t bytes) {
#ifndef PLIM_ARENA_MALLOC
    if (bytes < CHUNK_BYTES)
        bytes = CHUNK_BYTES;
#endif
    if (bytes > SIZE_MAX - sizeof(Chunk))
        return NULL;
    Chunk *c = calloc(1, sizeof(Chunk) + bytes);
    if (!c)
        return NULL;
    c->size = bytes;
    c->next = pm->head;
    pm->head = c;
    return c;
}

void *plan_alloc(PlanMemory *pm, size_t count, size_t size) {
    const size_t align = alignof(max_align_t);
    size_t bytes;
    // Counts may come from a file.
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - align)
        return NULL;
#ifndef PLIM_ARENA_MALLOC
    // Every object begins aligned, as the chunk's data does.
    bytes = (bytes + align - 1) & ~(align - 1);
#endif
    // Chunks come from calloc and are never used twice: that is what makes objects zeroed.
    Chunk *c = pm->head;
    if (!c || c->size - c->used < bytes)
        c = chunk_push(pm, bytes);
    if (!c)
        return NULL;
    void *p = c->data + c->used;
    c->used += bytes;
    return p;
}

// The byte behind the text is zero already.
char *plan_string_new(PlanMemory *pm, const char *text, size_t size) {
    char *copy = size < SIZE_MAX ? plan_alloc(pm, size + 1, 1) : NULL;
    if (copy && size)
        memcpy(copy, text, size);
    return copy;
}

const char *plan_string(PlanMemory *pm, const char *text) {
    return plan_string_new(pm, text, strlen(text));
}

// file may be NULL in a plan under construction; text and bytes give "".
const char *plan_state_file(const PlanState *s) {
    return s->file && *s->file ? s->file : s->name;
}

uint64_t plan_space_bytes(const Plan *p, PlanSpaceKind kind) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < p->space_count; i++)
        sum += p->space[i].kind == kind ? p->space[i].bytes : 0;
    return sum;
}

const PlanEntry *plan_find_entry(const Plan *p, const char *name) {
    for (uint32_t i = 0; i < p->entry_count; i++)
        if (strcmp(p->entry[i].name, name) == 0)
            return &p->entry[i];
    return NULL;
}

// RFC 3629: shortest forms only, no surrogates, nothing above U+10FFFF.
size_t plan_utf8_character(const char *at, size_t size) {
    const unsigned char *text = (const unsigned char *)at;
    const unsigned char c = text[0];
    if (c < 0x80)
        // NUL ends every string of a plan and is no character of one.
        return c != 0;
    // C0 and C1 could only begin overlong forms; from F5 on everything is above U+10FFFF.
    const size_t length = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    if (c < 0xC2 || c > 0xF4 || length > size)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    // Overlong three, surrogates, overlong four, above U+10FFFF.
    if ((c == 0xE0 && text[1] < 0xA0) || (c == 0xED && text[1] > 0x9F) ||
        (c == 0xF0 && text[1] < 0x90) || (c == 0xF4 && text[1] > 0x8F))
        return 0;
    return length;
}

size_t plan_utf8_prefix(const char *text, size_t size) {
    size_t at = 0;
    while (at < size) {
        const size_t length = plan_utf8_character(text + at, size - at);
        if (length == 0)
            break;
        at += length;
    }
    return at;
}

// A buffer of no dims, or one that holds what its dims say, is one row.
void plan_buffer_rows(const PlanBuffer *b, uint64_t *pitch, uint64_t *row) {
    uint64_t count = 1;
    *pitch = *row = b->bytes;
    for (uint32_t i = 0; i + 1 < b->rank; i++)
        if (b->dim[i] < 1 || __builtin_mul_overflow(count, (uint64_t)b->dim[i], &count))
            return;
    if (b->rank < 2 || b->bytes % count != 0)
        return;
    const uint64_t filled = (uint64_t)b->dim[b->rank - 1] * plan_dtype_bytes(b->dtype);
    if (b->dim[b->rank - 1] < 1 || filled >= b->bytes / count)
        return;
    *pitch = b->bytes / count;
    *row = filled;
}

bool plan_operand_piece(const PlanBuffer *b, const PlanOperand *o, uint64_t *at, uint64_t *bytes) {
    uint64_t pitch = o->pitch, row = o->row;
    if (!o->pitch)
        plan_buffer_rows(b, &pitch, &row);
    if (*at >= o->bytes)
        return false;
    *bytes = o->bytes - *at;
    if (pitch == row)
        return true;
    // The operand's own rows begin with it, the buffer's with the buffer.
    uint64_t within = (o->pitch ? *at : o->offset + *at) % pitch;
    if (within >= row) {
        *at += pitch - within;
        within = 0;
        if (*at >= o->bytes)
            return false;
        *bytes = o->bytes - *at;
    }
    *bytes = *bytes < row - within ? *bytes : row - within;
    return true;
}

bool plan_is_cuda(const Plan *p) {
    return p->target && strncmp(p->target, "cuda:", 5) == 0;
}

bool plan_input_allows(const PlanInput *input, int64_t x) {
    // A negative bound allows negative values, which mean "ignore". (No bound is INT64_MIN:
    // rule 1.)
    const int64_t limit = input->bound < 0 ? -input->bound : input->bound;
    return limit == 0 || (x < limit && (x >= 0 || input->bound < 0));
}

// The last joint that begins no later: joints don't interleave.
const PlanJoint *plan_joint_at(const Plan *p, uint32_t segment, uint32_t instr) {
    uint32_t low = 0, high = p->joint_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const PlanJoint *j = &p->joint[middle];
        if (j->segment < segment || (j->segment == segment && j->product <= instr))
            low = middle + 1;
        else
            high = middle;
    }
    const PlanJoint *j = low ? &p->joint[low - 1] : NULL;
    const bool member = j && j->segment == segment && (instr == j->product || instr == j->kernel);
    return member ? j : NULL;
}
