// From object to executable: the system's C compiler driver links the object with the runtime
// library. The result is made under a temporary name beside the target and renamed, so that the
// target is whole or as it was. Signals that would end this process wait until the temporaries are
// gone.
#include "codegen/codegen.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

// P_*: error codes. MESSAGE_MAX in bytes: enough for the first screens of a linker's complaints.
enum { P_LINK = 950, P_LINK_IO = 951, MESSAGE_MAX = 4000 };

extern char **environ;

// False, always; errno must still be that of the failure.
static bool io_error(Diag *d, const char *what, const char *path) {
    return diag_error(d, (Loc){0}, P_LINK_IO, "can't %s '%s': %s", what, path, strerror(errno));
}

// All of it or false after a diagnostic. Readable by this user alone, as a temporary should be.
static bool write_file(Diag *d, const char *path, const char *bytes, size_t size) {
    const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0)
        return io_error(d, "write", path);
    size_t done = 0;
    while (done < size) {
        const ssize_t wrote = write(file, bytes + done, size - done);
        if (wrote < 0 && errno == EINTR)
            continue;
        // A write of nothing would otherwise be tried for ever.
        if (wrote <= 0)
            break;
        done += (size_t)wrote;
    }
    const bool good = done == size;
    if (!good)
        io_error(d, "write", path);
    // Some file systems say only here that there was no room.
    return close(file) == 0 && good;
}

// Collects what the child says, at most MESSAGE_MAX bytes; the rest is read and dropped.
// Read to the end even when full: a child that waits for room in the pipe would never end.
static void read_message(int from, char *message) {
    size_t used = 0;
    char more[512];
    for (;;) {
        const ssize_t got = read(from, more, sizeof more);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        size_t keep = (size_t)got;
        keep = used + keep > MESSAGE_MAX ? MESSAGE_MAX - used : keep;
        memcpy(message + used, more, keep);
        used += keep;
    }
    message[used] = 0;
}

// Returns 0 or an errno. The child has this process's mask as it was before block_signals, so that
// an interrupt from the keyboard still ends it.
static int spawn_driver(char *const *argument, int out, const sigset_t *old, pid_t *child) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    // No input; both outputs into one pipe, in the order in which they are written.
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_adddup2(&actions, out, 2);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, old);
    const int failed = posix_spawnp(child, argument[0], &actions, &attributes, argument, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

// Runs the driver to its end; what it said is in message.
static bool run_driver(Diag *d, char *const *argument, const sigset_t *old, char *message) {
    int end[2], status = 0;
    pid_t child;
    if (pipe2(end, O_CLOEXEC) != 0)
        return io_error(d, "make a pipe for", argument[0]);
    const int failed = spawn_driver(argument, end[1], old, &child);
    // Only the child may hold the writing end, or reading would never come to an end.
    close(end[1]);
    if (failed) {
        close(end[0]);
        errno = failed;
        io_error(d, "run the C compiler", argument[0]);
        diag_help(d, "linking needs a C compiler: install gcc or clang");
        return false;
    }
    read_message(end[0], message);
    close(end[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    // Each line of the linker's message becomes a note.
    diag_error(d, (Loc){0}, P_LINK, "the linker failed");
    for (const char *at = message; *at;) {
        const int span = (int)strcspn(at, "\n");
        diag_note(d, (Loc){0}, "%.*s", span, at);
        at += span + (at[span] == '\n');
    }
    return false;
}

// Position-independent, all relocations made at start and then read-only, no executable stack.
static bool link_into(Diag *d, const char *object, const char *library, const char *out,
                      const sigset_t *old) {
    // No build id and no debug information (-S): the program is a function of the object and the
    // library, and names no folder. Words are copied because exec's interface wants them writable.
    char message[MESSAGE_MAX + 1];
    const char *const word[] = {"cc",
                                "-pie",
                                "-o",
                                out,
                                object,
                                library,
                                "-Wl,--build-id=none,-S,-z,relro,-z,now,-z,noexecstack",
                                "-lm",
                                "-lpthread",
                                "-ldl",
                                NULL};
    char *argument[sizeof word / sizeof word[0]];
    memcpy(argument, word, sizeof word);
    return run_driver(d, argument, old, message);
}

// Signals that end a process at a person's wish.
// Held back, not lost: they arrive when codegen_link restores the mask.
static void block_signals(sigset_t *old) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, old);
}

bool codegen_link(Arena *a, Diag *d, const char *object, size_t size, const char *runtime_library,
                  const char *out) {
    // The rename would put a file in a device's place.
    struct stat info;
    if (stat(out, &info) == 0 && !S_ISREG(info.st_mode))
        return diag_error(d, (Loc){0}, P_LINK_IO, "can't write '%s': it is no regular file", out);
    // A name that begins with a dash would be an option to the compiler.
    out = *out == '-' ? arena_format(a, "./%s", out) : out;
    // Beside the target, so that the rename stays in one file system; the process id keeps two runs
    // apart.
    const char *object_path = arena_format(a, "%s.%d.o", out, (int)getpid());
    const char *temporary = arena_format(a, "%s.%d.tmp", out, (int)getpid());
    sigset_t old;
    block_signals(&old);
    bool good = write_file(d, object_path, object, size) &&
                link_into(d, object_path, runtime_library, temporary, &old);
    if (good && rename(temporary, out) != 0)
        good = io_error(d, "rename the program to", out);
    // Nothing stays behind, whatever failed; unlinking what was never made does no harm.
    unlink(object_path);
    if (!good)
        unlink(temporary);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return good;
}
