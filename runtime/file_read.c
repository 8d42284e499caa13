// pread moves no file position, so several readers may share a descriptor. One call may give less
// than was asked for: at most 2 GiB on Linux, or what came before a signal.
#include "runtime/file_read.h"

#include <errno.h>
#include <unistd.h>

bool file_read_at(int fd, void *out, uint64_t bytes, uint64_t offset) {
    for (uint64_t done = 0; done < bytes;) {
        const ssize_t got =
            pread(fd, (char *)out + done, (size_t)(bytes - done), (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return false;
        if (got == 0) {
            errno = EIO; // Shorter than it was when its size was taken
            return false;
        }
        done += (uint64_t)got;
    }
    return true;
}
