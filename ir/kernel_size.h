// Arithmetic on sizes of kernels that can't overflow, and the shapes of attention's operands: what
// spans (kernel.c) and costs (kernel_cost.c) are computed with.
#ifndef PLIM_IR_KERNEL_SIZE_H
#define PLIM_IR_KERNEL_SIZE_H

#include "ir/kernel.h"

// What everything from 2^62 on counts as.
#define SIZE_TOO_LARGE ((int64_t)1 << 62)

// Saturating sum and product of sizes in 0 .. SIZE_TOO_LARGE.
int64_t size_times(int64_t a, int64_t b);
int64_t size_plus(int64_t a, int64_t b);

// The elements that strides reach, as rows: so many side by side, and each run of them at a
// multiple of pitch from the first. Not every multiple need have one. False where all lie side by
// side, or where runs begin at no such multiples.
bool strides_rows(int rank, const int64_t *dim, const int64_t *stride, int64_t *row,
                  int64_t *pitch);

// Heads (or groups), positions and width of an operand of the attention templates.
typedef struct {
    const int64_t *stride; // NULL for the dense log-sum-exp
    int64_t heads, positions, width;
} AttentionOperand;
// How many of q, k, v, out, dout, dq, dk, dv, in this order, a kind has.
int attention_stride_lists(KernelKind kind);
// operand as in ir/kernel.h: q, k, v, out, lse, dout, dq, dk, dv.
AttentionOperand kernel_attention_operand(const AttentionKernel *t, int operand);
// Strides of the bias, the mask or the bias's gradient; NULL: another operand.
const int64_t *attention_pair_strides(const Kernel *k, int operand);
// Elements of what has these strides.
int64_t attention_pair_count(const AttentionKernel *t, const int64_t stride[4]);
// Elements of kernel_attention_extra's operand.
int64_t attention_extra_count(const Kernel *k);

// Which of x, w and y an operand of the convolution template is; its elements, and the span that
// they lie in.
ConvolutionPart convolution_operand(const ConvolutionKernel *k, int operand);
int64_t convolution_elements(const ConvolutionKernel *k, int operand);
int64_t convolution_span(const ConvolutionKernel *k, int operand);

#endif
