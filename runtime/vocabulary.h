// A tokenizer's pieces: text <-> id, and pairs of ids that merge.
#ifndef PLIM_RUNTIME_VOCABULARY_H
#define PLIM_RUNTIME_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VOCABULARY_ID_MAX = (1 << 22) - 1 };

typedef struct {
    const char *text; // NULL: no piece has this id
    uint32_t bytes;
} VocabPiece;

typedef struct {
    VocabPiece *piece; // by id
    uint32_t count;    // largest id + 1
    uint32_t capacity;
    uint32_t *slot; // hash of the text: id + 1, or 0
    uint32_t slots; // a power of two, at least twice the pieces
} Vocabulary;

void vocabulary_release(Vocabulary *v);
// Gives id a text, which is the caller's and outlives v. False without memory. The id is at most
// VOCABULARY_ID_MAX and had none.
bool vocabulary_add(Vocabulary *v, uint32_t id, const char *text, size_t bytes);
// Makes the pieces added so far findable; of equal texts the highest id is found. False without
// memory, or where so many texts share a hash that the file must have been made for that.
bool vocabulary_index(Vocabulary *v);
// The id, or -1.
int32_t vocabulary_find(const Vocabulary *v, const char *text, size_t bytes);

typedef struct {
    uint32_t left, right; // ids; left UINT32_MAX: empty
    uint32_t rank, id;    // lower ranks merge first; id: what the pair becomes
} Merge;

typedef struct {
    Merge *slot;
    uint32_t slots; // a power of two, at least twice the merges
} MergeTable;

// Room for count merges. False without memory.
bool merges_new(MergeTable *m, uint32_t count);
void merges_release(MergeTable *m);
// A pair added again replaces the first. False where too many pairs share a hash.
bool merges_add(MergeTable *m, Merge merge);
// NULL where the pair does not merge.
const Merge *merges_find(const MergeTable *m, uint32_t left, uint32_t right);

#endif
