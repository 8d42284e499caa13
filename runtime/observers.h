// Those who watch a run, and what they refuse.
#ifndef PLIM_RUNTIME_OBSERVERS_H
#define PLIM_RUNTIME_OBSERVERS_H

#include "runtime/run.h"

#include <stdatomic.h>

typedef struct {
    const RunObserver *observer[RUN_OBSERVERS_MAX];
    int count;
    atomic_flag refused; // by an observer: the first one's sentence is refusal
    PlimError refusal;
} Observers;

void observers_add(Observers *o, const RunObserver *observer);
void observers_remove(Observers *o, const RunObserver *observer);
// Before an entry: nobody has refused yet.
void observers_begin(Observers *o);
// Tells all of them; false where one refuses. Any stream's thread.
bool observers_tell(Observers *o, const RunMoment *at, RunStage stage);
void observers_tell_tiles(const Observers *o, const RunMoment *at, int worker, bool begins);
bool observers_tell_entry(Observers *o, const PlanEntry *entry);
void observers_tell_times(const Observers *o, const RunMoment *at, const RunTimes *times);
// Whether one can only be told while instructions run; whether one wants times.
bool observers_want_stages(const Observers *o);
bool observers_want_times(const Observers *o);
// Once the streams have ended: true, with the sentence, where one refused.
bool observers_refused(Observers *o, PlimError *error);

#endif
