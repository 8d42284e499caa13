// Observers are told in the reverse order of their coming, so that the last one, a timeline, is
// told first and its times hold nobody's checks. Without any, telling costs a comparison.
#include "runtime/observers.h"

void observers_add(Observers *o, const RunObserver *observer) {
    if (o->count < RUN_OBSERVERS_MAX)
        o->observer[o->count++] = observer;
}

void observers_remove(Observers *o, const RunObserver *observer) {
    int kept = 0;
    for (int i = 0; i < o->count; i++)
        if (o->observer[i] != observer)
            o->observer[kept++] = o->observer[i];
    o->count = kept;
}

void observers_begin(Observers *o) {
    atomic_flag_clear(&o->refused);
}

static void note_refusal(Observers *o, const PlimError *error) {
    // Read after the streams have ended, which orders it.
    if (!atomic_flag_test_and_set(&o->refused))
        o->refusal = *error;
}

bool observers_tell(Observers *o, const RunMoment *at, RunStage stage) {
    for (int i = o->count - 1; i >= 0; i--) {
        const RunObserver *x = o->observer[i];
        PlimError error;
        if (!x->instruction || x->instruction(x->context, at, stage, &error))
            continue;
        note_refusal(o, &error);
        return false;
    }
    return true;
}

void observers_tell_tiles(const Observers *o, const RunMoment *at, int worker, bool begins) {
    for (int i = 0; i < o->count; i++) {
        const RunObserver *x = o->observer[i];
        if (x->tiles)
            x->tiles(x->context, at, worker, begins);
    }
}

bool observers_tell_entry(Observers *o, const PlanEntry *entry) {
    for (int i = o->count - 1; i >= 0; i--) {
        const RunObserver *x = o->observer[i];
        PlimError error;
        if (!x->entry || x->entry(x->context, entry, &error))
            continue;
        note_refusal(o, &error);
        return false;
    }
    return true;
}

void observers_tell_times(const Observers *o, const RunMoment *at, const RunTimes *times) {
    for (int i = o->count - 1; i >= 0; i--)
        if (o->observer[i]->times)
            o->observer[i]->times(o->observer[i]->context, at, times);
}

bool observers_want_stages(const Observers *o) {
    for (int i = 0; i < o->count; i++)
        if (o->observer[i]->instruction && !o->observer[i]->entry && !o->observer[i]->times)
            return true;
    return false;
}

bool observers_want_times(const Observers *o) {
    for (int i = 0; i < o->count; i++)
        if (o->observer[i]->times)
            return true;
    return false;
}

bool observers_refused(Observers *o, PlimError *error) {
    if (!atomic_flag_test_and_set(&o->refused))
        return false;
    *error = o->refusal;
    return true;
}
