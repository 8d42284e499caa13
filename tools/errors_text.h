// docs/errors.md as bytes inside plimc (made by frontend/embed_text.cmake).
#ifndef PLIM_TOOLS_ERRORS_TEXT_H
#define PLIM_TOOLS_ERRORS_TEXT_H

#include <stddef.h>

extern const size_t plim_errors_size;
extern const unsigned char plim_errors_text[]; // ends with a NUL that is not counted

#endif
