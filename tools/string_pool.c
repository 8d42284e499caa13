// A hash table of numbers, open addressing, at most half full, over an array of strings. Adding
// takes constant time on average; the order of the table never shows.
#include "tools/string_pool.h"

#include <stdlib.h>
#include <string.h>

// FNV-1a, 32 bits.
static uint32_t text_hash(const char *text) {
    uint32_t hash = 2166136261u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    return hash;
}

// The slot that holds text, or the free one where it would go.
static uint32_t *find_slot(const StringPool *pool, const char *text) {
    uint32_t at = text_hash(text) & (pool->slot_count - 1);
    while (pool->slot[at] && strcmp(pool->string[pool->slot[at] - 1], text) != 0)
        at = (at + 1) & (pool->slot_count - 1);
    return &pool->slot[at];
}

// Twice the room, everything put in again.
static bool grow(StringPool *pool) {
    const uint32_t slot_count = pool->slot_count ? 2 * pool->slot_count : 1024;
    if (slot_count == 0)
        return false; // 2^31 strings
    const char **string = realloc(pool->string, slot_count / 2 * sizeof *string);
    if (!string)
        return false;
    pool->string = string;
    uint32_t *slot = calloc(slot_count, sizeof *slot);
    if (!slot)
        return false;
    free(pool->slot);
    pool->slot = slot;
    pool->slot_count = slot_count;
    pool->capacity = slot_count / 2;
    for (uint32_t i = 0; i < pool->count; i++)
        *find_slot(pool, pool->string[i]) = i + 1;
    return true;
}

void string_pool_release(StringPool *pool) {
    free(pool->string);
    free(pool->slot);
    *pool = (StringPool){0};
}

uint32_t string_pool_add(StringPool *pool, const char *text) {
    if (pool->failed || (pool->count == pool->capacity && !grow(pool))) {
        pool->failed = true;
        return 0;
    }
    uint32_t *slot = find_slot(pool, text);
    if (*slot == 0) {
        pool->string[pool->count++] = text;
        *slot = pool->count;
    }
    return *slot - 1;
}
