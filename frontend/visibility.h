// What a mask lets each query see, said without queries x keys.
#ifndef PLIM_FRONTEND_VISIBILITY_H
#define PLIM_FRONTEND_VISIBILITY_H

#include "frontend/side.h"

// A query sees the keys begin .. end - 1 that have the id of its own place.
typedef struct {
    Value *begin, *end; // i32[batch, queries]; NULL: the first key, and behind the last
    Value *documents;   // i32[batch, keys]; NULL: all keys are of one
} Visibility;

// Reads a mask, bool and of rank 2 to 4, its axes the last of [batch, heads, queries, keys]. False,
// without a diagnostic, where it can't be said so; dead nodes may be left behind then.
bool visibility_find(Builder *b, const AttentionFrame *frame, Value *mask, Visibility *out);
// i32[batch, n], as the operator takes it: begins and ends where *interval is set, then documents.
Value *visibility_table(Builder *b, const AttentionFrame *frame, const Visibility *v,
                        bool *interval);

#endif
