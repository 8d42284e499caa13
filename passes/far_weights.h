// Large weights that are never whole in the device's memory: which they are, and how their readers
// meet them.
#ifndef PLIM_PASSES_FAR_WEIGHTS_H
#define PLIM_PASSES_FAR_WEIGHTS_H

#include "passes/far_entry.h"

// Chooses among moved weights of at least so many bytes those that every reader can meet in tiles.
// After gradients that wait are found, before any other of these is asked.
void far_weights_choose(FarEntry *far, size_t least);
// Rows of v's tiles where it is a chosen weight or a cast of one, else 0.
int64_t far_weight_tile_rows(const FarEntry *far, const Value *v);
// The input of n that is a chosen weight or a cast of one, -1: none.
int far_weight_input(const FarEntry *far, const Node *n);
// Builds n's result from tiles of that input. n is no cast: casts stand where their tiles are read.
void far_weight_read(FarEntry *far, const Node *n, int input, int position);

#endif
