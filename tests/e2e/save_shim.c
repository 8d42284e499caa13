// Loaded before libc into a program that saves: makes one system call on the save folder fail, and
// records all of them.
//
// SHIM_FOLDER: absolute path; calls on anything else pass through. SHIM_FAIL=N and
// SHIM_KIND=ENOSPC|EIO|EINTR|EINVAL|short: what the N-th call, from 1, does. SHIM_TRACE: a file
// that gets one line a call: its number, name, path, and what it did; the bytes of writes in hex;
// what the program says about checkpoints between them. SHIM_ROOM=BYTES: what the folder's disk says
// it has left. One lock makes the trace the order of
// events.
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long calls;
static int trace_fd = -1;

static void record(const char *text, size_t length) {
    const char *path = getenv("SHIM_TRACE");
    if (!path)
        return;
    if (trace_fd < 0)
        trace_fd = (int)syscall(SYS_openat, AT_FDCWD, path,
                                O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (syscall(SYS_write, trace_fd, text, length) != (long)length)
        abort();
}

// The absolute path of name in folder fd (name NULL: of fd itself).
static void full_path(int fd, const char *name, char out[2 * PATH_MAX]) {
    char link[64];
    out[0] = '\0';
    if (name && name[0] == '/') {
        snprintf(out, PATH_MAX, "%s", name);
        return;
    }
    snprintf(link, sizeof link, "/proc/self/cwd");
    if (fd != AT_FDCWD)
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const long length = syscall(SYS_readlink, link, out, PATH_MAX - 1);
    out[length > 0 ? length : 0] = '\0';
    if (name && length > 0)
        snprintf(out + length, PATH_MAX, "/%s", name);
}

static bool is_ours(const char *path) {
    const char *folder = getenv("SHIM_FOLDER");
    const size_t length = folder ? strlen(folder) : 0;
    return length > 0 && strncmp(path, folder, length) == 0 &&
           (path[length] == '/' || path[length] == '\0');
}

typedef struct {
    bool ours, fails, halves;
    char path[2 * PATH_MAX];
} Call;

// Takes the lock where the call is ours; end_call gives it back.
static Call begin_call(int fd, const char *name, bool is_write) {
    Call c = {0};
    const int before = errno;
    full_path(fd, name, c.path);
    errno = before;
    c.ours = is_ours(c.path);
    if (!c.ours)
        return c;
    pthread_mutex_lock(&lock);
    calls++;
    const char *at = getenv("SHIM_FAIL"), *kind = getenv("SHIM_KIND");
    if (!at || !kind || calls != atol(at))
        return c;
    c.halves = strcmp(kind, "short") == 0 && is_write;
    c.fails = strcmp(kind, "short") != 0;
    errno = strcmp(kind, "ENOSPC") == 0   ? ENOSPC
            : strcmp(kind, "EINTR") == 0  ? EINTR
            : strcmp(kind, "EINVAL") == 0 ? EINVAL
                                          : EIO;
    return c;
}

// name: of the call in the trace; more: what else it was given.
static void end_call(const Call *c, const char *name, long result, const char *more) {
    char line[3 * PATH_MAX];
    if (!c->ours)
        return;
    const int before = errno;
    const int length = snprintf(line, sizeof line, "%ld\t%s\t%s\t%ld\t%s\n", calls, name, c->path,
                                result, more ? more : "");
    record(line, (size_t)length);
    pthread_mutex_unlock(&lock);
    errno = before;
}

#define REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

static int open_any(int folder, const char *path, int flags, mode_t mode) {
    const Call c = begin_call(folder, path, false);
    const int fd = c.fails ? -1 : (int)syscall(SYS_openat, folder, path, flags, mode);
    end_call(&c, flags & O_CREAT ? "create" : "open", fd, NULL);
    return fd;
}

int openat(int folder, const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return open_any(folder, path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return open_any(AT_FDCWD, path, flags, mode);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    const Call c = begin_call(fd, NULL, true);
    const off_t at = c.ours ? lseek(fd, 0, SEEK_CUR) : 0;
    const ssize_t done =
        c.fails ? -1 : (ssize_t)syscall(SYS_write, fd, bytes, c.halves ? (count + 1) / 2 : count);
    char *hex = c.ours && done > 0 ? malloc((size_t)done * 2 + 32) : NULL;
    if (hex && getenv("SHIM_TRACE")) {
        int used = snprintf(hex, 32, "%ld ", (long)at);
        for (ssize_t i = 0; i < done; i++)
            used += snprintf(hex + used, 3, "%02x", ((const unsigned char *)bytes)[i]);
        char head[3 * PATH_MAX];
        const int before = errno;
        const int length =
            snprintf(head, sizeof head, "%ld\twrite\t%s\t%ld\t", calls, c.path, (long)done);
        hex[used] = '\n';
        record(head, (size_t)length);
        record(hex, (size_t)used + 1);
        pthread_mutex_unlock(&lock);
        errno = before;
    } else {
        end_call(&c, "write", done, NULL);
    }
    free(hex);
    return done;
}

// Half of a read or write that takes several blocks ends where a block does, as disks want.
static size_t half_of(size_t count) {
    return count >= 8192 ? count / 8192 * 4096 : count;
}

ssize_t pread(int fd, void *bytes, size_t count, off_t offset) {
    const Call c = begin_call(fd, NULL, true);
    const size_t wanted = c.halves ? half_of(count) : count;
    const ssize_t done = c.fails ? -1 : (ssize_t)syscall(SYS_pread64, fd, bytes, wanted, offset);
    end_call(&c, "read", done, NULL);
    return done;
}

// Of far memory, whose content outlives no run: the trace has no bytes.
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    const Call c = begin_call(fd, NULL, true);
    const size_t wanted = c.halves ? half_of(count) : count;
    const ssize_t done = c.fails ? -1 : (ssize_t)syscall(SYS_pwrite64, fd, bytes, wanted, offset);
    end_call(&c, "pwrite", done, NULL);
    return done;
}

// Gives its error number, and leaves errno alone.
int posix_fallocate(int fd, off_t offset, off_t bytes) {
    const int before = errno;
    const Call c = begin_call(fd, NULL, false);
    int why = c.fails ? errno : 0;
    if (!c.fails && syscall(SYS_fallocate, fd, 0, offset, bytes) != 0)
        why = errno;
    end_call(&c, "allocate", why ? -1 : 0, NULL);
    errno = before;
    return why;
}

int fstatvfs(int fd, struct statvfs *out) {
    const Call c = begin_call(fd, NULL, false);
    const int result = c.fails ? -1 : REAL(fstatvfs)(fd, out);
    const char *room = c.ours && result == 0 ? getenv("SHIM_ROOM") : NULL;
    if (room)
        out->f_bavail = (fsblkcnt_t)strtoull(room, NULL, 10) / out->f_frsize;
    end_call(&c, "room", result, NULL);
    return result;
}

int fsync(int fd) {
    const Call c = begin_call(fd, NULL, false);
    const int result = c.fails ? -1 : (int)syscall(SYS_fsync, fd);
    end_call(&c, "fsync", result, NULL);
    return result;
}

int close(int fd) {
    const Call c = begin_call(fd, NULL, false);
    // As Linux does it: closed, whatever it answers.
    const int why = errno;
    int result = (int)syscall(SYS_close, fd);
    if (c.fails) {
        errno = why;
        result = -1;
    }
    end_call(&c, "close", result, NULL);
    return result;
}

int mkdirat(int folder, const char *path, mode_t mode) {
    const Call c = begin_call(folder, path, false);
    const int result = c.fails ? -1 : (int)syscall(SYS_mkdirat, folder, path, mode);
    end_call(&c, "mkdir", result, NULL);
    return result;
}

int mkdir(const char *path, mode_t mode) {
    return mkdirat(AT_FDCWD, path, mode);
}

int renameat(int from, const char *old, int to, const char *new) {
    const Call c = begin_call(from, old, false);
    char target[2 * PATH_MAX];
    full_path(to, new, target);
    const int result = c.fails ? -1 : (int)syscall(SYS_renameat, from, old, to, new);
    end_call(&c, "rename", result, target);
    return result;
}

int unlinkat(int folder, const char *path, int flags) {
    const Call c = begin_call(folder, path, false);
    const int result = c.fails ? -1 : (int)syscall(SYS_unlinkat, folder, path, flags);
    end_call(&c, flags & AT_REMOVEDIR ? "rmdir" : "unlink", result, NULL);
    return result;
}

int flock(int fd, int operation) {
    const Call c = begin_call(fd, NULL, false);
    const int result = c.fails ? -1 : (int)syscall(SYS_flock, fd, operation);
    end_call(&c, "flock", result, NULL);
    return result;
}

int fstatat(int folder, const char *restrict path, struct stat *restrict out, int flags) {
    const Call c = begin_call(folder, path, false);
    const int result = c.fails ? -1 : (int)syscall(SYS_newfstatat, folder, path, out, flags);
    end_call(&c, "stat", result, NULL);
    return result;
}

int fstat(int fd, struct stat *out) {
    const Call c = begin_call(fd, NULL, false);
    const int result = c.fails ? -1 : (int)syscall(SYS_fstat, fd, out);
    end_call(&c, "stat", result, NULL);
    return result;
}

struct dirent *readdir(DIR *listing) {
    const Call c = begin_call(dirfd(listing), NULL, false);
    struct dirent *entry = c.fails ? NULL : REAL(readdir)(listing);
    end_call(&c, "list", entry != NULL, NULL);
    return entry;
}

// What the program says of a save that is safe.
int vfprintf(FILE *restrict out, const char *restrict format, va_list args) {
    char text[PATH_MAX], line[PATH_MAX + 64];
    vsnprintf(text, sizeof text, format, args);
    if (strncmp(text, "saved ", 6) == 0) {
        pthread_mutex_lock(&lock);
        const int length = snprintf(line, sizeof line, "0\tsaid\t%s\t0\t\n", text + 6);
        record(line, (size_t)length);
        pthread_mutex_unlock(&lock);
    }
    return fputs(text, out);
}
