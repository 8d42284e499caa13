// EINTR is no error here: a signal that the program handles may arrive at any moment, and some file
// systems answer it from calls that others never interrupt.
#include "runtime/file_write.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int file_open_at(int folder, const char *path, int flags) {
    int fd;
    do
        fd = openat(folder, path, flags | O_CLOEXEC, 0666);
    while (fd < 0 && errno == EINTR);
    return fd;
}

bool file_write(int fd, const void *bytes, uint64_t count) {
    const char *at = bytes;
    while (count > 0) {
        // One write takes at most about 2 GiB on Linux, and may take less than it was given.
        const ssize_t done = write(fd, at, count > 1 << 30 ? 1 << 30 : (size_t)count);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return false;
        at += done;
        count -= (uint64_t)done;
    }
    return true;
}

bool file_write_at(int fd, const void *bytes, uint64_t count, uint64_t offset) {
    for (uint64_t done = 0; done < count;) {
        const ssize_t put =
            pwrite(fd, (const char *)bytes + done, (size_t)(count - done), (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        done += (uint64_t)put;
    }
    return true;
}

bool file_sync(int fd) {
    int result;
    do
        result = fsync(fd);
    while (result != 0 && errno == EINTR);
    return result == 0;
}

bool file_is_special(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

bool file_close(int fd) {
    // Linux has closed it when it says EINTR: a second close could hit another thread's file.
    return close(fd) == 0 || errno == EINTR;
}
