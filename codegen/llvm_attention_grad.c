// Attention backward: dq, dk, dv from q, k, v, out, log-sum-exp and dout, without holding queries x
// keys.
//
// A tile of the work is one group of key/value heads of one batch row, so dk and dv are summed in
// workspace by one worker in a fixed order. For each of the group's heads and each block of 64
// queries, for each visible block of 64 keys (Dao et al. 2022, algorithm 4, query blocks outside):
//     p  = exp(scale q k^T - lse)          dv += p^T dout
//     dp = dout v^T,  ds = p (dp - delta) scale,  delta = sum over the head dim of dout out
//     dk += ds^T q                         dq += ds k
// (or another score, and its growth with q k instead of the last scale).
#include "codegen/llvm_attention.h"

#include "codegen/llvm_math.h"

#include <math.h>

// As the kernel lists its operands: inputs, then results.
enum { BLOCK = ATTENTION_BLOCK, VECTORS = BLOCK / TILE_LANES };
enum {
    OPERAND_Q,
    OPERAND_K,
    OPERAND_V,
    OPERAND_OUT,
    OPERAND_LSE,
    OPERAND_DOUT,
    OPERAND_DQ,
    OPERAND_DK,
    OPERAND_DV
};

void attention_clear(LlvmBuild *b, LLVMValueRef part, LLVMValueRef floats) {
    LlvmLoop loop;
    llvm_loop_begin(b, &loop, llvm_i64(b, 0), floats, TILE_LANES);
    llvm_store(b, llvm_zero(llvm_vector(b->f32, TILE_LANES)), llvm_at(b, b->f32, part, loop.index),
               4);
    llvm_loop_end(b, &loop);
}

// delta of each query, and its log-sum-exp where later blocks find it (in the place of the forward
// maximum).
static void emit_delta(LlvmBuild *b, const AttentionCode *c, const GradTile *g) {
    const AttentionKernel *t = c->t;
    LLVMTypeRef lanes = llvm_vector(b->f32, TILE_LANES), memory = llvm_memory_type(b, t->dtype);
    LlvmLoop row;
    llvm_loop_begin(b, &row, llvm_i64(b, 0), g->rows, 1);
    // out, dout [queries, dim_v] in memory; sum: one partial sum a lane.
    LLVMValueRef out = llvm_at(b, memory, g->out, llvm_mul(b, row.index, llvm_i64(b, t->out[2])));
    LLVMValueRef dout =
        llvm_at(b, memory, g->dout, llvm_mul(b, row.index, llvm_i64(b, t->dout[2])));
    LLVMValueRef sum = llvm_zero(lanes);
    for (int64_t j = 0; j < t->dim_v; j += TILE_LANES) {
        LLVMValueRef mask =
            t->dim_v - j < TILE_LANES ? llvm_mask_first(b, TILE_LANES, t->dim_v - j) : NULL;
        LLVMValueRef o =
            llvm_load_typed(b, t->dtype, TILE_LANES, llvm_at(b, memory, out, llvm_i64(b, j)), mask);
        LLVMValueRef d = llvm_load_typed(b, t->dtype, TILE_LANES,
                                         llvm_at(b, memory, dout, llvm_i64(b, j)), mask);
        sum = llvm_fma(b, o, d, sum);
    }
    llvm_store(b, llvm_lanes_sum(b, sum),
               llvm_at(b, b->f32, attention_part(b, c, c->layout.delta), row.index), 4);
    LLVMValueRef lse = llvm_load(b, b->f32, llvm_at(b, b->f32, g->lse, row.index), 4);
    llvm_store(b, lse, llvm_at(b, b->f32, attention_part(b, c, c->layout.maximum), row.index), 4);
    llvm_loop_end(b, &row);
}

// Scores become p and the gradient of p becomes ds, for one query and 64 keys.
// p = exp(score - lse) and ds = p (dp - delta), times the score's growth where it is the product's,
// each where its operand was.
static void emit_score_row(LlvmBuild *b, const AttentionCode *c, const GradTile *g,
                           ScoreGradient of, LLVMValueRef row, LLVMValueRef key) {
    LLVMTypeRef lanes = llvm_vector(b->f32, TILE_LANES);
    LLVMValueRef score = attention_part(b, c, c->layout.score);
    LLVMValueRef dscore = attention_part(b, c, c->layout.dscore);
    LLVMValueRef lse =
        llvm_load(b, b->f32, llvm_at(b, b->f32, attention_part(b, c, c->layout.maximum), row), 4);
    LLVMValueRef delta =
        llvm_load(b, b->f32, llvm_at(b, b->f32, attention_part(b, c, c->layout.delta), row), 4);
    // A bias of -inf may leave a query nothing: -inf less -inf is no number.
    if (c->bias)
        lse = llvm_select(b, llvm_fcmp(b, LLVMRealOEQ, lse, llvm_f32(b, -HUGE_VAL)), llvm_f32(b, 0),
                          lse);
    for (int j = 0; j < VECTORS; j++) {
        LLVMValueRef at = attention_row(b, score, row, BLOCK, j),
                     d_at = attention_row(b, dscore, row, BLOCK, j);
        LLVMValueRef query = llvm_add(b, g->first, row);
        LLVMValueRef first = llvm_add(b, key, llvm_i64(b, j * TILE_LANES));
        LLVMValueRef mask = attention_sees(b, c, query, first);
        LLVMValueRef growth, product = llvm_load(b, lanes, at, 4);
        LLVMValueRef s = attention_scores(b, c, product, query, first, &growth);
        LLVMValueRef p = llvm_math_exp(b, llvm_fsub(b, s, llvm_splat(b, lse, TILE_LANES)));
        // Lanes that are not seen hold anything, infinities too: they are replaced, not multiplied.
        p = llvm_select(b, mask, p, llvm_zero(lanes));
        LLVMValueRef dp = llvm_load(b, lanes, d_at, 4);
        LLVMValueRef ds = llvm_fmul(b, p, llvm_fsub(b, dp, llvm_splat(b, delta, TILE_LANES)));
        if (of == GRADIENT_OF_PRODUCTS)
            ds = llvm_fmul(b, ds, growth);
        llvm_store(b, p, at, 4);
        llvm_store(b, llvm_select(b, mask, ds, llvm_zero(lanes)), d_at, 4);
    }
}

// part (block x block, row-major) = left right^T over the head dim.
// Both operands are packed by the head dim: left [rows, dim], right [dim, keys].
static void emit_scores(LlvmBuild *b, const AttentionCode *c, const GradTile *g, LLVMValueRef keys,
                        int64_t left, int64_t right, int64_t dim, int64_t part) {
    tile_product(b, &(TileProduct){.a = attention_part(b, c, left),
                                   .b = attention_part(b, c, right),
                                   .c = attention_part(b, c, part),
                                   .rows = g->rows,
                                   .columns = keys,
                                   .depth = llvm_i64(b, dim),
                                   .a_depth_cap = tile_round(dim),
                                   .b_depth_cap = tile_round(dim),
                                   .c_stride = BLOCK,
                                   .add = llvm_i1(b, false)});
}

// sum [positions, dim] += part^T or part (packed by lanes) times right, packed by position.
// Adds, since each of dq, dk and dv collects over many blocks.
static void emit_sum(LlvmBuild *b, const AttentionCode *c, LLVMValueRef packed, int64_t right,
                     LLVMValueRef sum, LLVMValueRef rows, int64_t dim, LLVMValueRef depth) {
    tile_product(b, &(TileProduct){.a = packed,
                                   .b = attention_part(b, c, right),
                                   .c = sum,
                                   .rows = rows,
                                   .columns = llvm_i64(b, dim),
                                   .depth = depth,
                                   .a_depth_cap = BLOCK,
                                   .b_depth_cap = BLOCK,
                                   .c_stride = tile_round(dim),
                                   .add = llvm_i1(b, true)});
}

// Phases: pack the keys' side; score and dp; p and ds in their place.
void attention_grad_scores(LlvmBuild *b, const AttentionCode *c, const GradTile *g,
                           ScoreGradient of, LLVMValueRef key, LLVMValueRef keys) {
    const AttentionKernel *t = c->t;
    const AttentionLayout *l = &c->layout;
    LLVMValueRef k = attention_at(b, c, OPERAND_K, t->k, g->batch, g->group, key);
    LLVMValueRef v = attention_at(b, c, OPERAND_V, t->v, g->batch, g->group, key);
    attention_pack(b, c, PACK_RIGHT, k, t->k[2], t->dim_qk, l->k, keys);
    attention_pack(b, c, PACK_RIGHT, v, t->v[2], t->dim_v, l->v_by_dim, keys);
    // score [rows, keys] = q k^T and dscore [rows, keys] = dout v^T.
    emit_scores(b, c, g, keys, l->q, l->k, t->dim_qk, l->score);
    emit_scores(b, c, g, keys, l->dout, l->v_by_dim, t->dim_v, l->dscore);
    LlvmLoop row;
    llvm_loop_begin(b, &row, llvm_i64(b, 0), g->rows, 1);
    emit_score_row(b, c, g, of, row.index, key);
    llvm_loop_end(b, &row);
}

// Then the three sums.
static void emit_key_block(LlvmBuild *b, const AttentionCode *c, const GradTile *g,
                           LLVMValueRef key, LLVMValueRef key_end) {
    const AttentionKernel *t = c->t;
    const AttentionLayout *l = &c->layout;
    LLVMValueRef keys = tile_min(b, llvm_sub(b, key_end, key), llvm_i64(b, BLOCK));
    const TableRange documents = attention_range(b, c, key, keys);
    const LlvmIf seen = llvm_if_begin(b, attention_meets(b, c, g->documents, documents));
    LLVMValueRef k = attention_at(b, c, OPERAND_K, t->k, g->batch, g->group, key);
    attention_pack(b, c, PACK_RIGHT_BY_POSITION, k, t->k[2], t->dim_qk, l->k_by_position, keys);
    attention_grad_scores(b, c, g, GRADIENT_OF_PRODUCTS, key, keys);

    // A transpose is a way of packing: by_key has keys as lanes and queries as depth.
    const TileSource by_key = {DT_F32, 1, BLOCK}, by_query = {DT_F32, BLOCK, 1};
    LLVMValueRef score = attention_part(b, c, l->score), dscore = attention_part(b, c, l->dscore);
    LLVMValueRef packed = attention_part(b, c, l->packed_score);
    LLVMValueRef dpacked = attention_part(b, c, l->packed_dscore);
    // dk and dv hold all keys of the group: these are the rows from key on.
    LLVMValueRef dk =
        llvm_at(b, b->f32, attention_part(b, c, l->dk), llvm_mul(b, key, llvm_i64(b, l->qk_cap)));
    LLVMValueRef dv =
        llvm_at(b, b->f32, attention_part(b, c, l->dv), llvm_mul(b, key, llvm_i64(b, l->v_cap)));
    // dv [keys, v] += p^T dout.
    tile_pack(b, &by_key, packed, tile_left_panel(b), BLOCK, score, keys, g->rows);
    emit_sum(b, c, packed, l->dout_by_position, dv, keys, t->dim_v, g->rows);
    // dk [keys, qk] += ds^T q.
    tile_pack(b, &by_key, dpacked, tile_left_panel(b), BLOCK, dscore, keys, g->rows);
    emit_sum(b, c, dpacked, l->q_by_position, dk, keys, t->dim_qk, g->rows);
    // dq [rows, qk] += ds k.
    tile_pack(b, &by_query, dpacked, tile_left_panel(b), BLOCK, dscore, g->rows, keys);
    emit_sum(b, c, dpacked, l->k_by_position, attention_part(b, c, l->dq), g->rows, t->dim_qk,
             keys);
    llvm_if_end(b, seen);
}

void attention_grad_queries(LlvmBuild *b, const AttentionCode *c, GradTile *g) {
    const AttentionKernel *t = c->t;
    const AttentionLayout *l = &c->layout;
    LLVMValueRef q = attention_at(b, c, OPERAND_Q, t->q, g->batch, g->head, g->first);
    g->out = attention_at(b, c, OPERAND_OUT, t->out, g->batch, g->head, g->first);
    g->dout = attention_at(b, c, OPERAND_DOUT, t->dout, g->batch, g->head, g->first);
    // lse [batch, heads, queries] is dense.
    LLVMValueRef place = llvm_add(b, llvm_mul(b, g->batch, llvm_i64(b, t->heads)), g->head);
    place = llvm_add(b, llvm_mul(b, place, llvm_i64(b, t->queries)), g->first);
    g->lse = llvm_at(b, b->f32, llvm_operand(b, OPERAND_LSE), place);
    g->documents = attention_range(b, c, llvm_add(b, g->first, c->shift), g->rows);
    attention_pack(b, c, PACK_LEFT, q, t->q[2], t->dim_qk, l->q, g->rows);
    attention_pack(b, c, PACK_LEFT, g->dout, t->dout[2], t->dim_v, l->dout, g->rows);
    emit_delta(b, c, g);
}

// One block of queries of one head.
static void emit_query_block(LlvmBuild *b, const AttentionCode *row, GradTile *g) {
    const AttentionCode own = attention_for_head(b, row, g->head), *c = &own;
    const AttentionKernel *t = c->t;
    const AttentionLayout *l = &c->layout;
    // q and dout in both ways: for the scores by the head dim, for the sums by position.
    attention_grad_queries(b, c, g);
    LLVMValueRef q = attention_at(b, c, OPERAND_Q, t->q, g->batch, g->head, g->first);
    attention_pack(b, c, PACK_RIGHT_BY_POSITION, q, t->q[2], t->dim_qk, l->q_by_position, g->rows);
    attention_pack(b, c, PACK_RIGHT_BY_POSITION, g->dout, t->dout[2], t->dim_v, l->dout_by_position,
                   g->rows);
    LLVMValueRef dq = attention_part(b, c, l->dq);
    attention_clear(b, dq, llvm_i64(b, BLOCK * l->qk_cap));

    LLVMValueRef from, to;
    attention_visible(b, c, g->first, g->rows, &from, &to);
    LlvmLoop key;
    llvm_loop_begin(b, &key, from, to, BLOCK);
    emit_key_block(b, c, g, key.index, to);
    llvm_loop_end(b, &key);
    // This block of queries has met all its keys: its dq is complete.
    attention_store(b, c, dq, l->qk_cap, t->dim_qk,
                    attention_at(b, c, OPERAND_DQ, t->dq, g->batch, g->head, g->first), t->dq[2],
                    g->rows);
}

static void emit_group(LlvmBuild *b, const AttentionCode *all, LLVMValueRef tile) {
    const AttentionKernel *t = all->t;
    const AttentionLayout *l = &all->layout;
    // Heads a group.
    const int64_t heads = t->heads / t->groups;
    GradTile g = {.batch = llvm_udiv(b, tile, t->groups), .group = llvm_urem(b, tile, t->groups)};
    const AttentionCode own = attention_in_batch(b, all, g.batch), *c = &own;
    LLVMValueRef dk = attention_part(b, c, l->dk), dv = attention_part(b, c, l->dv);
    attention_clear(b, dk, llvm_i64(b, t->keys * l->qk_cap));
    attention_clear(b, dv, llvm_i64(b, t->keys * l->v_cap));
    LlvmLoop head, query;
    llvm_loop_begin(b, &head, llvm_i64(b, 0), llvm_i64(b, heads), 1);
    g.head = llvm_add(b, llvm_mul(b, g.group, llvm_i64(b, heads)), head.index);
    llvm_loop_begin(b, &query, llvm_i64(b, 0), llvm_i64(b, t->queries), BLOCK);
    g.first = query.index;
    g.rows = tile_min(b, llvm_sub(b, llvm_i64(b, t->queries), g.first), llvm_i64(b, BLOCK));
    emit_query_block(b, c, &g);
    llvm_loop_end(b, &query);
    llvm_loop_end(b, &head);
    // After all heads and blocks, in one fixed order, dk and dv are complete.
    LLVMValueRef zero = llvm_i64(b, 0), keys = llvm_i64(b, t->keys);
    attention_store(b, c, dk, l->qk_cap, t->dim_qk,
                    attention_at(b, c, OPERAND_DK, t->dk, g.batch, g.group, zero), t->dk[2], keys);
    attention_store(b, c, dv, l->v_cap, t->dim_v,
                    attention_at(b, c, OPERAND_DV, t->dv, g.batch, g.group, zero), t->dv[2], keys);
}

void llvm_emit_attention_grad(LlvmBuild *b, const Kernel *k) {
    const AttentionCode c = attention_code(b, k);
    LlvmLoop tile;
    llvm_loop_begin(b, &tile, llvm_tile_begin(b), llvm_tile_end(b), 1);
    emit_group(b, &c, tile.index);
    llvm_loop_end(b, &tile);
}
