// Lowering: what every operator with a scalar program adds to a kernel. The rows of ir/ops.def name these.
//
// Each takes in[i], input i at the kernel's index (f32 for f32 and bf16), and sets out[i], result i there;
// the caller stores it. Computation is in f32; rounding to bf16 happens where a value is stored (or where the
// caller adds KOP_ROUND_BF16).
//
// The kernel's dims, arranged by the caller:
//  - elementwise operators and leaves: the result's axes, in order. Leaves read the dims for their element
//    numbers, so nothing may be left out but axes of extent 1.
//  - LOWER_ROWS: the reduced or last axis is the kernel's last dim (extent 1 if there is none); results
//    without that axis (loss, mean, rstd) don't vary along it and are stored with column stride 0.
//    Inputs without it (mean, rstd, target, log-sum-exp) are loaded with column stride 0, weights with
//    row strides 0.
//  - LOWER_COLUMNS: all dims but the last are reduced; the results don't vary along them.
//  - by source (in[i] is -1; asked for with kb_source, see op_input_is_source):
//      dynamic_slice   0, x: kernel dims are the result's axes
//      dynamic_update  0, x, which is the output: an ACCESS_UPDATE operand that holds x already. Kernel dims are
//                      the part's axes. The program stores by STORE_AT itself: out[0] is -1.
//      rotary          0, x; 1, cos; 2, sin: kernel dims are x's axes
//      pools           all, images [n, c, h, w]: kernel dims are the result's axes. Strides of h and w must
//                      join (h steps over w): the index is a place in h w.
//      gather          0, table: its axes after the first are the kernel's last dims
//      take            0, x: its axes but the last are the kernel's first dims
//      scatter_add     0, base, which is the output: an ACCESS_UPDATE operand that holds base already. The
//                      kernel is COLUMNS over the axes of rows; where base has rank 1, with one more dim of
//                      extent 1 at the end. The program stores by ADD_AT itself: out[0] is -1.
//  - accumulate: in[1] is the accumulator's content, loaded from the operand out[0] will be stored to.
//  - random leaves: where there is no step, in[1] is not read. Their key attribute, and that of sample, is an
//    immediate: each adds one (kernel_add_imm), whose low 32 bits are the key's at every call; so is a random
//    leaf's offset, where it has one, after its key.
#ifndef PLIM_IR_OP_LOWER_H
#define PLIM_IR_OP_LOWER_H

#include "ir/kernel.h"
#include "ir/op.h"

// Whether the operator takes this input by kb_source instead of in[input].
bool op_input_is_source(Op op, int input);

// floor(bits / 256) as f32, exact, of the draw for the element at the kernel's index: the part of its 32 bits
// that random_unit and random_gauss use. Adds the immediates of n: for its key and, where it has one, its offset.
KRef lower_draw_bits(KernelBuilder *kb, const Node *n, KRef seed, KRef step);

void lower_constant(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_iota(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_random_uniform(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_random_normal(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);

void lower_neg(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_abs(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_sign(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_exp(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_expm1(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_log(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_sqrt(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_rsqrt(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_sin(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_cos(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_tanh(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_erf(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_sigmoid(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_relu(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_relu6(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_hard_sigmoid(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_hard_swish(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_silu(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_gelu(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_gelu_erf(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_cast(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_stop(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_not(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_silu_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_gelu_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_gelu_erf_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_add(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_sub(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_mul(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_div(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_min(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_max(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_eq(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_ne(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_lt(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_le(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_and(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_or(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_select(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);

void lower_dynamic_slice(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_dynamic_update(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);

void lower_reduce_sum(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_reduce_max(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);

void lower_softmax(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_softmax_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_layernorm(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_layernorm_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_layernorm_param_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_rmsnorm(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_rmsnorm_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_rmsnorm_param_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_cross_entropy(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_cross_entropy_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_sample(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_rotary(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);

void lower_max_pool(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_max_pool_index(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_max_pool_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_avg_pool(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_avg_pool_grad(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_upsample(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);

void lower_gather(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_scatter_add(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_take(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);

void lower_accumulate(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_sgd(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_momentum(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);
void lower_adamw(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);

#endif
