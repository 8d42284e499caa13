// Writing schedules: what is wanted is there or is made, with all that takes.
#ifndef PLIM_PASSES_RETAIN_RETAIN_WRITE_H
#define PLIM_PASSES_RETAIN_RETAIN_WRITE_H

#include "passes/retain/retain_index.h"

// A schedule being written. A value that is there may be read; that one is no longer there means
// only that nothing will read this copy any more.
typedef struct {
    const RetainIndex *x;
    Arena *a;
    bool *there;  // by value
    bool *stored; // by value
    int count, room;
    RetainStep *step;
} RetainWriter;

RetainWriter *retain_writer(const RetainIndex *x, Arena *a);
// Makes sure that the value is there: fetches it where it is stored, else runs its maker again
// after making sure of the operands. A value that can't be made again has never been lost.
void retain_want(RetainWriter *w, int value);
// The task, after what it wants; its results are there then.
void retain_run(RetainWriter *w, int task);
// A value that is there, and not stored yet.
void retain_store(RetainWriter *w, int value);
RetainSchedule retain_written(const RetainWriter *w);

// What becomes of a value between its last reader in the forward and its first one after it.
typedef enum { RETAIN_KEEP, RETAIN_AGAIN, RETAIN_MOVE } RetainFate;

// Everything in order; what is not kept is made again or fetched when it is first wanted after the
// forward, and then stays. fate: by value; those of arguments and of values that `once` tasks make
// are never RETAIN_AGAIN.
RetainSchedule retain_write(const RetainIndex *x, const RetainFate *fate, Arena *a);

#endif
