// One file of training data, whatever it is, as a file of tensors.
#ifndef PLIM_RUNTIME_DATA_FILE_H
#define PLIM_RUNTIME_DATA_FILE_H

#include "runtime/safetensors.h"

typedef struct {
    const char *path; // the caller's, for messages
    SafeFile *tensors;
    bool tokens; // text or a token file: one stream, no rows
} DataFile;

// What a file is follows from its content, and is insisted on where its name ends in .safetensors
// or .npy:
//  - a safetensors file: its tensors;
//  - a .npy file: one tensor;
//  - a token file with llm.c's header (256 i32: magic 20240520 and version 1 with u16 tokens,
//    20240801 and 7 with u32, then their number): one tensor, u16 or u32 [tokens];
//  - anything else: text, one tensor u8 [bytes].
// The caller closes out->tensors with safetensors_close. PLIM_IO where the file can't be opened,
// PLIM_BAD_INPUT where it is broken, empty or no regular file.
PlimStatus data_file_open(const char *path, DataFile *out, PlimError *error);
// The tensor that an input of that name reads: the one called so, or the file's only one where that
// has no name. NULL where there is none.
const SafeTensor *data_file_tensor(const DataFile *f, const char *name);

#endif
