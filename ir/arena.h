// Memory with one lifetime: everything an Arena hands out dies with it, at once.
#ifndef PLIM_IR_ARENA_H
#define PLIM_IR_ARENA_H

#include <stdarg.h>
#include <stddef.h>

typedef struct Arena Arena;

#define arena_new(a, T) ((T *)arena_alloc((a), 1, sizeof(T)))
#define arena_array(a, T, n) ((T *)arena_alloc((a), (size_t)(n), sizeof(T)))

// A new, empty arena. Release it with arena_release.
Arena *arena_create(void);
// A new, empty arena within a, which goes with what a holds when a is released or reset, and not
// before. Pieces of work side by side may fill one each (ir/fork_join.h).
Arena *arena_within(Arena *a);
// Frees the arena and everything in it. NULL is allowed.
void arena_release(Arena *a);
// Frees everything in the arena but keeps the arena itself.
void arena_reset(Arena *a);
// Bytes handed out since creation or the last reset.
size_t arena_used(const Arena *a);
// Zeroed memory for count objects of size bytes, aligned for any type. Never NULL: when there is
// none, one sentence goes to stderr and the compiler exits 1.
void *arena_alloc(Arena *a, size_t count, size_t size);
// A larger copy of an array: old_count objects are copied, the rest is zero. The old one stays.
void *arena_grow(Arena *a, const void *old, size_t old_count, size_t new_count, size_t size);
// A copy of the text, NUL-terminated.
char *arena_text(Arena *a, const char *text);
char *arena_text_span(Arena *a, const char *text, size_t bytes);
// printf into the arena.
char *arena_format(Arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vformat(Arena *a, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

#endif
