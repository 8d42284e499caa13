// The safetensors reader. A file is an 8-byte little-endian header length, a JSON object (name ->
// dtype, shape, data_offsets), and the tensors' bytes. The rules follow the format's own reference
// implementation: the header is at most 100 MB and begins with '{'; offsets tile the rest of the
// file exactly; names are unique.
#include "runtime/safetensors.h"

#include "runtime/error.h"
#include "runtime/file_read.h"
#include "runtime/json_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Bytes. The first is the format's own limit, the second ours; conversion works in chunks of the
// third, so that a tensor is never in memory twice.
enum { HEADER_MAX = 100000000, NAME_MAX_BYTES = 1024, CONVERT_CHUNK = 1 << 18 };

struct SafeFile {
    int fd;
    char *path;     // for messages
    char *header;   // JSON text, while it is read
    uint64_t data;  // file offset of the first tensor's bytes
    uint64_t bytes; // of tensor data
    uint32_t count, capacity;
    SafeTensor *tensor; // sorted by name once the file is open; names are owned
};

// A sentence that names the file and, where name is not NULL, the tensor.
static PlimStatus damaged(const SafeFile *f, PlimError *error, const char *why, const char *name) {
    return error_set(error, PLIM_BAD_INPUT, "%s is no valid safetensors file: %s%s%s", f->path, why,
                     name ? " " : "", name ? name : "");
}

static PlimStatus io_error(const char *path, const char *verb, PlimError *error) {
    return error_set(error, PLIM_IO, "can't %s %s: %s", verb, path, strerror(errno));
}

// "[1, 2]" with at most limit numbers.
static bool read_counts(JsonCursor *j, uint64_t *out, uint32_t limit, uint32_t *count) {
    *count = 0;
    if (!json_expect(j, '['))
        return false;
    if (json_accept(j, ']'))
        return true;
    do {
        if (*count == limit || !json_count(j, &out[(*count)++]))
            return false;
    } while (json_accept(j, ','));
    return json_expect(j, ']');
}

// One tensor's object. Each of the three keys exactly once, others refused.
static bool read_tensor(JsonCursor *j, SafeTensor *t, char *dtype, size_t dtype_size) {
    // A bit for each key that has been read.
    unsigned seen = 0;
    uint64_t dim[SAFETENSORS_RANK_MAX], range[2] = {0, 0};
    uint32_t ranges = 0;
    if (!json_expect(j, '{'))
        return false;
    do {
        char key[32];
        if (!json_string(j, key, sizeof key) || !json_expect(j, ':'))
            return false;
        unsigned bit = 0;
        bool ok = false;
        if (strcmp(key, "dtype") == 0) {
            bit = 1;
            ok = json_string(j, dtype, dtype_size);
        } else if (strcmp(key, "shape") == 0) {
            bit = 2;
            ok = read_counts(j, dim, SAFETENSORS_RANK_MAX, &t->rank);
        } else if (strcmp(key, "data_offsets") == 0) {
            bit = 4;
            ok = read_counts(j, range, 2, &ranges) && ranges == 2;
        }
        if (!ok || seen & bit)
            return false;
        seen |= bit;
    } while (json_accept(j, ','));
    for (uint32_t i = 0; i < t->rank; i++)
        t->dim[i] = (int64_t)dim[i];
    t->offset = range[0];
    // Where range is reversed this wraps; the line below then refuses it.
    t->bytes = range[1] - range[0];
    return seen == 7 && range[0] <= range[1] && json_expect(j, '}');
}

// A zeroed tensor at the end of the list, owned by the file. NULL without memory.
static SafeTensor *add_tensor(SafeFile *f) {
    if (f->count == f->capacity) {
        const uint32_t capacity = f->capacity ? f->capacity * 2 : 64;
        SafeTensor *grown = realloc(f->tensor, capacity * sizeof *grown);
        if (!grown)
            return NULL;
        f->tensor = grown;
        f->capacity = capacity;
    }
    SafeTensor *t = &f->tensor[f->count++];
    memset(t, 0, sizeof *t);
    return t;
}

// Shape x dtype is exactly the stated bytes.
static bool size_matches(const SafeTensor *t) {
    uint64_t bytes = element_bytes(t->type);
    for (uint32_t i = 0; i < t->rank; i++)
        if (__builtin_mul_overflow(bytes, (uint64_t)t->dim[i], &bytes))
            return false;
    return bytes == t->bytes;
}

// {"key": "text", ...}: the format allows nothing else in metadata.
static bool skip_metadata(JsonCursor *j) {
    if (!json_expect(j, '{'))
        return false;
    if (json_accept(j, '}'))
        return true;
    do {
        if (!json_skip_string(j) || !json_expect(j, ':') || !json_skip_string(j))
            return false;
    } while (json_accept(j, ','));
    return json_expect(j, '}');
}

// One name and value of the header. The tensor belongs to f from the start, so that closing f
// frees it whatever fails here.
static PlimStatus read_entry(SafeFile *f, JsonCursor *j, PlimError *error) {
    char name[NAME_MAX_BYTES], dtype[16] = "";
    if (!json_string(j, name, sizeof name) || !json_expect(j, ':'))
        return damaged(f, error, "its header is not the expected JSON", NULL);
    // Metadata is no tensor; what it says means nothing to us.
    if (strcmp(name, "__metadata__") == 0)
        return skip_metadata(j) ? PLIM_OK
                                : damaged(f, error, "its metadata is no object of strings", NULL);
    SafeTensor *t = add_tensor(f);
    if (!t)
        return PLIM_NO_MEMORY;
    t->name = strdup(name);
    if (!t->name)
        return PLIM_NO_MEMORY;
    if (!read_tensor(j, t, dtype, sizeof dtype))
        return damaged(f, error, "a malformed description of tensor", name);
    if (!element_find(dtype, &t->type))
        return damaged(f, error, "an unknown dtype in tensor", name);
    if (!size_matches(t))
        return damaged(f, error, "shape and bytes disagree in tensor", name);
    return PLIM_OK;
}

// Empty tensors come before the one that begins where they lie: only so do they tile.
static int by_offset(const void *a, const void *b) {
    const SafeTensor *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const SafeTensor *)a)->name, ((const SafeTensor *)b)->name);
}

// No hole, no overlap, the end is the file's end; then names are unique.
static PlimStatus check_tiling(SafeFile *f, PlimError *error) {
    if (f->count == 0)
        return f->bytes == 0 ? PLIM_OK : damaged(f, error, "bytes that belong to no tensor", NULL);
    qsort(f->tensor, f->count, sizeof *f->tensor, by_offset);
    // Where the tensors so far end, in bytes from the first one's first.
    uint64_t end = 0;
    for (uint32_t i = 0; i < f->count; i++) {
        if (f->tensor[i].offset != end)
            return damaged(f, error, "a hole or an overlap before tensor", f->tensor[i].name);
        end += f->tensor[i].bytes;
    }
    if (end != f->bytes)
        return damaged(f, error, "the tensors don't end where the file ends", NULL);
    // This order stays: safetensors_find searches by it.
    qsort(f->tensor, f->count, sizeof *f->tensor, by_name);
    for (uint32_t i = 1; i < f->count; i++)
        if (strcmp(f->tensor[i - 1].name, f->tensor[i].name) == 0)
            return damaged(f, error, "two tensors are called", f->tensor[i].name);
    return PLIM_OK;
}

// length is at most HEADER_MAX and inside the file (safetensors_probe).
static PlimStatus read_header(SafeFile *f, uint64_t length, PlimError *error) {
    f->header = malloc((size_t)length + 1);
    if (!f->header)
        return PLIM_NO_MEMORY;
    if (!file_read_at(f->fd, f->header, length, 8))
        return io_error(f->path, "read", error);
    JsonCursor j = {.at = f->header, .end = f->header + length};
    if (f->header[0] != '{' || !json_expect(&j, '{'))
        return damaged(f, error, "its header does not begin with {", NULL);
    if (!json_accept(&j, '}')) {
        do {
            const PlimStatus status = read_entry(f, &j, error);
            if (status != PLIM_OK)
                return status;
        } while (json_accept(&j, ','));
        // Failing is kept in the cursor: json_at_end tells.
        json_expect(&j, '}');
    }
    if (!json_at_end(&j))
        return damaged(f, error, "its header is not valid JSON", NULL);
    return check_tiling(f, error);
}

bool safetensors_probe(const uint8_t first[9], uint64_t file_bytes) {
    uint64_t length = 0;
    // Little-endian, whatever the machine.
    for (int i = 7; i >= 0; i--)
        length = length << 8 | first[i];
    return length >= 2 && length <= HEADER_MAX && length + 8 <= file_bytes && first[8] == '{';
}

// Fills f from its path. What was opened before a failure is safetensors_close's to free.
static PlimStatus open_file(SafeFile *f, PlimError *error) {
    f->fd = open(f->path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (f->fd < 0 || fstat(f->fd, &info) != 0)
        return io_error(f->path, "open", error);
    uint8_t first[9];
    const uint64_t size = info.st_size > 0 ? (uint64_t)info.st_size : 0;
    // The least file: a length, then {}.
    if (size < 10 || !file_read_at(f->fd, first, sizeof first, 0))
        return damaged(f, error, "it is too short", NULL);
    if (!safetensors_probe(first, size))
        return damaged(f, error, "its header's length is impossible", NULL);
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | first[i];
    f->data = 8 + length;
    f->bytes = size - f->data;
    return read_header(f, length, error);
}

PlimStatus safetensors_open(const char *path, SafeFile **out, PlimError *error) {
    SafeFile *f = calloc(1, sizeof *f);
    // The sentence for every way out below that sets none of its own.
    error_set(error, PLIM_NO_MEMORY, "out of memory reading %s", path);
    if (!f)
        return PLIM_NO_MEMORY;
    f->fd = -1;
    f->path = strdup(path);
    const PlimStatus status = f->path ? open_file(f, error) : PLIM_NO_MEMORY;
    if (status != PLIM_OK) {
        safetensors_close(f);
        return status;
    }
    free(f->header); // Names were copied out of it.
    f->header = NULL;
    *out = f;
    return PLIM_OK;
}

PlimStatus safetensors_wrap(const char *path, int fd, uint64_t data, const SafeTensor *t,
                            SafeFile **out, PlimError *error) {
    SafeFile *f = calloc(1, sizeof *f);
    SafeTensor *copy = f ? add_tensor(f) : NULL;
    if (copy) {
        *copy = *t;
        copy->name = strdup(t->name);
        f->path = strdup(path);
    }
    if (!copy || !copy->name || !f->path) {
        if (f)
            f->fd = -1; // Still the caller's
        safetensors_close(f);
        return error_set(error, PLIM_NO_MEMORY, "out of memory reading %s", path);
    }
    f->fd = fd;
    f->data = data;
    f->bytes = t->bytes;
    *out = f;
    return PLIM_OK;
}

void safetensors_close(SafeFile *f) {
    if (!f)
        return;
    if (f->fd >= 0)
        close(f->fd);
    for (uint32_t i = 0; i < f->count; i++)
        // Const for callers, but ours to free.
        free((void *)(uintptr_t)f->tensor[i].name);
    free(f->tensor);
    free(f->header);
    free(f->path);
    free(f);
}

uint32_t safetensors_count(const SafeFile *f) {
    return f->count;
}

const SafeTensor *safetensors_at(const SafeFile *f, uint32_t index) {
    return &f->tensor[index];
}

const SafeTensor *safetensors_find(const SafeFile *f, const char *name) {
    const SafeTensor key = {.name = name};
    return f->count ? bsearch(&key, f->tensor, f->count, sizeof key, by_name) : NULL;
}

// What needs no conversion is read straight to where it belongs; the rest in chunks, so that no
// tensor is in memory twice.
PlimStatus safetensors_read_raw(const SafeFile *f, const SafeTensor *t, uint64_t first,
                                uint64_t count, void *out, PlimError *error) {
    const uint32_t size = element_bytes(t->type);
    const uint64_t start = f->data + t->offset + first * size;
    return file_read_at(f->fd, out, count * size, start) ? PLIM_OK
                                                         : io_error(f->path, "read", error);
}

PlimStatus safetensors_read(const SafeFile *f, const SafeTensor *t, uint64_t first, uint64_t count,
                            PlanDType to, void *out, PlimError *error) {
    const ElementType type = element_of_plan(to);
    if (!element_converts(t->type, type)) {
        return error_set(error, PLIM_BAD_INPUT, "%s: tensor %s is %s, which can't become %s",
                         f->path, t->name, element_name(t->type), plan_dtype_name(to));
    }
    if (t->type == type && type != ELEMENT_BOOL)
        return safetensors_read_raw(f, t, first, count, out, error);
    const uint32_t size = element_bytes(t->type);
    const uint64_t start = f->data + t->offset + first * size;
    char *chunk = malloc(CONVERT_CHUNK);
    if (!chunk)
        return error_set(error, PLIM_NO_MEMORY, "out of memory reading %s", f->path);
    PlimStatus status = PLIM_OK;
    // Elements 0 .. done - 1 have been stored.
    for (uint64_t done = 0; done < count && status == PLIM_OK;) {
        const uint64_t left = count - done, room = CONVERT_CHUNK / size;
        const size_t take = (size_t)(left < room ? left : room);
        if (!file_read_at(f->fd, chunk, take * size, start + done * size)) {
            status = io_error(f->path, "read", error);
            break;
        }
        const size_t good =
            element_convert(t->type, chunk, type, (char *)out + done * element_bytes(type), take);
        if (good < take)
            status = error_set(error, PLIM_BAD_INPUT,
                               "%s: tensor %s holds %.17g, which does not fit %s", f->path, t->name,
                               element_number(t->type, chunk + good * size), plan_dtype_name(to));
        done += take;
    }
    free(chunk);
    return status;
}

PlimStatus safetensors_read_buffer(const SafeFile *f, const SafeTensor *t, PlanDType to,
                                   RunWindow *window, uint32_t buffer, uint64_t offset,
                                   PlimError *error) {
    const uint64_t size = plan_dtype_bytes(to), count = t->bytes / element_bytes(t->type);
    PlimStatus status = PLIM_OK;
    for (uint64_t done = 0, got; done < count && status == PLIM_OK; done += got / size) {
        void *at = window_room(window, buffer, offset + done * size, (count - done) * size, &got);
        status = safetensors_read(f, t, done, got / size, to, at, error);
        if (status == PLIM_OK && !window_write(window))
            status = window_status(window, error);
    }
    return status;
}
