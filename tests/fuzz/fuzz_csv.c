// libFuzzer: bytes as a CSV of buffers, whatever they are. What is read packs in a little work
// without collisions, and what is printed is read again as the same problem.
#include "tools/pack_csv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_again(const PackCsv *csv, Arena *a) {
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (!memory)
        abort();
    pack_csv_print(csv, memory);
    fclose(memory);
    const PackCsv *again = pack_csv_read(a, diag_create(a), "again.csv", text, size);
    if (!again || again->count != csv->count || again->offset_column < 0)
        abort();
    for (int i = 0; i < csv->count; i++)
        if (again->item[i].size != csv->item[i].size ||
            again->item[i].first != csv->item[i].first || again->item[i].last != csv->item[i].last)
            abort();
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena *a = arena_create();
    const char *text = arena_text_span(a, (const char *)data, size);
    Diag *d = diag_create(a);
    PackCsv *csv = pack_csv_read(a, d, "in.csv", text, size);
    if (!csv && diag_error_count(d) == 0)
        abort();
    // Large files are for the bench.
    if (csv && csv->count < 200) {
        const PackOptions options = {.work = 20000};
        const PackAnswer answer = pack_solve(csv->item, csv->count, &options, a);
        for (int i = 0; i < csv->count; i++)
            if (csv->item[i].offset + csv->item[i].size > answer.height ||
                csv->item[i].offset % csv->item[i].alignment != 0)
                abort();
        read_again(csv, a);
    }
    arena_release(a);
    return 0;
}
