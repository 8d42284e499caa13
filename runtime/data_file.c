// Opening data files. Tokens and text are wrapped as a file of one tensor without a name, so that
// whoever reads them reads tensors only. The content stays on disk.
#include "runtime/data_file.h"

#include "runtime/error.h"
#include "runtime/file_read.h"
#include "runtime/npy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LLMC_HEADER_BYTES = 1024,
    LLMC_MAGIC_U16 = 20240520, // version 1: GPT-2 tokens
    LLMC_MAGIC_U32 = 20240801, // version 7: Llama 3 tokens
    FIRST_BYTES = 12           // enough to tell what a file is
};

static PlimStatus bad(PlimError *error, const char *path, const char *why) {
    return error_set(error, PLIM_BAD_INPUT, "%s %s", path, why);
}

// The name insists on a format that the content may be too broken to show.
static bool is_named(const char *path, const char *ending) {
    const size_t length = strlen(path), own = strlen(ending);
    return length > own && strcmp(path + length - own, ending) == 0;
}

// A token file's or a text's only tensor. *start: offset of its first byte.
static PlimStatus describe_tokens(const char *path, const int32_t *first, uint64_t size,
                                  SafeTensor *t, uint64_t *start, PlimError *error) {
    // A token a byte, from the first one on.
    *t = (SafeTensor){.name = "", .type = ELEMENT_U8, .rank = 1};
    *start = 0;
    uint64_t tokens = size;
    const bool u16 = first[0] == LLMC_MAGIC_U16, u32 = first[0] == LLMC_MAGIC_U32;
    // Magic, version, number of tokens: three of the header's 256 i32.
    if (size >= LLMC_HEADER_BYTES && (u16 || u32)) {
        if (first[1] != (u16 ? 1 : 7))
            return bad(error, path, "is a token file of a version that is not known here");
        t->type = u16 ? ELEMENT_U16 : ELEMENT_U32;
        *start = LLMC_HEADER_BYTES;
        tokens = (uint32_t)first[2];
        // Divided, not multiplied: a wrong count must not overflow.
        if ((size - LLMC_HEADER_BYTES) / element_bytes(t->type) < tokens)
            return bad(error, path, "is a token file shorter than its header says");
    }
    if (tokens == 0)
        return bad(error, path, "holds no tokens");
    t->dim[0] = (int64_t)tokens;
    t->bytes = tokens * element_bytes(t->type);
    return PLIM_OK;
}

// fd is handed on to *out, or closed.
static PlimStatus open_tokens(const char *path, int fd, const uint8_t *first, uint64_t size,
                              DataFile *out, PlimError *error) {
    int32_t header[FIRST_BYTES / sizeof(int32_t)];
    memcpy(header, first, sizeof header);
    SafeTensor t;
    uint64_t start;
    out->tokens = true;
    PlimStatus status = describe_tokens(path, header, size, &t, &start, error);
    if (status == PLIM_OK)
        status = safetensors_wrap(path, fd, start, &t, &out->tensors, error);
    if (status != PLIM_OK)
        close(fd);
    return status;
}

PlimStatus data_file_open(const char *path, DataFile *out, PlimError *error) {
    *out = (DataFile){.path = path};
    struct stat info;
    // Not blocking: a pipe must be refused, not waited for.
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_set(error, PLIM_IO, "can't open %s: %s", path, strerror(errno));
    uint8_t first[FIRST_BYTES] = {0};
    PlimStatus status = PLIM_OK;
    // Rows are read in any order, which a pipe can't do.
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        status = bad(error, path, "is no regular file");
    else if (info.st_size == 0)
        status = bad(error, path, "is empty");
    const uint64_t size = status == PLIM_OK ? (uint64_t)info.st_size : 0;
    if (status == PLIM_OK && !file_read_at(fd, first, size < sizeof first ? size : sizeof first, 0))
        status = error_set(error, PLIM_IO, "can't read %s: %s", path, strerror(errno));
    const bool npy = is_named(path, ".npy") || (size >= NPY_MAGIC_BYTES && npy_probe(first));
    const bool table =
        is_named(path, ".safetensors") || (size > 8 && safetensors_probe(first, size));
    if (status == PLIM_OK && !npy && !table)
        return open_tokens(path, fd, first, size, out, error);
    // Both open the file for themselves.
    close(fd);
    if (status != PLIM_OK)
        return status;
    return npy ? npy_open(path, &out->tensors, error)
               : safetensors_open(path, &out->tensors, error);
}

const SafeTensor *data_file_tensor(const DataFile *f, const char *name) {
    const SafeTensor *only =
        safetensors_count(f->tensors) == 1 ? safetensors_at(f->tensors, 0) : NULL;
    return only && only->name[0] == '\0' ? only : safetensors_find(f->tensors, name);
}
