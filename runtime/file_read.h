// Reading a part of a file, whole or not at all.
#ifndef PLIM_RUNTIME_FILE_READ_H
#define PLIM_RUNTIME_FILE_READ_H

#include <stdbool.h>
#include <stdint.h>

// Reads bytes from the file offset on, going on after interruptions and short reads. False with
// errno set where that fails; EIO where the file ends before.
bool file_read_at(int fd, void *out, uint64_t bytes, uint64_t offset);

#endif
