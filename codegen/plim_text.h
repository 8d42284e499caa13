// The text of runtime/plim.h, as bytes inside the compiler (made by tools/embed_text.cmake).
#ifndef PLIM_CODEGEN_PLIM_TEXT_H
#define PLIM_CODEGEN_PLIM_TEXT_H

#include <stddef.h>

extern const size_t plim_header_size;
extern const unsigned char plim_header_text[]; // ends with a NUL that is not counted

#endif
