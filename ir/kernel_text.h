// What the printer, the parser and the verifier of kernels share: words of the text form and the fields of
// the templates in the order they stand in it (docs/kernel-text.md).
#ifndef PLIM_IR_KERNEL_TEXT_H
#define PLIM_IR_KERNEL_TEXT_H

#include "ir/kernel.h"

static const char *const kernel_kind_words[] = {"rows", "columns", "product", "attention", "attention_grad", "attention_grad_bias", "convolution"};
enum { WORD_ROWS, WORD_COLUMNS, WORD_PRODUCT, WORD_ATTENTION, WORD_ATTENTION_GRAD, WORD_ATTENTION_GRAD_BIAS, WORD_CONVOLUTION, WORD_KINDS };
static const char *const kernel_access_words[] = {"read", "write", "update"};
static const char *const kernel_part_words[] = {"x", "w", "y"}; // by ConvolutionPart
static const char *const kernel_library_words[] = {"own", "onednn", "openblas", "cublaslt"};

// Fields of AttentionKernel that are plain numbers, and those that are three strides.
#define ATTENTION_NUMBERS(N)                                                                       \
    N(batch) N(heads) N(groups) N(queries) N(keys) N(dim_qk) N(dim_v) N(window)
// Fields of Convolution: single numbers, and pairs.
#define CONVOLUTION_NUMBERS(N) N(batch) N(groups) N(in) N(out)
#define CONVOLUTION_PAIRS(P)                                                                       \
    P(size) P(kernel) P(result) P(stride) P(dilation) P(before) P(after)
#define ATTENTION_STRIDES(S) S(q) S(k) S(v) S(out)
#define ATTENTION_GRAD_STRIDES(S) S(dq) S(dk) S(dv)

#endif
