// Going on from a checkpoint.
#ifndef PLIM_RUNTIME_RESUME_H
#define PLIM_RUNTIME_RESUME_H

#include "runtime/generation.h"
#include "runtime/run.h"

// The newest generation in the folder that counts; PLIM_BAD_INPUT where there is none. Newer ones
// that do not count are told to stderr.
PlimStatus resume_find(const char *folder, Generation *out, PlimError *error);
// Reads every state but transient ones from the generation. The files must have exactly the model's
// states, with its shapes and dtypes: all mismatches are printed to stderr, one a line, before the
// error is returned, and nothing is overwritten then.
PlimStatus resume_load(const char *folder, const Generation *g, const Plan *p, PlimRun *run,
                       PlimError *error);
// Whether both paths lead to one folder; false where one leads nowhere.
bool resume_same_folder(const char *one, const char *other);

#endif
