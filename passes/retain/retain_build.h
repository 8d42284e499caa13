// A graph's question of what to keep for its backward pass, as the solver sees it.
#ifndef PLIM_PASSES_RETAIN_RETAIN_BUILD_H
#define PLIM_PASSES_RETAIN_RETAIN_BUILD_H

#include "passes/pass.h"
#include "passes/retain/retain.h"
#include "runtime/plan_rates.h"

// The nodes of one task of the problem, by id: they hold for every copy of the graph.
typedef struct {
    int count;
    const uint32_t *node;
} RetainNodes;

typedef struct {
    RetainProblem problem;    // values are owned by Values: roots of views, never views themselves
    const RetainNodes *nodes; // by task
    const int *value_of;      // by value id: the problem's, or -1: leaves, and what no task stores
} RetainGraph;

// False: nothing is kept for later, since there are no backward nodes.
bool retain_has_choice(const Graph *g);
// Of a graph that is legalized. NULL where there is no choice.
// Everything lives in a, and points into g.
RetainGraph *retain_build(const Module *m, const Graph *g, const PassOptions *options,
                          const Rates *rates, Arena *a);

// Arguments, state and constants: there at any time, made by no task.
bool retain_is_leaf(const Node *n);

#endif
