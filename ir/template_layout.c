// The workspaces of the templates, part after part, each a multiple of 16 floats. Right operands
// are packed in panels of up to 32 columns, left ones of up to 48 rows, so their parts leave room
// for the last panel.
#include "ir/template_layout.h"

#include "ir/check.h"

// Rows a left operand takes: whole panels of any target, and one more.
static int64_t left_rows(int64_t rows) {
    return (rows + 15) / 16 * 16 + 5;
}

// x >= 0 up to a multiple of step; sizes are far below 2^62, so the sum is safe.
static int64_t round_to(int64_t x, int64_t step) {
    return (x + step - 1) / step * step;
}

static int64_t smaller(int64_t x, int64_t y) {
    return x < y ? x : y;
}

// Takes rows x columns floats; returns where they begin. Sizes beyond any machine's memory
// saturate, so that sums of them never overflow.
static int64_t take(int64_t *floats, int64_t rows, int64_t columns) {
    const int64_t most = (int64_t)1 << 50;
    int64_t count;
    if (!count_mul(rows, columns, &count) || count > most)
        count = most;
    const int64_t at = *floats;
    *floats += round_to(count, 16);
    return at;
}

// Thin: a [m, k] widened, and sums of whole vectors; b is read where it lies.
static ProductLayout thin_layout(const ProductKernel *p, ProductLayout out) {
    out.thin = true;
    out.depth_cap = round_to(p->k, 16);
    out.sum_stride = round_to(out.tile_n, 16);
    out.a = take(&out.floats, out.tile_m, out.depth_cap);
    out.sum = take(&out.floats, out.tile_m, out.sum_stride);
    return out;
}

// Whether rows of a can be read where they lie. Rows a multiple of 4 KiB apart fall into the same
// sets of a first-level cache, and into few of a second-level one: a block of them throws itself
// out.
static bool reads_rows_in_place(const ProductKernel *p) {
    enum { SAME_SETS = 4096 / sizeof(float) };
    return p->a == DT_F32 && p->a_stride[3] == 1 && p->a_stride[2] % SAME_SETS != 0;
}

// Blocks no larger than the product itself. Without a sum in place, the f32 tile [tile_m, tile_n]
// is kept here and stored to c at the end.
ProductLayout product_layout(const ProductKernel *p) {
    ProductLayout out = {.tile_m = smaller(p->tile_m, p->m),
                         .tile_n = smaller(p->tile_n, p->n),
                         .depth_cap = round_to(smaller(p->k, PRODUCT_DEPTH), 16),
                         .rows_in_place = reads_rows_in_place(p),
                         .in_place = p->c == DT_F32 && (p->c_stride[3] == 1 || p->n == 1)};
    if (p->m <= PRODUCT_THIN && out.tile_m == p->m && (p->b_stride[2] == 1 || p->b_stride[3] == 1))
        return thin_layout(p, out);
    out.sum_stride = out.tile_n;
    const int64_t packed_rows =
        out.rows_in_place ? 0 : left_rows(smaller(out.tile_m, PRODUCT_ROWS));
    out.a = take(&out.floats, packed_rows, out.depth_cap);
    out.b = take(&out.floats, round_to(out.tile_n, 32), out.depth_cap);
    out.sum = take(&out.floats, out.in_place ? 0 : out.tile_m, out.tile_n);
    return out;
}

// All kinds share the first parts. One block of queries meets one block of keys at a time, so no
// part has queries x keys elements; only dk and dv of the backward pass hold all keys.
AttentionLayout attention_layout(const AttentionKernel *t, KernelKind kind) {
    enum { BLOCK = ATTENTION_BLOCK };
    AttentionLayout out = {.qk_cap = round_to(t->dim_qk, 16), .v_cap = round_to(t->dim_v, 16)};
    const int64_t qk_wide = round_to(t->dim_qk, 32), v_wide = round_to(t->dim_v, 32);
    int64_t *at = &out.floats;
    if (kind == KERNEL_ATTENTION && t->queries == 1 && attention_table_row(t) == 0) {
        out.single = true;
        out.q = take(at, 1, out.qk_cap);
        // The last vector of scores may begin at any key.
        out.score = take(at, 1, t->keys + 16);
        return out;
    }
    const int64_t left = left_rows(BLOCK);
    out.q = take(at, left, out.qk_cap);
    out.k = take(at, BLOCK, out.qk_cap);
    out.score = take(at, BLOCK, BLOCK);
    out.packed_score = take(at, left, BLOCK);
    out.maximum = take(at, BLOCK, 1);
    out.sum = take(at, BLOCK, 1);
    if (kind == KERNEL_ATTENTION) {
        out.v = take(at, BLOCK, v_wide);
        out.out = take(at, BLOCK, out.v_cap);
        return out;
    }
    out.dout = take(at, left, out.v_cap);
    out.v_by_dim = take(at, BLOCK, out.v_cap);
    out.dscore = take(at, BLOCK, BLOCK);
    out.delta = take(at, BLOCK, 1);
    if (kind == KERNEL_ATTENTION_GRAD_BIAS) {
        out.dbias = take(at, BLOCK, BLOCK);
        return out;
    }
    out.q_by_position = take(at, BLOCK, qk_wide);
    out.dout_by_position = take(at, BLOCK, v_wide);
    out.k_by_position = take(at, BLOCK, qk_wide);
    out.packed_dscore = take(at, left, BLOCK);
    out.dq = take(at, BLOCK, out.qk_cap);
    out.dk = take(at, t->keys, out.qk_cap);
    out.dv = take(at, t->keys, out.v_cap);
    return out;
}

int64_t attention_bias_blocks(const AttentionKernel *t, int axis, int64_t block) {
    const int64_t extent[4] = {t->batch, t->heads, t->queries, t->keys};
    return t->dbias_at[axis] > 0 ? (extent[axis] + block - 1) / block : 1;
}

int64_t attention_bias_tiles(const AttentionKernel *t, int64_t queries, int64_t keys) {
    const int64_t block[4] = {1, 1, queries, keys};
    int64_t tiles = 1;
    for (int i = 0; i < 4; i++)
        CHECK(count_mul(tiles, attention_bias_blocks(t, i, block[i]), &tiles));
    return tiles;
}

// Four bytes a float.
size_t layout_bytes(int64_t floats) {
    return (size_t)round_to(floats * 4, 4096);
}
