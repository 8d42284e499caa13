// What may share a kernel with other operators.
#ifndef PLIM_PASSES_FUSE_H
#define PLIM_PASSES_FUSE_H

#include "ir/graph.h"

// Whether the operator has a scalar program that others can be added to.
bool fuse_may_group(const Node *n);
// Whether it sums down columns.
bool fuse_is_columns(const Node *n);

// Sets Node.group of nodes from what each is in, by index (1 to node_count; 0: nothing): groups of two and more
// are numbered from 1, in the order of their first members. How many there are.
int fuse_set_groups(Graph *g, const int *group, Arena *scratch);

#endif
