// Problems of what to keep, for tests and measurements.
#ifndef PLIM_TESTS_UNIT_RETAIN_SAMPLE_H
#define PLIM_TESTS_UNIT_RETAIN_SAMPLE_H

#include "passes/retain/retain.h"

// A problem being built: tasks in order, each with its results.
typedef struct {
    Arena *a;
    RetainProblem p;
    RetainTask *task;
    RetainValue *value;
    int task_room, value_room;
} RetainSample;

RetainSample *retain_sample(Arena *a);
// A value of the bytes that is there from the start. Returns its number.
int retain_sample_argument(RetainSample *s, int64_t bytes);
// A task that reads the operands (a list ended by -1) and makes one value of the bytes, whose
// number is returned; with 0 bytes it makes none, and -1 is.
int retain_sample_task(RetainSample *s, int64_t time, int64_t bytes, unsigned flags,
                       const int *operand);
#define RETAIN_READS(...) ((const int[]){__VA_ARGS__, -1})
// The tasks so far are the forward's.
void retain_sample_turn(RetainSample *s);
const RetainProblem *retain_sample_done(RetainSample *s);

// forward: x0 -> x1 -> ... -> xn; backward: stage i reads the gradient, x(i-1) and, where told,
// x(i).
typedef struct {
    int64_t forward, backward; // picoseconds
    int64_t bytes;             // of its result; the gradient of it has as many
    int64_t transient;         // of its backward
    int64_t move;              // picoseconds to move its result one way; 0: can't be moved
    int parts;                 // that its result may be cut into, at a picosecond a byte; 0: none
} RetainStage;
const RetainProblem *retain_sample_chain(Arena *a, const RetainStage *stage, int count);
// Stages whose results move at 16 picoseconds a byte, of which their times are multiples. The link
// keeps up with about all of it, half of it, or less, by the seed.
RetainStage *retain_sample_stages(Arena *a, uint64_t seed, int count);

// Tasks forward, with values read here and there later. With far_rate, picoseconds a byte, most
// values can be moved; some tasks make two values then, and some values are results.
const RetainProblem *retain_sample_random(Arena *a, uint64_t seed, int forward, int backward,
                                          int64_t far_rate);

// The training step of a transformer decoder, by operator, in two bytes an element: attention runs
// once, parameter gradients are used up at once. A processor of 500 operations and 3 bytes a
// picosecond, far memory of far_rate bytes a picosecond (0: nothing can be moved).
typedef struct {
    int layers;
    int64_t tokens, width;
    double far_rate;
} RetainDecoder;
const RetainProblem *retain_sample_decoder(Arena *a, RetainDecoder d);

// The least time of a point within the budget; INT64_MAX where there is none.
int64_t retain_time_within(const RetainFrontier *f, int64_t budget);

#endif
