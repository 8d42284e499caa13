// A stop may be spread over several tokens, so the longest end of the text that begins a stop is
// held back until it has become one or can't any more. Whatever is held is shorter than the longest
// stop, which bounds the search.
#include "runtime/stop_text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static bool grow(StopText *s, size_t bytes) {
    if (s->capacity - s->held_bytes >= bytes)
        return true;
    const size_t capacity = 2 * (s->held_bytes + bytes);
    char *grown = realloc(s->held, capacity);
    if (!grown)
        return false;
    s->held = grown;
    s->capacity = capacity;
    return true;
}

// Whether the text at a place is a stop (true), or as far as it goes begins one (*begins).
static bool is_stop(const StopText *s, size_t at, bool *begins) {
    const size_t left = s->held_bytes - at;
    for (int i = 0; i < s->stops; i++) {
        const size_t length = strlen(s->stop[i]);
        if (memcmp(s->held + at, s->stop[i], left < length ? left : length) != 0)
            continue;
        if (left >= length)
            return true;
        *begins = true;
    }
    return false;
}

bool stop_text_add(StopText *s, const char *text, size_t bytes, size_t *ready) {
    if (!grow(s, bytes)) {
        *ready = SIZE_MAX;
        return false;
    }
    if (bytes)
        memcpy(s->held + s->held_bytes, text, bytes);
    s->held_bytes += bytes;
    for (*ready = 0; *ready < s->held_bytes; ++*ready) {
        bool begins = false;
        if (is_stop(s, *ready, &begins))
            return true;
        // A later place may still be a stop where an earlier one only begins one: that is waited
        // for, as the earliest counts.
        if (begins)
            return false;
    }
    return false;
}

size_t stop_text_end(const StopText *s) {
    bool begins;
    for (size_t at = 0; at < s->held_bytes; at++)
        if (is_stop(s, at, &begins))
            return at;
    return s->held_bytes;
}

void stop_text_printed(StopText *s, size_t bytes) {
    s->held_bytes -= bytes;
    memmove(s->held, s->held + bytes, s->held_bytes);
}

void stop_text_release(StopText *s) {
    free(s->held);
    *s = (StopText){0};
}
