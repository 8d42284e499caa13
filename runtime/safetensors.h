// safetensors files: tensors by name, read and written. The reader trusts nothing: no hole, no
// overlap, no duplicate name, every tensor inside the file, the last one ending with it.
#ifndef PLIM_RUNTIME_SAFETENSORS_H
#define PLIM_RUNTIME_SAFETENSORS_H

#include "runtime/element.h"
#include "runtime/run_window.h"

enum { SAFETENSORS_RANK_MAX = 8 };

typedef struct {
    const char *name;
    ElementType type;
    uint32_t rank;
    int64_t dim[SAFETENSORS_RANK_MAX];
    uint64_t offset, bytes; // in the file, from the first tensor's first byte on
} SafeTensor;

typedef struct SafeFile SafeFile;

// Whether the first bytes look like a safetensors header (a length and an opening brace).
bool safetensors_probe(const uint8_t first[9], uint64_t file_bytes);
// Reads and checks the header; the data stays in the file, which is kept open. PLIM_IO where it
// can't be read, PLIM_BAD_INPUT where it is no valid safetensors file.
PlimStatus safetensors_open(const char *path, SafeFile **out, PlimError *error);
void safetensors_close(SafeFile *f); // NULL is allowed
// A file of another format that holds one tensor (npy.h): its bytes begin at offset data of fd,
// which the result owns; on failure it stays the caller's.
PlimStatus safetensors_wrap(const char *path, int fd, uint64_t data, const SafeTensor *t,
                            SafeFile **out, PlimError *error);
uint32_t safetensors_count(const SafeFile *f);
const SafeTensor *safetensors_at(const SafeFile *f, uint32_t index);     // sorted by name
const SafeTensor *safetensors_find(const SafeFile *f, const char *name); // NULL where there is none
// Reads count elements from element first on into out, converted to the plan's dtype (floats among
// floats, integers to i32 with a range check). PLIM_BAD_INPUT where that can't be; out may be
// partly written then.
PlimStatus safetensors_read(const SafeFile *f, const SafeTensor *t, uint64_t first, uint64_t count,
                            PlanDType to, void *out, PlimError *error);
// All of the tensor into a run's buffer, from offset on.
PlimStatus safetensors_read_buffer(const SafeFile *f, const SafeTensor *t, PlanDType to,
                                   RunWindow *window, uint32_t buffer, uint64_t offset,
                                   PlimError *error);

// The same without conversion: the elements' bytes, as they are in the file.
PlimStatus safetensors_read_raw(const SafeFile *f, const SafeTensor *t, uint64_t first,
                                uint64_t count, void *out, PlimError *error);

// One tensor to write. Its bytes are at `at`, or where that is NULL in a buffer of a run.
typedef struct {
    const char *name;
    PlanDType dtype;
    uint32_t rank;
    const int64_t *dim;
    const void *at;
    const ElementType *as; // the type in the file, a float's for a float; NULL: as it is
    RunWindow *window;     // of the run; what it says of the device tells more than errno
    uint32_t buffer;
    uint64_t offset; // in the buffer, bytes
} SafeSource;

// Writes header and tensors to an open file; syncing and closing it are the caller's. *bytes: all
// of them. False with errno set.
bool safetensors_write_to(int fd, const SafeSource *tensor, uint32_t count, const char *metadata,
                          uint64_t *bytes);
// Writes the file under a temporary name beside path, syncs it and its folder, and renames it: path
// is either the old file or the whole new one. metadata is one JSON object's text or NULL.
PlimStatus safetensors_write(const char *path, const SafeSource *tensor, uint32_t count,
                             const char *metadata, PlimError *error);

#endif
