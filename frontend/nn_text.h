// The standard library nn.plim, as bytes inside the compiler (made from nn.plim by
// tools/embed_text.cmake).
#ifndef PLIM_FRONTEND_NN_TEXT_H
#define PLIM_FRONTEND_NN_TEXT_H

#include <stddef.h>

extern const size_t plim_nn_size;
extern const unsigned char plim_nn_text[]; // ends with a NUL that is not counted

#endif
