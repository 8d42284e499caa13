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
enum { HEADER_MAX = 100000000, NAME_MAX_BYTES = 1024, CONVERT_CHUNK = 1 << 16 };

struct SafeFile {
    int fd;
    char *path;     // for messages
    char *header;   // JSON text, while it is read
    uint64_t data;  // file offset of the first tensor's bytes
    uint64_t bytes; // of tensor data
    uint32_t count, capacity;
    SafeTensor *tensor; // sorted by name once the file is open; names are owned
};

typedef struct {
    const char *name;
    uint32_t bytes;
} DTypeRow;

static const DTypeRow dtype_table[] = {{"BOOL", 1},    {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1},
                                       {"F8_E5M2", 1}, {"I16", 2}, {"U16", 2}, {"F16", 2},
                                       {"BF16", 2},    {"I32", 4}, {"U32", 4}, {"F32", 4},
                                       {"F64", 8},     {"I64", 8}, {"U64", 8}};

// NULL for a dtype the format does not have.
static const DTypeRow *dtype_row(const char *name) {
    for (size_t i = 0; i < sizeof dtype_table / sizeof dtype_table[0]; i++)
        if (strcmp(dtype_table[i].name, name) == 0)
            return &dtype_table[i];
    return NULL;
}

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
    uint64_t bytes = t->element_bytes;
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
    const DTypeRow *row = dtype_row(dtype);
    if (!row)
        return damaged(f, error, "an unknown dtype in tensor", name);
    t->dtype = row->name;
    t->element_bytes = row->bytes;
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

// IEEE binary16 to binary32, exact.
static float half_to_float(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t exponent = h >> 10 & 0x1f, fraction = h & 0x3ff;
    uint32_t bits;
    // Infinity or NaN: all exponent bits set in both formats.
    if (exponent == 0x1f) {
        bits = sign | 0x7f800000 | fraction << 13;
    } else if (exponent != 0) {
        // The exponents' biases are 15 and 127; the fraction has 10 bits of 23.
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    } else if (fraction == 0) {
        bits = sign;
    } else { // Subnormal: shift the leading one into place.
        exponent = 113;
        while (!(fraction & 0x400)) {
            fraction <<= 1;
            exponent--;
        }
        bits = sign | exponent << 23 | (fraction & 0x3ff) << 13;
    }
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

// bf16 is the upper half of an f32.
static uint16_t float_to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40); // NaN stays one
    // Round to nearest, ties to even; the largest floats become infinity.
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Element i of a chunk as a double; exact for every dtype but 64-bit integers above 2^53.
static double element(const SafeTensor *t, const void *chunk, size_t i) {
    const char *name = t->dtype;
    const uint8_t *at = chunk;
    if (strcmp(name, "F32") == 0) {
        float x;
        memcpy(&x, at + 4 * i, 4);
        return (double)x;
    }
    if (strcmp(name, "F64") == 0) {
        double x;
        memcpy(&x, at + 8 * i, 8);
        return x;
    }
    if (strcmp(name, "BF16") == 0 || strcmp(name, "F16") == 0) {
        uint16_t h;
        memcpy(&h, at + 2 * i, 2);
        // F16; else BF16, the upper half of an f32.
        if (name[0] == 'F')
            return (double)half_to_float(h);
        const uint32_t bits = (uint32_t)h << 16;
        float x;
        memcpy(&x, &bits, 4);
        return (double)x;
    }
    // Integers and BOOL. The file and the machine (x86-64) are both little-endian.
    const uint32_t bytes = t->element_bytes;
    uint64_t word = 0;
    memcpy(&word, at + bytes * i, bytes);
    const bool negative = name[0] == 'I' && word >> (8 * bytes - 1) & 1;
    // Copies the sign into the bits above the number.
    if (negative && bytes < 8)
        word |= ~(uint64_t)0 << (8 * bytes);
    return name[0] == 'I' ? (double)(int64_t)word : (double)word;
}

// False where x does not fit. Integers arrive whole: their source is never a float.
static bool store_element(PlanDType to, double x, void *out, size_t i) {
    switch (to) {
    case PLAN_F32:
        ((float *)out)[i] = (float)x;
        return true;
    case PLAN_BF16:
        ((uint16_t *)out)[i] = float_to_bf16((float)x);
        return true;
    case PLAN_I32:
        // Written so that NaN, too, is refused.
        if (!(x >= -2147483648.0 && x <= 2147483647.0))
            return false;
        ((int32_t *)out)[i] = (int32_t)x;
        return true;
    case PLAN_BOOL:
        ((uint8_t *)out)[i] = x != 0;
        return true;
    default:
        return false;
    }
}

PlimStatus safetensors_read(const SafeFile *f, const SafeTensor *t, uint64_t first, uint64_t count,
                            PlanDType to, void *out, PlimError *error) {
    // By first letter: F32, F64, F16, BF16 and BOOL; the last is told apart below.
    const bool from_float = t->dtype[0] == 'F' || t->dtype[0] == 'B';
    const bool to_float = to == PLAN_F32 || to == PLAN_BF16;
    const bool boolean = strcmp(t->dtype, "BOOL") == 0;
    // F8 can be listed but not converted. Floats and integers never mix; BOOL becomes bool or
    // i32.
    if (strncmp(t->dtype, "F8", 2) == 0 || (boolean ? to_float : from_float != to_float)) {
        return error_set(error, PLIM_BAD_INPUT, "%s: tensor %s is %s, which can't become %s",
                         f->path, t->name, t->dtype, plan_dtype_name(to));
    }
    const uint32_t size = t->element_bytes;
    const size_t to_size = plan_dtype_bytes(to);
    uint8_t chunk[CONVERT_CHUNK];
    // Elements 0 .. done - 1 have been stored.
    for (uint64_t done = 0; done < count;) {
        // Both in elements.
        const uint64_t left = count - done, room = CONVERT_CHUNK / size;
        const uint64_t take = left < room ? left : room;
        if (!file_read_at(f->fd, chunk, take * size, f->data + t->offset + (first + done) * size))
            return io_error(f->path, "read", error);
        for (uint64_t i = 0; i < take; i++) {
            const double x = element(t, chunk, (size_t)i);
            if (!store_element(to, x, (char *)out + (done + i) * to_size, 0)) {
                return error_set(error, PLIM_BAD_INPUT,
                                 "%s: tensor %s holds %g, which does not fit i32", f->path, t->name,
                                 x);
            }
        }
        done += take;
    }
    return PLIM_OK;
}
