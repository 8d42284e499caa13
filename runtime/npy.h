// NumPy's .npy files: one tensor without a name.
#ifndef PLIM_RUNTIME_NPY_H
#define PLIM_RUNTIME_NPY_H

#include "runtime/safetensors.h"

enum { NPY_MAGIC_BYTES = 6 };
// Whether a file of these first bytes is one.
bool npy_probe(const uint8_t first[NPY_MAGIC_BYTES]);
// Opens it as a file of one tensor named "" (safetensors_at(f, 0)); read and close it as such. Rows
// must come first (C order) and numbers be little-endian: anything else is PLIM_BAD_INPUT.
PlimStatus npy_open(const char *path, SafeFile **out, PlimError *error);

// Writes a dense tensor under a temporary name, then renames it. bf16, which NumPy does not have,
// becomes f32.
PlimStatus npy_write(const char *path, PlanDType dtype, uint32_t rank, const int64_t *dim,
                     const void *at, PlimError *error);

#endif
