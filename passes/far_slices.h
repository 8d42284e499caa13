// Work on a tensor slice by slice, so that only a few slices are in the device's memory at once.
#ifndef PLIM_PASSES_FAR_SLICES_H
#define PLIM_PASSES_FAR_SLICES_H

#include "ir/build.h"

// Builds the values of one slice, start <= index < stop on every axis: count of them into out.
typedef void SliceFn(void *user, const int64_t *start, const int64_t *stop, Value **out);

typedef struct {
    Builder *b;   // what joins the slices is built here
    Type type;    // of the whole; its rank is at least 1
    size_t bytes; // of a slice at most, or up to a sixteenth more for a disk's blocks
    int64_t rows; // of axis 0 in a slice, which is then cut no further; 0: by bytes
    int count;    // values that make builds of a slice, all of type's shape
    SliceFn *make;
    void *user;
    Arena *scratch;
} Slices;

// Where the slice of that many rows that begins at start ends: fewer than a handful of rows are no
// slice of their own.
int64_t slice_end(int64_t start, int64_t rows, int64_t dim);
// All slices, first to last, and for each of the count values the concat of its slices into out.
// Every slice is one range of the tensor's bytes, and so is every concat's operand.
void slices_build(const Slices *s, Value **out);
// That part of v; v itself where it is all of it.
Value *slice_of(Builder *b, Value *v, const int64_t *start, const int64_t *stop);

#endif
