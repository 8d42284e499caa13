// Where the parts of a template kernel's workspace lie: code generation uses the offsets, the plan
// the total. All counts are f32 elements from the start of one worker's workspace.
#ifndef PLIM_IR_TEMPLATE_LAYOUT_H
#define PLIM_IR_TEMPLATE_LAYOUT_H

#include "ir/kernel.h"

enum {
    PRODUCT_DEPTH = 256, // steps of k packed at a time
    PRODUCT_ROWS = 144,  // rows of a that meet a packed block of b at a time
    PRODUCT_THIN = 4,    // rows of a product that is bound by reading b
    ATTENTION_BLOCK = 64 // queries, and keys, handled at a time
};

// Some packed rows of a where it can't be read in place, a packed block of b, and the tile of c
// where it can't be summed in place. A thin product has all of the tile's rows of a, and no packed
// b.
typedef struct {
    bool thin;              // at most PRODUCT_THIN rows, and b can be read along k or n
    bool rows_in_place;     // rows of a are read where they lie, not packed
    int64_t tile_m, tile_n; // at most m and n
    int64_t depth_cap;      // packed depth, a multiple of 16
    bool in_place;          // c is f32 with contiguous columns
    int64_t a, b, sum;
    int64_t sum_stride; // floats from one row of the sum to the next
    int64_t floats;
} ProductLayout;
ProductLayout product_layout(const ProductKernel *p);

// A tile is `rows` channels of the result's group by columns: pixels of one image, all pixels of
// `images` images, or (channel, tap) pairs of w. Tiles are numbered by group, rows, images,
// columns, the last fastest; those at the ends may be smaller. Depth is packed in blocks of `depth`
// steps: `channels` whole channels, or pixels of one image where w is the result. Where a group has
// one channel in and one out, `planes`, a tile is `rows` groups of one image (or of all, for w),
// images slowest, and nothing is packed.
typedef struct {
    bool planes, in_place; // in_place: summed straight into the result
    int64_t rows, row_tiles;
    int64_t images, image_tiles;
    int64_t columns, column_tiles, all_columns; // of one image
    int64_t channels, depth, depth_cap;
    int64_t tiles;
    int64_t b, sum;     // packed a comes first
    int64_t sum_stride; // floats from one row of the sum to the next
    int64_t floats;
} ConvolutionLayout;
ConvolutionLayout convolution_layout(const ConvolutionKernel *k);

// Forward: packed q, packed k (depth: head dim), scores, packed scores, packed v (depth: keys),
// output tile, running maximum and sum of each query. Backward: the same packed q and k; packed v
// and dout by head dim; q, dout and k packed by position; scores and their gradients, plain and
// packed; the tile of dq; delta and log-sum-exp of each query; dk and dv of all keys.
// Of a bias: the same packed q, k, v and dout by head dim, scores and their gradients, delta,
// log-sum-exp, and a tile of sums.
// single: a forward kernel of one query has q and the scores of all keys only.
typedef struct {
    bool single;
    int64_t qk_cap, v_cap; // head dims rounded up to 16
    int64_t q, k, score, packed_score, v, out, maximum, sum;
    int64_t dout, v_by_dim, q_by_position, dout_by_position, k_by_position, dscore, packed_dscore,
        dq, delta, dk, dv, dbias;
    int64_t floats;
} AttentionLayout;
AttentionLayout attention_layout(const AttentionKernel *t, KernelKind kind);
// Owners of so many queries by keys of a bias's gradient; of them along one axis, 1 where its
// scores share the bias.
int64_t attention_bias_tiles(const AttentionKernel *t, int64_t queries, int64_t keys);
int64_t attention_bias_blocks(const AttentionKernel *t, int axis, int64_t block);

// The workspace of one worker in bytes, whole pages.
size_t layout_bytes(int64_t floats);

#endif
