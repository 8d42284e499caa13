// A tensor in slices of rows: along axis 0 where an index of it is small enough, else index by
// index along the axes before the one that is cut. So every slice is one range of bytes, which is
// what copies between memories move.
//
//     f32[8, 4096, 4096], 16 MiB: for each of 8 matrices, slices [1, 1024, 4096]
//
// Slices of one axis are of equal size but for the last, so that their kernels are shared.
#include "passes/far_slices.h"

#include "ir/check.h"
#include "runtime/plan.h"

// Kernels of a few rows sum in another order (PRODUCT_THIN): the last slice is never that small.
enum { TAIL_ROWS_MIN = 16 };

typedef struct {
    const Slices *of;
    int64_t start[RANK_MAX], stop[RANK_MAX]; // of the slice being made
} Cutter;

// Bytes of one index of the axis, all of the axes behind it counted.
static size_t index_bytes(const Type *t, int axis) {
    size_t bytes = dtype_bytes(t->dtype);
    for (int i = axis + 1; i < t->rank; i++)
        CHECK(size_mul(bytes, (size_t)t->dim[i], &bytes));
    return bytes;
}

// Indices of the axis in one slice: as many slices as the bytes want, all of one size.
static int64_t slice_rows(const Slices *s, int axis) {
    const size_t row = index_bytes(&s->type, axis);
    const int64_t dim = s->type.dim[axis];
    const int64_t most = s->bytes < row ? 1 : (int64_t)(s->bytes / row);
    const int64_t count = (dim + most - 1) / most, rows = (dim + count - 1) / count;
    // Slices that end where a disk's blocks do are read and written faster, if that makes them
    // hardly larger.
    int64_t unit = PLAN_DISK_ALIGNMENT;
    for (size_t odd = row; odd % 2 == 0 && unit > 1; odd /= 2)
        unit /= 2;
    if (unit * (int64_t)row > (int64_t)s->bytes / 16)
        return rows;
    const int64_t even = (rows + unit - 1) / unit * unit;
    return even < dim ? even : dim;
}

int64_t slice_end(int64_t start, int64_t rows, int64_t dim) {
    return dim - start < rows + TAIL_ROWS_MIN ? dim : start + rows;
}

// By rows alone.
static void cut_rows(Cutter *c, Value **out) {
    const Slices *s = c->of;
    const int64_t dim = s->type.dim[0], most = dim / s->rows + 1;
    Value **made = arena_array(s->scratch, Value *, s->count);
    Value **part = arena_array(s->scratch, Value *, most * s->count); // by value, then by part
    int parts = 0;
    for (c->start[0] = 0; c->start[0] < dim; c->start[0] = c->stop[0]) {
        c->stop[0] = slice_end(c->start[0], s->rows, dim);
        s->make(s->user, c->start, c->stop, made);
        for (int k = 0; k < s->count; k++)
            part[k * most + parts] = made[k];
        parts++;
    }
    for (int k = 0; k < s->count; k++)
        out[k] = parts == 1 ? part[k * most] : build_concat(s->b, part + k * most, parts, 0);
}

// Everything from axis on; one index is fixed on each axis before it.
static void cut_axis(Cutter *c, int axis, Value **out) {
    const Slices *s = c->of;
    const int64_t dim = s->type.dim[axis], rows = slice_rows(s, axis);
    const bool deeper = axis + 1 < s->type.rank && index_bytes(&s->type, axis) > s->bytes;
    const int64_t parts = (dim + rows - 1) / rows;
    Value **made = arena_array(s->scratch, Value *, s->count);
    Value **part = arena_array(s->scratch, Value *, parts * s->count); // by value, then by part
    for (int64_t p = 0; p < parts; p++) {
        c->start[axis] = p * rows;
        c->stop[axis] = (p + 1) * rows < dim ? (p + 1) * rows : dim;
        if (deeper)
            cut_axis(c, axis + 1, made);
        else
            s->make(s->user, c->start, c->stop, made);
        for (int k = 0; k < s->count; k++)
            part[k * parts + p] = made[k];
    }
    c->start[axis] = 0;
    c->stop[axis] = dim;
    for (int k = 0; k < s->count; k++)
        out[k] = parts == 1 ? part[k] : build_concat(s->b, part + k * parts, (int)parts, axis);
}

void slices_build(const Slices *s, Value **out) {
    CHECK(s->type.rank > 0);
    Cutter c = {.of = s};
    for (int i = 0; i < s->type.rank; i++)
        c.stop[i] = s->type.dim[i];
    if (s->rows > 0)
        cut_rows(&c, out);
    else
        cut_axis(&c, 0, out);
}

Value *slice_of(Builder *b, Value *v, const int64_t *start, const int64_t *stop) {
    bool whole = true;
    for (int i = 0; i < v->type.rank; i++)
        whole = whole && start[i] == 0 && stop[i] == v->type.dim[i];
    if (whole)
        return v;
    const Attr attr[] = {attr_ints("start", start, v->type.rank),
                         attr_ints("stop", stop, v->type.rank)};
    return build_op(b, OP_SLICE, &v, 1, attr, 2);
}
