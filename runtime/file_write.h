// Writing to a file and to the disk below it, going on after interruptions.
#ifndef PLIM_RUNTIME_FILE_WRITE_H
#define PLIM_RUNTIME_FILE_WRITE_H

#include <stdbool.h>
#include <stdint.h>

// openat, with close-on-exec and mode 0666. -1 with errno set.
int file_open_at(int folder, const char *path, int flags);
// Writes all bytes at the file's position, going on after interruptions and short writes. False
// with errno set.
bool file_write(int fd, const void *bytes, uint64_t count);
// The same from the file offset on, leaving the position: several threads may share a descriptor.
bool file_write_at(int fd, const void *bytes, uint64_t count, uint64_t offset);
// Returns when what was written to the file, or the entries of the folder, are on the disk. False
// with errno set: nothing written since the last sync may be trusted then.
bool file_sync(int fd);
// A device or a pipe: it is written to, as a file renamed to its name would take its place. So no
// part of what was written can be taken back there.
bool file_is_special(const char *path);
// False with errno set where closing reported that bytes were lost; fd is closed in any case.
bool file_close(int fd);

#endif
