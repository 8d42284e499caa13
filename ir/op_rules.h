// The functions named by the rows of ops.def, but for lowering: see ir/op_lower.h. Each stands in
// the file of its family (ir/op_FAMILY.c). They are declared by their kind's function type, so that
// a list stays a list.
#ifndef PLIM_IR_OP_RULES_H
#define PLIM_IR_OP_RULES_H

#include "ir/op.h"

typedef bool InferRule(const Node *n, Type *result, Diag *d, Arena *scratch);
typedef bool MapRule(const Node *n, IndexMap *out);
typedef void GradientRule(Builder *b, const Node *n, Value *const *dresult, Value **dinput);
typedef void EvaluateRule(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx);

InferRule infer_constant, infer_iota, infer_random, infer_unary, infer_cast, infer_logic,
    infer_binary, infer_compare, infer_select, infer_reshape, infer_transpose, infer_broadcast,
    infer_slice, infer_split, infer_concat, infer_pad, infer_dynamic_slice, infer_dynamic_update,
    infer_reduce, infer_softmax, infer_layernorm, infer_layernorm_grad, infer_layernorm_param_grad,
    infer_rmsnorm, infer_rmsnorm_grad, infer_rmsnorm_param_grad, infer_cross_entropy,
    infer_cross_entropy_grad, infer_sample, infer_rotary, infer_einsum, infer_einsum_add,
    infer_convolution, infer_attention, infer_attention_grad, infer_attention_grad_bias, infer_pool,
    infer_max_pool_index, infer_max_pool_grad, infer_avg_pool_grad, infer_upsample, infer_batchnorm,
    infer_batchnorm_grad, infer_gather, infer_scatter_add, infer_take, infer_minimize,
    infer_accumulate, infer_sgd, infer_momentum, infer_adamw, infer_move;

MapRule map_leaf, map_pointwise, map_transpose, map_broadcast, map_reduce, map_rowwise, map_einsum,
    map_convolution, map_attention, map_pool, map_batchnorm;

GradientRule grad_neg, grad_abs, grad_exp, grad_expm1, grad_log, grad_sqrt, grad_rsqrt, grad_sin,
    grad_cos, grad_tanh, grad_erf, grad_sigmoid, grad_relu, grad_relu6, grad_hard_sigmoid,
    grad_hard_swish, grad_max_pool, grad_avg_pool, grad_avg_pool_grad, grad_upsample,
    grad_batchnorm, grad_silu, grad_gelu, grad_gelu_erf, grad_cast, grad_add, grad_sub, grad_mul,
    grad_div, grad_min, grad_max, grad_select, grad_reshape, grad_transpose, grad_broadcast,
    grad_slice, grad_split, grad_concat, grad_pad, grad_dynamic_slice, grad_dynamic_update,
    grad_reduce_sum, grad_reduce_max, grad_softmax, grad_layernorm, grad_rmsnorm,
    grad_cross_entropy, grad_rotary, grad_einsum, grad_convolution, grad_attention, grad_gather,
    grad_take, grad_silu_grad, grad_gelu_grad, grad_gelu_erf_grad, grad_softmax_grad,
    grad_cross_entropy_grad, grad_scatter_add, grad_einsum_add;

EvaluateRule evaluate_constant, evaluate_iota, evaluate_random_uniform, evaluate_random_normal,
    evaluate_neg, evaluate_abs, evaluate_sign, evaluate_exp, evaluate_expm1, evaluate_log,
    evaluate_sqrt, evaluate_rsqrt, evaluate_sin, evaluate_cos, evaluate_tanh, evaluate_erf,
    evaluate_sigmoid, evaluate_relu, evaluate_silu, evaluate_gelu, evaluate_gelu_erf, evaluate_cast,
    evaluate_stop, evaluate_not, evaluate_silu_grad, evaluate_gelu_grad, evaluate_gelu_erf_grad,
    evaluate_add, evaluate_sub, evaluate_mul, evaluate_div, evaluate_min, evaluate_max, evaluate_eq,
    evaluate_ne, evaluate_lt, evaluate_le, evaluate_and, evaluate_or, evaluate_select,
    evaluate_reshape, evaluate_transpose, evaluate_broadcast, evaluate_slice, evaluate_split,
    evaluate_concat, evaluate_pad, evaluate_dynamic_slice, evaluate_dynamic_update,
    evaluate_reduce_sum, evaluate_reduce_max, evaluate_softmax, evaluate_softmax_grad,
    evaluate_layernorm, evaluate_layernorm_grad, evaluate_layernorm_param_grad, evaluate_rmsnorm,
    evaluate_rmsnorm_grad, evaluate_rmsnorm_param_grad, evaluate_cross_entropy,
    evaluate_cross_entropy_grad, evaluate_sample, evaluate_rotary, evaluate_einsum,
    evaluate_einsum_add, evaluate_convolution, evaluate_attention, evaluate_attention_grad,
    evaluate_attention_grad_bias, evaluate_relu6, evaluate_hard_sigmoid, evaluate_hard_swish,
    evaluate_max_pool, evaluate_max_pool_index, evaluate_max_pool_grad, evaluate_avg_pool,
    evaluate_avg_pool_grad, evaluate_upsample, evaluate_batchnorm, evaluate_batchnorm_grad,
    evaluate_gather, evaluate_scatter_add, evaluate_take, evaluate_sgd, evaluate_momentum,
    evaluate_adamw, evaluate_move;

// Shared by the families. A check returns false after a diagnostic at n->loc.
//
// The operand is of a floating point type.
bool infer_want_float(const Node *n, int input, Diag *d, Arena *scratch);
// The operand has this shape and, where want says so, this type. role names it for people:
// "weight".
typedef enum { WANT_EXACT, WANT_FLOAT } WantDType;
bool infer_want(const Node *n, int input, const char *role, Type type, WantDType want, Diag *d,
                Arena *scratch);
// The operand has at least so many axes.
bool infer_want_rank(const Node *n, int input, int rank, Diag *d, Arena *scratch);
// 0 <= axis < rank.
bool infer_want_axis(const Node *n, int64_t axis, int rank, Diag *d);
// Limits of a result's rank and size.
bool infer_want_size(const Node *n, const Type *t, Diag *d, Arena *scratch);
// Two operands of one type.
bool infer_want_equal(const Node *n, int a, int b, Diag *d, Arena *scratch);

// t without its last axis, and its last axis alone.
Type type_rows(const Type *t, DType dtype);
Type type_columns(const Type *t, DType dtype);
// The attribute's ints as an array of int (axes), n's own count.
int node_axes(const Node *n, const char *name, int axes[RANK_MAX]);

// An index map of result-shaped operands, axis i by dim i: dims from t, operands from n.
void index_map_init(const Node *n, const Type *t, IndexMap *out);
// The type of operand o of the map: inputs first, then results.
const Type *map_operand(const Node *n, int o);

#endif
