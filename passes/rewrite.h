// Rewriting a graph in one walk: the tool of every Module -> Module pass.
//
// rewrite_begin takes the nodes out of the graph; the pass then visits them in order and either
// keeps a node or builds others in its place (whatever a Builder appends lands right there).
// Operands are resolved through a table, so a replaced value costs O(1) however many users it has.
#ifndef PLIM_PASSES_REWRITE_H
#define PLIM_PASSES_REWRITE_H

#include "ir/build.h"

typedef struct {
    Graph *g;
    Arena *scratch;
    Node **old; // the nodes as they were, old_count of them
    int old_count;
    Value **by;     // by value id: what replaces it, or NULL
    uint32_t limit; // ids below it have an entry in by
} Rewrite;

// Takes the nodes out of g. Until rewrite_end only those kept or built are in it.
void rewrite_begin(Rewrite *rw, Graph *g, Arena *scratch);
// Puts n next, its operands resolved.
void rewrite_keep(Rewrite *rw, Node *n);
// Operands of n become what replaced them. rewrite_keep does it too.
void rewrite_resolve_inputs(Rewrite *rw, Node *n);
Value *rewrite_resolve(const Rewrite *rw, Value *v);
// From here on every use of old is a use of by. by takes old's name where it has none of its own.
void rewrite_replace(Rewrite *rw, Value *old, Value *by);
// Results and commits are resolved; the graph is whole again.
void rewrite_end(Rewrite *rw);

// A builder whose nodes say they stand for n.
Builder rewrite_builder(Graph *g, const Node *n);

// What v is a view of, through the last few views; v itself where it is none.
const Value *match_viewed(const Value *v);
// The value is the same everywhere: a constant, or a view of one. value gets it.
bool match_uniform(const Value *v, double *value);
// An operator that only looks at its first operand another way (reshape, transpose, broadcast,
// slice, split).
bool match_view(const Node *n);

#endif
