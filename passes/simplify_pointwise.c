// Simplification of pointwise operators and sums: each rewrite stands under its equation.
//
// All keep every bit of a result (x + 0 is not x where x is -0, so only x + -0 is), but for add =>
// einsum_add, which says so. Constants are folded where the evaluator and every target round alike:
// operators that are not polynomials of our own.
#include "ir/check.h"
#include "ir/evaluate.h"
#include "passes/simplify.h"

#include <math.h>

// The value of a uniform operand, and whether it is one.
static bool is_uniform(const Value *v, double expected) {
    double value;
    return match_uniform(v, &value) && value == expected;
}

// add(x, -0)  =>  x    and integer add(x, 0), on both sides
static Value *try_add_zero(Simplify *s, const Node *n) {
    (void)s;
    if (n->op != OP_ADD)
        return NULL;
    for (int i = 1; i >= 0; i--) {
        double value;
        if (!match_uniform(n->input[i], &value) || value != 0)
            continue;
        if (n->result[0].type.dtype == DT_I32 || signbit(value))
            return n->input[1 - i];
    }
    return NULL;
}

// sub(x, 0)  =>  x
static Value *try_sub_zero(Simplify *s, const Node *n) {
    (void)s;
    double value;
    if (n->op != OP_SUB || !match_uniform(n->input[1], &value) || value != 0 || signbit(value))
        return NULL;
    return n->input[0];
}

// mul(x, 1)  =>  x    on both sides
static Value *try_mul_one(Simplify *s, const Node *n) {
    (void)s;
    if (n->op != OP_MUL)
        return NULL;
    if (is_uniform(n->input[1], 1))
        return n->input[0];
    return is_uniform(n->input[0], 1) ? n->input[1] : NULL;
}

// div(x, 1)  =>  x
static Value *try_div_one(Simplify *s, const Node *n) {
    (void)s;
    return n->op == OP_DIV && is_uniform(n->input[1], 1) ? n->input[0] : NULL;
}

// neg(neg(x))  =>  x    not(not(x))  =>  x
static Value *try_involution(Simplify *s, const Node *n) {
    (void)s;
    if (n->op != OP_NEG && n->op != OP_NOT)
        return NULL;
    const Node *inner = n->input[0]->def;
    return inner->op == n->op ? inner->input[0] : NULL;
}

// cast(x, type of x)  =>  x
static Value *try_cast_same(Simplify *s, const Node *n) {
    (void)s;
    return n->op == OP_CAST && type_equal(&n->input[0]->type, &n->result[0].type) ? n->input[0]
                                                                                  : NULL;
}

// Every value of the type `from` is a value of the type `to`.
static bool cast_is_exact(DType from, DType to) {
    return from == to || from == DT_BOOL || (from == DT_BF16 && to == DT_F32);
}

// cast(cast(x, b), c)  =>  cast(x, c)    when b holds every value of x
static Value *try_cast_cast(Simplify *s, const Node *n) {
    if (n->op != OP_CAST || n->input[0]->def->op != OP_CAST)
        return NULL;
    Value *x = n->input[0]->def->input[0];
    if (!cast_is_exact(x->type.dtype, n->input[0]->type.dtype))
        return NULL;
    return build_cast(&s->b, x, n->result[0].type.dtype);
}

// min(x, x), max(x, x), and(x, x), or(x, x)  =>  x
static Value *try_idempotent(Simplify *s, const Node *n) {
    (void)s;
    const bool idempotent = n->op == OP_MIN || n->op == OP_MAX || n->op == OP_AND || n->op == OP_OR;
    return idempotent && n->input[0] == n->input[1] ? n->input[0] : NULL;
}

// select(true, a, b)  =>  a    select(false, a, b)  =>  b    select(c, a, a)  =>  a
static Value *try_select(Simplify *s, const Node *n) {
    (void)s;
    double condition;
    if (n->op != OP_SELECT)
        return NULL;
    if (n->input[1] == n->input[2])
        return n->input[1];
    if (!match_uniform(n->input[0], &condition))
        return NULL;
    return condition != 0 ? n->input[1] : n->input[2];
}

// Same result on every target, to the bit: one correctly rounded operation.
static bool folds_exactly(const Node *n) {
    const OpInfo *info = op_info(n->op);
    return (info->flags & OPF_ELEMENTWISE) && !(info->flags & OPF_EXPENSIVE) && info->evaluate &&
           n->op != OP_RSQRT;
}

// f(constant...)  =>  constant    when every operand is the same everywhere: evaluated for one
// element
static Value *try_fold(Simplify *s, const Node *n) {
    Arena *scratch = s->cx->scratch;
    if (!folds_exactly(n) || n->input_count == 0)
        return NULL;
    Tensor *in = arena_array(scratch, Tensor, n->input_count);
    Value **scalar = arena_array(scratch, Value *, n->input_count);
    for (int i = 0; i < n->input_count; i++) {
        double value;
        if (!match_uniform(n->input[i], &value))
            return NULL;
        in[i] = tensor_create(scratch, type_scalar(n->input[i]->type.dtype));
        in[i].at[0] = value;
        scalar[i] = arena_new(scratch, Value);
        *scalar[i] = *n->input[i];
        scalar[i]->type = in[i].type;
    }
    // The same operator over one element.
    Value result = n->result[0];
    result.type = type_scalar(result.type.dtype);
    Node one = *n;
    one.input = scalar;
    one.result = &result;
    result.def = &one;
    Tensor out = {.type = result.type};
    const EvalCtx cx = {.arena = scratch};
    node_evaluate(&one, in, &out, &cx);
    if (!isfinite(out.at[0])) // left for the machine to say
        return NULL;
    return simplify_uniform(s, &n->result[0].type, out.at[0]);
}

// add(c, einsum(a, b))  =>  einsum_add(c, a, b)    for f32 gradient sums, when nobody else reads
// either The sum is still c + (sum over the contracted axes), but a product library may round it
// once instead of twice: this one rewrite may change the last bit.
static Value *try_einsum_add(Simplify *s, const Node *n) {
    if (n->op != OP_ADD || n->phase != PHASE_BACKWARD || n->result[0].type.dtype != DT_F32)
        return NULL;
    for (int i = 1; i >= 0; i--) {
        Value *c = n->input[1 - i];
        const Node *product = n->input[i]->def;
        if (product->op != OP_EINSUM || simplify_uses(s, n->input[i]) != 1 ||
            simplify_uses(s, c) != 1 || product->input[0]->type.dtype != DT_F32)
            continue;
        Value *in[3] = {c, product->input[0], product->input[1]};
        const Attr spec = attr_text("spec", node_text(product, "spec", ""));
        return build_op(&s->b, OP_EINSUM_ADD, in, 3, &spec, 1);
    }
    return NULL;
}

Value *simplify_pointwise(Simplify *s, const Node *n) {
    static Value *(*const rule[])(Simplify *, const Node *) = {
        try_fold,      try_add_zero,  try_sub_zero, try_mul_one,    try_div_one,   try_involution,
        try_cast_same, try_cast_cast, try_select,   try_idempotent, try_einsum_add};
    Value *by = NULL;
    for (size_t i = 0; !by && i < sizeof rule / sizeof rule[0]; i++)
        by = rule[i](s, n);
    return by;
}
