// Cubins kept from one compilation to the next, in the user's cache folder.
//
// An entry is found by all that decides its bytes: compiler, options, architecture and source. It
// holds that key whole and a checksum of the cubin, so neither a collision of names nor a damaged
// file gives wrong code: what does not match is not there, and is written anew. A folder that can't
// be read or written makes compilations slower and nothing else.
#ifndef PLIM_CODEGEN_CUBIN_CACHE_H
#define PLIM_CODEGEN_CUBIN_CACHE_H

#include "ir/arena.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    const char *folder; // NULL: no cache
} CubinCache;

// $XDG_CACHE_HOME/plimsoll/cubins, or ~/.cache/plimsoll/cubins, made where it is not there.
CubinCache cubin_cache_open(Arena *a);
// The entry's bytes in a, or NULL.
const char *cubin_cache_find(const CubinCache *c, Arena *a, const char *key, size_t *size);
// Several processes and threads may add at once: entries appear whole.
void cubin_cache_add(const CubinCache *c, Arena *a, const char *key, const char *bytes,
                     size_t size);
// Removes the entries used longest ago where all together exceed CUBIN_CACHE_BYTES.
enum { CUBIN_CACHE_BYTES = 512 << 20 };
void cubin_cache_trim(const CubinCache *c, Arena *a);

#endif
