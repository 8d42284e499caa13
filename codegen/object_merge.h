// Several relocatable ELF objects joined into one, so that parts of a program can be compiled in
// parallel and still come out as one object.
#ifndef PLIM_CODEGEN_OBJECT_MERGE_H
#define PLIM_CODEGEN_OBJECT_MERGE_H

#include <stdbool.h>
#include <stddef.h>

#include "ir/arena.h"

typedef struct {
    const char *bytes;
    size_t size;
} ObjectPart;

// Parts as LLVM makes them for x86-64 (no groups, no common symbols; anything else fails a CHECK).
// The bytes are malloc'ed; NULL when there is no memory. A symbol that one part defines and others
// name is joined.
char *object_merge(Arena *a, const ObjectPart *part, int count, size_t *size);

#endif
