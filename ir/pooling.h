// The window of a pooling operator, as its attributes say it.
#ifndef PLIM_IR_POOLING_H
#define PLIM_IR_POOLING_H

#include "ir/graph.h"

// Elements along h and w.
typedef struct {
    int64_t window[2], stride[2], padding[2]; // 2 padding <= window
} PoolWindow;

// Of a node that has been inferred.
PoolWindow pool_window(const Node *n);
// Of an upsample node.
void upsample_factor(const Node *n, int64_t factor[2]);

#endif
