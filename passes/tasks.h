// Tasks: what is ordered as one. A fused group is one task, every other node is a task of its own.
#ifndef PLIM_PASSES_TASKS_H
#define PLIM_PASSES_TASKS_H

#include "ir/graph.h"

typedef struct {
    Node *const *node; // side by side in execution order
    int count;
} Task;

typedef struct {
    int count;
    Task *task;   // in execution order
    uint32_t *of; // by node id: index of its task
} Tasks;

// The tasks of a graph whose groups are contiguous (CHECKed).
Tasks *tasks_create(const Graph *g, Arena *a);
// Makes every group contiguous: a group's nodes move down to its last one; nodes that the group's
// are needed by follow it. Keeps the order otherwise. False (and nothing changes) where a group
// depends on itself through a node outside.
bool tasks_gather(Graph *g, Arena *scratch);

#endif
