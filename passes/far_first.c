// First values of far states, slice by slice: what is the same everywhere, or random and keyed by
// its place, needs no whole to be cut from. So "init" has a few slices in the device's memory,
// however large the states are.
//
// What computes with such numbers before it stores them (a scaled draw, say) is made whole and
// offloaded. Cost: O(slices).
#include "passes/far_first.h"

#include "ir/check.h"
#include "passes/far_slices.h"
#include "passes/rewrite.h"

#include <string.h>

static bool is_random(const Node *n) {
    return n->op == OP_RANDOM_NORMAL || n->op == OP_RANDOM_UNIFORM;
}

typedef struct {
    Builder b;
    const Value *whole;
    double value;
    Value *last; // a constant's slice before: mostly of the same shape
} FirstCut;

// A draw goes by its element's number in the whole.
static Value *random_slice(FirstCut *c, const Type *t, const int64_t *start) {
    enum { ATTRS_MAX = 8 };
    const Node *n = c->whole->def;
    Attr attr[ATTRS_MAX];
    int64_t stride[RANK_MAX], offset = node_int(n, "offset", 0);
    int count = 0;
    type_strides(&c->whole->type, stride);
    for (int i = 0; i < t->rank; i++)
        offset += start[i] * stride[i];
    CHECK(n->attr_count + 2 <= ATTRS_MAX);
    for (int i = 0; i < n->attr_count; i++)
        if (strcmp(n->attr[i].name, "shape") != 0 && strcmp(n->attr[i].name, "offset") != 0)
            attr[count++] = n->attr[i];
    attr[count++] = attr_ints("shape", t->dim, t->rank);
    attr[count++] = attr_int("offset", offset);
    return build_op(&c->b, n->op, n->input, n->input_count, attr, count);
}

static void first_slice(void *user, const int64_t *start, const int64_t *stop, Value **out) {
    FirstCut *c = user;
    Type t = c->whole->type;
    for (int i = 0; i < t.rank; i++)
        t.dim[i] = stop[i] - start[i];
    if (is_random(c->whole->def))
        c->last = random_slice(c, &t, start);
    else if (!c->last || !type_equal(&c->last->type, &t))
        c->last = build_constant(&c->b, t, c->value);
    out[0] = build_unary(&c->b, OP_OFFLOAD, c->last);
}

Value *first_offload(Graph *g, Value *v, size_t slice, Arena *scratch) {
    FirstCut c = {.b = rewrite_builder(g, v->def), .whole = v};
    if (v->type.rank == 0 || (!match_uniform(v, &c.value) && !is_random(v->def)))
        return build_unary(&c.b, OP_OFFLOAD, v);
    Value *out = NULL;
    const Slices slices = {.b = &c.b,
                           .type = v->type,
                           .bytes = slice,
                           .count = 1,
                           .make = first_slice,
                           .user = &c,
                           .scratch = scratch};
    slices_build(&slices, &out);
    return out;
}
