// A part of a result is computed from parts of the operands: fewer elements instead of all.
//
// A cut takes a range of one axis: a slice of that axis alone, or a dynamic_slice. Where nobody
// else reads what is cut, and at most half of the axis stays, the cut moves up to the operands:
//
//     cut(einsum(a, b), i)       =>  einsum(cut(a, i), b)        i stands in a, in b or in both
//     cut(f(x, y))               =>  f(cut(x), cut(y))           f by element
//     cut(norm(x, w), i)         =>  norm(cut(x, i), w)          i not the last axis
//     cut(transpose(x, p), i)    =>  transpose(cut(x, p[i]), p)
//     cut(broadcast(x))          =>  broadcast(cut(x)), or broadcast(x) where x lacks the axis
//     cut(gather(t, index), i)   =>  gather(t, cut(index, i))    i an axis of the indices
//
// So the last row of logits costs one row of the projection. Rows are computed by themselves in
// each of these operators, so no bit changes. A cut that can't move is built where it has arrived.
// Not in entries that train: a cut's gradient is zeros around it, and they would move up as well.
// Cost: each node is left behind by one cut at most; linear.
#include "ir/check.h"
#include "passes/simplify.h"

#include <string.h>

// What the node looked at cuts.
typedef struct {
    int axis;
    int64_t size;
    bool dynamic;
    int64_t start; // not dynamic
    Value *at;     // dynamic: i32[]
    int depth;     // operators moved up through, one after another
} Cut;

// Of one sweep: the next ones go on from there. Keeps the stack small.
enum { DEPTH_MAX = 64 };

// False where n is no cut of one axis to at most its half.
static bool cut_read(const Node *n, Cut *out) {
    const Type *from = &n->input[0]->type, *to = &n->result[0].type;
    *out = (Cut){.axis = -1, .dynamic = n->op == OP_DYNAMIC_SLICE};
    if (n->op != OP_SLICE && n->op != OP_DYNAMIC_SLICE)
        return false;
    for (int i = 0; i < to->rank; i++) {
        if (from->dim[i] == to->dim[i])
            continue;
        if (out->axis >= 0)
            return false;
        out->axis = i;
    }
    if (out->axis < 0 || to->dim[out->axis] > from->dim[out->axis] / 2)
        return false;
    int count;
    out->size = to->dim[out->axis];
    if (out->dynamic)
        out->at = n->input[1];
    else
        out->start = node_ints(n, "start", &count)[out->axis];
    return true;
}

static Value *cut_value(Simplify *s, const Cut *c, Value *v, int axis);

// v with the cut as an operator of its own.
static Value *cut_build(Simplify *s, const Cut *c, Value *v, int axis) {
    if (c->dynamic) {
        const Attr attr[] = {attr_int("axis", axis), attr_int("size", c->size)};
        return build_op(&s->b, OP_DYNAMIC_SLICE, (Value *[]){v, c->at}, 2, attr, 2);
    }
    int64_t start[RANK_MAX] = {0}, stop[RANK_MAX];
    memcpy(stop, v->type.dim, sizeof stop);
    start[axis] = c->start;
    stop[axis] = c->start + c->size;
    const Attr attr[] = {attr_ints("start", start, v->type.rank),
                         attr_ints("stop", stop, v->type.rank)};
    return build_op(&s->b, OP_SLICE, &v, 1, attr, 2);
}

// The node again on these operands: still of the place in the text that it was made for.
static Value *made_of(Simplify *s, const Node *n, Value *const *in) {
    Builder b = s->b;
    b.origin = node_origin(n);
    return build_node(&b, n->op, in, n->input_count, n->attr, n->attr_count)->result;
}

// cut(einsum(a, b), i)  =>  einsum(cut(a, i), b)    and so for b, or both
static Value *cut_einsum(Simplify *s, const Cut *c, const Node *n, int axis) {
    const char *spec = node_text(n, "spec", ""), *comma = strchr(spec, ',');
    const char *arrow = strstr(spec, "->");
    CHECK(comma && arrow);
    const char letter = arrow[2 + axis];
    const char *a = memchr(spec, letter, (size_t)(comma - spec));
    const char *b = memchr(comma + 1, letter, (size_t)(arrow - comma - 1));
    Value *in[2] = {n->input[0], n->input[1]};
    if (a)
        in[0] = cut_value(s, c, in[0], (int)(a - spec));
    if (b)
        in[1] = cut_value(s, c, in[1], (int)(b - comma - 1));
    return made_of(s, n, in);
}

// cut(f(x, y))  =>  f(cut(x), cut(y))
static Value *cut_elementwise(Simplify *s, const Cut *c, const Node *n, int axis) {
    Value **in = arena_array(s->cx->scratch, Value *, n->input_count);
    for (int i = 0; i < n->input_count; i++)
        in[i] = cut_value(s, c, n->input[i], axis);
    return made_of(s, n, in);
}

// cut(norm(x, w), i)  =>  norm(cut(x, i), w)    i not the last axis, statistics unread
static Value *cut_norm(Simplify *s, const Cut *c, const Node *n, int axis) {
    if (axis == n->result[0].type.rank - 1)
        return NULL;
    for (int i = 1; i < n->result_count; i++)
        if (simplify_uses(s, &n->result[i]) > 0)
            return NULL;
    Value *in[3] = {NULL};
    CHECK(n->input_count <= 3);
    for (int i = 0; i < n->input_count; i++)
        in[i] = i ? n->input[i] : cut_value(s, c, n->input[0], axis);
    return made_of(s, n, in);
}

// cut(transpose(x, p), i)  =>  transpose(cut(x, p[i]), p)
static Value *cut_transpose(Simplify *s, const Cut *c, const Node *n, int axis) {
    int count;
    const int64_t *perm = node_ints(n, "perm", &count);
    Value *in = cut_value(s, c, n->input[0], (int)perm[axis]);
    return made_of(s, n, &in);
}

// cut(broadcast(x))  =>  broadcast(cut(x)), or broadcast(x) where x lacks the axis
static Value *cut_broadcast(Simplify *s, const Cut *c, const Node *n, int axis) {
    Value *x = n->input[0];
    int count, axes[RANK_MAX];
    const int64_t *given = node_ints(n, "axes", &count);
    Type to = n->result[0].type;
    to.dim[axis] = c->size;
    for (int i = 0; i < n->input[0]->type.rank; i++) {
        axes[i] = (int)given[i];
        if (axes[i] == axis && x->type.dim[i] > 1)
            x = cut_value(s, c, x, i);
    }
    return build_broadcast(&s->b, x, &to, axes);
}

// cut(gather(t, index), i)  =>  gather(t, cut(index, i))
static Value *cut_gather(Simplify *s, const Cut *c, const Node *n, int axis) {
    if (axis >= n->input[1]->type.rank)
        return NULL;
    Value *const in[] = {n->input[0], cut_value(s, c, n->input[1], axis)};
    return made_of(s, n, in);
}

// The cut of v computed from cuts of its operands, or NULL where no equation says how.
static Value *cut_operands(Simplify *s, const Cut *c, const Value *v, int axis) {
    const Node *n = v->def;
    if (v->index != 0)
        return NULL;
    if (op_info(n->op)->flags & OPF_ELEMENTWISE)
        return cut_elementwise(s, c, n, axis);
    switch ((int)n->op) { // those with an equation above
    case OP_EINSUM:
        return cut_einsum(s, c, n, axis);
    case OP_LAYERNORM:
    case OP_RMSNORM:
    case OP_SOFTMAX:
        return cut_norm(s, c, n, axis);
    case OP_TRANSPOSE:
        return cut_transpose(s, c, n, axis);
    case OP_BROADCAST:
        return cut_broadcast(s, c, n, axis);
    case OP_GATHER:
        return cut_gather(s, c, n, axis);
    default:
        return NULL;
    }
}

// Moves up through v where the cut is its only reader.
static Value *cut_value(Simplify *s, const Cut *c, Value *v, int axis) {
    Cut deeper = *c;
    deeper.depth++;
    Value *by = NULL;
    if (simplify_uses(s, v) == 1 && c->depth < DEPTH_MAX)
        by = cut_operands(s, &deeper, v, axis);
    return by ? by : cut_build(s, c, v, axis);
}

Value *simplify_cut(Simplify *s, const Node *n) {
    Cut c;
    if (s->trains || !cut_read(n, &c) || simplify_uses(s, n->input[0]) != 1)
        return NULL;
    return cut_operands(s, &c, n->input[0], c.axis);
}
