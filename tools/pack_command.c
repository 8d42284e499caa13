// plim-opt --csv: a packing problem in, offsets out.
//
// The file is read whole, checked, packed, and written whole or not at all. The JSON line comes
// last, when all is done or known to be impossible; the seconds in it are of the processor, for
// packing alone.
#include "tools/pack_command.h"

#include "passes/memory/pack.h"
#include "tools/pack_csv.h"
#include "tools/tool_io.h"

#include <stdlib.h>
#include <time.h>

enum { CSV_MAX = 256 << 20 };

static bool write_rows(const PackCsv *csv, const char *out) {
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (!memory) {
        fprintf(stderr, "plim-opt: out of memory\n");
        return false;
    }
    pack_csv_print(csv, memory);
    const bool good = fclose(memory) == 0 && tool_write("plim-opt", out, text, size);
    free(text);
    return good;
}

static bool is_met(const char *file, const PackAnswer *answer, uint64_t capacity) {
    if (!capacity || answer->height <= capacity)
        return true;
    if (answer->bound > capacity)
        fprintf(stderr,
                "plim-opt: %s does not fit in %llu bytes, which is proved: no packing is lower "
                "than %llu; %llu was "
                "found\n",
                file, (unsigned long long)capacity, (unsigned long long)answer->bound,
                (unsigned long long)answer->height);
    else
        fprintf(stderr,
                "plim-opt: no packing of %s in %llu bytes was found, nor a proof that there is "
                "none: the lowest found "
                "takes %llu, and the search has done all the work it may\n",
                file, (unsigned long long)capacity, (unsigned long long)answer->height);
    return false;
}

static int pack_rows(const PackCsv *csv, const char *file, const char *out, uint64_t capacity,
                     Arena *a) {
    const PackOptions options = {.capacity = capacity};
    const clock_t begin = clock();
    const PackAnswer answer = pack_solve(csv->item, csv->count, &options, a);
    const double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    const bool met = is_met(file, &answer, capacity);
    if (met && out && !write_rows(csv, out))
        return 1;
    printf("{\"buffers\": %d, \"load\": %llu, \"height\": %llu, \"bound\": %llu, \"optimal\": %s, "
           "\"how\": \"%s\", "
           "\"seconds\": %.6f}\n",
           csv->count, (unsigned long long)answer.load, (unsigned long long)answer.height,
           (unsigned long long)answer.bound, answer.optimal ? "true" : "false", answer.how,
           seconds);
    if (fflush(stdout) != 0) {
        fprintf(stderr, "plim-opt: standard output can't be written\n");
        return 1;
    }
    return met ? 0 : 1;
}

int pack_command(const char *file, const char *out, uint64_t capacity) {
    size_t bytes = 0;
    char *text = tool_read("plim-opt", file, CSV_MAX, &bytes);
    if (!text)
        return 1;
    Arena *a = arena_create();
    Diag *diag = diag_create(a);
    const PackCsv *csv = pack_csv_read(a, diag, file, text, bytes);
    diag_print(diag, stderr, tool_color());
    const int status = csv ? pack_rows(csv, file, out, capacity, a) : 1;
    arena_release(a);
    free(text);
    return status;
}
