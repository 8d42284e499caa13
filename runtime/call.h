// One call of an entry with tensors from files: the command `run ENTRY`.
#ifndef PLIM_RUNTIME_CALL_H
#define PLIM_RUNTIME_CALL_H

#include "runtime/options.h"

// Runs the entry o->argument once. Every input that is neither a knob nor made by the runtime comes
// from --in NAME=FILE (.npy, or the tensor of that name in a safetensors file), an input from data
// with all its micro-batches one behind the other. Results go where --out NAME=FILE says, as .npy,
// by name or number; without --out, scalars are printed. Weights are those of --weights, or the
// first values of --seed; step is 0 of 1.
PlimStatus call_run(PlimSession *s, const PlimOptions *o, PlimError *error);

#endif
