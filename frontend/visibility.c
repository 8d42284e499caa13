// Masks that attention needs no tensor of queries x keys for.
//
// On entry a mask is nodes over [b, h, s, t]: positions (iota) compared with each other and with
// numbers of a query or a row, ids compared with ids, joined by `and` and `or`. On exit it is what
// each query sees: an interval of keys, and documents. What has no key in it is built again over
// [b, s] alone:
//
//     key <= query or key < prefix[b]     =>  end[b, i] = max(i + 1, prefix[b])
//     key > query - w and key <= query    =>  begin[b, i] = i - w + 1, end[b, i] = i + 1
//     key < length[b]                     =>  end[b, i] = length[b]
//     id[b, query] == id[b, key]          =>  documents[b, j] = id[b, j]
//
// Each comparison is linear in the key: its position is moved to one side, as on paper. Numbers
// must not wrap where they are written. `and` cuts intervals; `or` joins two that begin, or end, at
// one place. Masks of data, of heads, and unions with a hole are not read. Cost: a visit of each
// node of the mask, again for each `and` and `or` above it, VISITS_MAX at most.
#include "frontend/visibility.h"

#include "ir/op.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// FAR_AWAY: behind every position, and a quarter of the largest number.
enum { FAR_AWAY = 1 << 29 };

// key times the key's position + rest i32[batch, queries], NULL: 0.
typedef struct {
    int key;
    Value *rest;
} Linear;

// A number as far from 0 as positions may be told apart by: two of these add up without wrapping,
// and what means "no limit" goes on meaning it.
static Value *within(const Reading *r, Value *x) {
    const Node *n = x->def;
    if (n->op == OP_IOTA ||
        (n->op == OP_CONSTANT && fabs(node_float(n, "value", 0)) <= (double)FAR_AWAY))
        return x;
    Value *most = build_constant(r->b, x->type, FAR_AWAY);
    Value *least = build_constant(r->b, x->type, -FAR_AWAY);
    return build_binary(r->b, OP_MAX, build_binary(r->b, OP_MIN, x, most), least);
}

static Value *plus(const Reading *r, Value *x, Value *y) {
    return !x ? y : !y ? x : build_binary(r->b, OP_ADD, within(r, x), within(r, y));
}

static Value *minus(const Reading *r, Value *x, Value *y) {
    return !y   ? x
           : !x ? build_unary(r->b, OP_NEG, within(r, y))
                : build_binary(r->b, OP_SUB, within(r, x), within(r, y));
}

static bool read_linear(Reading *r, Side s, Linear *out) {
    if (++r->visits > VISITS_MAX)
        return false;
    s = side_look_through(s);
    const Node *n = s.value->def;
    *out = (Linear){0, side_rebuild(r, s, QUERY)};
    if (out->rest)
        return true;
    if (n->op == OP_IOTA) {
        *out = (Linear){1, NULL};
        return s.axis[node_int(n, "axis", 0)] == KEY;
    }
    Linear y;
    if ((n->op != OP_ADD && n->op != OP_SUB) || !read_linear(r, side_input(s, 0), out) ||
        !read_linear(r, side_input(s, 1), &y))
        return false;
    out->key += n->op == OP_ADD ? y.key : -y.key;
    if (abs(out->key) > 1)
        return false;
    out->rest = n->op == OP_SUB ? minus(r, out->rest, y.rest) : plus(r, out->rest, y.rest);
    return true;
}

// x, or with `next` x + 1, but never past the last number there is.
static Value *place(const Reading *r, Value *x, bool next) {
    if (!x)
        return build_constant(r->b, side_rows(r, QUERY, DT_I32), next);
    if (!next)
        return x;
    Value *keys = build_constant(r->b, x->type, (double)r->frame->keys);
    return build_binary(r->b, OP_ADD, build_binary(r->b, OP_MIN, x, keys),
                        build_constant(r->b, x->type, 1));
}

// x < y, or x <= y, of positions.
static bool read_order(Reading *r, Side s, Visibility *out) {
    Linear x, y;
    if (s.value->def->input[0]->type.dtype != DT_I32 || !read_linear(r, side_input(s, 0), &x) ||
        !read_linear(r, side_input(s, 1), &y))
        return false;
    const bool strict = s.value->def->op == OP_LT;
    if (x.key - y.key == 1) { // key < y - x
        out->end = place(r, minus(r, y.rest, x.rest), !strict);
        return true;
    }
    if (x.key - y.key == -1) { // x - y < key
        out->begin = place(r, minus(r, x.rest, y.rest), strict);
        return true;
    }
    return false;
}

static bool same_attr(const Attr *x, const Attr *y) {
    if (x->kind != y->kind || x->count != y->count)
        return false;
    if (x->kind == ATTR_INTS)
        return memcmp(x->as.ints, y->as.ints, (size_t)x->count * sizeof *x->as.ints) == 0;
    return x->kind == ATTR_TEXT    ? strcmp(x->as.text, y->as.text) == 0
           : x->kind == ATTR_FLOAT ? x->as.f == y->as.f
                                   : x->kind == ATTR_INT && x->as.i == y->as.i;
}

// Whether two values are made alike of the same ones.
static bool same_value(Reading *r, const Value *x, const Value *y) {
    const Node *n = x->def, *m = y->def;
    if (x == y)
        return true;
    if (++r->visits > VISITS_MAX)
        return false;
    bool same = n->op == m->op && x - n->result == y - m->result &&
                n->input_count == m->input_count && n->attr_count == m->attr_count &&
                type_equal(&x->type, &y->type) &&
                (n->input_count > 0 || n->op == OP_IOTA || n->op == OP_CONSTANT);
    for (int i = 0; same && i < n->attr_count; i++)
        same = same_attr(&n->attr[i], &m->attr[i]);
    for (int i = 0; same && i < n->input_count; i++)
        same = same_value(r, n->input[i], m->input[i]);
    return same;
}

// Ids of queries compared with the same ids of keys, either way round.
static bool read_documents(Reading *r, Side s, Visibility *out) {
    if (r->frame->queries != r->frame->keys || s.value->def->input[0]->type.dtype != DT_I32)
        return false;
    for (int i = 0; i < 2; i++) {
        const Value *query = side_rebuild(r, side_input(s, i), QUERY);
        out->documents = side_rebuild(r, side_input(s, 1 - i), KEY);
        if (query && out->documents && same_value(r, query, out->documents))
            return true;
    }
    return false;
}

// The larger, or the smaller, of two ends; one that is missing says nothing.
static Value *both(const Reading *r, Op op, Value *x, Value *y) {
    return !x ? y : !y || x == y ? x : build_binary(r->b, op, x, y);
}

static bool same_end(Reading *r, const Value *x, const Value *y) {
    return x == y || (x && y && same_value(r, x, y));
}

static bool join(Reading *r, const Visibility *x, const Visibility *y, Visibility *out) {
    if (x->documents || y->documents)
        return false;
    *out = *x;
    if (same_end(r, x->begin, y->begin))
        out->end = x->end && y->end ? both(r, OP_MAX, x->end, y->end) : NULL;
    else if (same_end(r, x->end, y->end))
        out->begin = x->begin && y->begin ? both(r, OP_MIN, x->begin, y->begin) : NULL;
    else
        return false;
    return true;
}

static bool cut(const Reading *r, const Visibility *x, const Visibility *y, Visibility *out) {
    if (x->documents && y->documents && x->documents != y->documents)
        return false;
    out->begin = both(r, OP_MAX, x->begin, y->begin);
    out->end = both(r, OP_MIN, x->end, y->end);
    out->documents = x->documents ? x->documents : y->documents;
    return true;
}

static bool read_mask(Reading *r, Side s, Visibility *out) {
    if (++r->visits > VISITS_MAX)
        return false;
    s = side_look_through(s);
    const Op op = s.value->def->op;
    *out = (Visibility){0};
    // Of a query alone: all keys or none.
    Value *rows = side_rebuild(r, s, QUERY);
    if (rows) {
        const Type t = side_rows(r, QUERY, DT_I32);
        Value *const all = build_constant(r->b, t, (double)r->frame->keys);
        Value *const in[3] = {rows, all, build_constant(r->b, t, 0)};
        out->end = build_op(r->b, OP_SELECT, in, 3, NULL, 0);
        return true;
    }
    if (op == OP_LT || op == OP_LE)
        return read_order(r, s, out);
    if (op == OP_EQ)
        return read_documents(r, s, out);
    Visibility x, y;
    if ((op != OP_AND && op != OP_OR) || !read_mask(r, side_input(s, 0), &x) ||
        !read_mask(r, side_input(s, 1), &y))
        return false;
    return op == OP_AND ? cut(r, &x, &y, out) : join(r, &x, &y, out);
}

bool visibility_find(Builder *b, const AttentionFrame *frame, Value *mask, Visibility *out) {
    Reading r = {.b = b, .frame = frame};
    Side s;
    return frame->keys < INT32_MAX && frame->queries < INT32_MAX && side_begin(frame, mask, &s) &&
           read_mask(&r, s, out);
}

Value *visibility_table(Builder *b, const AttentionFrame *frame, const Visibility *v,
                        bool *interval) {
    const Reading r = {.b = b, .frame = frame};
    const Type rows = side_rows(&r, QUERY, DT_I32);
    Value *part[3];
    int count = 0;
    *interval = v->begin || v->end;
    if (*interval) {
        part[count++] = v->begin ? v->begin : build_constant(b, rows, 0);
        part[count++] = v->end ? v->end : build_constant(b, rows, (double)frame->keys);
    }
    if (v->documents)
        part[count++] = v->documents;
    return count == 1 ? part[0] : build_concat(b, part, count, 1);
}
