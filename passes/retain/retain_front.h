// The best schedules found so far: none of them is better than another in bytes and in time.
#ifndef PLIM_PASSES_RETAIN_RETAIN_FRONT_H
#define PLIM_PASSES_RETAIN_RETAIN_FRONT_H

#include "passes/retain/retain.h"

// Side by side, at most.
enum { RETAIN_FRONT_LANES = 8 };

typedef struct {
    const RetainProblem *p;
    int64_t far;  // bytes of far memory that schedules may use
    Arena *a;     // of the points
    Arena *trial; // reset for every schedule
    Arena *lane[RETAIN_FRONT_LANES], *lane_trial[RETAIN_FRONT_LANES]; // the same side by side
    int count, room;
    RetainPoint *point; // falling bytes, rising time
} RetainFront;

// The front owns nothing but a scratch arena: retain_front_end releases it.
RetainFront *retain_front(const RetainProblem *p, int64_t far, Arena *a);
void retain_front_end(RetainFront *f);
// Measures the schedule, which is allowed, and takes it in (a copy) where no other is as good in
// everything; others that it beats are gone. Says what it comes to.
RetainCost retain_front_add(RetainFront *f, RetainSchedule s);

// Writes one of several schedules, by its number, into a; several at a time.
typedef RetainSchedule (*RetainMake)(const void *user, int index, Arena *a);
// Adds schedules 0 .. count - 1 in this order; they are made and measured side by side. Returns
// their steps. Few at a time: all are there at once.
int64_t retain_front_add_each(RetainFront *f, int count, RetainMake make, const void *user);

#endif
