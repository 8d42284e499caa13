// MiniMalloc's CSV of packing problems, read and written (docs/packing-csv.md).
#ifndef PLIM_TOOLS_PACK_CSV_H
#define PLIM_TOOLS_PACK_CSV_H

#include "ir/diag.h"
#include "passes/memory/pack.h"

// Rows of a file in its order. The text must outlive it.
typedef struct {
    int count;
    PackItem *item;
    const char *header; // its line; as all lines, ended by the line's end, or NUL
    const char **row;   // by item: its line
    int offset_column;  // of the header, or -1
} PackCsv;

// NULL with diagnostics (P0904) that name line and column. The text is NUL-terminated behind its
// bytes.
PackCsv *pack_csv_read(Arena *a, Diag *d, const char *file, const char *text, size_t bytes);
// The same rows with the items' offsets, in the column offset where there is one, else in one more.
void pack_csv_print(const PackCsv *csv, FILE *out);

#endif
