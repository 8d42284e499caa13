// A set of byte strings, asked which of them begin a text.
#ifndef PLIM_RUNTIME_PIECE_INDEX_H
#define PLIM_RUNTIME_PIECE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *text; // the owner's; not empty
    uint32_t bytes;
    uint32_t id;
} IndexedPiece;

typedef struct {
    IndexedPiece *piece; // sorted by their bytes; owned
    uint32_t count;
    uint32_t first[257]; // pieces whose first byte is c: first[c] .. first[c + 1] - 1
} PieceIndex;

// Takes the list over, malloc'ed and without empty pieces, and sorts it. Of equal pieces the last
// one in the list stays.
void piece_index_init(PieceIndex *x, IndexedPiece *list, uint32_t count);
void piece_index_release(PieceIndex *x);

// A walk over the pieces that begin the text, shortest first; zeroed but for text and size.
typedef struct {
    const char *text;
    size_t size;
    uint32_t low, high; // pieces that agree with the text so far
    uint32_t depth;     // bytes they agree in
} PieceWalk;
// The next one, or NULL.
const IndexedPiece *piece_next(const PieceIndex *x, PieceWalk *w);
// The longest one, or NULL.
const IndexedPiece *piece_longest(const PieceIndex *x, const char *text, size_t size);

#endif
