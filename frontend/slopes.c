// Biases by distance (ALiBi) that attention needs no tensor of queries x keys for.
//
// On entry a bias is nodes over [b, h, s, t]. It is read as a sum that is linear in the key's
// position,
//
//     slope[h] (key - query)  or  -slope[h] (query - key) / 8  =>  slope[h] a key + what has no key
//     in it
//
// and of that slope a is taken, built again over [h]. The rest is one number for all keys of a
// query, so softmax takes it out again: queries may count from anywhere. Nothing is read whose
// slopes depend on what may be differentiated by, parameters and arguments, for the operator gives
// slopes no gradient; `stop` ends that. Cost: a visit of each node, again wherever it is used.
#include "frontend/slopes.h"

#include "ir/op.h"

// slope a key + anything without a key. Slope NULL: 1.
typedef struct {
    double key; // a
    Value *slope;
} Rise;

// Whether nothing that gradients flow to is in it.
static bool is_fixed(Reading *r, const Value *v) {
    const Node *n = v->def;
    if (!dtype_is_float(v->type.dtype) || (op_info(n->op)->flags & OPF_FLAT))
        return true;
    if (n->op == OP_INPUT || n->op == OP_STATE || ++r->visits > VISITS_MAX)
        return false;
    for (int i = 0; i < n->input_count; i++)
        if (!is_fixed(r, n->input[i]))
            return false;
    return true;
}

// Whether all keys of a query have one number.
static bool has_no_key(Reading *r, Side s) {
    s = side_look_through(s);
    const Node *n = s.value->def;
    bool along = false;
    for (int i = 0; i < s.value->type.rank; i++)
        along = along || (s.value->type.dim[i] > 1 && s.axis[i] == KEY);
    if (!along || n->op == OP_CONSTANT)
        return true;
    if (n->op == OP_IOTA)
        return s.axis[node_int(n, "axis", 0)] != KEY;
    if (op_info(n->op)->family != FAMILY_POINTWISE || ++r->visits > VISITS_MAX)
        return false;
    for (int i = 0; i < n->input_count; i++)
        if (!has_no_key(r, side_input(s, i)))
            return false;
    return true;
}

static bool read_rise(Reading *r, Side s, Rise *out);

// x + y or x - y: of two that rise, neither has slopes.
static bool read_sum(Reading *r, Side s, Rise *out) {
    Rise y;
    if (!read_rise(r, side_input(s, 0), out) || !read_rise(r, side_input(s, 1), &y))
        return false;
    if (out->key != 0 && y.key != 0 && (out->slope || y.slope))
        return false;
    out->slope = out->key != 0 ? out->slope : y.slope;
    out->key += s.value->def->op == OP_SUB ? -y.key : y.key;
    return true;
}

// x y, or x / y: what rises is x, or y of a product; the other is a number of each head.
static bool read_product(Reading *r, Side s, Rise *out) {
    const Op op = s.value->def->op;
    if (op == OP_DIV && s.value->type.dtype != DT_F32)
        return false; // truncates
    const int factor = op == OP_MUL && has_no_key(r, side_input(s, 0)) ? 0 : 1;
    Value *by = side_rebuild(r, side_input(s, factor), HEAD);
    if (!by || !read_rise(r, side_input(s, 1 - factor), out))
        return false;
    by = build_cast(r->b, by, DT_F32);
    if (op == OP_DIV && !out->slope)
        out->slope = build_constant(r->b, by->type, 1);
    out->slope = out->slope ? build_binary(r->b, op, out->slope, by) : by;
    return true;
}

static bool read_rise(Reading *r, Side s, Rise *out) {
    *out = (Rise){0, NULL};
    if (++r->visits > VISITS_MAX)
        return false;
    if (has_no_key(r, s))
        return true;
    s = side_look_through(s);
    switch ((int)s.value->def->op) {
    case OP_IOTA:
        out->key = 1;
        return true;
    case OP_CAST: // of a float to i32, or to bf16, is not linear
        return s.value->type.dtype == DT_F32 && side_input(s, 0).value->type.dtype == DT_I32 &&
               read_rise(r, side_input(s, 0), out);
    case OP_NEG:
        out->key = read_rise(r, side_input(s, 0), out) ? -out->key : 0;
        return out->key != 0;
    case OP_ADD:
    case OP_SUB:
        return read_sum(r, s, out);
    case OP_MUL:
    case OP_DIV:
        return read_product(r, s, out);
    default:
        return false;
    }
}

Value *slopes_find(Builder *b, const AttentionFrame *frame, Value *bias) {
    // Slopes are those of all rows of the batch.
    AttentionFrame all = *frame;
    all.batch = 1;
    Reading r = {.b = b, .frame = &all};
    Side s;
    Rise rise;
    if (bias->type.dtype != DT_F32 || !side_begin(frame, bias, &s) || !is_fixed(&r, bias) ||
        !read_rise(&r, s, &rise) || rise.key == 0)
        return NULL;
    Value *slope = rise.slope ? build_scale(b, rise.slope, rise.key)
                              : build_constant(b, side_rows(&r, HEAD, DT_F32), rise.key);
    return build_reshape(b, slope, 1, &all.heads);
}
