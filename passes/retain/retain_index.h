// What every solver of a RetainProblem asks of it.
#ifndef PLIM_PASSES_RETAIN_RETAIN_INDEX_H
#define PLIM_PASSES_RETAIN_RETAIN_INDEX_H

#include "passes/retain/retain.h"

typedef struct {
    const RetainProblem *p;
    int *reader, *reader_begin; // by value: the tasks that read it, in order; value_count + 1
    int *last_forward;          // by value: last forward task that reads or makes it, -1: none
    int *first_backward;        // by value: first later task that reads it, task_count: none
    int *last_backward;         // by value: last later task that reads it, -1: none
} RetainIndex;

// Everything lives in a.
RetainIndex *retain_index(const RetainProblem *p, Arena *a);

// Device bytes of a copy of the value: 0 for what `free` tasks make.
int64_t retain_bytes(const RetainProblem *p, int value);
// Picoseconds of one run: 0 for `free` tasks.
int64_t retain_time(const RetainProblem *p, int task);
// Bytes of what is there before the first task: always there.
int64_t retain_ambient(const RetainProblem *p);
// May the value be made again? Arguments are never lost.
bool retain_again(const RetainProblem *p, int value);
bool retain_movable(const RetainProblem *p, int value);
// May it be made again in parts?
bool retain_rows(const RetainProblem *p, int value);

// What a STORE does with its value: of `all` parts.
typedef struct {
    int near, far, again, all;
} RetainParts;
RetainParts retain_parts(const RetainProblem *p, RetainStep store);
// So many of all parts of bytes or of a time, rounded up.
int64_t retain_share(int64_t whole, int parts, int all);

#endif
