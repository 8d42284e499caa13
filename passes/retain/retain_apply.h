// Writing a schedule into a graph.
#ifndef PLIM_PASSES_RETAIN_RETAIN_APPLY_H
#define PLIM_PASSES_RETAIN_RETAIN_APPLY_H

#include "passes/retain/retain_build.h"

// g is the graph that rg was built from, or a copy of it (graph_copy keeps ids). Its nodes then
// stand in the order of the schedule, with clones of those that run again, offloads and fetches.
void retain_apply(Graph *g, const RetainGraph *rg, const RetainSchedule *schedule, Arena *scratch);

#endif
