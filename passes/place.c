// Arithmetic on places: what views cost is decided here, in strides alone.
//
// A reshape costs nothing where every group of new axes covers a group of old axes that are
// contiguous among themselves; everything else a view does is adding to the offset, permuting, or
// setting strides to 0.
#include "passes/place.h"

#include "ir/check.h"
#include "ir/kernel_size.h"

#include <string.h>

// Extents of 1 take no step, so that they fit anywhere in the order.
Place place_ordered(uint32_t storage, const Type *t, const int *order) {
    Place p = {.storage = storage};
    int64_t step = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        p.stride[order[i]] = step;
        step *= t->dim[order[i]] > 1 ? t->dim[order[i]] : 1;
    }
    return p;
}

Place place_dense(uint32_t storage, const Type *t) {
    int order[RANK_MAX];
    for (int i = 0; i < t->rank; i++)
        order[i] = i;
    return place_ordered(storage, t, order);
}

// Axes of extent 1 are never walked, so their strides say nothing.
bool place_is_dense(const Place *p, const Type *t) {
    // Only its strides are of use: the offset of p may be any.
    const Place dense = place_dense(p->storage, t);
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] > 1 && p->stride[i] != dense.stride[i])
            return false;
    return true;
}

bool place_is_batch(const Place *p, const Type *t) {
    Place dense = place_dense(p->storage, t);
    if (t->rank == 0 || p->stride[0] < dense.stride[0])
        return place_is_dense(p, t);
    dense = *p;
    dense.stride[0] = place_dense(p->storage, t).stride[0];
    return place_is_dense(&dense, t);
}

// Axes by falling stride must be those of a place made in this order; a broadcast axis never is.
bool place_is_range(const Place *p, const Type *t) {
    int order[RANK_MAX];
    place_axis_order(p, t, order);
    Place dense = place_ordered(p->storage, t, order);
    dense.offset = p->offset;
    return place_equal(p, &dense, t);
}

// Broadcast axes count: stride 0 equals stride 0 only.
bool place_equal(const Place *a, const Place *b, const Type *t) {
    if (a->storage != b->storage || a->offset != b->offset)
        return false;
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] > 1 && a->stride[i] != b->stride[i])
            return false;
    return true;
}

// Strides are never negative, so the last element is the farthest.
int64_t place_span(const Place *p, const Type *t) {
    int64_t last = 0;
    for (int i = 0; i < t->rank; i++) {
        if (t->dim[i] == 0)
            return 0;
        last += (t->dim[i] - 1) * p->stride[i];
    }
    return last + 1;
}

bool place_apart(const Place *x, const Type *of_x, const Place *y, const Type *of_y) {
    if (x->storage != y->storage || x->offset >= y->offset + place_span(y, of_y) ||
        y->offset >= x->offset + place_span(x, of_x))
        return true;
    int64_t x_row, y_row, x_pitch, y_pitch;
    if (!strides_rows(of_x->rank, of_x->dim, x->stride, &x_row, &x_pitch) ||
        !strides_rows(of_y->rank, of_y->dim, y->stride, &y_row, &y_pitch) || x_pitch != y_pitch)
        return false;
    // From the beginning of a row of x to that of the next one of y.
    const int64_t distance = (y->offset - x->offset) % x_pitch;
    const int64_t between = distance < 0 ? distance + x_pitch : distance;
    return x_row <= between && y_row <= x_pitch - between;
}

// From the fastest axis outward, each stride must be the one inside it times its extent.
bool place_join(const Place *p, const Type *t, const int *axis, int count, int64_t *stride) {
    int64_t next = -1; // stride the next slower axis must have; -1: any
    *stride = 1;
    for (int i = count - 1; i >= 0; i--) {
        const int a = axis[i];
        // Never walked: whatever its stride, it is in nobody's way.
        if (t->dim[a] == 1)
            continue;
        if (next < 0)
            *stride = p->stride[a];
        else if (p->stride[a] != next)
            return false;
        next = p->stride[a] * t->dim[a];
    }
    return true;
}

bool place_reshape(const Place *p, const Type *from, const Type *to, Place *out) {
    *out = (Place){.storage = p->storage, .offset = p->offset};
    // Without elements there is nothing to walk, and extents of 0 would never agree below.
    if (type_count(from) == 0) {
        *out = place_dense(p->storage, to);
        out->offset = p->offset;
        return true;
    }
    // Invariant: axes before i of from and before j of to cover the same elements.
    int i = 0, j = 0;
    while (i < from->rank || j < to->rank) {
        // Take axes on both sides until the extents agree.
        const int i_first = i, j_first = j;
        int64_t old_count = i < from->rank ? from->dim[i++] : 1;
        int64_t new_count = j < to->rank ? to->dim[j++] : 1;
        while (old_count != new_count) {
            if (old_count < new_count)
                old_count *= from->dim[i++];
            else
                new_count *= to->dim[j++];
        }
        int axis[RANK_MAX], axis_count = 0;
        for (int a = i_first; a < i; a++)
            axis[axis_count++] = a;
        // This group of old axes must be walkable as one; the new axes divide it, row-major.
        int64_t step;
        if (!place_join(p, from, axis, axis_count, &step))
            return false;
        for (int a = j - 1; a >= j_first; a--) {
            out->stride[a] = step;
            step *= to->dim[a];
        }
    }
    return true;
}

// Result axis i walks as operand axis perm[i] does.
static Place view_transpose(const Node *n, const Place *in) {
    Place out = *in;
    int count;
    const int64_t *perm = node_ints(n, "perm", &count);
    for (int i = 0; i < count; i++)
        out.stride[i] = in->stride[perm[i]];
    return out;
}

// New and stretched axes stand still: stride 0.
static Place view_broadcast(const Node *n, const Place *in) {
    Place out = {.storage = in->storage, .offset = in->offset};
    const Type *from = &n->input[0]->type;
    int count;
    const int64_t *axes = node_ints(n, "axes", &count);
    for (int i = 0; i < count; i++)
        if (from->dim[i] != 1)
            out.stride[axes[i]] = in->stride[i];
    return out;
}

// Only the beginning moves: strides are as before.
static Place view_slice(const Node *n, const Place *in) {
    Place out = *in;
    int count;
    const int64_t *start = node_ints(n, "start", &count);
    for (int i = 0; i < count; i++)
        out.offset += start[i] * in->stride[i];
    return out;
}

// Part number result begins after the parts before it.
static Place view_split(const Node *n, int result, const Place *in) {
    Place out = *in;
    const int64_t axis = node_int(n, "axis", 0);
    for (int i = 0; i < result; i++)
        out.offset += n->result[i].type.dim[axis] * in->stride[axis];
    return out;
}

// Only a reshape can fail.
bool place_view(const Node *n, int result, const Place *in, Place *out) {
    if (n->op == OP_RESHAPE)
        return place_reshape(in, &n->input[0]->type, &n->result[0].type, out);
    if (n->op == OP_TRANSPOSE)
        *out = view_transpose(n, in);
    else if (n->op == OP_BROADCAST)
        *out = view_broadcast(n, in);
    else if (n->op == OP_SLICE)
        *out = view_slice(n, in);
    else if (n->op == OP_SPLIT)
        *out = view_split(n, result, in);
    else
        UNREACHABLE();
    return true;
}

// A slice, a split, a broadcast: the operand has other elements than the result.
bool place_unview(const Node *n, const Place *out, Place *in) {
    if (n->op == OP_RESHAPE)
        return place_reshape(out, &n->result[0].type, &n->input[0]->type, in);
    if (n->op != OP_TRANSPOSE)
        return false;
    *in = *out;
    int count;
    const int64_t *perm = node_ints(n, "perm", &count);
    for (int i = 0; i < count; i++)
        in->stride[perm[i]] = out->stride[i];
    return true;
}

Place place_concat_part(const Node *concat, int part, const Place *whole) {
    Place p = *whole;
    const int64_t axis = node_int(concat, "axis", 0);
    // The parts stand one after another along the axis.
    for (int i = 0; i < part; i++)
        p.offset += concat->input[i]->type.dim[axis] * whole->stride[axis];
    return p;
}

Place place_pad_inside(const Node *pad, const Place *whole) {
    Place p = *whole;
    int count;
    const int64_t *before = node_ints(pad, "before", &count);
    for (int i = 0; i < count; i++)
        p.offset += before[i] * whole->stride[i];
    return p;
}

// Insertion sort: at most RANK_MAX axes.
void place_axis_order(const Place *p, const Type *t, int *order) {
    for (int i = 0; i < t->rank; i++) {
        int at = i;
        // Strictly less: axes of one stride keep their order.
        for (; at > 0 && p->stride[order[at - 1]] < p->stride[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}
