// A strict JSON reader (RFC 8259): a cursor over text, pulled by a caller that knows the shape it
// wants and can pass over the rest.
//
// Nothing is allocated and nothing is read past end. The first mistake sets failed and stays where
// it is; every later call is false, so a caller may check once at the end and say where
// (json_place). Lists are walked with a JsonList:
//
//     JsonList members = {0};
//     char key[32];
//     while (json_member(&j, &members, key, sizeof key))
//         if (strcmp(key, "vocab_size") == 0)
//             json_integer(&j, &vocab);
//         else
//             json_skip(&j);
//     if (j.failed) ...
//
// A key that comes twice is given twice: refusing it is the caller's.
#ifndef PLIM_RUNTIME_JSON_READ_H
#define PLIM_RUNTIME_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    JSON_DEPTH_MAX = 64,  // lists inside each other; one more is a failure
    JSON_NUMBER_MAX = 400 // characters of a number: more is a failure
};

typedef struct {
    const char *at, *end;
    bool failed;
    int depth; // lists begun with json_member, json_item or json_skip and not ended
} JsonCursor;

// What comes next, told by its first character; JSON_WRONG where that begins no value.
typedef enum {
    JSON_WRONG,
    JSON_OBJECT,
    JSON_ARRAY,
    JSON_STRING,
    JSON_NUMBER,
    JSON_BOOL,
    JSON_NULL
} JsonKind;
JsonKind json_peek(JsonCursor *j);

// A walk over one object or array; zeroed before its first call.
typedef struct {
    bool begun;
} JsonList;
// True where the object has another member: its key is in key, the cursor before its value, which
// the caller must read or skip. False after the closing brace, or on failure. A key too long for
// key is cut to size - 1 bytes, and so equals no shorter name.
bool json_member(JsonCursor *j, JsonList *list, char *key, size_t size);
// The same, but with the cursor before the key: for keys of any length. After reading the key,
// json_expect(j, ':').
bool json_key(JsonCursor *j, JsonList *list);
// True where the array has another item, with the cursor before it.
bool json_item(JsonCursor *j, JsonList *list);

// The value of the member of an object, which the cursor stands before; false where it has none (or
// is no object). The cursor itself does not move. Costs a walk over what stands before the member.
bool json_find(JsonCursor object, const char *name, JsonCursor *value);

// A string, unescaped into out (NUL-terminated, valid UTF-8, no NUL inside); fails where it needs
// more than size.
bool json_string(JsonCursor *j, char *out, size_t size);
// Bytes of the string that comes next, unescaped, without moving past it.
bool json_string_size(JsonCursor *j, size_t *bytes);
// A string of any length that may have NUL inside: *bytes without the NUL written behind it; fails
// where it needs more than size - 1.
bool json_bytes(JsonCursor *j, char *out, size_t size, size_t *bytes);
// Passes over a string.
bool json_skip_string(JsonCursor *j);

// Any number, as the nearest double; one too large for a double is a failure.
bool json_number(JsonCursor *j, double *out);
// A whole number of int64_t's range, written without point or exponent.
bool json_integer(JsonCursor *j, int64_t *out);
// A non-negative integer below 2^63 without sign, point or exponent.
bool json_count(JsonCursor *j, uint64_t *out);
bool json_bool(JsonCursor *j, bool *out);
// null: true, and past it. Anything else is no failure.
bool json_accept_null(JsonCursor *j);
// Passes over any value, checking it.
bool json_skip(JsonCursor *j);

// Skips white space; true and one past it where the next character is c.
bool json_accept(JsonCursor *j, char c);
// The same, but anything else is a failure.
bool json_expect(JsonCursor *j, char c);
// True at the end of the text, white space aside.
bool json_at_end(JsonCursor *j);
// Line and column (in bytes), both from 1, of the cursor in the text that begins at start.
void json_place(const JsonCursor *j, const char *start, int *line, int *column);

#endif
