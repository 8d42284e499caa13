// The shapes of a convolution, as its three operators and their kernel share them.
#ifndef PLIM_IR_CONVOLUTION_H
#define PLIM_IR_CONVOLUTION_H

#include "ir/graph.h"
#include "ir/kernel.h"

// Strides, dilations, paddings and kernels are below this, so that no position overflows.
#define CONVOLUTION_MAX ((int64_t)1 << 20)
// Pixels of an image that a kernel is made for are below this.
#define CONVOLUTION_PIXELS_MAX ((int64_t)1 << 28)

// y's size along an axis; 0 where not even one kernel fits. All arguments are within the limits.
int64_t convolution_result(int64_t size, int64_t kernel, int64_t stride, int64_t padding,
                           int64_t dilation);
// The greatest common divisor; a > 0.
int64_t convolution_divisor(int64_t a, int64_t b);
// Of a node that has been inferred: its shapes, and which of x, w and y its operands and its result
// are.
Convolution convolution_of(const Node *n);
void convolution_parts(const Node *n, ConvolutionPart part[3]);
// What each part is, dense.
Type convolution_type(const Convolution *c, ConvolutionPart part, DType dtype);
// Where term number `term` of the sum, 0 .. convolution_flops / 2 - 1, has its factors and its
// result: elements of x, w and y (by ConvolutionPart), whose images are so many elements apart. False
// in the padding.
bool convolution_term(const Convolution *c, int64_t x_stride, int64_t y_stride, int64_t term,
                      int64_t at[3]);
// Multiply-adds count two, those with padding included: the same for all three operators.
// Saturates.
int64_t convolution_flops(const Convolution *c);

#endif
