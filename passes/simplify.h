// The rewrites of pass_simplify, by family. Each file exports one function: what replaces a node,
// or NULL.
#ifndef PLIM_PASSES_SIMPLIFY_H
#define PLIM_PASSES_SIMPLIFY_H

#include "passes/pass.h"
#include "passes/rewrite.h"

typedef struct {
    PassCtx *cx;
    Graph *g;
    Builder b;       // makes nodes in place of the one being looked at
    const int *uses; // by value id, when the sweep began
    uint32_t limit;  // ids below it have an entry in uses
    bool trains;     // the entry has gradients, or will
} Simplify;

// Reads of v when the sweep began; values made since count as read by many.
int simplify_uses(const Simplify *s, const Value *v);
// A tensor of one value everywhere, as a broadcast scalar: it needs no memory.
Value *simplify_uniform(Simplify *s, const Type *type, double value);

// For n with one result, whose operands are simplified already: an equal value, or NULL. Nodes may
// be built.
Value *simplify_pointwise(Simplify *s, const Node *n);
Value *simplify_shape(Simplify *s, const Node *n);
// For a slice or dynamic_slice: the same computed from parts of what it cuts (simplify_cut.c).
Value *simplify_cut(Simplify *s, const Node *n);
// For a split: an equal value for each of its results in out, or false.
bool simplify_split(Simplify *s, const Node *n, Value **out);

// To a fixed point over every entry: what pass_simplify and pass_tidy do.
PassResult simplify_module(Module *m, PassCtx *cx, const char *pass);

#endif
