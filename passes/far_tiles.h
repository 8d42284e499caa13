// Products and lookups that meet a large weight a few rows at a time, so that it is never whole in
// the device's memory; and rows of its gradient.
//
// All this keeps every bit where products are computed by our own kernels (see far_tiles.c).
#ifndef PLIM_PASSES_FAR_TILES_H
#define PLIM_PASSES_FAR_TILES_H

#include "ir/build.h"
#include "passes/pass.h"

// TILE_ROWS_UNIT: rows of a tile are a multiple of it. TILED_BYTES: of a weight from which on it is
// met in tiles where nothing else is said; smaller ones take no more than slices under way.
enum { TILE_ROWS_UNIT = 256, TILED_BYTES = 16 << 20 };

// Whether products of this compilation are of the kind whose parts have the bits of the whole.
bool tiles_keep_bits(const PassOptions *options);
// Rows of a tile of a weight of that type, at least bytes of them; 0: it has too few for two.
int64_t tile_rows(const Type *weight, size_t bytes);
// Whether n can read this input, a weight or table [rows, columns], tile by tile.
bool tile_reader(const Node *n, int input);
// Whether n can make any rows of its result [rows, columns] without the others.
bool tile_maker(const Node *n);

// start <= row < stop of the weight, in the device's memory.
typedef Value *TileFn(void *user, int64_t start, int64_t stop);

typedef struct {
    Builder *b;
    const Node *n; // tile_reader(n, input)
    int input;
    Value *const *in; // what n reads; in[input] is not looked at
    int64_t rows;     // of a tile
    TileFn *tile;
    void *user;
    Arena *scratch;
} TileRead;

// n's result, tiles read first to last.
Value *tile_read(const TileRead *r);
// Rows start to stop of n's result. in: what n reads, but of a summand (einsum_add, scatter_add)
// these rows only. tile_maker(n).
Value *tile_make(Builder *b, const Node *n, Value *const *in, int64_t start, int64_t stop);

#endif
