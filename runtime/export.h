// Writing weights for other programs: the command `export`.
#ifndef PLIM_RUNTIME_EXPORT_H
#define PLIM_RUNTIME_EXPORT_H

#include "runtime/options.h"

// Writes every parameter and saved state under its published name, with the metadata that
// transformers asks for. o->to (-o) is a file where it ends in .safetensors, else a folder, which
// gets model.safetensors; with --shard-size, where that does not fit one file, shards and
// model.safetensors.index.json, in a folder that is not there yet or empty. --dtype converts
// floats. Weights are those of --weights, or the first values of --seed. What -o names appears
// whole or not at all.
PlimStatus export_run(PlimSession *s, const PlimOptions *o, PlimError *error);

#endif
