// Checkpoints beside a training that goes on: a thread writes the state straight from the arena
// while the next step runs, and only instructions that would overwrite it wait. docs/checkpoints.md
// says what a folder looks like and what is guaranteed.
#ifndef PLIM_RUNTIME_CHECKPOINT_H
#define PLIM_RUNTIME_CHECKPOINT_H

#include "runtime/generation.h"
#include "runtime/run.h"

typedef struct PlimCheckpoint PlimCheckpoint;

// Makes the folder where need be, locks it against other trainings, removes what earlier ones left
// half-written, and starts the thread. The plan and the run outlive it, and no entry is run after
// it. PLIM_BAD_INPUT where another training writes there.
PlimStatus checkpoint_new(const char *folder, const Plan *p, PlimRun *run, PlimCheckpoint **out,
                          PlimError *error);
// Awaits the save under way, whatever comes of it, ends the thread and unlocks. NULL is allowed.
void checkpoint_release(PlimCheckpoint *c);
// The folder, for reading.
const GenerationFolder *checkpoint_folder(const PlimCheckpoint *c);

// Begins to save the state as it is now, between two entries; at most one save is under way, so a
// second call awaits the first. of: all that the marker says but for model, plan and bytes, which
// are filled in. An error is that of an earlier save.
PlimStatus checkpoint_save(PlimCheckpoint *c, const Generation *of, PlimError *error);
// How saving goes, without waiting. *saved: the newest step that a power failure can't take any
// more, 0 where there is none yet.
PlimStatus checkpoint_poll(PlimCheckpoint *c, int64_t *saved, PlimError *error);
// The same once no save is under way.
PlimStatus checkpoint_wait(PlimCheckpoint *c, int64_t *saved, PlimError *error);

#endif
