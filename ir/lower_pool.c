// Scalar programs of pooling: the kernel's dims are the result's axes, the image is read by source.
// Its h and w are one axis of h w elements, so the storage of the operand must join them.
//
// A place in an image is what the operand's strides reach plus an index. An axis without padding is
// walked by the stride alone and adds a constant: along a row the lanes are then loaded one after
// another (or with a constant step), without index arithmetic. With padding, or where a gradient
// looks for the windows an element is in, the position is computed, clamped into the image and
// masked: lanes are gathered.
#include "ir/op_lower.h"

#include "ir/check.h"
#include "ir/lower_math.h"
#include "ir/pooling.h"

#include <math.h>

enum { ROW = 2, COLUMN = 3 }; // kernel dims

// A position along h or w.
typedef struct {
    KRef index;  // i32, at least 0 and below the axis' size
    KRef inside; // bool, or -1: always
} Along;

// A channel's image, as it is read.
typedef struct {
    KSource source;
    int64_t h, w;
} Plane;

static KRef add_int(KernelBuilder *kb, KRef x, int64_t y) {
    return y == 0 ? x : add(kb, x, kb_int(kb, y));
}

static KRef times(KernelBuilder *kb, KRef x, int64_t y) {
    return y == 1 ? x : mul(kb, x, kb_int(kb, y));
}

static KRef both(KernelBuilder *kb, KRef a, KRef b) {
    return a < 0 ? b : b < 0 ? a : kb_op2(kb, KOP_AND, a, b);
}

// n, c follow the kernel's first dims.
static Plane plane_of(KernelBuilder *kb, const Node *n, int input) {
    const Type *t = &n->input[input]->type;
    const Plane out = {.source = kb_source(kb, input), .h = t->dim[2], .w = t->dim[3]};
    const int64_t *stride = out.source.stride;
    CHECK(kb_rank(kb) == 4 && out.source.rank == 4);
    CHECK(out.h == 1 || out.w == 1 || stride[2] == out.w * stride[3]);
    for (int d = 0; d < 2; d++)
        kb_set_stride(kb, out.source.operand, d, stride[d]);
    return out;
}

// Elements from one to the next along h w.
static int64_t plane_step(const Plane *p) {
    return p->w > 1 ? p->source.stride[3] : p->source.stride[2];
}

// The image at (row, column); reach: elements that the operand's own strides move further, at most.
static KRef load(KernelBuilder *kb, const Plane *p, KRef row, KRef column, int64_t reach) {
    const KRef index = add(kb, times(kb, row, p->w), column);
    return kb_load_at(kb, p->source.operand, index, p->h * p->w - reach, plane_step(p));
}

// x where inside, else a number.
static KRef masked(KernelBuilder *kb, KRef inside, KRef x, double otherwise) {
    return inside < 0 ? x : kb_op3(kb, KOP_SELECT, inside, x, kb_float(kb, otherwise));
}

// Position i of the window at this point, along the axis of that size.
static Along window_position(KernelBuilder *kb, const PoolWindow *p, int axis, int64_t i,
                             int64_t size) {
    if (p->padding[axis] == 0) // the operand walks the windows: see walk_windows
        return (Along){.index = kb_int(kb, i), .inside = -1};
    const KRef zero = kb_int(kb, 0), last = kb_int(kb, size - 1);
    const KRef start = times(kb, kb_index(kb, ROW + axis), p->stride[axis]);
    const KRef at = add_int(kb, start, i - p->padding[axis]);
    const KRef index = kb_op2(kb, KOP_MIN, kb_op2(kb, KOP_MAX, at, zero), last);
    return (Along){.index = index, .inside = kb_op2(kb, KOP_EQ, index, at)};
}

// Along axes without padding the operand's strides step from window to window. Returns how many
// elements that is in all.
static int64_t walk_windows(KernelBuilder *kb, const Plane *plane, const PoolWindow *p) {
    const int64_t unit[2] = {plane->w, 1};
    int64_t reach = 0;
    for (int axis = 0; axis < 2; axis++) {
        if (p->padding[axis] != 0)
            continue;
        const int64_t step = p->stride[axis] * unit[axis];
        kb_set_stride(kb, plane->source.operand, ROW + axis, step * plane_step(plane));
        reach += (kb_dim(kb, ROW + axis) - 1) * step;
    }
    return reach;
}

// Calls visit for each element of the window, row by row; x is `outside` in the padding.
typedef struct {
    KRef value, place; // the result so far; for maxima: where it was
} PoolSum;
typedef void (*PoolJoin)(KernelBuilder *kb, PoolSum *sum, KRef x, int64_t place);

static void each_element(KernelBuilder *kb, const Node *n, double outside, PoolSum *sum,
                         PoolJoin join) {
    const PoolWindow p = pool_window(n);
    const Plane plane = plane_of(kb, n, 0);
    const int64_t reach = walk_windows(kb, &plane, &p);
    for (int64_t i = 0; i < p.window[0]; i++)
        for (int64_t j = 0; j < p.window[1]; j++) {
            const Along row = window_position(kb, &p, 0, i, plane.h);
            const Along column = window_position(kb, &p, 1, j, plane.w);
            const KRef x = load(kb, &plane, row.index, column.index, reach);
            const KRef inside = both(kb, row.inside, column.inside);
            join(kb, sum, masked(kb, inside, x, outside), i * p.window[1] + j);
        }
}

// Kept where x is not larger: the first of equal ones, and NaN.
static void join_max(KernelBuilder *kb, PoolSum *sum, KRef x, int64_t place) {
    const KRef old = sum->value;
    const KRef keep = kb_op2(kb, KOP_OR, kb_op2(kb, KOP_LE, x, old), kb_op2(kb, KOP_NE, old, old));
    sum->value = kb_op3(kb, KOP_SELECT, keep, old, x);
    sum->place = kb_op3(kb, KOP_SELECT, keep, sum->place, kb_int(kb, place));
}

static void join_sum(KernelBuilder *kb, PoolSum *sum, KRef x, int64_t place) {
    (void)place;
    sum->value = add(kb, sum->value, x);
}

static PoolSum pool_max(KernelBuilder *kb, const Node *n) {
    PoolSum sum = {.value = kb_float(kb, -HUGE_VAL), .place = kb_int(kb, 0)};
    each_element(kb, n, -HUGE_VAL, &sum, join_max);
    return sum;
}

void lower_max_pool(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)in;
    out[0] = pool_max(kb, n).value;
}

void lower_max_pool_index(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)in;
    out[0] = pool_max(kb, n).place;
}

// 1 / elements of the window, as f32.
static KRef window_share(KernelBuilder *kb, const PoolWindow *p) {
    return kb_float(kb, 1 / (double)(p->window[0] * p->window[1]));
}

void lower_avg_pool(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)in;
    const PoolWindow p = pool_window(n);
    PoolSum sum = {.value = kb_float(kb, 0)};
    each_element(kb, n, 0, &sum, join_sum);
    out[0] = mul(kb, sum.value, window_share(kb, &p));
}

// A window that the element at this point may be in, along one axis.
typedef struct {
    Along window; // which one
    KRef place;   // of the element in it
} Cover;

// The t-th of them, from the last one: windows begin `stride` apart, so the last that begins at or
// before the element is (position + padding) / stride.
static Cover cover_along(KernelBuilder *kb, const PoolWindow *p, int axis, int64_t t,
                         int64_t windows) {
    const int64_t stride = p->stride[axis];
    const KRef at = add_int(kb, kb_index(kb, ROW + axis), p->padding[axis]);
    const KRef last = stride == 1 ? at : divide(kb, at, kb_int(kb, stride));
    const KRef want = add_int(kb, last, -t);
    const KRef zero = kb_int(kb, 0), most = kb_int(kb, windows - 1);
    const KRef index = kb_op2(kb, KOP_MIN, kb_op2(kb, KOP_MAX, want, zero), most);
    const KRef place = sub(kb, at, times(kb, want, stride));
    const KRef within = kb_op2(kb, KOP_LT, place, kb_int(kb, p->window[axis]));
    const KRef inside = kb_op2(kb, KOP_AND, within, kb_op2(kb, KOP_EQ, index, want));
    return (Cover){.window = {.index = index, .inside = inside}, .place = place};
}

// Windows that an element can be in along an axis.
static int64_t cover_count(const PoolWindow *p, int axis) {
    return (p->window[axis] + p->stride[axis] - 1) / p->stride[axis];
}

// dx: the sum of what the windows around give; index is NULL where each gives all elements a share.
static KRef gather_windows(KernelBuilder *kb, const Node *n, const Plane *index, const Plane *dy) {
    const PoolWindow p = pool_window(n);
    KRef sum = kb_float(kb, 0);
    for (int64_t i = 0; i < cover_count(&p, 0); i++)
        for (int64_t j = 0; j < cover_count(&p, 1); j++) {
            const Cover row = cover_along(kb, &p, 0, i, dy->h);
            const Cover column = cover_along(kb, &p, 1, j, dy->w);
            KRef inside = both(kb, row.window.inside, column.window.inside);
            if (index) {
                const KRef place = add(kb, times(kb, row.place, p.window[1]), column.place);
                const KRef at = load(kb, index, row.window.index, column.window.index, 0);
                inside = both(kb, inside, kb_op2(kb, KOP_EQ, at, place));
            }
            const KRef x = load(kb, dy, row.window.index, column.window.index, 0);
            sum = add(kb, sum, masked(kb, inside, x, 0));
        }
    return sum;
}

void lower_max_pool_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)in;
    const Plane index = plane_of(kb, n, 0), dy = plane_of(kb, n, 1);
    out[0] = gather_windows(kb, n, &index, &dy);
}

void lower_avg_pool_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)in;
    const PoolWindow p = pool_window(n);
    const Plane dy = plane_of(kb, n, 0);
    out[0] = mul(kb, gather_windows(kb, n, NULL, &dy), window_share(kb, &p));
}

void lower_upsample(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)in;
    int64_t factor[2];
    upsample_factor(n, factor);
    const Plane x = plane_of(kb, n, 0);
    const KRef row = divide(kb, kb_index(kb, ROW), kb_int(kb, factor[0]));
    const KRef column = divide(kb, kb_index(kb, COLUMN), kb_int(kb, factor[1]));
    out[0] = load(kb, &x, row, column, 0);
}
