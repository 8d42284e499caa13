// Element types and shapes, and the checked arithmetic that every size goes through.
//
// A Type is a small value, copied freely; dims past the rank are zero, so that types also compare
// byte by byte. Everything here is O(rank).
#include "ir/type.h"

#include "ir/check.h"

#include <stdio.h>
#include <string.h>

// What an element type is, by DType; the names are those of every text form.
typedef struct {
    const char *name;
    size_t bytes; // Of one element in memory
    bool is_float;
} DTypeInfo;

static const DTypeInfo dtype_table[DT_COUNT] = {
    [DT_F32] = {"f32", 4, true},
    [DT_BF16] = {"bf16", 2, true},
    [DT_I32] = {"i32", 4, false},
    [DT_BOOL] = {"bool", 1, false},
};

size_t dtype_bytes(DType dtype) {
    return dtype_table[dtype].bytes;
}

const char *dtype_name(DType dtype) {
    return dtype_table[dtype].name;
}

bool dtype_find(const char *name, DType *out) {
    for (int i = 0; i < DT_COUNT; i++)
        if (strcmp(dtype_table[i].name, name) == 0) {
            *out = (DType)i;
            return true;
        }
    return false;
}

bool dtype_is_float(DType dtype) {
    return dtype_table[dtype].is_float;
}

Type type_make(DType dtype, int rank, const int64_t *dim) {
    CHECK(rank >= 0 && rank <= RANK_MAX);
    Type t = {.dtype = dtype, .rank = rank};
    for (int i = 0; i < rank; i++)
        t.dim[i] = dim[i];
    return t;
}

Type type_scalar(DType dtype) {
    // Rank 0: one element.
    return (Type){.dtype = dtype};
}

// The same shape with other elements.
Type type_with_dtype(Type t, DType dtype) {
    t.dtype = dtype;
    return t;
}

bool type_same_shape(const Type *a, const Type *b) {
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

bool type_equal(const Type *a, const Type *b) {
    return a->dtype == b->dtype && type_same_shape(a, b);
}

// Overflow here means that type_check was forgotten, which is our mistake.
int64_t type_count(const Type *t) {
    int64_t count = 1;
    for (int i = 0; i < t->rank; i++)
        CHECK(count_mul(count, t->dim[i], &count));
    return count;
}

// Cannot overflow: a type that passed type_check has less than 2^62 bytes.
size_t type_bytes(const Type *t) {
    size_t bytes;
    CHECK(size_mul((size_t)type_count(t), dtype_bytes(t->dtype), &bytes));
    return bytes;
}

// The last axis is contiguous.
void type_strides(const Type *t, int64_t stride[RANK_MAX]) {
    int64_t step = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        stride[i] = step;
        // The last product is the element count and no stride, but it is checked as well.
        CHECK(count_mul(step, t->dim[i], &step));
    }
}

// An axis of size 0 makes the count 0, but the other dims are still multiplied: strides must not
// overflow either.
bool type_check(const Type *t) {
    // Types may come from a text or a file, so nothing is taken for granted.
    if (t->rank < 0 || t->rank > RANK_MAX || (int)t->dtype < 0 || t->dtype >= DT_COUNT)
        return false;
    int64_t bytes = (int64_t)dtype_bytes(t->dtype);
    for (int i = 0; i < t->rank; i++) {
        if (t->dim[i] < 0 || t->dim[i] > DIM_MAX)
            return false;
        const int64_t factor = t->dim[i] ? t->dim[i] : 1;
        if (!count_mul(bytes, factor, &bytes) || bytes >= (int64_t)1 << 62)
            return false;
    }
    return true;
}

// A scalar has one element and is never empty.
bool type_is_empty(const Type *t) {
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] == 0)
            return true;
    return false;
}

const char *type_text(Arena *a, const Type *t) {
    // "bool[" and at most 20 digits and a comma for each dim.
    char text[16 + RANK_MAX * 21];
    size_t used = (size_t)snprintf(text, sizeof text, "%s[", dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%lld", i ? "," : "",
                                 (long long)t->dim[i]);
    snprintf(text + used, sizeof text - used, "]");
    return arena_text(a, text);
}

// The builtins compute as if without limit and say whether the result fits; out is set either way.
bool size_mul(size_t a, size_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}

bool size_add(size_t a, size_t b, size_t *out) {
    return !__builtin_add_overflow(a, b, out);
}

bool count_mul(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}
