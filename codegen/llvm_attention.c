// Attention forward: out = softmax(scale q k^T + mask) v without ever holding queries x keys.
//
// A tile of the work is a block of 64 queries of one head. It walks the visible keys in blocks of
// 64: scores by a packed product, then the running maximum m and sum l of each query are brought up
// to date, what was summed so far is scaled by exp(m_old - m_new), and exp(scores - m_new) times v
// is added (online softmax, Milakov and Gimelshein 2018; FlashAttention, Dao et al. 2022). Saves
// out and m + log l. Blocks above the diagonal or left of the window are never visited, nor
// what lies outside of all the queries' intervals, nor blocks of keys whose documents' range of ids
// lies outside the queries' range.
#include "codegen/llvm_attention.h"

#include "codegen/llvm_math.h"
#include "codegen/llvm_templates.h"

#include <math.h>

enum { BLOCK = ATTENTION_BLOCK, VECTORS = BLOCK / TILE_LANES };
// As the kernel lists its operands: inputs, then results.
enum { OPERAND_Q, OPERAND_K, OPERAND_V, OPERAND_OUT, OPERAND_LSE };

// Parts are f32; their layout is ir/template_layout.h.
LLVMValueRef attention_part(LlvmBuild *b, const AttentionCode *c, int64_t offset) {
    return llvm_at(b, b->f32, c->workspace, llvm_i64(b, offset));
}

// Elements along the head dim are neighbours (stride 1); the three other axes have strides.
LLVMValueRef attention_at(LlvmBuild *b, const AttentionCode *c, int operand,
                          const int64_t stride[3], LLVMValueRef batch, LLVMValueRef head,
                          LLVMValueRef position) {
    LLVMValueRef at = llvm_mul(b, batch, llvm_i64(b, stride[0]));
    at = llvm_add(b, at, llvm_mul(b, head, llvm_i64(b, stride[1])));
    at = llvm_add(b, at, llvm_mul(b, position, llvm_i64(b, stride[2])));
    return llvm_at(b, llvm_memory_type(b, c->t->dtype), llvm_operand(b, operand), at);
}

static LLVMValueRef at_least_zero(LlvmBuild *b, LLVMValueRef x) {
    LLVMValueRef zero = llvm_i64(b, 0);
    return llvm_select(b, llvm_icmp(b, LLVMIntSLT, x, zero), zero, x);
}

// keys - queries, or the offset operand clamped into 0 .. keys - queries.
static LLVMValueRef find_shift(LlvmBuild *b, const Kernel *k) {
    LLVMValueRef most = llvm_i64(b, k->attention.keys - k->attention.queries);
    if (!k->attention.offset)
        return most;
    LLVMValueRef offset =
        llvm_load(b, b->i32, llvm_operand(b, kernel_attention_extra(k)), sizeof(int32_t));
    return tile_min(b, at_least_zero(b, LLVMBuildSExt(b->builder, offset, b->i64, "")), most);
}

AttentionCode attention_code(LlvmBuild *b, const Kernel *k) {
    const AttentionKernel *t = &k->attention;
    AttentionCode out = {.t = t,
                         .layout = attention_layout(t, k->kind),
                         .workspace = llvm_workspace(b),
                         .shift = find_shift(b, k)};
    if (t->interval) {
        out.begin = llvm_operand(b, kernel_attention_extra(k));
        out.end = llvm_at(b, b->i32, out.begin, llvm_i64(b, t->queries));
    }
    if (t->documents)
        out.documents = llvm_at(b, b->i32, llvm_operand(b, kernel_attention_extra(k)),
                                llvm_i64(b, t->interval ? 2 * t->queries : 0));
    if (t->slopes)
        out.slopes = llvm_operand(b, kernel_attention_slopes(k));
    if (t->bias)
        out.bias = llvm_operand(b, kernel_attention_bias(k));
    if (t->mask)
        out.mask = llvm_operand(b, kernel_attention_mask(k));
    return out;
}

// Moves what is read of pairs along the axis `axis`.
static void move_pairs(LlvmBuild *b, AttentionCode *c, int axis, LLVMValueRef by) {
    const AttentionKernel *t = c->t;
    if (c->bias)
        c->bias = llvm_at(b, llvm_memory_type(b, t->bias_dtype), c->bias,
                          llvm_mul(b, by, llvm_i64(b, t->bias_at[axis])));
    if (c->mask)
        c->mask = llvm_at(b, llvm_memory_type(b, DT_BOOL), c->mask,
                          llvm_mul(b, by, llvm_i64(b, t->mask_at[axis])));
}

AttentionCode attention_for_head(LlvmBuild *b, const AttentionCode *c, LLVMValueRef head) {
    AttentionCode out = *c;
    if (c->slopes)
        out.slope = llvm_load(b, b->f32, llvm_at(b, b->f32, c->slopes, head), sizeof(float));
    move_pairs(b, &out, 1, head);
    return out;
}

AttentionCode attention_in_batch(LlvmBuild *b, const AttentionCode *c, LLVMValueRef batch) {
    AttentionCode out = *c;
    LLVMValueRef *const part[] = {&out.begin, &out.end, &out.documents};
    for (int i = 0; i < 3; i++)
        if (*part[i])
            *part[i] = llvm_at(b, b->i32, *part[i],
                               llvm_mul(b, batch, llvm_i64(b, attention_table_row(c->t))));
    move_pairs(b, &out, 0, batch);
    return out;
}

// x < y ? x : y, or the other one, of i32 lanes.
static LLVMValueRef lesser(LlvmBuild *b, LLVMIntPredicate less, LLVMValueRef x, LLVMValueRef y) {
    return llvm_select(b, llvm_icmp(b, less, x, y), x, y);
}

static LLVMValueRef least_lane(LlvmBuild *b, LLVMIntPredicate less, LLVMValueRef v) {
    for (int width = llvm_width(LLVMTypeOf(v)) / 2; width >= 1; width /= 2)
        v = lesser(b, less, llvm_part(b, v, 0, width), llvm_part(b, v, width, width));
    return v;
}

// Of `count` numbers of a part of the table from `first` on, 1 .. ATTENTION_BLOCK of them.
static TableRange table_range(LlvmBuild *b, LLVMValueRef part, LLVMValueRef first,
                              LLVMValueRef count) {
    LLVMTypeRef lanes = llvm_vector(b->i32, TILE_LANES);
    LLVMValueRef base = llvm_at(b, b->i32, part, first);
    // Lanes past the last stand for the first again.
    LLVMValueRef one = llvm_splat(b, llvm_load(b, b->i32, base, sizeof(int32_t)), TILE_LANES);
    LLVMValueRef least = one, most = one;
    for (int64_t j = 0; j < BLOCK; j += TILE_LANES) {
        LLVMValueRef there = llvm_mask_below(b, TILE_LANES, llvm_sub(b, count, llvm_i64(b, j)));
        LLVMValueRef ids = llvm_load_masked(b, lanes, llvm_at(b, b->i32, base, llvm_i64(b, j)),
                                            sizeof(int32_t), there);
        ids = llvm_select(b, there, ids, one);
        least = lesser(b, LLVMIntSLT, ids, least);
        most = lesser(b, LLVMIntSGT, ids, most);
    }
    return (TableRange){.least = least_lane(b, LLVMIntSLT, least),
                        .most = least_lane(b, LLVMIntSGT, most)};
}

TableRange attention_range(LlvmBuild *b, const AttentionCode *c, LLVMValueRef first,
                           LLVMValueRef count) {
    return c->documents ? table_range(b, c->documents, first, count) : (TableRange){0};
}

LLVMValueRef attention_meets(LlvmBuild *b, const AttentionCode *c, TableRange x, TableRange y) {
    if (!c->documents)
        return llvm_i1(b, true);
    return LLVMBuildAnd(b->builder, llvm_icmp(b, LLVMIntSLE, x.least, y.most),
                        llvm_icmp(b, LLVMIntSLE, y.least, x.most), "");
}

void attention_visible(LlvmBuild *b, const AttentionCode *c, LLVMValueRef first, LLVMValueRef rows,
                       LLVMValueRef *from, LLVMValueRef *to) {
    const AttentionKernel *t = c->t;
    *from = llvm_i64(b, 0);
    *to = llvm_i64(b, t->keys);
    // Beyond the last query's own key nothing is seen; fewer keys than queries may leave none.
    if (t->causal) {
        LLVMValueRef end = llvm_add(b, llvm_add(b, first, rows), c->shift);
        *to = tile_min(b, at_least_zero(b, end), *to);
    }
    if (t->window > 0) {
        LLVMValueRef behind = llvm_sub(b, c->shift, llvm_i64(b, t->window - 1));
        *from = at_least_zero(b, llvm_add(b, first, behind));
    }
    if (t->interval) {
        LLVMValueRef begin = table_range(b, c->begin, first, rows).least;
        LLVMValueRef end = table_range(b, c->end, first, rows).most;
        begin = LLVMBuildSExt(b->builder, begin, b->i64, "");
        *from = llvm_select(b, llvm_icmp(b, LLVMIntSLT, *from, begin), begin, *from);
        *to = tile_min(b, *to, LLVMBuildSExt(b->builder, end, b->i64, ""));
    }
    // Down to a multiple of the block: what is too early there falls to the mask.
    *from = LLVMBuildAnd(b->builder, *from, llvm_i64(b, -BLOCK), "");
}

static LLVMValueRef table_entry(LlvmBuild *b, LLVMValueRef part, LLVMValueRef at) {
    return llvm_load(b, b->i32, llvm_at(b, b->i32, part, at), sizeof(int32_t));
}

// What a query has of the 16 keys from key on, in a bias or a mask. Past the last key zeros are
// read: that may be past the operand's end.
static LLVMValueRef pair_lanes(LlvmBuild *b, const AttentionCode *c, DType dtype, LLVMValueRef base,
                               const int64_t stride[4], LLVMValueRef query, LLVMValueRef key) {
    LLVMTypeRef memory = llvm_memory_type(b, dtype);
    LLVMValueRef at = llvm_at(b, memory, base, llvm_mul(b, query, llvm_i64(b, stride[2])));
    if (stride[3] == 0)
        return llvm_splat(b, llvm_load_typed(b, dtype, 1, at, NULL), TILE_LANES);
    LLVMValueRef there = NULL; // all, where the last vector of keys is a whole one
    if (c->t->keys % TILE_LANES != 0)
        there = llvm_mask_below(b, TILE_LANES, llvm_sub(b, llvm_i64(b, c->t->keys), key));
    return llvm_load_typed(b, dtype, TILE_LANES, llvm_at(b, memory, at, key), there);
}

LLVMValueRef attention_shown(LlvmBuild *b, const AttentionCode *c, LLVMValueRef query,
                             LLVMValueRef key, LLVMValueRef mask) {
    if (!c->mask)
        return mask;
    LLVMValueRef shown = pair_lanes(b, c, DT_BOOL, c->mask, c->t->mask_at, query, key);
    return LLVMBuildAnd(b->builder, mask, shown, "");
}

// Lanes past the last key are off as well: their scores hold anything.
LLVMValueRef attention_sees(LlvmBuild *b, const AttentionCode *c, LLVMValueRef query,
                            LLVMValueRef key) {
    const AttentionKernel *t = c->t;
    LLVMTypeRef wide = llvm_vector(b->i64, TILE_LANES);
    LLVMValueRef lane = LLVMBuildZExt(b->builder, llvm_iota(b, TILE_LANES), wide, "");
    LLVMValueRef keys = llvm_add(b, llvm_splat(b, key, TILE_LANES), lane);
    LLVMValueRef mask = llvm_icmp(b, LLVMIntSLT, keys, llvm_int_like(wide, t->keys));
    LLVMValueRef beside = llvm_splat(b, llvm_add(b, query, c->shift), TILE_LANES);
    if (t->causal)
        mask = LLVMBuildAnd(b->builder, mask, llvm_icmp(b, LLVMIntSLE, keys, beside), "");
    if (t->window > 0) {
        LLVMValueRef before = llvm_sub(b, beside, llvm_int_like(wide, t->window));
        mask = LLVMBuildAnd(b->builder, mask, llvm_icmp(b, LLVMIntSGT, keys, before), "");
    }
    if (t->interval) {
        LLVMValueRef begin = table_entry(b, c->begin, query), end = table_entry(b, c->end, query);
        begin = llvm_splat(b, LLVMBuildSExt(b->builder, begin, b->i64, ""), TILE_LANES);
        end = llvm_splat(b, LLVMBuildSExt(b->builder, end, b->i64, ""), TILE_LANES);
        mask = LLVMBuildAnd(b->builder, mask, llvm_icmp(b, LLVMIntSGE, keys, begin), "");
        mask = LLVMBuildAnd(b->builder, mask, llvm_icmp(b, LLVMIntSLT, keys, end), "");
    }
    if (c->documents) {
        LLVMValueRef at = llvm_at(b, b->i32, c->documents, key);
        LLVMValueRef ids =
            llvm_load_masked(b, llvm_vector(b->i32, TILE_LANES), at, sizeof(int32_t), mask);
        LLVMValueRef own = table_entry(b, c->documents, llvm_add(b, query, c->shift));
        own = llvm_splat(b, own, TILE_LANES);
        mask = LLVMBuildAnd(b->builder, mask, llvm_icmp(b, LLVMIntEQ, ids, own), "");
    }
    return attention_shown(b, c, query, key, mask);
}

static LLVMValueRef scaled(LlvmBuild *b, const AttentionKernel *k, LLVMValueRef product,
                           LLVMValueRef *growth) {
    LLVMTypeRef lanes = LLVMTypeOf(product);
    LLVMValueRef scale = llvm_float_like(lanes, k->scale);
    if (k->cap == 0) {
        if (growth)
            *growth = scale;
        return llvm_fmul(b, product, scale);
    }
    LLVMValueRef ratio = llvm_fmul(b, product, llvm_float_like(lanes, k->scale / k->cap));
    LLVMValueRef t = llvm_math_tanh(b, ratio);
    if (growth) // scale (1 - t t)
        *growth = llvm_fma(b, llvm_fmul(b, t, t), llvm_float_like(lanes, -k->scale), scale);
    return llvm_fmul(b, t, llvm_float_like(lanes, k->cap));
}

LLVMValueRef attention_scores(LlvmBuild *b, const AttentionCode *c, LLVMValueRef product,
                              LLVMValueRef query, LLVMValueRef key, LLVMValueRef *growth) {
    LLVMValueRef score = scaled(b, c->t, product, growth);
    if (c->bias)
        score = llvm_fadd(b, score,
                          pair_lanes(b, c, c->t->bias_dtype, c->bias, c->t->bias_at, query, key));
    if (!c->slope)
        return score;
    // How far each key is from the query's place: whole numbers, exact below 2^24.
    LLVMTypeRef lanes = LLVMTypeOf(product);
    LLVMValueRef first = llvm_sub(b, key, llvm_add(b, query, c->shift));
    first = llvm_splat(b, LLVMBuildSIToFP(b->builder, first, b->f32, ""), TILE_LANES);
    LLVMValueRef lane = LLVMBuildUIToFP(b->builder, llvm_iota(b, TILE_LANES), lanes, "");
    return llvm_fma(b, llvm_splat(b, c->slope, TILE_LANES), llvm_fadd(b, first, lane), score);
}

void attention_pack(LlvmBuild *b, const AttentionCode *c, AttentionPack how, LLVMValueRef source,
                    int64_t position_stride, int64_t dim, int64_t part, LLVMValueRef count) {
    LLVMValueRef to = attention_part(b, c, part);
    // Lanes: the head dim, whose elements are neighbours; depth: positions.
    if (how == PACK_RIGHT_BY_POSITION) {
        const TileSource s = {c->t->dtype, 1, position_stride};
        tile_pack(b, &s, to, tile_columns(b), BLOCK, source, llvm_i64(b, dim), count);
        return;
    }
    // Lanes: positions; depth: the head dim.
    const TileSource s = {c->t->dtype, position_stride, 1};
    tile_pack(b, &s, to, how == PACK_LEFT ? tile_left_panel(b) : tile_columns(b), tile_round(dim),
              source, count, llvm_i64(b, dim));
}

LLVMValueRef attention_row(LlvmBuild *b, LLVMValueRef part, LLVMValueRef row, int64_t step,
                           int vector) {
    LLVMValueRef at =
        llvm_add(b, llvm_mul(b, row, llvm_i64(b, step)), llvm_i64(b, vector * TILE_LANES));
    return llvm_at(b, b->f32, part, at);
}

// The part's rows are whole vectors; only the operand's end inside one.
void attention_store(LlvmBuild *b, const AttentionCode *c, LLVMValueRef part, int64_t step,
                     int64_t dim, LLVMValueRef to, int64_t position_stride, LLVMValueRef count) {
    LLVMTypeRef lanes = llvm_vector(b->f32, TILE_LANES), memory = llvm_memory_type(b, c->t->dtype);
    LlvmLoop row;
    llvm_loop_begin(b, &row, llvm_i64(b, 0), count, 1);
    LLVMValueRef at = llvm_at(b, memory, to, llvm_mul(b, row.index, llvm_i64(b, position_stride)));
    for (int64_t j = 0; j < dim; j += TILE_LANES) {
        LLVMValueRef mask = dim - j < TILE_LANES ? llvm_mask_first(b, TILE_LANES, dim - j) : NULL;
        LLVMValueRef v =
            llvm_load(b, lanes, attention_row(b, part, row.index, step, (int)(j / TILE_LANES)), 4);
        llvm_store_typed(b, c->t->dtype, v, llvm_at(b, memory, at, llvm_i64(b, j)), mask);
    }
    llvm_loop_end(b, &row);
}

// One query's place in the tile.
typedef struct {
    LLVMValueRef score, packed_score, out, maximum, sum; // workspace parts
    LLVMValueRef first, rows;                            // queries of the tile
    TableRange documents;                                // of these
} ForwardTile;

// One number a query: maximum, sum, log-sum-exp.
static LLVMValueRef scalar_at(LlvmBuild *b, LLVMValueRef part, LLVMValueRef index) {
    return llvm_at(b, b->f32, part, index);
}

// m = -inf, l = 0, out = 0.
static void clear_tile(LlvmBuild *b, const AttentionCode *c, const ForwardTile *f) {
    LlvmLoop row;
    llvm_loop_begin(b, &row, llvm_i64(b, 0), f->rows, 1);
    llvm_store(b, llvm_f32(b, -HUGE_VAL), scalar_at(b, f->maximum, row.index), 4);
    llvm_store(b, llvm_f32(b, 0), scalar_at(b, f->sum, row.index), 4);
    for (int j = 0; j < c->layout.v_cap / TILE_LANES; j++)
        llvm_store(b, llvm_zero(llvm_vector(b->f32, TILE_LANES)),
                   attention_row(b, f->out, row.index, c->layout.v_cap, j), 4);
    llvm_loop_end(b, &row);
}

// Scores of one query and 64 keys become exp(score - m); m, l and the row of out follow.
// The four vectors of a row stay in registers between the two walks over them.
static void soften_row(LlvmBuild *b, const AttentionCode *c, const ForwardTile *f, LLVMValueRef row,
                       LLVMValueRef key) {
    LLVMTypeRef lanes = llvm_vector(b->f32, TILE_LANES);
    LLVMValueRef query = llvm_add(b, f->first, row);
    // Scores, scaled, -inf where the key is not seen; their maximum.
    LLVMValueRef v[VECTORS], most = NULL, sum = NULL;
    // Exponentials take the scores' place; their sum, first by lane.
    for (int j = 0; j < VECTORS; j++) {
        LLVMValueRef at = llvm_add(b, key, llvm_i64(b, j * TILE_LANES));
        LLVMValueRef s = llvm_load(b, lanes, attention_row(b, f->score, row, BLOCK, j), 4);
        s = attention_scores(b, c, s, query, at, NULL);
        v[j] =
            llvm_select(b, attention_sees(b, c, query, at), s, llvm_float_like(lanes, -HUGE_VAL));
        most = most ? llvm_fmax(b, most, v[j]) : v[j];
    }
    LLVMValueRef m_old = llvm_load(b, b->f32, scalar_at(b, f->maximum, row), 4);
    LLVMValueRef m = llvm_fmax(b, m_old, llvm_lanes_max(b, most));
    // A query that has seen no key yet has m = -inf; subtracting 0 instead keeps its exponentials
    // at 0.
    LLVMValueRef unseen = llvm_fcmp(b, LLVMRealOEQ, m, llvm_f32(b, -HUGE_VAL));
    LLVMValueRef base = llvm_select(b, unseen, llvm_f32(b, 0), m);
    for (int j = 0; j < VECTORS; j++) {
        v[j] = llvm_math_exp(b, llvm_fsub(b, v[j], llvm_splat(b, base, TILE_LANES)));
        llvm_store(b, v[j], attention_row(b, f->score, row, BLOCK, j), 4);
        sum = sum ? llvm_fadd(b, sum, v[j]) : v[j];
    }
    // What was summed before was relative to m_old: it is brought to the new maximum. The first
    // time m_old is -inf and scale 0.
    LLVMValueRef scale = llvm_math_exp(b, llvm_fsub(b, m_old, base));
    LLVMValueRef l = llvm_load(b, b->f32, scalar_at(b, f->sum, row), 4);
    llvm_store(b, llvm_fma(b, l, scale, llvm_lanes_sum(b, sum)), scalar_at(b, f->sum, row), 4);
    llvm_store(b, m, scalar_at(b, f->maximum, row), 4);
    for (int j = 0; j < c->layout.v_cap / TILE_LANES; j++) {
        LLVMValueRef at = attention_row(b, f->out, row, c->layout.v_cap, j);
        LLVMValueRef o = llvm_load(b, lanes, at, 4);
        llvm_store(b, llvm_fmul(b, o, llvm_splat(b, scale, TILE_LANES)), at, 4);
    }
}

// One block of keys.
// Keys [key, key + keys): score [rows, keys] = q k^T; softened; out [rows, v] += score v.
static void emit_key_block(LlvmBuild *b, const AttentionCode *c, const ForwardTile *f,
                           LLVMValueRef k, LLVMValueRef v, LLVMValueRef key, LLVMValueRef key_end) {
    const AttentionKernel *t = c->t;
    LLVMValueRef keys = tile_min(b, llvm_sub(b, key_end, key), llvm_i64(b, BLOCK));
    const TableRange documents = attention_range(b, c, key, keys);
    const LlvmIf seen = llvm_if_begin(b, attention_meets(b, c, f->documents, documents));
    // k and v are packed again for every block of queries: cheap beside the products.
    attention_pack(b, c, PACK_RIGHT, k, t->k[2], t->dim_qk, c->layout.k, keys);
    tile_product(b, &(TileProduct){.a = attention_part(b, c, c->layout.q),
                                   .b = attention_part(b, c, c->layout.k),
                                   .c = f->score,
                                   .rows = f->rows,
                                   .columns = keys,
                                   .depth = llvm_i64(b, t->dim_qk),
                                   .a_depth_cap = c->layout.qk_cap,
                                   .b_depth_cap = c->layout.qk_cap,
                                   .c_stride = BLOCK,
                                   .add = llvm_i1(b, false)});
    LlvmLoop row;
    llvm_loop_begin(b, &row, llvm_i64(b, 0), f->rows, 1);
    soften_row(b, c, f, row.index, key);
    llvm_loop_end(b, &row);

    // The exponentials are the left operand of the second product: lanes queries, depth keys.
    const TileSource score = {DT_F32, BLOCK, 1};
    tile_pack(b, &score, f->packed_score, tile_left_panel(b), BLOCK, f->score, f->rows, keys);
    attention_pack(b, c, PACK_RIGHT_BY_POSITION, v, t->v[2], t->dim_v, c->layout.v, keys);
    tile_product(b, &(TileProduct){.a = f->packed_score,
                                   .b = attention_part(b, c, c->layout.v),
                                   .c = f->out,
                                   .rows = f->rows,
                                   .columns = llvm_i64(b, t->dim_v),
                                   .depth = keys,
                                   .a_depth_cap = BLOCK,
                                   .b_depth_cap = BLOCK,
                                   .c_stride = c->layout.v_cap,
                                   .add = llvm_i1(b, true)});
    llvm_if_end(b, seen);
}

// out /= l, and the log-sum-exp, to lse (f32, dense) from the tile's first query on.
static void finish_tile(LlvmBuild *b, const AttentionCode *c, const ForwardTile *f,
                        LLVMValueRef lse) {
    LLVMTypeRef lanes = llvm_vector(b->f32, TILE_LANES);
    LlvmLoop row;
    llvm_loop_begin(b, &row, llvm_i64(b, 0), f->rows, 1);
    LLVMValueRef l = llvm_load(b, b->f32, scalar_at(b, f->sum, row.index), 4);
    LLVMValueRef m = llvm_load(b, b->f32, scalar_at(b, f->maximum, row.index), 4);
    // A query that sees no key has l = 0: its out is 0 and its log-sum-exp -inf.
    LLVMValueRef none = llvm_fcmp(b, LLVMRealOEQ, l, llvm_f32(b, 0));
    LLVMValueRef by = llvm_splat(b, llvm_select(b, none, llvm_f32(b, 1), l), TILE_LANES);
    for (int j = 0; j < c->layout.v_cap / TILE_LANES; j++) {
        LLVMValueRef at = attention_row(b, f->out, row.index, c->layout.v_cap, j);
        llvm_store(b, llvm_fdiv(b, llvm_load(b, lanes, at, 4), by), at, 4);
    }
    LLVMValueRef sum = llvm_fadd(b, m, llvm_math_log(b, llvm_select(b, none, llvm_f32(b, 1), l)));
    llvm_store(b, llvm_select(b, none, llvm_f32(b, -HUGE_VAL), sum), scalar_at(b, lse, row.index),
               4);
    llvm_loop_end(b, &row);
}

// Tile numbers: batch slowest, then head, then block of queries.
static void emit_forward_tile(LlvmBuild *b, const AttentionCode *all, LLVMValueRef tile) {
    const AttentionKernel *t = all->t;
    const int64_t blocks = (t->queries + BLOCK - 1) / BLOCK;
    LLVMValueRef pair = llvm_udiv(b, tile, blocks);
    LLVMValueRef batch = llvm_udiv(b, pair, t->heads), head = llvm_urem(b, pair, t->heads);
    const AttentionCode row = attention_in_batch(b, all, batch);
    const AttentionCode own = attention_for_head(b, &row, head), *c = &own;
    // Several heads share the keys and values of one group.
    LLVMValueRef group = llvm_udiv(b, head, t->heads / t->groups);
    ForwardTile f = {.score = attention_part(b, c, c->layout.score),
                     .packed_score = attention_part(b, c, c->layout.packed_score),
                     .out = attention_part(b, c, c->layout.out),
                     .maximum = attention_part(b, c, c->layout.maximum),
                     .sum = attention_part(b, c, c->layout.sum)};
    f.first = llvm_mul(b, llvm_urem(b, tile, blocks), llvm_i64(b, BLOCK));
    f.rows = tile_min(b, llvm_sub(b, llvm_i64(b, t->queries), f.first), llvm_i64(b, BLOCK));
    f.documents = attention_range(b, c, llvm_add(b, f.first, c->shift), f.rows);
    LLVMValueRef q = attention_at(b, c, OPERAND_Q, t->q, batch, head, f.first);
    attention_pack(b, c, PACK_LEFT, q, t->q[2], t->dim_qk, c->layout.q, f.rows);
    // q stays packed for all blocks of keys.
    clear_tile(b, c, &f);

    LLVMValueRef from, to;
    attention_visible(b, c, f.first, f.rows, &from, &to);
    LlvmLoop key;
    llvm_loop_begin(b, &key, from, to, BLOCK);
    emit_key_block(b, c, &f, attention_at(b, c, OPERAND_K, t->k, batch, group, key.index),
                   attention_at(b, c, OPERAND_V, t->v, batch, group, key.index), key.index, to);
    llvm_loop_end(b, &key);

    // lse [batch, heads, queries] is dense.
    LLVMValueRef place = llvm_add(b, llvm_mul(b, pair, llvm_i64(b, t->queries)), f.first);
    finish_tile(b, c, &f, llvm_at(b, b->f32, llvm_operand(b, OPERAND_LSE), place));
    attention_store(b, c, f.out, c->layout.v_cap, t->dim_v,
                    attention_at(b, c, OPERAND_OUT, t->out, batch, head, f.first), t->out[2],
                    f.rows);
}

void llvm_emit_attention(LlvmBuild *b, const Kernel *k, LLVMValueRef fn) {
    (void)fn;
    if (k->kind == KERNEL_ATTENTION_GRAD) {
        llvm_emit_attention_grad(b, k);
        return;
    }
    if (k->kind == KERNEL_ATTENTION_GRAD_BIAS) {
        llvm_emit_attention_grad_bias(b, k);
        return;
    }
    const AttentionCode c = attention_code(b, k);
    LlvmLoop tile;
    llvm_loop_begin(b, &tile, llvm_tile_begin(b), llvm_tile_end(b), 1);
    if (c.layout.single)
        attention_single_tile(b, &c, tile.index);
    else
        emit_forward_tile(b, &c, tile.index);
    llvm_loop_end(b, &tile);
}
