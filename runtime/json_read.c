// Strict JSON over a bounded text. See json_read.h for the contract.
//
// Every reader leaves the cursor behind what it read, or failed. Skipping needs no recursion: a
// bit a level says whether it is inside an object or an array. Numbers are checked against the
// grammar here and converted by strtod, which rounds exactly; the text is copied first, as it has
// no NUL behind it and strtod wants the decimal point of the process's locale.
#include "runtime/json_read.h"

#include "runtime/plan_fields.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// Failure is kept in the cursor, so that a caller may check once at the end.
static bool fail(JsonCursor *j) {
    j->failed = true;
    return false;
}

static void skip_space(JsonCursor *j) {
    while (j->at < j->end && memchr(" \t\r\n", *j->at, 4))
        j->at++;
}

// Past c where it comes next, after any space; not finding it is no failure.
bool json_accept(JsonCursor *j, char c) {
    if (j->failed)
        return false;
    skip_space(j);
    if (j->at == j->end || *j->at != c)
        return false;
    j->at++;
    return true;
}

bool json_expect(JsonCursor *j, char c) {
    return json_accept(j, c) || fail(j);
}

// -1 where c is none.
static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

// Four hex digits after \u.
static bool read_hex(JsonCursor *j, uint32_t *out) {
    *out = 0;
    for (int i = 0; i < 4; i++) {
        const int digit = j->at < j->end ? hex_digit(*j->at) : -1;
        if (digit < 0)
            return fail(j);
        *out = *out << 4 | (uint32_t)digit;
        j->at++;
    }
    return true;
}

// The code point after \u, surrogate pairs joined.
static bool read_escape_point(JsonCursor *j, uint32_t *point) {
    if (!read_hex(j, point))
        return false;
    if (*point < 0xd800 || *point > 0xdfff)
        return true;
    uint32_t low;
    // A high half must be followed by an escaped low one; either alone is no character.
    if (*point > 0xdbff || j->end - j->at < 2 || j->at[0] != '\\' || j->at[1] != 'u')
        return fail(j);
    j->at += 2;
    if (!read_hex(j, &low))
        return false;
    if (low < 0xdc00 || low > 0xdfff)
        return fail(j);
    *point = 0x10000 + ((*point - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

static size_t utf8_encode(uint32_t point, char out[4]) {
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    // Two to four bytes. The last ones take six bits each, from the back; what is left fits the
    // lead byte below its marker bits.
    const size_t length = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (point & 0x3f));
        point >>= 6;
    }
    static const unsigned char lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(lead[length] | point);
    return length;
}

// One character of a string, escaped or not, as UTF-8. Length 0 after a failure.
// The cursor stands on a byte of the string, before its closing quote.
static size_t read_character(JsonCursor *j, char out[4]) {
    // Nearly all of them.
    if (*j->at >= 0x20 && *j->at != '\\') {
        out[0] = *j->at++;
        return 1;
    }
    if (*j->at != '\\') {
        // Control characters must be escaped.
        const bool control = (unsigned char)*j->at < 0x20;
        const size_t length = control ? 0 : plan_utf8_character(j->at, (size_t)(j->end - j->at));
        memcpy(out, j->at, length);
        j->at += length;
        return length;
    }
    if (j->end - j->at < 2)
        return 0;
    const char kind = j->at[1];
    j->at += 2;
    if (kind == 'u') {
        uint32_t point;
        return read_escape_point(j, &point) ? utf8_encode(point, out) : 0;
    }
    // Each letter of from escapes the character at the same place of to.
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    // strchr would find a NUL at the end of from.
    const char *found = kind ? strchr(from, kind) : NULL;
    if (!found)
        return 0;
    out[0] = to[found - from];
    return 1;
}

typedef enum {
    STRING_FITS, // or fails; no NUL inside
    STRING_CUT,  // or what does not fit is dropped; no NUL inside
    STRING_BYTES // or fails; NUL allowed
} StringRule;

// out may be NULL: the string is passed over, and may have NUL inside. *bytes: its length.
static bool read_string(JsonCursor *j, char *out, size_t size, StringRule rule, size_t *bytes) {
    if (!json_expect(j, '"'))
        return false;
    // used: bytes of the string so far, stored, dropped or passed over.
    size_t used = 0;
    while (j->at < j->end && *j->at != '"') {
        char character[4];
        const size_t length = read_character(j, character);
        // C strings would end at a NUL.
        if (length == 0 || (out && rule != STRING_BYTES && character[0] == '\0'))
            return fail(j);
        // One byte stays for the NUL. A cut string is filled up: it equals no name that fits.
        if (!out || used + length < size) {
            if (out)
                memcpy(out + used, character, length);
            used += length;
        } else if (rule == STRING_CUT) {
            memset(out + used, '?', size - 1 - used);
            used = size - 1;
        } else {
            return fail(j);
        }
    }
    if (j->at == j->end)
        return fail(j);
    j->at++;
    if (out)
        out[used] = '\0';
    *bytes = used;
    return true;
}

bool json_string(JsonCursor *j, char *out, size_t size) {
    size_t bytes;
    return read_string(j, out, size, STRING_FITS, &bytes);
}

bool json_bytes(JsonCursor *j, char *out, size_t size, size_t *bytes) {
    return read_string(j, out, size, STRING_BYTES, bytes);
}

bool json_string_size(JsonCursor *j, size_t *bytes) {
    if (j->failed)
        return false;
    JsonCursor ahead = *j;
    return read_string(&ahead, NULL, 0, STRING_BYTES, bytes) || fail(j);
}

bool json_skip_string(JsonCursor *j) {
    size_t bytes;
    return read_string(j, NULL, 0, STRING_BYTES, &bytes);
}

bool json_count(JsonCursor *j, uint64_t *out) {
    if (j->failed)
        return false;
    skip_space(j);
    const char *start = j->at;
    // Digits only: a sign, fraction or exponent stops here, and the caller's next mark refuses it.
    *out = 0;
    for (; j->at < j->end && *j->at >= '0' && *j->at <= '9'; j->at++) {
        // So the value fits int64_t whatever the next digit is.
        if (*out > (INT64_MAX - 9) / 10)
            return fail(j);
        *out = *out * 10 + (uint64_t)(*j->at - '0');
    }
    // RFC 8259 has no 012.
    const bool leading_zero = j->at - start > 1 && *start == '0';
    return (j->at > start && !leading_zero) || fail(j);
}

// Past one or more digits; false where there is none.
static bool pass_digits(JsonCursor *j) {
    const char *start = j->at;
    while (j->at < j->end && *j->at >= '0' && *j->at <= '9')
        j->at++;
    return j->at > start;
}

static bool pass_mark(JsonCursor *j, const char *marks) {
    if (j->at == j->end || !*j->at || !strchr(marks, *j->at))
        return false;
    j->at++;
    return true;
}

// Past a number of the grammar: -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?
// *whole: it had neither point nor exponent.
static bool pass_number(JsonCursor *j, bool *whole) {
    *whole = true;
    pass_mark(j, "-");
    if (!pass_mark(j, "0") && !pass_digits(j))
        return false;
    if (pass_mark(j, ".")) {
        *whole = false;
        if (!pass_digits(j))
            return false;
    }
    if (pass_mark(j, "eE")) {
        *whole = false;
        pass_mark(j, "+-");
        return pass_digits(j);
    }
    return true;
}

// A number's text, NUL-terminated, with the locale's decimal point.
static bool read_number(JsonCursor *j, char out[JSON_NUMBER_MAX + 1], bool *whole) {
    if (j->failed)
        return false;
    skip_space(j);
    const char *start = j->at;
    if (!pass_number(j, whole) || j->at - start > JSON_NUMBER_MAX)
        return fail(j);
    memcpy(out, start, (size_t)(j->at - start));
    out[j->at - start] = '\0';
    char *point = strchr(out, '.');
    if (point)
        *point = localeconv()->decimal_point[0];
    return true;
}

bool json_number(JsonCursor *j, double *out) {
    char text[JSON_NUMBER_MAX + 1];
    bool whole;
    if (!read_number(j, text, &whole))
        return false;
    *out = strtod(text, NULL);
    return isfinite(*out) || fail(j);
}

bool json_integer(JsonCursor *j, int64_t *out) {
    char text[JSON_NUMBER_MAX + 1];
    bool whole;
    *out = 0;
    if (!read_number(j, text, &whole))
        return false;
    const bool negative = text[0] == '-';
    for (const char *at = text + negative; whole && *at; at++) {
        const int64_t digit = negative ? -(*at - '0') : *at - '0';
        if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, digit, out))
            return fail(j);
    }
    return whole || fail(j);
}

// Past the word where it comes next.
static bool accept_word(JsonCursor *j, const char *word) {
    if (j->failed)
        return false;
    skip_space(j);
    const size_t length = strlen(word);
    if ((size_t)(j->end - j->at) < length || memcmp(j->at, word, length) != 0)
        return false;
    j->at += length;
    return true;
}

bool json_bool(JsonCursor *j, bool *out) {
    *out = accept_word(j, "true");
    return *out || accept_word(j, "false") || fail(j);
}

bool json_accept_null(JsonCursor *j) {
    return accept_word(j, "null");
}

JsonKind json_peek(JsonCursor *j) {
    if (j->failed)
        return JSON_WRONG;
    skip_space(j);
    switch (j->at < j->end ? *j->at : '\0') {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_STRING;
    case 't':
    case 'f':
        return JSON_BOOL;
    case 'n':
        return JSON_NULL;
    default:
        return j->at < j->end && (*j->at == '-' || (*j->at >= '0' && *j->at <= '9')) ? JSON_NUMBER
                                                                                     : JSON_WRONG;
    }
}

// To the next element of the list between open and close; false behind close.
static bool list_next(JsonCursor *j, JsonList *list, char open, char close) {
    if (!list->begun) {
        list->begun = true;
        if (!json_expect(j, open) || ++j->depth > JSON_DEPTH_MAX)
            return fail(j);
        if (!json_accept(j, close))
            return true;
    } else if (json_accept(j, ',')) {
        return true;
    } else if (!json_expect(j, close)) {
        return false;
    }
    j->depth--;
    return false;
}

bool json_key(JsonCursor *j, JsonList *list) {
    return list_next(j, list, '{', '}');
}

bool json_member(JsonCursor *j, JsonList *list, char *key, size_t size) {
    size_t bytes;
    return json_key(j, list) && read_string(j, key, size, STRING_CUT, &bytes) &&
           json_expect(j, ':');
}

bool json_item(JsonCursor *j, JsonList *list) {
    return list_next(j, list, '[', ']');
}

// Past a value that is no list.
static bool skip_scalar(JsonCursor *j) {
    double number;
    bool truth;
    switch (json_peek(j)) {
    case JSON_STRING:
        return json_skip_string(j);
    case JSON_NUMBER:
        return json_number(j, &number);
    case JSON_BOOL:
        return json_bool(j, &truth);
    case JSON_NULL:
        return json_accept_null(j) || fail(j);
    case JSON_WRONG:
    case JSON_OBJECT:
    case JSON_ARRAY:
        break;
    }
    return fail(j);
}

bool json_skip(JsonCursor *j) {
    // By level below the start: the list it stands in, and whether that is an object.
    JsonList list[JSON_DEPTH_MAX + 1] = {0};
    bool object[JSON_DEPTH_MAX + 1];
    int level = 0;
    do {
        const JsonKind kind = json_peek(j);
        if (kind == JSON_OBJECT || kind == JSON_ARRAY) {
            // Beginning the list below checks the depth before level passes the arrays' end.
            object[level] = kind == JSON_OBJECT;
            list[level++] = (JsonList){0};
        } else if (!skip_scalar(j)) {
            return false;
        }
        // Up through the lists that end here, to the next element.
        while (level > 0 && !(object[level - 1] ? json_key(j, &list[level - 1])
                                                : json_item(j, &list[level - 1]))) {
            if (j->failed)
                return false;
            level--;
        }
        if (level > 0 && object[level - 1] && (!json_skip_string(j) || !json_expect(j, ':')))
            return false;
    } while (level > 0);
    return true;
}

bool json_find(JsonCursor object, const char *name, JsonCursor *value) {
    JsonList list = {0};
    char key[64];
    while (json_member(&object, &list, key, sizeof key)) {
        if (strcmp(key, name) == 0) {
            *value = object;
            return true;
        }
        json_skip(&object);
    }
    return false;
}

bool json_at_end(JsonCursor *j) {
    skip_space(j);
    return !j->failed && j->at == j->end;
}

void json_place(const JsonCursor *j, const char *start, int *line, int *column) {
    *line = 1;
    const char *begin = start;
    for (const char *at = start; at < j->at; at++)
        if (*at == '\n') {
            ++*line;
            begin = at + 1;
        }
    *column = (int)(j->at - begin) + 1;
}
