// Steps of one entry: inputs filled, the program run, the first result read.
#ifndef PLIM_RUNTIME_LOOP_H
#define PLIM_RUNTIME_LOOP_H

#include "runtime/loader.h"
#include "runtime/watch.h"

typedef struct {
    PlimSession *s;
    const PlimOptions *o;
    const PlanEntry *entry;
    DataInputs *inputs;
    PlimLoader *loader;
    PlimWatch *watch;  // NULL where nothing is watched
    int64_t step, end; // the next step, and where the loop ends
    StepTimes times;   // of the last step
} Loop;

// Finds the entry, sets the knobs that --set names, opens the data and starts the loader. Nothing
// has run yet. Whatever comes, loop_close gives everything back. main is the entry that the command
// is about, where it is another one, or NULL: that one is watched, and a knob that the loop's entry
// lacks is an error only if that one lacks it, too.
PlimStatus loop_open(Loop *l, PlimSession *s, const PlimOptions *o, const char *entry,
                     const PlanEntry *main, const DataUse *use, PlimError *error);
// PLIM_IO where what was watched could not be written.
PlimStatus loop_close(Loop *l, PlimError *error);

// Goes to step first of end: the next loop_step runs it. end is also what schedules in the model
// see as the number of steps.
void loop_begin(Loop *l, int64_t first, int64_t end);
// Runs the next step; *loss is the entry's first result.
PlimStatus loop_step(Loop *l, double *loss, PlimError *error);

#endif
