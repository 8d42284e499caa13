// The shapes of a convolution, as its three operators and their kernel share them.
#ifndef PLIM_IR_CONVOLUTION_H
#define PLIM_IR_CONVOLUTION_H

#include "ir/graph.h"

// y [batch, groups x out, result] of x [batch, groups x in, size] and w [groups x out, in, kernel].
// Pairs are height, width.
typedef struct {
    int64_t batch, groups;
    int64_t in, out; // channels of one group
    int64_t size[2], kernel[2], result[2];
    int64_t stride[2], dilation[2]; // at least 1
    int64_t before[2], after[2];    // zeros around x
} Convolution;

// Strides, dilations, paddings and kernels are below this, so that no position overflows.
#define CONVOLUTION_MAX ((int64_t)1 << 20)

// y's size along an axis; 0 where not even one kernel fits. All arguments are within the limits.
int64_t convolution_result(int64_t size, int64_t kernel, int64_t stride, int64_t padding,
                           int64_t dilation);
// Of a node that has been inferred.
Convolution convolution_of(const Node *n);
// Multiply-adds count two, those with padding included: the same for all three operators.
// Saturates.
int64_t convolution_flops(const Convolution *c);

#endif
