// Names in scope. A frame keeps its bindings in order of assignment (so that suggestions and
// messages come in a fixed order) and finds them through an open-addressing table keyed by the
// interned pointer. Nothing ever walks a table, so addresses do not influence results.
//
// Zeroed memory is an empty frame. Binding and finding cost a constant time, so texts with many
// names are no trap; frames of calls are small and die with the arena.
#include "frontend/names.h"

#include "ir/check.h"

// Spreads addresses, whose low bits are alike.
static size_t pointer_hash(const void *key) {
    uint64_t x = (uint64_t)(uintptr_t)key;
    x = (x ^ (x >> 29)) * 0x9e3779b97f4a7c15u;
    return (size_t)(x >> 20);
}

// The slot of key, or the empty slot where it would go.
static TableSlot *slot_find(const Table *t, const void *key) {
    // The capacity is a power of two, so the mask wraps around.
    const size_t mask = (size_t)t->capacity - 1;
    size_t i = pointer_hash(key) & mask;
    // Ends, since at least half of the slots are empty.
    while (t->slot[i].key && t->slot[i].key != key)
        i = (i + 1) & mask;
    return &t->slot[i];
}

int32_t table_find(const Table *t, const void *key) {
    if (t->capacity == 0)
        return -1;
    const TableSlot *slot = slot_find(t, key);
    return slot->key ? slot->value : -1;
}

// Doubles at half full, so a search meets few strangers.
static void table_enlarge(Table *t, Arena *a) {
    // The old slots are left to the arena.
    const Table old = *t;
    t->capacity = old.capacity ? old.capacity * 2 : 8;
    t->slot = arena_array(a, TableSlot, t->capacity);
    for (int i = 0; i < old.capacity; i++)
        if (old.slot[i].key)
            *slot_find(t, old.slot[i].key) = old.slot[i];
}

void table_set(Table *t, Arena *a, const void *key, int32_t value) {
    CHECK(key != NULL);
    if (2 * (t->count + 1) > t->capacity)
        table_enlarge(t, a);
    TableSlot *slot = slot_find(t, key);
    if (!slot->key) {
        slot->key = key;
        t->count++;
    }
    slot->value = value;
}

Frame *frame_create(Arena *a, Frame *parent) {
    Frame *f = arena_new(a, Frame);
    f->parent = parent;
    return f;
}

void frame_set(Frame *f, Arena *a, const char *name, Datum value) {
    const int32_t known = table_find(&f->index, name);
    if (known >= 0) {
        // In place: the order stays that of the first assignments.
        f->binding[known].value = value;
        return;
    }
    if (f->count == f->capacity) {
        const int capacity = f->capacity ? f->capacity * 2 : 8;
        f->binding = arena_grow(a, f->binding, (size_t)f->count, (size_t)capacity, sizeof(Binding));
        f->capacity = capacity;
    }
    table_set(&f->index, a, name, f->count);
    f->binding[f->count++] = (Binding){name, value};
}

const Datum *frame_find_here(const Frame *f, const char *name) {
    const int32_t known = table_find(&f->index, name);
    return known >= 0 ? &f->binding[known].value : NULL;
}

const Datum *frame_find(const Frame *f, const char *name) {
    for (; f; f = f->parent) {
        const Datum *found = frame_find_here(f, name);
        if (found)
            return found;
    }
    return NULL;
}

// A hidden name is listed as well; for suggestions that does no harm.
int frame_names(const Frame *f, Arena *a, const char ***out) {
    int count = 0;
    for (const Frame *at = f; at; at = at->parent)
        count += at->count;
    const char **name = arena_array(a, const char *, count + 1);
    int filled = 0;
    for (const Frame *at = f; at; at = at->parent)
        for (int i = 0; i < at->count; i++)
            name[filled++] = at->binding[i].name;
    *out = name;
    return count;
}
