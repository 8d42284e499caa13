// A bias of attention that is a slope for each head times how far a key is.
#ifndef PLIM_FRONTEND_SLOPES_H
#define PLIM_FRONTEND_SLOPES_H

#include "frontend/side.h"

// The slopes, f32[heads], of a bias that broadcasts to [batch, heads, queries, keys], as the
// operator takes them: what they make of the keys differs from the bias by a number of each query,
// which no probability sees. NULL where it is another bias, or where a gradient may be wanted; dead
// nodes may be left behind then.
Value *slopes_find(Builder *b, const AttentionFrame *frame, Value *bias);

#endif
