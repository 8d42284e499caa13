// The safetensors writer: a new file beside the old one, synced, then renamed over it, and the
// folder synced, so that after a crash at any moment the name shows either the old content or the
// whole new one.
#include "runtime/safetensors.h"

#include "runtime/error.h"
#include "runtime/file_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONVERT_CHUNK = 1 << 18 }; // Bytes

// Text that grows; failed once memory ran out.
typedef struct {
    char *at;
    size_t used, capacity;
    bool failed;
} Text;

// After a failure the text keeps what it had and failed stays set; callers look once, at the
// end.
static void append(Text *t, const char *bytes, size_t count) {
    if (t->used + count + 1 > t->capacity) {
        // Doubling: linear in the bytes written.
        const size_t capacity = (t->used + count + 1) * 2;
        char *grown = realloc(t->at, capacity);
        if (!grown) {
            t->failed = true;
            return;
        }
        t->at = grown;
        t->capacity = capacity;
    }
    memcpy(t->at + t->used, bytes, count);
    t->used += count;
}

static void append_text(Text *t, const char *text) {
    append(t, text, strlen(text));
}

// A JSON string; bytes from 0x80 on are UTF-8 and stand for themselves.
static void append_string(Text *t, const char *text) {
    append_text(t, "\"");
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        char escaped[8];
        if (c == '"' || c == '\\')
            snprintf(escaped, sizeof escaped, "\\%c", c);
        else if (c < 0x20)
            snprintf(escaped, sizeof escaped, "\\u%04x", c);
        else
            snprintf(escaped, sizeof escaped, "%c", c);
        append_text(t, escaped);
    }
    append_text(t, "\"");
}

// The type the tensor has in the file.
static ElementType stored_type(const SafeSource *s) {
    return s->as ? *s->as : element_of_plan(s->dtype);
}

static uint64_t element_count(const SafeSource *s) {
    uint64_t count = 1;
    for (uint32_t i = 0; i < s->rank; i++)
        count *= (uint64_t)s->dim[i];
    return count;
}

// Dense, in the file.
static uint64_t tensor_bytes(const SafeSource *s) {
    return element_count(s) * element_bytes(stored_type(s));
}

// The header with its length, padded with spaces so that data is aligned to 8 bytes.
static Text make_header(const SafeSource *tensor, uint32_t count, const char *metadata) {
    Text t = {0};
    // Room for the length, filled in when it is known.
    append(&t, "\0\0\0\0\0\0\0\0", 8);
    append_text(&t, "{");
    if (metadata) {
        append_text(&t, "\"__metadata__\":");
        append_text(&t, metadata);
    }
    // Of the next tensor, from the end of the header: the data follow without gaps.
    uint64_t offset = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0 || metadata)
            append_text(&t, ",");
        append_string(&t, tensor[i].name);
        char text[128];
        snprintf(text, sizeof text, ":{\"dtype\":\"%s\",\"shape\":[",
                 element_name(stored_type(&tensor[i])));
        append_text(&t, text);
        for (uint32_t d = 0; d < tensor[i].rank; d++) {
            snprintf(text, sizeof text, "%s%lld", d ? "," : "", (long long)tensor[i].dim[d]);
            append_text(&t, text);
        }
        const uint64_t end = offset + tensor_bytes(&tensor[i]);
        snprintf(text, sizeof text, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)offset,
                 (unsigned long long)end);
        append_text(&t, text);
        offset = end;
    }
    append_text(&t, "}");
    while (!t.failed && t.used % 8 != 0)
        append_text(&t, " ");
    // Little-endian; the length's own 8 bytes do not count.
    for (int i = 0; i < 8 && !t.failed; i++)
        t.at[i] = (char)((t.used - 8) >> (8 * i) & 0xff);
    return t;
}

// Elements of a tensor, converted in chunks where the file's type is another. False with errno set.
static bool write_elements(int fd, const SafeSource *s, const char *at, uint64_t count) {
    const ElementType from = element_of_plan(s->dtype), to = stored_type(s);
    if (from == to)
        return file_write(fd, at, count * element_bytes(to));
    const uint64_t room = CONVERT_CHUNK / element_bytes(to);
    char *chunk = malloc(CONVERT_CHUNK);
    bool good = chunk != NULL;
    for (uint64_t done = 0; good && done < count;) {
        const size_t take = (size_t)(count - done < room ? count - done : room);
        element_convert(from, at + done * element_bytes(from), to, chunk, take);
        good = file_write(fd, chunk, take * element_bytes(to));
        done += take;
    }
    free(chunk);
    return good;
}

// False with errno set.
static bool write_tensor(int fd, const SafeSource *s) {
    const uint32_t size = element_bytes(element_of_plan(s->dtype));
    const uint64_t bytes = element_count(s) * size;
    if (s->at)
        return write_elements(fd, s, s->at, bytes / size);
    // A window shows whole elements: they are at most 64 bytes.
    for (uint64_t done = 0, got; done < bytes; done += got) {
        const void *at = window_read(s->window, s->buffer, s->offset + done, bytes - done, &got);
        if (!at || !write_elements(fd, s, at, got / size))
            return false;
    }
    return true;
}

bool safetensors_write_to(int fd, const SafeSource *tensor, uint32_t count, const char *metadata,
                          uint64_t *bytes) {
    Text header = make_header(tensor, count, metadata);
    bool ok = !header.failed;
    // errno of a failed allocation, whatever freeing does to it.
    int why = ENOMEM;
    if (ok) {
        *bytes = header.used;
        ok = file_write(fd, header.at, header.used);
        for (uint32_t i = 0; i < count && ok; i++) {
            ok = write_tensor(fd, &tensor[i]);
            *bytes += tensor_bytes(&tensor[i]);
        }
        why = errno;
    }
    free(header.at);
    errno = why;
    return ok;
}

// The rename itself is on disk only when the folder is.
static bool sync_folder(const char *path) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    const size_t length = slash ? (size_t)(slash - path) : 0;
    if (length >= sizeof folder)
        return false;
    memcpy(folder, path, length);
    folder[length] = '\0';
    // No slash: the current folder. A slash in front only: the root.
    const int fd = open(slash ? (length ? folder : "/") : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const bool ok = file_sync(fd);
    close(fd);
    return ok;
}

// False with errno set. Up to the rename path is untouched, and temporary is gone on failure.
static bool write_file(const char *temporary, const char *path, const SafeSource *tensor,
                       uint32_t count, const char *metadata) {
    const int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return false;
    uint64_t bytes;
    bool ok = safetensors_write_to(fd, tensor, count, metadata, &bytes);
    // Before the rename: the name must never show a file whose bytes are not on disk.
    ok = ok && file_sync(fd);
    ok = file_close(fd) && ok;
    ok = ok && rename(temporary, path) == 0 && sync_folder(path);
    if (!ok) {
        // unlink must not replace the reason that the caller prints.
        const int why = errno;
        unlink(temporary);
        errno = why;
    }
    return ok;
}

PlimStatus safetensors_write(const char *path, const SafeSource *tensor, uint32_t count,
                             const char *metadata, PlimError *error) {
    char temporary[4096];
    // The process id keeps two runs that save to one place apart.
    const int length = snprintf(temporary, sizeof temporary, "%s.%ld.part", path, (long)getpid());
    if (length >= (int)sizeof temporary)
        return error_set(error, PLIM_BAD_INPUT, "the file's name is too long: %s", path);
    if (!write_file(temporary, path, tensor, count, metadata))
        return error_set(error, PLIM_IO, "can't write %s: %s", path, strerror(errno));
    return PLIM_OK;
}
