// What may share a kernel with other operators.
#ifndef PLIM_PASSES_FUSE_H
#define PLIM_PASSES_FUSE_H

#include "ir/graph.h"

// Whether the operator has a scalar program that others can be added to.
bool fuse_may_group(const Node *n);
// Whether it sums down columns.
bool fuse_is_columns(const Node *n);

#endif
