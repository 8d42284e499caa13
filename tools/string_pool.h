// Strings that repeat, held once and numbered in the order in which they came.
#ifndef PLIM_TOOLS_STRING_POOL_H
#define PLIM_TOOLS_STRING_POOL_H

#include <stdbool.h>
#include <stdint.h>

// Holds pointers, not copies: the strings must outlive it. All zero is an empty pool.
typedef struct {
    const char **string; // by number
    uint32_t count;      // strings held
    uint32_t capacity;   // of string; half of slot_count
    uint32_t *slot;      // hash table: number + 1, or 0 where free
    uint32_t slot_count; // a power of two, or 0 in an empty pool
    bool failed;         // there was no memory: numbers since then are 0 and mean nothing
} StringPool;

// The number of text, which is added where it is new.
uint32_t string_pool_add(StringPool *pool, const char *text);
void string_pool_release(StringPool *pool);

#endif
