// Child processes: the compiler driver and binutils, which link what code generation made.
//
// A child gets no input; what it says on both outputs is collected and becomes a diagnostic where
// it fails. Signals that would end this process are held back while temporaries exist; the child
// has the mask from before, so that an interrupt from the keyboard still ends it.
#include "codegen/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

// P_*: error codes. MESSAGE_MAX in bytes: enough for the first screens of a linker's complaints.
enum { P_LINK = 950, P_LINK_IO = 951, MESSAGE_MAX = 4000 };

extern char **environ;

bool child_io_error(Diag *d, const char *what, const char *path) {
    return diag_error(d, (Loc){0}, P_LINK_IO, "can't %s '%s': %s", what, path, strerror(errno));
}

// All of it or false after a diagnostic. Readable by this user alone, as a temporary should be.
bool child_write_file(Diag *d, const char *path, const char *bytes, size_t size) {
    const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0)
        return child_io_error(d, "write", path);
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
        child_io_error(d, "write", path);
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

// Returns 0 or an errno. The child has this process's mask as it was before child_block_signals, so
// that an interrupt from the keyboard still ends it.
static int spawn(char *const *argument, int out, const sigset_t *old, pid_t *child) {
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

// Each line of what the child said becomes a note. False, always.
static bool report(Diag *d, const char *tool, const char *message) {
    diag_error(d, (Loc){0}, P_LINK, "%s failed", tool);
    for (const char *at = message; *at;) {
        const int span = (int)strcspn(at, "\n");
        diag_note(d, (Loc){0}, "%.*s", span, at);
        at += span + (at[span] == '\n');
    }
    return false;
}

bool child_run(Arena *a, Diag *d, const char *const *word, const sigset_t *old) {
    int end[2], status = 0, count = 0;
    pid_t child;
    while (word[count])
        count++;
    // Copied, because exec's interface wants words that can be written.
    char **argument = arena_array(a, char *, count + 1);
    memcpy(argument, word, sizeof *argument * (size_t)count);
    char *message = arena_array(a, char, MESSAGE_MAX + 1);
    if (pipe2(end, O_CLOEXEC) != 0)
        return child_io_error(d, "make a pipe for", word[0]);
    const int failed = spawn(argument, end[1], old, &child);
    // Only the child may hold the writing end, or reading would never come to an end.
    close(end[1]);
    if (failed) {
        close(end[0]);
        errno = failed;
        child_io_error(d, "run", word[0]);
        diag_help(d, "linking needs a C compiler and its binutils: install gcc");
        return false;
    }
    read_message(end[0], message);
    close(end[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return (WIFEXITED(status) && WEXITSTATUS(status) == 0) || report(d, word[0], message);
}

// Signals that end a process at a person's wish.
// Held back, not lost: they arrive when the caller restores the mask.
void child_block_signals(sigset_t *old) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, old);
}
