// What masks and biases of attention are made of: values that lie along some of its axes.
#ifndef PLIM_FRONTEND_SIDE_H
#define PLIM_FRONTEND_SIDE_H

#include "ir/build.h"

// The sizes that a mask or a bias of attention is broadcast to.
typedef struct {
    int64_t batch, heads, queries, keys;
} AttentionFrame;

// Axes of the frame.
enum { BATCH, HEAD, QUERY, KEY, FRAME_RANK };

enum { VISITS_MAX = 10000 };

typedef struct {
    Builder *b;
    const AttentionFrame *frame;
    int visits; // of nodes so far, VISITS_MAX at most: what is shared is read wherever it is used
} Reading;

// A value that the mask is made of, and the frame's axis that each of its axes lies along. It says
// nothing of axes of one element.
typedef struct {
    Value *value;
    int axis[RANK_MAX];
} Side;

// A whole mask or bias, of rank 2 to 4, its axes the last of the frame's. False where it does not
// fit.
bool side_begin(const AttentionFrame *frame, Value *whole, Side *out);
Side side_input(Side s, int i);
// What broadcasts and axes of one element were put around.
Side side_look_through(Side s);
// The value as [batch, n], n along any axis but the batch, built again of smaller parts where it
// lies along other axes but does not vary along them. NULL where it varies, or its nodes don't
// tell; dead nodes may be left behind then.
Value *side_rebuild(Reading *r, Side s, int along);
// [batch, n] of that element type, n being the length of the frame's axis `along`.
Type side_rows(const Reading *r, int along, DType dtype);

#endif
