// Names in scope: interned names to values, innermost frame first.
#ifndef PLIM_FRONTEND_NAMES_H
#define PLIM_FRONTEND_NAMES_H

#include "frontend/datum.h"

// A map from pointers (interned names, syntax nodes) to small numbers. Zero is a valid empty table.
typedef struct {
    const void *key;
    int32_t value;
} TableSlot;

typedef struct {
    int count, capacity; // capacity is a power of two or 0
    TableSlot *slot;
} Table;

// The value stored under key, or -1.
int32_t table_find(const Table *t, const void *key);
// Stores or replaces.
void table_set(Table *t, Arena *a, const void *key, int32_t value);

typedef struct {
    const char *name; // interned
    Datum value;
} Binding;

// One activation of a function, a model, or a file.
struct Frame {
    Frame *parent; // lexical
    int count, capacity;
    Binding *binding; // in order of first assignment
    Table index;      // name -> index of binding
    bool returned;
    Datum result; // valid when returned
};

Frame *frame_create(Arena *a, Frame *parent);
// Binds in this frame, replacing an older value.
void frame_set(Frame *f, Arena *a, const char *name, Datum value);
// The value in this frame or in one around it; NULL where the name is unknown.
const Datum *frame_find(const Frame *f, const char *name);
// The same, this frame only.
const Datum *frame_find_here(const Frame *f, const char *name);
// All visible names, innermost first; for suggestions.
int frame_names(const Frame *f, Arena *a, const char ***out);

#endif
