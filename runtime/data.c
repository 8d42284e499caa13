// Loaders. A file is never mapped or read whole: each row of a step is one pread into the step's
// buffer, so the resident memory of a run does not grow with its data.
//
// Shuffling needs no table: row number r of a pass is sent to permute(r) by a keyed bijection on
// 0..n-1, a four-round Feistel network on the next even power of two with cycle walking (Black and
// Rogaway 2002). So the position after a resume follows from the step alone.
#include "runtime/data.h"

#include "runtime/error.h"
#include "runtime/file_read.h"
#include "runtime/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LLMC_HEADER_BYTES = 1024,
    LLMC_MAGIC_U16 = 20240520, // version 1: GPT-2 tokens
    LLMC_MAGIC_U32 = 20240801, // version 7: Llama 3 tokens
    // bytes read at once, on the stack
    ROW_BUFFER = 1 << 16
};

struct PlimData {
    char *path;
    int fd;         // tokens
    uint64_t start; // first token's file offset
    uint64_t tokens;
    uint32_t width;  // bytes a token
    SafeFile *table; // NULL for tokens
};

static PlimStatus bad(PlimError *error, const char *path, const char *why) {
    return error_set(error, PLIM_BAD_INPUT, "%s: %s", path, why);
}

// A token file's header, or text.
static PlimStatus read_token_header(PlimData *d, uint64_t size, PlimError *error) {
    int32_t header[3];
    d->width = 1;
    d->tokens = size;
    if (size < LLMC_HEADER_BYTES)
        return PLIM_OK;
    if (!file_read_at(d->fd, header, sizeof header, 0))
        return bad(error, d->path, "can't be read");
    // Magic, version, number of tokens: three of the header's 256 i32.
    const bool u16 = header[0] == LLMC_MAGIC_U16 && header[1] == 1;
    const bool u32 = header[0] == LLMC_MAGIC_U32 && header[1] == 7;
    // Text: a token a byte, from the first one on.
    if (!u16 && !u32)
        return PLIM_OK;
    d->width = u16 ? 2 : 4;
    d->start = LLMC_HEADER_BYTES;
    d->tokens = (uint64_t)(uint32_t)header[2];
    // Divided, not multiplied: a wrong count must not overflow.
    if ((size - LLMC_HEADER_BYTES) / d->width < d->tokens)
        return bad(error, d->path, "the token file is shorter than its header says");
    return PLIM_OK;
}

// Opens what data_open describes. d->fd stays open beside a table, which has its own.
static PlimStatus open_tokens(PlimData *d, PlimError *error) {
    struct stat info;
    d->fd = open(d->path, O_RDONLY | O_CLOEXEC);
    if (d->fd < 0 || fstat(d->fd, &info) != 0) {
        return error_set(error, PLIM_IO, "can't open %s: %s", d->path, strerror(errno));
    }
    // Rows are read in any order, which a pipe can't do.
    if (!S_ISREG(info.st_mode))
        return bad(error, d->path, "is no regular file");
    uint8_t first[9];
    const uint64_t size = (uint64_t)info.st_size;
    if (size >= sizeof first && file_read_at(d->fd, first, sizeof first, 0) &&
        safetensors_probe(first, size))
        return safetensors_open(d->path, &d->table, error);
    return read_token_header(d, size, error);
}

PlimStatus data_open(const char *path, PlimData **out, PlimError *error) {
    PlimData *d = calloc(1, sizeof *d);
    error_set(error, PLIM_NO_MEMORY, "out of memory opening %s", path);
    if (!d)
        return PLIM_NO_MEMORY;
    d->fd = -1;
    d->path = strdup(path);
    const PlimStatus status = d->path ? open_tokens(d, error) : PLIM_NO_MEMORY;
    if (status != PLIM_OK) {
        data_release(d);
        return status;
    }
    *out = d;
    return PLIM_OK;
}

void data_release(PlimData *d) {
    if (!d)
        return;
    if (d->fd >= 0)
        close(d->fd);
    safetensors_close(d->table);
    free(d->path);
    free(d);
}

// All axes but the first: input [batch, ...] takes batch rows.
static uint64_t row_elements(const PlanInput *input) {
    uint64_t count = 1;
    for (uint32_t i = 1; i < input->rank; i++)
        count *= (uint64_t)input->dim[i];
    return count;
}

// Of all slots: slots x batch. A scalar input is one row.
static uint64_t rows_a_step(const PlanInput *input) {
    return (input->rank ? (uint64_t)input->dim[0] : 1) * input->slots;
}

// Distance between the first tokens of neighbouring windows.
static uint64_t window_stride(const PlanInput *input) {
    const uint64_t length = row_elements(input);
    // The last token of a row is only predicted, the next row begins with it.
    return length > 1 ? length - 1 : 1;
}

uint64_t data_examples(const PlimData *d, const PlanInput *input) {
    if (d->table) {
        const SafeTensor *t = safetensors_find(d->table, input->name);
        return t && t->rank > 0 ? (uint64_t)t->dim[0] : 0;
    }
    // Whole windows only.
    const uint64_t length = row_elements(input);
    return d->tokens < length ? 0 : (d->tokens - length) / window_stride(input) + 1;
}

static PlimStatus check_table(PlimData *d, const PlanInput *input, PlimError *error) {
    const SafeTensor *t = safetensors_find(d->table, input->name);
    if (!t) {
        return error_set(error, PLIM_BAD_INPUT, "%s has no tensor called %s, which the entry reads",
                         d->path, input->name);
    }
    // The file may have any number of rows.
    bool same = t->rank == input->rank;
    for (uint32_t i = 1; i < input->rank && same; i++)
        same = t->dim[i] == input->dim[i];
    if (!same || t->rank == 0 || t->dim[0] == 0) {
        snprintf(
            error->text, sizeof error->text,
            "%s: tensor %s does not have the shape of the model's input (all axes but the first "
            "must be equal)",
            d->path, input->name);
        return PLIM_BAD_INPUT;
    }
    return PLIM_OK;
}

PlimStatus data_check(PlimData *d, const PlanInput *input, PlimError *error) {
    if (d->table)
        return check_table(d, input, error);
    if (input->dtype != PLAN_I32 || input->rank != 2) {
        return error_set(
            error, PLIM_BAD_INPUT,
            "%s holds tokens, but the model's input %s is no i32[batch, length]; give a "
            "safetensors file with a tensor of that name",
            d->path, input->name);
    }
    if (data_examples(d, input) == 0) {
        return error_set(error, PLIM_BAD_INPUT,
                         "%s has %llu tokens, fewer than one row of the model's input %s (%lld)",
                         d->path, (unsigned long long)d->tokens, input->name,
                         (long long)input->dim[1]);
    }
    return PLIM_OK;
}

static uint64_t mix(uint64_t x) { // splitmix64 (Steele et al. 2014)
    x += 0x9e3779b97f4a7c15U;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
    x = (x ^ x >> 27) * 0x94d049bb133111ebU;
    return x ^ x >> 31;
}

// A bijection on 0..n-1 chosen by key.
// Round: (left, right) -> (right, left xor f(right)), which can be undone whatever f is.
static uint64_t permute(uint64_t index, uint64_t n, uint64_t key) {
    unsigned half = 1;
    // 2^(2 half) is the least even power of two that is not below n; half 32 would be all of 64
    // bits.
    while (half < 32 && (uint64_t)1 << (2 * half) < n)
        half++;
    const uint64_t mask = ((uint64_t)1 << half) - 1;
    do {
        uint64_t left = index >> half, right = index & mask;
        for (uint64_t round = 0; round < 4; round++) {
            const uint64_t next = left ^ (mix(right ^ mix(key + round)) & mask);
            left = right;
            right = next;
        }
        index = left << half | right;
    } while (index >= n); // Walk the cycle until inside: fewer than 4 rounds on average.
    return index;
}

static PlimStatus check_value(const PlimData *d, const PlanInput *input, int32_t x,
                              PlimError *error) {
    if (plan_input_allows(input, x))
        return PLIM_OK;
    return error_set(
        error, PLIM_BAD_INPUT,
        "%s: value %ld is out of range for input %s, which must be below %lld; is this the "
        "tokenizer the model was compiled for?",
        d->path, (long)x, input->name, (long long)(input->bound < 0 ? -input->bound : input->bound));
}

// One row of tokens, widened to i32, in pieces of ROW_BUFFER bytes.
static PlimStatus fill_tokens(const PlimData *d, const PlanInput *input, uint64_t row, int32_t *out,
                              PlimError *error) {
    uint8_t bytes[ROW_BUFFER];
    const uint64_t length = row_elements(input), room = ROW_BUFFER / d->width;
    const uint64_t first = row * window_stride(input);
    for (uint64_t done = 0; done < length;) {
        const uint64_t take = length - done < room ? length - done : room;
        if (!file_read_at(d->fd, bytes, take * d->width, d->start + (first + done) * d->width))
            return bad(error, d->path, "can't be read; was it shortened while in use?");
        for (uint64_t i = 0; i < take; i++) {
            uint32_t token = 0;
            // Little-endian: the low bytes of token.
            memcpy(&token, bytes + i * d->width, d->width);
            out[done + i] = (int32_t)token;
        }
        done += take;
    }
    return PLIM_OK;
}

PlimStatus data_fill(PlimData *d, const PlanInput *input, uint64_t step, bool shuffle,
                     uint64_t seed, void *out, PlimError *error) {
    const uint64_t n = data_examples(d, input), rows = rows_a_step(input);
    const uint64_t length = row_elements(input);
    const size_t size = plan_dtype_bytes(input->dtype);
    // Rows are numbered through all steps; pass counts how often the file has been used up.
    for (uint64_t i = 0; i < rows; i++) {
        const uint64_t number = step * rows + i, pass = number / n;
        // Each pass has a key of its own, made from the seed.
        const uint64_t row = shuffle ? permute(number % n, n, mix(seed ^ mix(pass))) : number % n;
        // T [slots, batch, ...]: the rows of all slots lie one behind the other.
        char *at = (char *)out + i * length * size;
        PlimStatus status;
        if (d->table)
            status = safetensors_read(d->table, safetensors_find(d->table, input->name),
                                      row * length, length, input->dtype, at, error);
        else
            status = fill_tokens(d, input, row, (int32_t *)(void *)at, error);
        // A token beyond the vocabulary would read outside its embedding table.
        for (uint64_t e = 0; status == PLIM_OK && input->dtype == PLAN_I32 && e < length; e++)
            status = check_value(d, input, ((int32_t *)(void *)at)[e], error);
        if (status != PLIM_OK)
            return status;
    }
    return PLIM_OK;
}

uint64_t data_tokens(const PlimData *d, const PlanInput *input) {
    const uint64_t length = row_elements(input);
    if (!d->table)
        return rows_a_step(input) * window_stride(input);
    return rows_a_step(input) * (input->dtype == PLAN_I32 && input->rank == 2 ? length : 1);
}
