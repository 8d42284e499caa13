// Characters of UTF-8 text, and the classes of them that tokenizers split by.
#ifndef PLIM_RUNTIME_UNICODE_CLASS_H
#define PLIM_RUNTIME_UNICODE_CLASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { CLASS_OTHER, CLASS_LETTER, CLASS_NUMBER, CLASS_SPACE } UnicodeClass;

// Bytes of the character at text (size >= 1), its code point in *point. A byte that begins no valid
// character is one by itself, with a point above U+10FFFF, which is of CLASS_OTHER: text of any
// bytes can be walked, and nothing is lost.
size_t unicode_decode(const char *text, size_t size, uint32_t *point);
// Bytes written to out; point is at most 0x7ff.
size_t unicode_encode_short(uint32_t point, char out[2]);
// \p{L}, \p{N}, \s or none of them.
UnicodeClass unicode_class(uint32_t point);

#endif
