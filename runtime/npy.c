// .npy: magic, version, header length, a Python dict as text, then the elements.
//
//     {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
//
// The dict is read by its grammar, not searched: each of the three keys once, in any order, and the
// elements must fill the rest of the file exactly. Versions 1 to 3 differ in the length's width and
// the text's encoding only.
#include "runtime/npy.h"

#include "runtime/error.h"
#include "runtime/file_read.h"
#include "runtime/file_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// The dict of a plain array is about 100 bytes; only structured ones, which we refuse, are longer.
enum { HEADER_MAX = 4096, ALIGNMENT = 64, WRITE_CHUNK = 1 << 16 };

static const uint8_t magic[NPY_MAGIC_BYTES] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

// NumPy's type letters with their bytes, as the format calls them; the byte order stands before.
static const struct {
    const char *descr;
    ElementType type;
} descr_table[] = {{"b1", ELEMENT_BOOL}, {"u1", ELEMENT_U8},  {"i1", ELEMENT_I8},
                   {"u2", ELEMENT_U16},  {"i2", ELEMENT_I16}, {"f2", ELEMENT_F16},
                   {"u4", ELEMENT_U32},  {"i4", ELEMENT_I32}, {"f4", ELEMENT_F32},
                   {"u8", ELEMENT_U64},  {"i8", ELEMENT_I64}, {"f8", ELEMENT_F64}};

bool npy_probe(const uint8_t first[NPY_MAGIC_BYTES]) {
    return memcmp(first, magic, NPY_MAGIC_BYTES) == 0;
}

static PlimStatus damaged(const char *path, const char *why, PlimError *error) {
    return error_set(error, PLIM_BAD_INPUT, "%s is no .npy file that can be read: %s", path, why);
}

static void skip_space(const char **at) {
    *at += strspn(*at, " \t\n\r");
}

// Past the word where it comes next, after any space.
static bool accept(const char **at, const char *word) {
    skip_space(at);
    const size_t length = strlen(word);
    if (strncmp(*at, word, length) != 0)
        return false;
    *at += length;
    return true;
}

// 'text' or "text", without escapes.
static bool read_text(const char **at, char *out, size_t size) {
    skip_space(at);
    const char quote = **at;
    if (quote != '\'' && quote != '"')
        return false;
    const char *end = strchr(++*at, quote);
    const size_t length = end ? (size_t)(end - *at) : size;
    if (length >= size)
        return false;
    memcpy(out, *at, length);
    out[length] = '\0';
    *at = end + 1;
    return true;
}

// (), (3,), (3, 4): at most 2^62 elements.
static bool read_shape(const char **at, SafeTensor *t) {
    if (!accept(at, "("))
        return false;
    while (!accept(at, ")")) {
        if (t->rank == SAFETENSORS_RANK_MAX || **at < '0' || **at > '9')
            return false;
        // strtoll says by errno alone that a number does not fit.
        errno = 0;
        char *end;
        t->dim[t->rank++] = strtoll(*at, &end, 10);
        *at = end;
        if (errno != 0)
            return false;
        if (!accept(at, ",") && (skip_space(at), **at != ')'))
            return false;
    }
    return true;
}

// "<f4"; one-byte types have "|" for their order.
static bool read_descr(const char **at, SafeTensor *t) {
    char descr[8];
    if (!read_text(at, descr, sizeof descr) || !descr[0])
        return false;
    for (size_t i = 0; i < sizeof descr_table / sizeof descr_table[0]; i++)
        if (strcmp(descr_table[i].descr, descr + 1) == 0) {
            t->type = descr_table[i].type;
            // Big-endian files are refused rather than swapped: none of today's machines writes
            // them.
            return descr[0] == '<' || (descr[0] == '|' && descr[1] && descr[2] == '1');
        }
    return false;
}

// NULL, or what is wrong.
static const char *read_dict(const char *at, SafeTensor *t) {
    unsigned seen = 0; // A bit for each key
    bool columns_first = false;
    if (!accept(&at, "{"))
        return "its header is no dict";
    while (!accept(&at, "}")) {
        char key[16];
        if (!read_text(&at, key, sizeof key) || !accept(&at, ":"))
            return "its header has an unexpected key";
        unsigned bit;
        if (strcmp(key, "descr") == 0) {
            bit = 1;
            if (!read_descr(&at, t))
                return "its elements are no little-endian numbers";
        } else if (strcmp(key, "fortran_order") == 0) {
            bit = 2;
            columns_first = accept(&at, "True");
            if (!columns_first && !accept(&at, "False"))
                return "fortran_order is neither True nor False";
        } else if (strcmp(key, "shape") == 0) {
            bit = 4;
            if (!read_shape(&at, t))
                return "its shape is no tuple of at most 8 sizes";
        } else {
            return "its header has an unexpected key";
        }
        if (seen & bit)
            return "its header has a key twice";
        seen |= bit;
        if (!accept(&at, ",") && (skip_space(&at), *at != '}'))
            return "its header is no dict";
    }
    skip_space(&at);
    if (seen != 7 || *at)
        return "its header is incomplete";
    return columns_first && t->rank > 1 ? "its columns come first; save it in C order" : NULL;
}

// Shape times element, checked.
static bool find_bytes(SafeTensor *t) {
    t->bytes = element_bytes(t->type);
    for (uint32_t i = 0; i < t->rank; i++)
        if (__builtin_mul_overflow(t->bytes, (uint64_t)t->dim[i], &t->bytes))
            return false;
    return true;
}

// Fills t and where its bytes begin.
static PlimStatus read_header(const char *path, int fd, SafeTensor *t, uint64_t *data,
                              PlimError *error) {
    struct stat info;
    uint8_t first[12];
    char text[HEADER_MAX + 1];
    if (fd < 0 || fstat(fd, &info) != 0)
        return error_set(error, PLIM_IO, "can't open %s: %s", path, strerror(errno));
    const uint64_t size = info.st_size > 0 ? (uint64_t)info.st_size : 0;
    if (size < sizeof first || !file_read_at(fd, first, sizeof first, 0) || !npy_probe(first))
        return damaged(path, "it does not begin as one", error);
    if (first[6] < 1 || first[6] > 3)
        return damaged(path, "its version is unknown", error);
    // The length: 2 bytes in version 1, 4 from version 2 on.
    uint64_t length = first[8] | (uint64_t)first[9] << 8;
    *data = 10;
    if (first[6] > 1) {
        length |= (uint64_t)first[10] << 16 | (uint64_t)first[11] << 24;
        *data = 12;
    }
    if (length > HEADER_MAX || *data + length > size)
        return damaged(path, "its header's length is impossible", error);
    if (!file_read_at(fd, text, length, *data))
        return error_set(error, PLIM_IO, "can't read %s: %s", path, strerror(errno));
    text[length] = '\0';
    *data += length;
    const char *why = strlen(text) == length ? read_dict(text, t) : "its header has a NUL";
    if (!why && (!find_bytes(t) || t->bytes != size - *data))
        why = "its shape does not fit the file's size";
    return why ? damaged(path, why, error) : PLIM_OK;
}

PlimStatus npy_open(const char *path, SafeFile **out, PlimError *error) {
    SafeTensor t = {.name = ""};
    uint64_t data = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    PlimStatus status = read_header(path, fd, &t, &data, error);
    if (status == PLIM_OK)
        status = safetensors_wrap(path, fd, data, &t, out, error);
    if (status != PLIM_OK && fd >= 0)
        close(fd);
    return status;
}

static const char *descr_of(ElementType type) {
    for (size_t i = 0; i < sizeof descr_table / sizeof descr_table[0]; i++)
        if (descr_table[i].type == type)
            return descr_table[i].descr;
    return NULL;
}

// Version 1, padded so that the elements are aligned as NumPy wants them. Gives the bytes used.
static size_t make_header(ElementType type, uint32_t rank, const int64_t *dim,
                          char out[HEADER_MAX]) {
    memcpy(out, magic, NPY_MAGIC_BYTES);
    out[6] = 1;
    out[7] = 0;
    size_t used = 10;
    used += (size_t)snprintf(out + used, HEADER_MAX - used,
                             "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
                             element_bytes(type) == 1 ? '|' : '<', descr_of(type));
    for (uint32_t i = 0; i < rank; i++)
        used += (size_t)snprintf(out + used, HEADER_MAX - used, "%s%lld", i ? ", " : "",
                                 (long long)dim[i]);
    // A tuple of one has a comma.
    used += (size_t)snprintf(out + used, HEADER_MAX - used, "%s), }", rank == 1 ? "," : "");
    while ((used + 1) % ALIGNMENT != 0)
        out[used++] = ' ';
    out[used++] = '\n';
    out[8] = (char)((used - 10) & 0xff);
    out[9] = (char)((used - 10) >> 8);
    return used;
}

static bool write_elements(FILE *f, ElementType from, ElementType to, const char *at,
                           uint64_t count) {
    char chunk[WRITE_CHUNK];
    if (from == to)
        return fwrite(at, element_bytes(from), count, f) == count;
    const uint64_t room = WRITE_CHUNK / element_bytes(to);
    for (uint64_t done = 0; done < count;) {
        const size_t take = (size_t)(count - done < room ? count - done : room);
        element_convert(from, at + done * element_bytes(from), to, chunk, take);
        if (fwrite(chunk, element_bytes(to), take, f) != take)
            return false;
        done += take;
    }
    return true;
}

PlimStatus npy_write(const char *path, PlanDType dtype, uint32_t rank, const int64_t *dim,
                     const void *at, PlimError *error) {
    const ElementType from = element_of_plan(dtype);
    // NumPy has no bf16; f32 holds each of them exactly.
    const ElementType to = from == ELEMENT_BF16 ? ELEMENT_F32 : from;
    char header[HEADER_MAX], room[4096];
    const bool special = file_is_special(path);
    uint64_t count = 1;
    for (uint32_t i = 0; i < rank; i++)
        count *= (uint64_t)dim[i];
    // The process id keeps two runs that write to one place apart.
    if (snprintf(room, sizeof room, "%s.%ld.part", path, (long)getpid()) >= (int)sizeof room)
        return error_set(error, PLIM_BAD_INPUT, "the file's name is too long: %s", path);
    // Renamed when whole: a reader never sees half a result.
    const char *written = special ? path : room;
    FILE *f = fopen(written, "wbe");
    const size_t length = make_header(to, rank, dim, header);
    bool good =
        f && fwrite(header, 1, length, f) == length && write_elements(f, from, to, at, count);
    if (f)
        good = fclose(f) == 0 && good;
    if (good && (special || rename(written, path) == 0))
        return PLIM_OK;
    error_set(error, PLIM_IO, "can't write %s: %s", path, strerror(errno));
    if (!special)
        unlink(written);
    return PLIM_IO;
}
