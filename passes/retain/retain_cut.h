// Values in parts along their rows, in the graph: which may be cut, slices, makers of a slice.
#ifndef PLIM_PASSES_RETAIN_RETAIN_CUT_H
#define PLIM_PASSES_RETAIN_RETAIN_CUT_H

#include "ir/build.h"

// How a type is cut: `parts` equal ranges of an axis before which all have extent 1, so that each
// is one range of bytes.
typedef struct {
    int axis, parts; // parts 0: it isn't cut
} RetainCut;

// part_min: bytes that a part has at least.
RetainCut retain_cut(const Type *t, size_t part_min);
// The parts first .. first + count - 1 of v, or of a value with v's extents up to the cut axis.
Value *retain_cut_slice(Builder *b, Value *v, RetainCut cut, int first, int count);

// Whether the node computes rows of its results from the same rows of inputs alone: some parts of
// them have the same bits then, whatever is computed beside them. Products are a library's, which
// doesn't promise that.
bool retain_cut_rows(const Node *n, RetainCut cut);
// For such a node: does input i have the rows? Else all of it is read for each of them.
bool retain_cut_has_rows(const Node *n, RetainCut cut, int input);
// The node for some parts. input: slices of those that have the rows, others whole.
Node *retain_cut_node(Builder *b, const Node *n, Value *const *input, RetainCut cut, int count);

#endif
