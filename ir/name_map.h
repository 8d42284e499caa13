// A table from names to things: lookups by text in constant time. It is never iterated, so nothing
// depends on hash order.
#ifndef PLIM_IR_NAME_MAP_H
#define PLIM_IR_NAME_MAP_H

#include "ir/arena.h"

typedef struct NameMap NameMap;

// A new, empty table in the arena.
NameMap *name_map_create(Arena *a);
// What was added under the name, or NULL.
void *name_map_find(const NameMap *t, const char *name);
void *name_map_find_span(const NameMap *t, const char *name, size_t bytes);
// Adds thing (not NULL) under the name, which must live as long as the table. Returns NULL, or what
// the name already has; the table then stays as it is.
void *name_map_add(NameMap *t, const char *name, void *thing);

#endif
