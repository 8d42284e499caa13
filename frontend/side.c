// Values that lie along some axes of attention, and parts of them along fewer.
//
// On entry values are nodes over [b, h, s, t], mostly broadcasts of smaller ones: positions (iota),
// numbers of a row or a head, and pointwise operators of these. What does not vary along an axis is
// found by looking at what it is made of, and built again without that axis:
//
//     broadcast(lengths[b]) + 1 over [b, 1, s, t]  =>  lengths + 1, [b, s]
//
// Cost: a visit of each node, again wherever it is used. Reduces nothing: what a sum or a lookup
// made varies along all its axes.
#include "frontend/side.h"

#include "ir/op.h"

Side side_input(Side s, int i) {
    s.value = s.value->def->input[i];
    return s;
}

// Which frame axes those of a reshape's operand lie along, where only axes of one element come or
// go.
static bool unreshape(Side s, Side *out) {
    const Type *from = &s.value->type, *to = &s.value->def->input[0]->type;
    *out = side_input(s, 0);
    int next = 0;
    for (int i = 0; i < to->rank; i++) {
        if (to->dim[i] == 1)
            continue;
        while (next < from->rank && from->dim[next] == 1)
            next++;
        if (next == from->rank || from->dim[next] != to->dim[i])
            return false;
        out->axis[i] = s.axis[next++];
    }
    return true;
}

Side side_look_through(Side s) {
    Side inner;
    while (s.value->def->op == OP_BROADCAST || s.value->def->op == OP_RESHAPE) {
        if (s.value->def->op == OP_RESHAPE) {
            if (!unreshape(s, &inner))
                break;
        } else {
            int count;
            const int64_t *axes = node_ints(s.value->def, "axes", &count);
            inner = side_input(s, 0);
            for (int i = 0; i < count; i++)
                inner.axis[i] = s.axis[axes[i]];
        }
        s = inner;
    }
    return s;
}

Type side_rows(const Reading *r, int along, DType dtype) {
    const AttentionFrame *f = r->frame;
    const int64_t size[FRAME_RANK] = {f->batch, f->heads, f->queries, f->keys};
    const int64_t dim[2] = {f->batch, size[along]};
    return type_make(dtype, 2, dim);
}

// A value that lies along the batch and `along` only, as [batch, n]; NULL where it doesn't.
static Value *fit(const Reading *r, Side s, int along) {
    const Type *t = &s.value->type, to = side_rows(r, along, t->dtype);
    if (t->rank == 2 && (t->dim[0] == 1 || s.axis[0] == BATCH) &&
        (t->dim[1] == 1 || s.axis[1] == along))
        return type_equal(t, &to) ? s.value : build_broadcast(r->b, s.value, &to, (int[]){0, 1});
    int64_t dim[2];
    int axes[2], rank = 0;
    for (int i = 0; i < t->rank; i++) {
        if (t->dim[i] == 1)
            continue;
        const int axis = s.axis[i] == BATCH ? 0 : s.axis[i] == along ? 1 : -1;
        if (axis < 0 || rank > axis || t->dim[i] != to.dim[axis])
            return NULL;
        dim[rank] = t->dim[i];
        axes[rank++] = axis;
    }
    return build_broadcast(r->b, build_reshape(r->b, s.value, rank, dim), &to, axes);
}

Value *side_rebuild(Reading *r, Side s, int along) {
    if (++r->visits > VISITS_MAX)
        return NULL;
    s = side_look_through(s);
    Node *n = s.value->def;
    const Type to = side_rows(r, along, s.value->type.dtype);
    Value *whole = fit(r, s, along);
    if (whole)
        return whole;
    if (n->op == OP_CONSTANT)
        return build_constant(r->b, to, node_float(n, "value", 0));
    if (n->op == OP_IOTA) {
        const int64_t own = node_int(n, "axis", 0);
        const int axis = s.axis[own];
        if (s.value->type.dim[own] == 1)
            return build_constant(r->b, to, 0);
        const Attr attr[] = {attr_ints("shape", to.dim, 2), attr_int("axis", axis != BATCH)};
        return axis == BATCH || axis == along ? build_op(r->b, OP_IOTA, NULL, 0, attr, 2) : NULL;
    }
    if (op_info(n->op)->family != FAMILY_POINTWISE)
        return NULL;
    Value *in[3];
    for (int i = 0; i < n->input_count; i++)
        if (!(in[i] = side_rebuild(r, side_input(s, i), along)))
            return NULL;
    return build_op(r->b, n->op, in, n->input_count, n->attr, n->attr_count);
}

bool side_begin(const AttentionFrame *f, Value *whole, Side *out) {
    const int64_t dim[FRAME_RANK] = {f->batch, f->heads, f->queries, f->keys};
    *out = (Side){.value = whole};
    for (int i = 0; i < whole->type.rank; i++) {
        out->axis[i] = FRAME_RANK - whole->type.rank + i;
        if (whole->type.dim[i] != 1 && whole->type.dim[i] != dim[out->axis[i]])
            return false;
    }
    return true;
}
