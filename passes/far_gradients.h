// Gradients that are not in the device's memory while they wait for their update, or are never
// whole there.
#ifndef PLIM_PASSES_FAR_GRADIENTS_H
#define PLIM_PASSES_FAR_GRADIENTS_H

#include "passes/far_entry.h"

// Marks gradients of at least so many bytes that wait for a norm of all of them.
void far_gradients_find_waiting(FarEntry *far, size_t least);
// Marks those of weights that are met in tiles (far_weights_choose) and can be made likewise.
void far_gradients_find_made(FarEntry *far);
// Marks those of at least so many bytes that are rows added to zeros; marks of the finds above give
// way.
void far_gradients_find_scattered(FarEntry *far, size_t least);
// Marks v, which one slice after another of some update or sum reads, and the sums it is made of,
// if it can be made in tiles of that many rows.
void far_gradient_mark_made(FarEntry *far, const Value *v, int64_t rows);
// v [rows, columns] where n is reduce_sum(v * v, axes = [1]), which a norm of all gradients is made
// of, and nothing else reads v * v; NULL where it isn't.
const Value *far_gradient_squared(const FarEntry *far, const Node *n);
// Those results of n that wait go to far memory. n is kept.
void far_gradients_send(FarEntry *far, const Node *n);
// Whether n makes a gradient in tiles.
bool far_gradient_is_made(const FarEntry *far, const Node *n);
// Makes its tiles and sends each to far memory where it waits; else its update's slices make them,
// and for a norm they are made, too.
// far_gradient_is_made(far, n).
void far_gradient_make(FarEntry *far, const Node *n);
// Whether n is a square, or a sum of squares, that is computed with the tiles.
bool far_gradient_square_is_made(const FarEntry *far, const Node *n);

#endif
