// What a value is: an element type and a static shape.
#ifndef PLIM_IR_TYPE_H
#define PLIM_IR_TYPE_H

#include "ir/arena.h"

#include <stdbool.h>
#include <stdint.h>

enum { RANK_MAX = 8 };
#define DIM_MAX ((int64_t)1 << 40)

typedef enum { DT_F32, DT_BF16, DT_I32, DT_BOOL, DT_COUNT } DType;

// A scalar has rank 0. dim[0] varies slowest.
typedef struct {
    DType dtype;
    int rank;
    int64_t dim[RANK_MAX];
} Type;

// Bytes of one element (bool is one byte).
size_t dtype_bytes(DType dtype);
const char *dtype_name(DType dtype);
// False where no element type has this name.
bool dtype_find(const char *name, DType *out);
bool dtype_is_float(DType dtype);

Type type_make(DType dtype, int rank, const int64_t *dim);
Type type_scalar(DType dtype);
Type type_with_dtype(Type t, DType dtype);
bool type_equal(const Type *a, const Type *b);
bool type_same_shape(const Type *a, const Type *b);
// Elements and bytes. The shape has passed type_check, so neither overflows.
int64_t type_count(const Type *t);
size_t type_bytes(const Type *t);
// Row-major strides in elements.
void type_strides(const Type *t, int64_t stride[RANK_MAX]);
// Rank at most RANK_MAX, dims in 0..DIM_MAX, bytes below 2^62.
bool type_check(const Type *t);
// Whether an axis has size 0. Graphs hold no such value: see node_check_types.
bool type_is_empty(const Type *t);
// "f32[3,4]"; a scalar is "f32[]".
const char *type_text(Arena *a, const Type *t);

// Checked arithmetic on sizes: false on overflow.
bool size_mul(size_t a, size_t b, size_t *out);
bool size_add(size_t a, size_t b, size_t *out);
bool count_mul(int64_t a, int64_t b, int64_t *out);

#endif
