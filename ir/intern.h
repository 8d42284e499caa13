// Names: equal texts give the same pointer, so that names compare by ==.
#ifndef PLIM_IR_INTERN_H
#define PLIM_IR_INTERN_H

#include "ir/arena.h"

typedef struct Intern Intern;

// An empty table in the arena.
Intern *intern_create(Arena *a);
// The one copy of the text. Lives as long as the table's arena.
const char *intern(Intern *t, const char *text);
// The same for bytes of text without NUL.
const char *intern_span(Intern *t, const char *text, size_t bytes);

#endif
