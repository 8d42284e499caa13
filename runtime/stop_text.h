// Text on its way out, watched for strings that end it.
#ifndef PLIM_RUNTIME_STOP_TEXT_H
#define PLIM_RUNTIME_STOP_TEXT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    const char *const *stop; // not empty each
    int stops;
    char *held; // may be the beginning of a stop
    size_t held_bytes, capacity;
} StopText;

// Adds text. *ready bytes at held may be printed; then stop_text_printed. True where a stop has
// come: what stands before it is ready, and nothing after it counts. False with *ready SIZE_MAX:
// out of memory.
bool stop_text_add(StopText *s, const char *text, size_t bytes, size_t *ready);
// At the end of the text: bytes at held that may be printed, as nothing follows them.
size_t stop_text_end(const StopText *s);
// Drops what was printed.
void stop_text_printed(StopText *s, size_t bytes);
void stop_text_release(StopText *s);

#endif
