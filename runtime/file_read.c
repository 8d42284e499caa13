// pread moves no file position, so several readers may share a descriptor. One call may give less
// than was asked for: at most 2 GiB on Linux, or what came before a signal.
#include "runtime/file_read.h"

#include "runtime/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

PlimStatus file_read_whole(const char *path, uint64_t limit, char **out, size_t *bytes,
                           PlimError *error) {
    struct stat info;
    *out = NULL;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    PlimStatus status = PLIM_OK;
    if (fd < 0 || fstat(fd, &info) != 0)
        status = error_set(error, PLIM_IO, "can't open %s: %s", path, strerror(errno));
    // A pipe or device has no size to go by.
    else if (!S_ISREG(info.st_mode))
        status = error_set(error, PLIM_BAD_INPUT, "%s: is no regular file", path);
    else if ((uint64_t)info.st_size > limit)
        status = error_set(error, PLIM_BAD_INPUT, "%s: %lld bytes are more than the limit of %llu",
                           path, (long long)info.st_size, (unsigned long long)limit);
    if (status == PLIM_OK) {
        *bytes = (size_t)info.st_size;
        // One more: malloc of nothing may give NULL.
        *out = malloc(*bytes + 1);
        if (!*out)
            status = error_set(error, PLIM_NO_MEMORY, "out of memory reading %s", path);
        else if (!file_read_at(fd, *out, *bytes, 0))
            status = error_set(error, PLIM_IO, "can't read %s: %s", path, strerror(errno));
    }
    if (fd >= 0)
        close(fd);
    return status;
}
