// Reading a part of a file, whole or not at all.
#ifndef PLIM_RUNTIME_FILE_READ_H
#define PLIM_RUNTIME_FILE_READ_H

#include "runtime/plim.h"

#include <stdbool.h>

// Reads bytes from the file offset on, going on after interruptions and short reads. False with
// errno set where that fails; EIO where the file ends before.
bool file_read_at(int fd, void *out, uint64_t bytes, uint64_t offset);

// A whole regular file in memory; larger than limit it is refused. The caller frees *out, which may
// be NULL on failure.
PlimStatus file_read_whole(const char *path, uint64_t limit, char **out, size_t *bytes,
                           PlimError *error);

#endif
