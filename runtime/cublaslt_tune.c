// Text, so that people can see what was measured, and compare. A damaged line is refused with its
// number; lines for products that the program lacks are no mistake, as programs change.
#include "runtime/cublaslt_tune.h"

#include "runtime/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = TUNE_KEY_MAX + 256, WORDS = 8 };

typedef struct {
    char key[TUNE_KEY_MAX];
    LtAlgorithm algorithm;
    TuneWay way;
} Line;

struct TuneFile {
    Line *line;
    size_t count, room;
};

void tune_write_head(size_t version, const char *gpu, FILE *out) {
    fprintf(out, "plimsoll tune 1\nlibrary %zu\ngpu %s\n", version, gpu);
}

void tune_write_line(const char *key, const LtAlgorithm *algorithm, TuneWay way,
                     double microseconds, FILE *out) {
    fprintf(out, "%.3f us", microseconds);
    for (int i = 0; i < WORDS; i++)
        fprintf(out, " %016" PRIx64, algorithm->word[i]);
    fprintf(out, "%s: %s\n", way == TUNE_APART ? " apart" : "", key);
}

// A line without its end. False at the file's end, and for a line that is too long.
static bool read_line(FILE *in, char out[LINE_MAX_BYTES]) {
    if (!fgets(out, LINE_MAX_BYTES, in))
        return false;
    const size_t length = strcspn(out, "\n");
    const bool whole = out[length] == '\n';
    out[length] = '\0';
    return whole;
}

// False where the line is none of a product.
static bool parse_line(const char *text, Line *out) {
    static const char apart[] = "apart:";
    out->way = TUNE_TAKEN;
    char *end;
    (void)strtod(text, &end); // the time is for people
    if (end == text || strncmp(end, " us ", 4) != 0)
        return false;
    text = end + 4;
    for (int i = 0; i < WORDS; i++) {
        errno = 0;
        out->algorithm.word[i] = strtoull(text, &end, 16);
        if (errno || end - text != 16 || (*end != ' ' && (*end != ':' || i + 1 < WORDS)))
            return false;
        text = end + 1;
    }
    if (*end == ' ') {
        if (strncmp(text, apart, sizeof apart - 1) != 0)
            return false;
        out->way = TUNE_APART;
        text += sizeof apart - 1;
    }
    return *text == ' ' &&
           snprintf(out->key, sizeof out->key, "%s", text + 1) < (int)sizeof out->key;
}

// False without memory.
static bool add_line(TuneFile *f, const Line *line) {
    if (f->count == f->room) {
        const size_t room = f->room ? 2 * f->room : 64;
        Line *grown = realloc(f->line, room * sizeof *grown);
        if (!grown)
            return false;
        f->line = grown;
        f->room = room;
    }
    f->line[f->count++] = *line;
    return true;
}

// Head and lines. *fits is false where it is another library's or GPU's.
static PlimStatus read_all(FILE *in, const char *path, size_t version, const char *gpu, TuneFile *f,
                           bool *fits, PlimError *error) {
    char text[LINE_MAX_BYTES], wanted[2][LINE_MAX_BYTES];
    snprintf(wanted[0], sizeof wanted[0], "library %zu", version);
    snprintf(wanted[1], sizeof wanted[1], "gpu %s", gpu);
    if (!read_line(in, text) || strcmp(text, "plimsoll tune 1") != 0)
        return error_set(error, PLIM_BAD_INPUT, "%s is no file that tune has written", path);
    for (int i = 0; i < 2; i++)
        *fits = read_line(in, text) && strcmp(text, wanted[i]) == 0 && *fits;
    int number = 3;
    while (*fits && read_line(in, text)) {
        Line line;
        number++;
        if (!parse_line(text, &line))
            return error_set(error, PLIM_BAD_INPUT, "%s:%d: no algorithm of a product", path,
                             number);
        if (!add_line(f, &line))
            return error_set(error, PLIM_NO_MEMORY, "out of memory reading %s", path);
    }
    if (ferror(in))
        return error_set(error, PLIM_IO, "can't read %s: %s", path, strerror(errno));
    if (*fits && !feof(in))
        return error_set(error, PLIM_BAD_INPUT, "%s:%d: a line too long or cut off", path,
                         number + 1);
    return PLIM_OK;
}

PlimStatus tune_read(const char *path, size_t version, const char *gpu, TuneFile **out,
                     PlimError *error) {
    *out = NULL;
    FILE *in = fopen(path, "re");
    if (!in)
        return error_set(error, PLIM_IO, "can't open %s: %s", path, strerror(errno));
    TuneFile *f = calloc(1, sizeof *f);
    bool fits = true;
    const PlimStatus status =
        f ? read_all(in, path, version, gpu, f, &fits, error)
          : error_set(error, PLIM_NO_MEMORY, "out of memory reading %s", path);
    fclose(in);
    if (status == PLIM_OK && fits) {
        *out = f;
        return PLIM_OK;
    }
    if (status == PLIM_OK)
        fprintf(stderr,
                "%s was measured with another cuBLASLt or GPU and is not used: run tune again\n",
                path);
    tune_release(f);
    return status;
}

void tune_release(TuneFile *f) {
    if (!f)
        return;
    free(f->line);
    free(f);
}

const LtAlgorithm *tune_find(const TuneFile *f, const char *key) {
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->line[i].key, key) == 0)
            return f->line[i].way == TUNE_APART ? NULL : &f->line[i].algorithm;
    return NULL;
}
