// Classes by binary search in a table of ranges (unicode_class.def); ASCII without.
#include "runtime/unicode_class.h"

#include "runtime/plan_fields.h"

typedef struct {
    uint32_t first, last;
    UnicodeClass is;
} ClassRange;

static const ClassRange range_table[] = {
#define R(first, last, is) {first, last, CLASS_##is},
#include "runtime/unicode_class.def"
#undef R
};
enum { RANGE_COUNT = sizeof range_table / sizeof range_table[0] };

size_t unicode_decode(const char *text, size_t size, uint32_t *point) {
    const unsigned char c = (unsigned char)text[0];
    if (c < 0x80) {
        *point = c;
        return 1;
    }
    const size_t length = plan_utf8_character(text, size);
    if (length == 0) {
        // No character: a number beyond Unicode, one for each byte, of class other.
        *point = 0x110000 + c;
        return 1;
    }
    // The lead byte keeps 5, 4 or 3 bits, each other one 6.
    *point = c & (0x7fU >> length);
    for (size_t i = 1; i < length; i++)
        *point = *point << 6 | ((unsigned char)text[i] & 0x3f);
    return length;
}

size_t unicode_encode_short(uint32_t point, char out[2]) {
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    out[0] = (char)(0xc0 | point >> 6);
    out[1] = (char)(0x80 | (point & 0x3f));
    return 2;
}

// The White_Space property.
static bool is_space(uint32_t c) {
    return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

UnicodeClass unicode_class(uint32_t point) {
    if (point < 0x80) {
        // Nearly all text that is trained on: worth a test before the search.
        if ((point | 0x20) >= 'a' && (point | 0x20) <= 'z')
            return CLASS_LETTER;
        if (point >= '0' && point <= '9')
            return CLASS_NUMBER;
    }
    if (is_space(point))
        return CLASS_SPACE;
    // The first range that does not end before the character.
    int low = 0, high = RANGE_COUNT;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (range_table[middle].last < point)
            low = middle + 1;
        else
            high = middle;
    }
    return low < RANGE_COUNT && range_table[low].first <= point ? range_table[low].is : CLASS_OTHER;
}
