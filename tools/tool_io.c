// Files are read whole before anything is decided, and written whole or not at all.
#include "tools/tool_io.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Everything from the stream, up to one byte more than limit. NULL without memory.
// The caller frees it.
static char *read_stream(FILE *in, size_t limit, size_t *bytes) {
    size_t size = 0, capacity = 1 << 16;
    char *text = malloc(capacity);
    while (text) {
        // One byte of the room always stays free, for the NUL.
        size += fread(text + size, 1, capacity - size - 1, in);
        // A short read is the end of the stream, or an error that the caller asks ferror about.
        if (size + 1 < capacity || size > limit)
            break;
        capacity *= 2;
        char *larger = realloc(text, capacity);
        // realloc leaves the old block to us where it fails.
        if (!larger)
            free(text);
        text = larger;
    }
    if (text)
        text[size] = '\0';
    *bytes = size;
    return text;
}

char *tool_read(const char *tool, const char *path, size_t limit, size_t *bytes) {
    const bool standard = strcmp(path, "-") == 0;
    FILE *in = standard ? stdin : fopen(path, "rbe");
    if (!in) {
        fprintf(stderr, "%s: error: can't read %s: %s\n", tool, path, strerror(errno));
        return NULL;
    }
    // fread does not promise an errno: without one, the sentence must not name an older failure.
    errno = 0;
    char *text = read_stream(in, limit, bytes);
    // The first of them that holds; NULL: all is well.
    const char *wrong = !text            ? "out of memory"
                        : ferror(in)     ? strerror(errno)
                        : *bytes > limit ? "it is too large"
                                         : NULL;
    // Standard input is not ours to close.
    if (!standard)
        fclose(in);
    if (!wrong)
        return text;
    fprintf(stderr, "%s: error: can't read %s: %s\n", tool, path, wrong);
    free(text);
    return NULL;
}

// A device or a pipe is written to: a rename would put a file in its place.
static bool is_special(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

// What is there may be written in part: a pipe can't be taken back. errno says why.
static bool write_through(const char *path, const void *bytes, size_t size) {
    FILE *out = fopen(path, "wbe");
    if (!out)
        return false;
    const bool good = fwrite(bytes, 1, size, out) == size;
    return fclose(out) == 0 && good;
}

// The process id keeps two compilers of one output apart. Not synced to disk, unlike
// checkpoints: what a power failure takes can be made again. errno says why it failed.
static bool write_renamed(const char *path, const void *bytes, size_t size) {
    char temporary[4096];
    const int length = snprintf(temporary, sizeof temporary, "%s.%ld.tmp", path, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof temporary) {
        errno = ENAMETOOLONG;
        return false;
    }
    FILE *out = fopen(temporary, "wbe");
    if (!out)
        return false;
    bool good = fwrite(bytes, 1, size, out) == size;
    // Also where fwrite failed: closing frees the stream, and its last bytes may fail too.
    good = fclose(out) == 0 && good;
    good = good && rename(temporary, path) == 0;
    if (!good) {
        // unlink must not replace the reason that the caller prints.
        const int why = errno;
        unlink(temporary);
        errno = why;
    }
    return good;
}

bool tool_flush(const char *tool) {
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    fprintf(stderr, "%s: error: can't write standard output: %s\n", tool,
            errno ? strerror(errno) : "some of it was lost");
    return false;
}

bool tool_write(const char *tool, const char *path, const void *bytes, size_t size) {
    bool good;
    if (!path || strcmp(path, "-") == 0) {
        path = "standard output";
        good = fwrite(bytes, 1, size, stdout) == size && fflush(stdout) == 0;
    } else if (is_special(path)) {
        good = write_through(path, bytes, size);
    } else {
        sigset_t set, old;
        // Killed between creating and renaming, the tool would leave its temporary behind.
        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGHUP);
        sigprocmask(SIG_BLOCK, &set, &old);
        good = write_renamed(path, bytes, size);
        const int why = errno;
        sigprocmask(SIG_SETMASK, &old, NULL);
        errno = why;
    }
    if (!good)
        fprintf(stderr, "%s: error: can't write %s: %s\n", tool, path, strerror(errno));
    return good;
}

static bool ends_with(const char *text, const char *end) {
    const size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

ToolText tool_text_kind(const char *path, const char *text) {
    if (ends_with(path, ".plim"))
        return TEXT_MODEL;
    if (ends_with(path, ".graph"))
        return TEXT_GRAPH;
    if (ends_with(path, ".plan"))
        return TEXT_PLAN;
    // Comments and blank lines come before the first word in all three forms.
    while (*text == '#' || *text == '\n' || *text == ' ')
        text += *text == '#' ? strcspn(text, "\n") : 1;
    // No model begins with one of these: its words are use, fn, model and place.
    static const char *const graph_word[] = {"module ", "size ", "state ", "graph "};
    for (size_t i = 0; i < sizeof graph_word / sizeof graph_word[0]; i++)
        if (strncmp(text, graph_word[i], strlen(graph_word[i])) == 0)
            return TEXT_GRAPH;
    // What is neither is read as a model, whose parser has the better messages.
    return strncmp(text, "plan ", 5) == 0 ? TEXT_PLAN : TEXT_MODEL;
}

bool tool_count(const char *text, int64_t least, int64_t *out) {
    char *end = NULL;
    errno = 0;
    // Out of range gives ERANGE; text after the number is no number.
    const long long number = strtoll(text, &end, 10);
    *out = number;
    return errno == 0 && end != text && *end == '\0' && number >= least;
}

bool tool_color(void) {
    const char *no = getenv("NO_COLOR");
    // NO_COLOR counts where it is set to anything but nothing.
    return isatty(STDERR_FILENO) == 1 && !(no && *no);
}
