// Copies of far states for those who read them: where a fetch stands, and who shares it.
#ifndef PLIM_PASSES_FAR_FETCHES_H
#define PLIM_PASSES_FAR_FETCHES_H

#include "passes/far_entry.h"

// Finds how far apart the readers of each state stand. Before any other of these.
void far_fetch_plan(FarEntry *far);
// What the reader at the position has in place of v, which is a far state or a view of one: its
// latest fetch, seen the same way, or a new one. The position does not matter to update nodes.
Value *far_fetch_value(FarEntry *far, Value *v, const Node *reader, int position);
// All of n's operands that are far become such values.
void far_fetch_inputs(FarEntry *far, Node *n, int position);

#endif
