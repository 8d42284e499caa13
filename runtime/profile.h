// --profile: where a step's time goes.
#ifndef PLIM_RUNTIME_PROFILE_H
#define PLIM_RUNTIME_PROFILE_H

#include "runtime/timeline.h"

typedef struct Profile Profile;

// The timeline outlives the profile. NULL when there is no memory.
Profile *profile_new(const Timeline *t);
void profile_release(Profile *p); // NULL is allowed
// Adds the timeline's step, which took so many seconds, data_seconds of them until its data were
// there.
void profile_step(Profile *p, double seconds, double data_seconds);
// A table for people: the mean step by kind of work, and its slowest operators.
void profile_print(const Profile *p, FILE *out);

#endif
