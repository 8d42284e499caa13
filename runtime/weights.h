// Published weights into the states of a program, by name.
#ifndef PLIM_RUNTIME_WEIGHTS_H
#define PLIM_RUNTIME_WEIGHTS_H

#include "runtime/session.h"

// What becomes of states that the weights lack: an error, or they keep the values they have.
typedef enum { WEIGHTS_ALL, WEIGHTS_SOME } WeightsDemand;

// Reads every parameter and saved state from what path names (weight_files_open), converted to the
// state's type. Optimizer state is read where it is there. Names match as docs/weights.md says;
// what was concluded about them, tensors of the file that nothing takes, and all mismatches are
// told on stderr, a line each. Nothing is overwritten where a name, shape or type does not fit.
PlimStatus weights_load(PlimSession *s, const char *path, WeightsDemand demand, PlimError *error);
// First values of all states: those of path where it has them, the initialisers' for the others and
// where path is NULL. What is read is not drawn before.
PlimStatus weights_begin(PlimSession *s, const char *path, WeightsDemand demand, int64_t seed,
                         PlimError *error);

// The name of a slice of a stacked state: index in place of the {} in its file name. Without {} the
// name itself. False where out is too small.
bool weights_slice_name(const PlanState *state, uint64_t index, char *out, size_t size);
// Whether the state is stacked: its file name has {}, and the slices along its first axis are
// tensors of their own in files.
bool weights_is_stacked(const PlanState *state);
// How many tensors it is in files: its slices, or 1.
uint64_t weights_slices(const PlanState *state);

#endif
