// Strict JSON (RFC 8259) over a bounded text; never reads past end. A failed cursor stays failed.
#include "runtime/json_read.h"

#include "runtime/plan_fields.h"

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
    // No NUL: strings are handed on as C strings, which would end there.
    if (*point < 0xd800 || *point > 0xdfff)
        return *point != 0 || fail(j);
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

// out may be NULL: the string is passed over.
static bool read_string(JsonCursor *j, char *out, size_t size) {
    if (!json_expect(j, '"'))
        return false;
    size_t used = 0;
    // used: bytes of the string so far, stored or passed over.
    while (j->at < j->end && *j->at != '"') {
        char character[4];
        const size_t length = read_character(j, character);
        // One byte stays for the NUL. What does not fit fails: a name cut short is another name.
        if (length == 0 || (out && used + length + 1 > size))
            return fail(j);
        if (out)
            memcpy(out + used, character, length);
        used += length;
    }
    if (j->at == j->end)
        return fail(j);
    j->at++;
    if (out)
        out[used] = '\0';
    return true;
}

bool json_string(JsonCursor *j, char *out, size_t size) {
    return read_string(j, out, size);
}

bool json_skip_string(JsonCursor *j) {
    return read_string(j, NULL, 0);
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

bool json_at_end(JsonCursor *j) {
    skip_space(j);
    return !j->failed && j->at == j->end;
}
