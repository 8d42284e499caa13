// The operator table: ops.def as an array, look-up by name, and the cost of a node.
//
// Costs count the arithmetic a careful person would count by hand, and the bytes of operands and
// results; they saturate and never overflow. They rely on what node verification proves of a node.
#include "ir/op.h"

#include "ir/check.h"
#include "ir/convolution.h"
#include "ir/op_lower.h"
#include "ir/op_rules.h"

#include <string.h>

// By Op, from the rows of ops.def.
static const OpInfo table[OP_COUNT] = {
#define OP(ID, NAME, FAMILY, MIN, MAX, RESULTS, ATTRS, FLAGS, LOWER, INFER, MAP, GRADIENT,         \
           EVALUATE, LOWER_FN, HELP)                                                               \
    [OP_##ID] = {NAME,          FAMILY_##FAMILY, MIN, MAX,      RESULTS,  ATTRS,    FLAGS,         \
                 LOWER_##LOWER, INFER,           MAP, GRADIENT, EVALUATE, LOWER_FN, HELP},
#include "ir/ops.def"
#undef OP
};

const OpInfo *op_info(Op op) {
    CHECK(op >= 0 && op < OP_COUNT);
    return &table[op];
}

// A walk over the table: only texts are looked up, and only once a line.
bool op_find(const char *name, Op *out) {
    for (int i = 0; i < OP_COUNT; i++)
        if (strcmp(table[i].name, name) == 0) {
            *out = (Op)i;
            return true;
        }
    return false;
}

// A cost that is too large to say is as good as infinite.
static int64_t saturating_mul(int64_t a, int64_t b) {
    int64_t out;
    return __builtin_mul_overflow(a, b, &out) ? INT64_MAX : out;
}

static int64_t saturating_add(int64_t a, int64_t b) {
    int64_t out;
    return __builtin_add_overflow(a, b, &out) ? INT64_MAX : out;
}

// Points of the iteration space, reduced dims included.
static int64_t map_points(const Node *n) {
    IndexMap map;
    // An operator without a map has no points to count.
    if (!table[n->op].map || !table[n->op].map(n, &map))
        return 0;
    int64_t points = 1;
    for (int i = 0; i < map.dim_count; i++)
        points = saturating_mul(points, map.extent[i]);
    return points;
}

// Query-key pairs that are visible, all batches and heads.
static int64_t visible_pairs(const Node *n) {
    const Type *q = &n->input[0]->type, *k = &n->input[1]->type;
    const int64_t pairs = attention_pairs(q->dim[2], k->dim[2], node_int(n, "causal", 0) != 0,
                                          node_int(n, "window", 0));
    return saturating_mul(pairs, saturating_mul(q->dim[0], q->dim[1]));
}

// Multiply-adds count two; forward is two products, backward five (the scores again, dv, dp, dq,
// dk), and two for a bias (the scores again, dp).
static int64_t attention_flops(const Node *n) {
    const int64_t pairs = visible_pairs(n);
    const int64_t e = n->input[0]->type.dim[3], f = n->input[2]->type.dim[3];
    const int64_t per_pair = n->op == OP_ATTENTION        ? 2 * (e + f) + 5
                             : n->op == OP_ATTENTION_GRAD ? 2 * (3 * e + 2 * f) + 8
                                                          : 2 * (e + f) + 8;
    return saturating_mul(pairs, per_pair);
}

// A pool takes each element of each window once, a norm some ten operations an element.
static int64_t channel_flops(const Node *n) {
    int64_t most = type_count(&n->result[0].type);
    for (int i = 0; i < n->input_count; i++)
        if (type_count(&n->input[i]->type) > most)
            most = type_count(&n->input[i]->type);
    int count;
    const int64_t *window = node_ints(n, "window", &count);
    if (table[n->op].lowering == LOWER_EXPANDED)
        return saturating_mul(most, 10);
    if (!window) // upsample copies
        return 0;
    const int64_t *stride = node_ints(n, "stride", &count);
    // Elements of the images over those a stride steps over: the windows.
    const int64_t windows = most / (stride[0] * stride[1]) + 1;
    return saturating_mul(windows, window[0] * window[1]);
}

// Attention at an offset is for generating only.
bool node_has_gradient(const Node *n) {
    return table[n->op].gradient && !(n->op == OP_ATTENTION && attention_offset(n) >= 0);
}

// Transcendental functions count 10 multiply-adds, a norm or softmax 10 an element.
int64_t node_flops(const Node *n) {
    const OpInfo *op = &table[n->op];
    // Elements of the first operand and of the first result.
    const int64_t first = n->input_count > 0 ? type_count(&n->input[0]->type) : 0;
    const int64_t result = n->result_count > 0 ? type_count(&n->result[0].type) : 0;
    switch (op->family) {
    case FAMILY_LEAF:
        return (op->flags & OPF_RANDOM) ? saturating_mul(result, 60) : 0; // Ten rounds of Philox
    case FAMILY_POINTWISE:
        return saturating_mul(result, (op->flags & OPF_EXPENSIVE) ? 10 : 1);
    case FAMILY_SHAPE:
    case FAMILY_MOVE:
    case FAMILY_TRAINING:
        return 0;
    case FAMILY_REDUCE:
        return first;
    case FAMILY_ROWWISE:
        return saturating_mul(first, op->flags & OPF_EXPENSIVE ? 3 : 10);
    case FAMILY_CONTRACTION:
        return saturating_mul(map_points(n), 2);
    case FAMILY_CONVOLUTION: {
        const Convolution c = convolution_of(n);
        return convolution_flops(&c);
    }
    case FAMILY_ATTENTION:
        return attention_flops(n);
    case FAMILY_CHANNEL:
        return channel_flops(n);
    case FAMILY_INDEXED:
        return n->op == OP_SCATTER_ADD ? type_count(&n->input[2]->type) : 0;
    case FAMILY_UPDATE:
        return saturating_mul(result, 2 * n->input_count);
    }
    UNREACHABLE();
}

// Bytes of a gather's or slice's source that are touched: as many as the result has.
static int64_t input_bytes(const Node *n, int input) {
    const bool sparse = n->op == OP_GATHER || n->op == OP_TAKE || n->op == OP_DYNAMIC_SLICE;
    if (sparse && input == 0)
        return (int64_t)type_bytes(&n->result[0].type);
    return (int64_t)type_bytes(&n->input[input]->type);
}

// Views and what other passes replace move nothing.
int64_t node_bytes(const Node *n) {
    const OpInfo *op = &table[n->op];
    if (op->lowering == LOWER_NONE || op->lowering == LOWER_VIEW || op->family == FAMILY_TRAINING)
        return 0;
    int64_t bytes = 0;
    for (int i = 0; i < n->input_count; i++)
        bytes = saturating_add(bytes, input_bytes(n, i));
    for (int i = 0; i < n->result_count; i++)
        bytes = saturating_add(bytes, (int64_t)type_bytes(&n->result[i].type));
    return bytes;
}
