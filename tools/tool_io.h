// What every tool does at its edges: files in, files out, sizes and counts on the command line.
#ifndef PLIM_TOOLS_TOOL_IO_H
#define PLIM_TOOLS_TOOL_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The whole file ("-": standard input), NUL-terminated and malloc'ed. NULL after a sentence to
// stderr, also where the file is larger than limit bytes.
char *tool_read(const char *tool, const char *path, size_t limit, size_t *bytes);

// Whether all that was printed has arrived; false after a sentence.
bool tool_flush(const char *tool);

// Writes the bytes ("-" or NULL: standard output) to a temporary beside path, renamed when whole;
// signals that would end the process wait meanwhile. False after a sentence.
bool tool_write(const char *tool, const char *path, const void *bytes, size_t size);

// What a text is: by the file's ending, or, where that says nothing (standard input), by its first
// word.
typedef enum { TEXT_MODEL, TEXT_GRAPH, TEXT_PLAN } ToolText;
ToolText tool_text_kind(const char *path, const char *text);

// A count from least on. False where it is none.
bool tool_count(const char *text, int64_t least, int64_t *out);
// Whether messages to stderr may be coloured: a terminal, and no NO_COLOR.
bool tool_color(void);

#endif
