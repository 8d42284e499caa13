// Plan to bytes.
//
//     "PLIMPLAN"  version u32  size of the whole u64  fields of Plan in table order  digest u64
//
// Little-endian throughout. A string is its length u32 and its bytes; a list its count u32 and its
// elements; a shape its dtype u32, rank u32 and that many i64. The digest is plan_hash_bytes of
// everything before it. Nothing but the plan's meaning goes in, so equal plans give equal bytes.
#include "runtime/plan_fields.h"
#include "runtime/plan_sign.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    uint8_t *bytes;
    size_t size, capacity;
    bool failed; // no memory, or a string or list too long for its u32
} Encoder;

// Grows by doubling. After a failure nothing more is put, and plan_encode looks once at the end.
static void put(Encoder *e, const void *bytes, size_t size) {
    if (e->failed)
        return;
    if (size > e->capacity - e->size) {
        size_t capacity = e->capacity ? e->capacity : 4096;
        // The second: doubling again would overflow.
        while (capacity - e->size < size && capacity <= SIZE_MAX / 2)
            capacity *= 2;
        uint8_t *grown = capacity - e->size < size ? NULL : realloc(e->bytes, capacity);
        if (!grown) {
            e->failed = true;
            return;
        }
        e->bytes = grown;
        e->capacity = capacity;
    }
    if (size)
        memcpy(e->bytes + e->size, bytes, size);
    e->size += size;
}

// By shifts, so that the bytes are little-endian on every machine.
static void put_u32(Encoder *e, uint32_t value) {
    uint8_t bytes[4];
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    put(e, bytes, sizeof bytes);
}

static void put_u64(Encoder *e, uint64_t value) {
    put_u32(e, (uint32_t)value);
    put_u32(e, (uint32_t)(value >> 32));
}

static void put_string(Encoder *e, const char *text) {
    const size_t size = strlen(text);
    // The length is a u32 in the file.
    if (size > UINT32_MAX) {
        e->failed = true;
        return;
    }
    put_u32(e, (uint32_t)size);
    put(e, text, size);
}

// count 8-byte fields or elements, whatever their type: the bits are copied.
static void put_numbers(Encoder *e, const char *first, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        put_u64(e, field_u64(first, (size_t)i * 8));
}

static void put_struct(Encoder *e, const FieldStruct *s, const void *object);

// A count and its elements: numbers, structs or indices.
static void put_list(Encoder *e, const Field *f, const void *object) {
    const uint32_t count = field_u32(object, f->count_offset);
    const char *list = field_list(object, f);
    put_u32(e, count);
    if (f->type == FIELD_LIST_I64) {
        put_numbers(e, list, count);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (f->of)
            put_struct(e, f->of, list + (size_t)i * f->of->size);
        else
            // FIELD_LIST_REF: indices.
            put_u32(e, field_u32(list, (size_t)i * 4));
    }
}

static void put_field(Encoder *e, const Field *f, const void *object) {
    switch (f->type) {
    case FIELD_U32:
    case FIELD_ENUM:
        put_u32(e, field_u32(object, f->offset));
        return;
    // Not as it stands: the kernel of a fill or copy is written as none.
    case FIELD_REF:
        put_u32(e, field_ref(object, f));
        return;
    case FIELD_U64:
    case FIELD_HEX:
    case FIELD_I64:
    case FIELD_F64:
        put_u64(e, field_u64(object, f->offset));
        return;
    case FIELD_NAME:
    case FIELD_STRING:
    case FIELD_BLOCK:
        put_string(e, field_string(object, f));
        return;
    case FIELD_SHAPE: {
        const uint32_t rank = field_u32(object, f->count_offset);
        // The struct has no more dims to read; such a plan has no binary form.
        if (rank > PLAN_RANK_MAX) {
            e->failed = true;
            return;
        }
        put_u32(e, field_u32(object, f->offset));
        put_u32(e, rank);
        put_numbers(e, (const char *)object + f->dim_offset, rank);
        return;
    }
    case FIELD_FIXED_I64:
        put_numbers(e, (const char *)object + f->offset, f->length);
        return;
    case FIELD_LIST_I64:
    case FIELD_LIST_REF:
    case FIELD_INLINE:
    case FIELD_LINES:
        put_list(e, f, object);
        return;
    }
}

static void put_struct(Encoder *e, const FieldStruct *s, const void *object) {
    for (uint32_t i = 0; i < s->count; i++)
        put_field(e, &s->field[i], object);
}

PlimStatus plan_encode(const Plan *p, uint8_t **bytes, size_t *size) {
    Encoder e = {0};
    put(&e, "PLIMPLAN", 8);
    put_u32(&e, PLAN_VERSION);
    // The size of the whole, at byte 12, filled in below.
    put_u64(&e, 0);
    put_struct(&e, plan_fields(), p);
    if (!e.failed) {
        // With the digest's 8 bytes.
        const uint64_t whole = (uint64_t)e.size + 8;
        for (int i = 0; i < 8; i++)
            e.bytes[12 + i] = (uint8_t)(whole >> (8 * i));
        put_u64(&e, plan_hash_bytes(plan_hash_start(), e.bytes, e.size));
    }
    // Without memory, or with a plan that has no binary form.
    if (e.failed) {
        free(e.bytes);
        return PLIM_NO_MEMORY;
    }
    *bytes = e.bytes;
    *size = e.size;
    return PLIM_OK;
}
