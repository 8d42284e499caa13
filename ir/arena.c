// Arena memory: chunks that double in size, filled front to back and freed together.
//
// The newest chunk is the head of a list; an object that doesn't fit starts another chunk, so that
// at most half of a chunk is lost. Chunks come from calloc, which makes zeroed memory free of
// charge. With PLIM_ARENA_MALLOC every object is its own chunk, so that address sanitizers see its
// bounds. This is the only file of the compiler that calls malloc and free.
#include "ir/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_FIRST = 16 << 10, CHUNK_LAST = 4 << 20 };

typedef struct Chunk Chunk;
struct Chunk {
    Chunk *next;     // older
    size_t capacity; // bytes of data
    size_t used;
    _Alignas(max_align_t) char data[];
};

struct Arena {
    Chunk *head;      // newest, or NULL
    size_t used;      // bytes handed out, rounded up to the alignment
    size_t next_size; // of the next chunk's data
    Arena *within;    // the newest arena within this one, or NULL
    Arena *older;     // of those within the same one
};

// Out of memory, or a size beyond any: one sentence and the end, as check_fail ends.
static _Noreturn void die(const char *why) {
    fprintf(stderr, "plimsoll: %s\n", why);
    _Exit(1);
}

Arena *arena_create(void) {
    Arena *a = calloc(1, sizeof(Arena));
    if (!a)
        die("out of memory");
    a->next_size = CHUNK_FIRST;
    return a;
}

Arena *arena_within(Arena *a) {
    Arena *inner = arena_create();
    inner->older = a->within;
    a->within = inner;
    return inner;
}

static void free_chunks(Chunk *newest) {
    while (newest) {
        Chunk *older = newest->next;
        free(newest);
        newest = older;
    }
}

static void release_within(Arena *a) {
    while (a->within) {
        Arena *inner = a->within;
        a->within = inner->older;
        arena_release(inner);
    }
}

void arena_reset(Arena *a) {
    Chunk *c = a->head;
    release_within(a);
#ifndef PLIM_ARENA_MALLOC
    // An arena that is reset again and again needs no new pages each time.
    if (c && c->capacity <= CHUNK_LAST) {
        free_chunks(c->next);
        memset(c->data, 0, c->used);
        c->next = NULL;
        c->used = 0;
        a->used = 0;
        return;
    }
#endif
    free_chunks(c);
    a->head = NULL;
    a->used = 0;
    a->next_size = CHUNK_FIRST;
}

void arena_release(Arena *a) {
    if (!a)
        return;
    release_within(a);
    free_chunks(a->head);
    free(a);
}

size_t arena_used(const Arena *a) {
    return a->used;
}

// A new head with room for bytes. The old head's rest is given up.
static void chunk_push(Arena *a, size_t bytes) {
#ifdef PLIM_ARENA_MALLOC
    const size_t capacity = bytes;
#else
    const size_t capacity = bytes > a->next_size ? bytes : a->next_size;
    if (a->next_size < CHUNK_LAST)
        a->next_size *= 2;
#endif
    if (capacity > SIZE_MAX - sizeof(Chunk))
        die("out of memory: an allocation's size overflows");
    Chunk *c = calloc(1, sizeof(Chunk) + capacity);
    if (!c)
        die("out of memory");
    c->capacity = capacity;
    c->next = a->head;
    a->head = c;
}

void *arena_alloc(Arena *a, size_t count, size_t size) {
    const size_t align = _Alignof(max_align_t); // a power of two
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - align)
        die("out of memory: an allocation's size overflows");
#ifdef PLIM_ARENA_MALLOC
    // No rounding: one byte past the object is then past the allocation.
    chunk_push(a, bytes);
#else
    bytes = (bytes + align - 1) & ~(align - 1);
    if (!a->head || a->head->capacity - a->head->used < bytes)
        chunk_push(a, bytes);
#endif
    void *p = a->head->data + a->head->used;
    a->head->used += bytes;
    a->used += bytes;
    return p;
}

void *arena_grow(Arena *a, const void *old, size_t old_count, size_t new_count, size_t size) {
    void *p = arena_alloc(a, new_count, size);
    if (old_count)
        memcpy(p, old, old_count * size);
    return p;
}

char *arena_text_span(Arena *a, const char *text, size_t bytes) {
    char *copy = arena_alloc(a, 1, bytes + 1);
    if (bytes)
        memcpy(copy, text, bytes);
    return copy;
}

char *arena_text(Arena *a, const char *text) {
    return arena_text_span(a, text, strlen(text));
}

char *arena_vformat(Arena *a, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    // The first pass only measures: formatting twice is cheaper than guessing and growing.
    const int length = vsnprintf(NULL, 0, format, args);
    if (length < 0)
        die("a message could not be formatted");
    char *text = arena_alloc(a, 1, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

char *arena_format(Arena *a, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = arena_vformat(a, format, args);
    va_end(args);
    return text;
}
