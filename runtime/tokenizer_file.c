// Where a tokenizer's file is, and whole text files to ids. A file is encoded in pieces where the
// tokenizer's words can't reach over the cut (before the white space behind an ASCII letter); other
// tokenizers get it whole.
#include "runtime/tokenizer_parts.h"

#include "runtime/error.h"
#include "runtime/file_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Bytes: of a piece of a file; of a file that must be encoded whole.
enum { CUT_BYTES = 4 << 20, WHOLE_MAX = 1 << 28 };

static bool write_all(int fd, const void *data, size_t bytes) {
    const char *at = data;
    while (bytes > 0) {
        const ssize_t done = write(fd, at, bytes);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        at += done;
        bytes -= (size_t)done;
    }
    return true;
}

// Where the piece may end: before the last white space behind a letter; 0 where there is none.
static size_t last_cut(const char *text, size_t size) {
    for (size_t at = size - 1; at > 0; at--) {
        const char letter = (char)(text[at - 1] | 0x20);
        if ((text[at] == ' ' || text[at] == '\n') && letter >= 'a' && letter <= 'z')
            return at;
    }
    return 0;
}

// One file being encoded.
typedef struct {
    const PlimTokenizer *t;
    const char *path;
    int in, out;
    uint64_t size, read; // bytes of the file
    char *text;          // read and not yet encoded
    size_t capacity, held;
    TokenList tokens;
} FileEncoding;

// Fills the buffer up. A buffer without a cut is doubled first.
static PlimStatus fill(FileEncoding *f, PlimError *error) {
    if (f->held == f->capacity) {
        if (f->capacity > WHOLE_MAX)
            return error_set(error, PLIM_BAD_INPUT, "%s: no place to cut the text", f->path);
        char *grown = realloc(f->text, 2 * f->capacity);
        if (!grown)
            return error_set(error, PLIM_NO_MEMORY, "%s: out of memory reading it", f->path);
        f->text = grown;
        f->capacity *= 2;
    }
    const uint64_t left = f->size - f->read;
    const size_t take = left < f->capacity - f->held ? (size_t)left : f->capacity - f->held;
    if (!file_read_at(f->in, f->text + f->held, take, f->read))
        return error_set(error, PLIM_IO, "can't read %s: %s", f->path, strerror(errno));
    f->held += take;
    f->read += take;
    return PLIM_OK;
}

// Encodes the first bytes of the buffer and writes their ids.
static PlimStatus encode_piece(FileEncoding *f, size_t bytes, uint64_t *count, PlimError *error) {
    f->tokens.count = 0;
    const PlimStatus status =
        tokenizer_encode(f->t, f->text, bytes, TOKENS_PLAIN, &f->tokens, error);
    if (status != PLIM_OK)
        return status;
    if (!write_all(f->out, f->tokens.id, f->tokens.count * sizeof *f->tokens.id))
        return error_set(error, PLIM_IO, "can't write the tokens of %s: %s", f->path,
                         strerror(errno));
    *count += f->tokens.count;
    f->held -= bytes;
    memmove(f->text, f->text + bytes, f->held);
    return PLIM_OK;
}

static PlimStatus encode_file(FileEncoding *f, uint64_t *count, PlimError *error) {
    struct stat info;
    f->in = open(f->path, O_RDONLY | O_CLOEXEC);
    if (f->in < 0 || fstat(f->in, &info) != 0)
        return error_set(error, PLIM_IO, "can't open %s: %s", f->path, strerror(errno));
    f->size = (uint64_t)info.st_size;
    if (!f->t->cuts_are_exact && f->size > WHOLE_MAX)
        return error_set(error, PLIM_BAD_INPUT,
                         "%s: this tokenizer needs a text whole, and %llu bytes are more than %d",
                         f->path, (unsigned long long)f->size, WHOLE_MAX);
    f->capacity = f->t->cuts_are_exact ? CUT_BYTES : (size_t)f->size + 1;
    f->text = malloc(f->capacity);
    if (!f->text)
        return error_set(error, PLIM_NO_MEMORY, "%s: out of memory reading it", f->path);
    PlimStatus status = PLIM_OK;
    while (status == PLIM_OK && (f->read < f->size || f->held > 0)) {
        if (f->read < f->size)
            status = fill(f, error);
        const size_t cut = f->read == f->size ? f->held : last_cut(f->text, f->held);
        if (status == PLIM_OK && cut > 0)
            status = encode_piece(f, cut, count, error);
    }
    return status;
}

PlimStatus tokenizer_encode_file(const PlimTokenizer *t, const char *path, int out, uint64_t *count,
                                 PlimError *error) {
    FileEncoding f = {.t = t, .path = path, .in = -1, .out = out};
    *count = 0;
    const PlimStatus status = encode_file(&f, count, error);
    if (f.in >= 0)
        close(f.in);
    free(f.text);
    free(f.tokens.id);
    return status;
}

// The name in the executable's folder, in path. False where that can't be said.
static bool beside_executable(const char *name, char *path, size_t size) {
    const ssize_t length = readlink("/proc/self/exe", path, size - 1);
    if (length <= 0)
        return false;
    path[length] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash)
        return false;
    const size_t left = size - (size_t)(slash + 1 - path);
    return (size_t)snprintf(slash + 1, left, "%s", name) < left;
}

PlimStatus tokenizer_open_named(const char *name, PlimTokenizer **out, PlimError *error) {
    char path[4096];
    const bool relative = name[0] != '/' && strcmp(name, "bytes") != 0;
    if (relative && beside_executable(name, path, sizeof path) && access(path, F_OK) == 0)
        return tokenizer_open(path, out, error);
    return tokenizer_open(name, out, error);
}
