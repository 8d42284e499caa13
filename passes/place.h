// Where a value's elements are: a storage, an element offset and a stride an axis. Views are
// arithmetic on places.
#ifndef PLIM_PASSES_PLACE_H
#define PLIM_PASSES_PLACE_H

#include "ir/graph.h"

#define STORAGE_NONE UINT32_MAX

typedef struct {
    uint32_t storage;         // index, or STORAGE_NONE: the value is in no memory
    int64_t offset;           // elements from the storage's beginning
    int64_t stride[RANK_MAX]; // elements; 0 where the axis is broadcast
} Place;

// Row-major at the storage's beginning.
Place place_dense(uint32_t storage, const Type *t);
// Dense, with axis order[0] varying slowest and order[rank - 1] fastest.
Place place_ordered(uint32_t storage, const Type *t, const int *order);
// Row-major without gaps, whatever the offset (axes of extent 1 don't matter).
bool place_is_dense(const Place *p, const Type *t);
// The same but for the first axis, whose steps may leave gaps.
bool place_is_batch(const Place *p, const Type *t);
// One range of bytes without gaps or repetitions, whichever axis is the fastest.
bool place_is_range(const Place *p, const Type *t);
// The same bytes read in the same way.
bool place_equal(const Place *a, const Place *b, const Type *t);
// Elements from the first touched to one past the last; 0 for empty shapes.
int64_t place_span(const Place *p, const Type *t);
// Whether the elements of the two have no byte in common, as far as their rows can tell
// (ir/kernel_size.h): the verifier of plans knows no more of what one kernel writes.
bool place_apart(const Place *x, const Type *of_x, const Place *y, const Type *of_y);
// The same elements under another shape of equal count. False where strides can't say it.
bool place_reshape(const Place *p, const Type *from, const Type *to, Place *out);
// Axes that may be walked as one: their joined stride. False where strides can't say it. axis[]
// lists them from slowest to fastest.
bool place_join(const Place *p, const Type *t, const int *axis, int count, int64_t *stride);

// reshape, transpose, broadcast, slice, split: the place of the given result when the operand is at
// in. False where that needs a copy (a reshape of strided memory).
bool place_view(const Node *n, int result, const Place *in, Place *out);
// The other way round, for reshape and transpose: where the operand must be so that the result is
// at out.
bool place_unview(const Node *n, const Place *out, Place *in);
// The place of operand number part of a concat whose result is at whole.
Place place_concat_part(const Node *concat, int part, const Place *whole);
// The place of a pad's operand inside its result.
Place place_pad_inside(const Node *pad, const Place *whole);

// The axes by falling stride (ties: as they stand).
void place_axis_order(const Place *p, const Type *t, int *order);

#endif
