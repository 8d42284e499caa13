// Many small updates in one kernel, for GPUs.
#ifndef PLIM_PASSES_FUSE_UPDATES_H
#define PLIM_PASSES_FUSE_UPDATES_H

#include "passes/pass.h"

// After groups are set, numbered from 1 to the number given: joins optimizer nodes that stand alone
// into more groups. Gives the number of groups there are then.
int fuse_updates(const Module *m, Graph *g, int groups, PassCtx *cx);

#endif
