// A small strict JSON reader: a cursor over text, for headers whose shape we know.
#ifndef PLIM_RUNTIME_JSON_READ_H
#define PLIM_RUNTIME_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *at, *end;
    bool failed;
} JsonCursor;

// Skips white space; true and one past it where the next character is c.
bool json_accept(JsonCursor *j, char c);
// The same, but anything else is a failure.
bool json_expect(JsonCursor *j, char c);
// A string, unescaped into out (NUL-terminated, valid UTF-8, no NUL inside); fails where it needs
// more than size.
bool json_string(JsonCursor *j, char *out, size_t size);
// Passes over a string.
bool json_skip_string(JsonCursor *j);
// A non-negative integer below 2^63 without sign, point or exponent.
bool json_count(JsonCursor *j, uint64_t *out);
// True at the end of the text, white space aside.
bool json_at_end(JsonCursor *j);

#endif
