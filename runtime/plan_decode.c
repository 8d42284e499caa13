// Bytes to plan, trusting nothing.
//
// Every count is bounded by the bytes left before memory is taken for it, strings must be UTF-8
// without NUL, enums and ranks in range, floats finite; when all is read, every index must be in
// range and no byte be left. So whatever the bytes, the result is a plan that can be walked, or one
// sentence. Whether such a plan is safe to run is plan_verify's to say. See plan_encode.c for the
// form.
#include "runtime/plan_fields.h"
#include "runtime/plan_sign.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const uint8_t *first, *at, *end; // end: where the digest begins
    PlanMemory *pm;
    PlimError *error;
    PlimStatus status;
} Decoder;

// Sets the error once; gives false.
__attribute__((format(printf, 2, 3))) static bool damaged(Decoder *d, const char *format, ...) {
    if (d->status != PLIM_OK)
        return false;
    char text[256];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    snprintf(d->error->text, sizeof d->error->text, "damaged plan: byte %zu: %s",
             (size_t)(d->at - d->first), text);
    d->status = PLIM_BAD_PLAN;
    return false;
}

static bool no_memory(Decoder *d) {
    if (d->status == PLIM_OK) {
        snprintf(d->error->text, sizeof d->error->text, "out of memory while reading the plan");
        d->status = PLIM_NO_MEMORY;
    }
    return false;
}

// Bytes between the cursor and the digest.
static size_t left(const Decoder *d) {
    return (size_t)(d->end - d->at);
}

// Byte by byte: neither alignment nor the machine's order matters.
static uint64_t little_endian(const uint8_t *bytes, int count) {
    uint64_t value = 0;
    for (int i = 0; i < count; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

static bool take_u32(Decoder *d, uint32_t *out) {
    if (left(d) < 4)
        return damaged(d, "the plan ends in the middle of a number");
    *out = (uint32_t)little_endian(d->at, 4);
    d->at += 4;
    return true;
}

static bool take_u64(Decoder *d, uint64_t *out) {
    if (left(d) < 8)
        return damaged(d, "the plan ends in the middle of a number");
    *out = little_endian(d->at, 8);
    d->at += 8;
    return true;
}

// A copy in the plan's memory, with a NUL behind it.
static bool take_string(Decoder *d, const char **out) {
    uint32_t size = 0;
    if (!take_u32(d, &size))
        return false;
    if (size > left(d))
        return damaged(d, "a string of %u bytes where %zu are left", size, left(d));
    if (plan_utf8_prefix((const char *)d->at, size) != size)
        return damaged(d, "a string is not UTF-8 text");
    *out = plan_string_new(d->pm, (const char *)d->at, size);
    d->at += size;
    return *out || no_memory(d);
}

// count 8-byte numbers, signed, unsigned or floating: only the bits are moved.
static bool take_numbers(Decoder *d, void *first, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value;
        if (!take_u64(d, &value))
            return false;
        field_set(first, (size_t)i * 8, &value, 8);
    }
    return true;
}

// dtype, rank and that many dims; the rest stay zero.
static bool take_shape(Decoder *d, const Field *f, void *object) {
    uint32_t dtype, rank;
    if (!take_u32(d, &dtype) || !take_u32(d, &rank))
        return false;
    if (dtype >= PLAN_DTYPE_COUNT)
        return damaged(d, "there is no dtype %u", dtype);
    // Before the dims are read: the struct has room for this many.
    if (rank > PLAN_RANK_MAX)
        return damaged(d, "rank %u is above %d", rank, PLAN_RANK_MAX);
    field_set(object, f->offset, &dtype, 4);
    field_set(object, f->count_offset, &rank, 4);
    return take_numbers(d, (char *)object + f->dim_offset, rank);
}

static bool take_struct(Decoder *d, const FieldStruct *s, void *object);

// A count and its elements: numbers, indices or structs. The list is the plan memory's.
static bool take_list(Decoder *d, const Field *f, void *object) {
    uint32_t count;
    if (!take_u32(d, &count))
        return false;
    // A damaged count must not take memory: each element has bytes of its own still to come.
    if (count > left(d) / field_element_least(f))
        return damaged(d, "a list of %u elements where %zu bytes are left", count, left(d));
    // In memory, where structs are larger than their binary form.
    const size_t size = f->of ? f->of->size : field_element_least(f);
    char *list = plan_alloc(d->pm, count, size);
    if (!list)
        return no_memory(d);
    field_set(object, f->count_offset, &count, 4);
    memcpy((char *)object + f->offset, &list, sizeof list);
    if (f->type == FIELD_LIST_I64)
        return take_numbers(d, list, count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index;
        if (f->of ? !take_struct(d, f->of, list + i * size) : !take_u32(d, &index))
            return false;
        if (!f->of)
            field_set(list, i * size, &index, 4);
    }
    return true;
}

// A u32, and where it is an enum one of its values. Indices are checked when all is read.
static bool take_word(Decoder *d, const Field *f, void *object) {
    uint32_t value;
    if (!take_u32(d, &value))
        return false;
    if (f->type == FIELD_ENUM && value >= f->name_count)
        return damaged(d, "%u stands where a number below %u must", value, f->name_count);
    field_set(object, f->offset, &value, 4);
    return true;
}

static bool take_field(Decoder *d, const Field *f, void *object) {
    switch (f->type) {
    case FIELD_U32:
    case FIELD_ENUM:
    case FIELD_REF:
        return take_word(d, f, object);
    case FIELD_U64:
    case FIELD_HEX:
    case FIELD_I64:
        return take_numbers(d, (char *)object + f->offset, 1);
    case FIELD_F64: {
        double value;
        if (!take_numbers(d, &value, 1))
            return false;
        // Text has no word for infinity or NaN.
        if (!isfinite(value))
            return damaged(d, "a number is not finite");
        field_set(object, f->offset, &value, 8);
        return true;
    }
    case FIELD_NAME:
    case FIELD_STRING:
    case FIELD_BLOCK: {
        const char *text = NULL;
        if (!take_string(d, &text))
            return false;
        memcpy((char *)object + f->offset, &text, sizeof text);
        return true;
    }
    case FIELD_SHAPE:
        return take_shape(d, f, object);
    case FIELD_FIXED_I64:
        return take_numbers(d, (char *)object + f->offset, f->length);
    case FIELD_LIST_I64:
    case FIELD_LIST_REF:
    case FIELD_INLINE:
    case FIELD_LINES:
        return take_list(d, f, object);
    }
    return false;
}

// Recursion is as deep as the tables, whatever the bytes say.
static bool take_struct(Decoder *d, const FieldStruct *s, void *object) {
    for (uint32_t i = 0; i < s->count; i++)
        if (!take_field(d, &s->field[i], object))
            return false;
    return true;
}

// Magic, version, size and digest: what needs no walk.
static bool take_header(Decoder *d, size_t size) {
    uint32_t version = 0;
    uint64_t whole = 0;
    // 28: magic 8, version 4, size 8, digest 8.
    if (size < 28 || memcmp(d->first, "PLIMPLAN", 8) != 0)
        return damaged(d, "this is no plan");
    d->at = d->first + 8;
    d->end = d->first + size - 8;
    if (!take_u32(d, &version) || !take_u64(d, &whole))
        return false;
    // Version before size and digest: of these another version may have another idea.
    if (version != PLAN_VERSION)
        return damaged(d, "the plan has version %u, this program reads version %d", version,
                       PLAN_VERSION);
    if (whole != size)
        return damaged(d, "the plan says it has %llu bytes, but there are %zu",
                       (unsigned long long)whole, size);
    // Against accidents, not against forgers: everything is checked again below.
    if (little_endian(d->end, 8) != plan_hash_bytes(plan_hash_start(), d->first, size - 8))
        return damaged(d, "the digest does not match the bytes");
    return true;
}

PlimStatus plan_decode(const uint8_t *bytes, size_t size, PlanMemory *pm, Plan **out,
                       PlimError *error) {
    Decoder d = {.first = bytes, .at = bytes, .end = bytes + size, .pm = pm, .error = error};
    if (!take_header(&d, size))
        return d.status;
    Plan *p = plan_alloc(pm, 1, sizeof *p);
    if (!p) {
        no_memory(&d);
        return d.status;
    }
    if (!take_struct(&d, plan_fields(), p))
        return d.status;
    // Bytes that no field reads would be outside every later check.
    if (d.at != d.end) {
        damaged(&d, "%zu bytes are left over", left(&d));
        return d.status;
    }
    PlimError refs;
    if (plan_check_refs(p, &refs) != PLIM_OK) {
        snprintf(error->text, sizeof error->text, "damaged plan: %.480s", refs.text);
        return PLIM_BAD_PLAN;
    }
    // The header's fields, which the tables do not have.
    p->version = PLAN_VERSION;
    p->digest = little_endian(d.end, 8);
    *out = p;
    return PLIM_OK;
}
