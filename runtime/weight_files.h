// The tensors of a set of weights, by name: one safetensors file, or shards that an index lists.
#ifndef PLIM_RUNTIME_WEIGHT_FILES_H
#define PLIM_RUNTIME_WEIGHT_FILES_H

#include "runtime/safetensors.h"

typedef struct WeightFiles WeightFiles;

typedef struct {
    const SafeTensor *tensor;
    const SafeFile *file; // to read it from
} WeightTensor;

// Opens what path names:
//  - a safetensors file;
//  - an index of shards, which ends in .json;
//  - a folder: its model.safetensors, else its model.safetensors.index.json, else the newest
//    complete checkpoint in it (step-N with complete.json), the same way.
// An index names files of its own folder, every tensor once, and each of them is where it says.
PlimStatus weight_files_open(const char *path, WeightFiles **out, PlimError *error);
void weight_files_close(WeightFiles *w); // NULL is allowed
// The file or index that was opened: path, or what was found in the folder.
const char *weight_files_path(const WeightFiles *w);
uint32_t weight_files_count(const WeightFiles *w);
const WeightTensor *weight_files_at(const WeightFiles *w, uint32_t index);     // sorted by name
const WeightTensor *weight_files_find(const WeightFiles *w, const char *name); // NULL: none

#endif
