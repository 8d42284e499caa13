// Interned names: a NameMap from each text to its one copy in the arena. Lookups cost one hash.
#include "ir/intern.h"

#include "ir/check.h"
#include "ir/name_map.h"

#include <string.h>

struct Intern {
    Arena *arena;
    NameMap *map; // text to its copy
};

Intern *intern_create(Arena *a) {
    Intern *t = arena_new(a, Intern);
    t->arena = a;
    t->map = name_map_create(a);
    return t;
}

// A text holding NUL bytes would equal its prefix: callers refuse such names first.
const char *intern_span(Intern *t, const char *text, size_t bytes) {
    CHECK(!bytes || !memchr(text, '\0', bytes));
    // The span need not end in a NUL; the copy does.
    char *known = name_map_find_span(t->map, text, bytes);
    if (known)
        return known;
    known = arena_text_span(t->arena, text, bytes);
    name_map_add(t->map, known, known);
    return known;
}

const char *intern(Intern *t, const char *text) {
    return intern_span(t, text, strlen(text));
}
