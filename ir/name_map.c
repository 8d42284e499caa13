// Open addressing with linear probing, FNV-1a hashes, at most half full. Growing rehashes into a
// table of twice the size (the old one stays in the arena): n names cost O(n) time and memory in
// all.
#include "ir/name_map.h"

#include "ir/check.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const char *name; // NULL: free
    void *thing;
    uint64_t hash;
} Slot;

struct NameMap {
    Arena *arena;
    size_t count;
    size_t capacity; // a power of two, above 2 count
    Slot *slot;
};

enum { CAPACITY_FIRST = 32 };

NameMap *name_map_create(Arena *a) {
    NameMap *t = arena_new(a, NameMap);
    t->arena = a;
    t->capacity = CAPACITY_FIRST;
    t->slot = arena_array(a, Slot, t->capacity);
    return t;
}

// Fixed seed: lookups are never iterated, and the texts are limited in number.
static uint64_t hash_text(const char *text, size_t bytes) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
    // FNV's low bits are weak for short texts: fold the high ones in.
    return hash ^ (hash >> 32);
}

// The slot that holds the name, or the free one where it belongs.
static size_t slot_of(const NameMap *t, const char *name, size_t bytes, uint64_t hash) {
    size_t at = (size_t)hash & (t->capacity - 1);
    while (t->slot[at].name) {
        const Slot *s = &t->slot[at];
        // Hashes first: texts are compared only where they are equal almost surely. The name may be
        // a span, so its end is checked as well.
        if (s->hash == hash && strncmp(s->name, name, bytes) == 0 && s->name[bytes] == '\0')
            break;
        at = (at + 1) & (t->capacity - 1);
    }
    return at;
}

// Doubles the table; hashes are kept, so no text is read again but to measure it.
static void grow(NameMap *t) {
    const Slot *old = t->slot;
    const size_t old_capacity = t->capacity;
    t->capacity *= 2;
    t->slot = arena_array(t->arena, Slot, t->capacity);
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i].name)
            t->slot[slot_of(t, old[i].name, strlen(old[i].name), old[i].hash)] = old[i];
}

void *name_map_find_span(const NameMap *t, const char *name, size_t bytes) {
    // A free slot's thing is NULL: not found.
    return t->slot[slot_of(t, name, bytes, hash_text(name, bytes))].thing;
}

void *name_map_find(const NameMap *t, const char *name) {
    return name_map_find_span(t, name, strlen(name));
}

void *name_map_add(NameMap *t, const char *name, void *thing) {
    // NULL would look like a free slot's.
    CHECK(thing);
    if (2 * (t->count + 1) >= t->capacity)
        grow(t);
    const size_t bytes = strlen(name);
    const uint64_t hash = hash_text(name, bytes);
    Slot *s = &t->slot[slot_of(t, name, bytes, hash)];
    if (s->name)
        return s->thing;
    *s = (Slot){.name = name, .thing = thing, .hash = hash};
    t->count++;
    return NULL;
}
