// Attention of one query a head: decoding a token over a cache.
//
// Keys and values are read once each, where they lie: no packing, no blocks. Three steps: products
// with all keys that are seen, into the workspace (dot products, head dim d in lane d % 16, lanes
// added in halves, several keys at a time); softmax over them, element by element in lanes; the
// values' sum, head dims in lanes, one chain of fused multiply-adds along the keys in order. The
// bits don't depend on vector width or workers.
//
// Cost: k and v once from memory. Heads of one group read the same keys after each other, from a
// near cache. Does not share a head's keys among workers.
#include "codegen/llvm_attention.h"

#include "codegen/llvm_math.h"

#include <math.h>

enum {
    KEYS = 4,    // scored at a time
    VECTORS = 4, // of 16 head dims summed at a time
    AHEAD = 8    // keys between what is read and what is fetched
};
enum { OPERAND_Q, OPERAND_K, OPERAND_V, OPERAND_OUT, OPERAND_LSE };

typedef struct {
    LLVMValueRef k, v;         // of this head's group, position 0
    LLVMValueRef from, to;     // keys that are seen
    LLVMValueRef q, score;     // workspace parts
    LLVMValueRef maximum, sum; // of the scores
} Single;

static LLVMTypeRef lanes_type(const LlvmBuild *b) {
    return llvm_vector(b->f32, TILE_LANES);
}

// Lanes from dim on that a head has; NULL: all of them.
static LLVMValueRef dim_mask(LlvmBuild *b, int64_t dim, int64_t all) {
    return all - dim < TILE_LANES ? llvm_mask_first(b, TILE_LANES, all - dim) : NULL;
}

// 16 dims of an operand at a position.
static LLVMValueRef dims_at(LlvmBuild *b, const AttentionCode *c, LLVMValueRef base,
                            LLVMValueRef position, int64_t stride, int64_t dim) {
    LLVMValueRef at = llvm_mul(b, position, llvm_i64(b, stride));
    return llvm_at(b, llvm_memory_type(b, c->t->dtype), base, llvm_add(b, at, llvm_i64(b, dim)));
}

// The one query sees [from, to), to the key.
static void find_keys(LlvmBuild *b, const AttentionCode *c, Single *s) {
    const AttentionKernel *t = c->t;
    LLVMValueRef zero = llvm_i64(b, 0);
    s->from = zero;
    s->to = llvm_i64(b, t->keys);
    if (t->causal)
        s->to = tile_min(b, llvm_add(b, c->shift, llvm_i64(b, 1)), s->to);
    if (t->window > 0) {
        LLVMValueRef begin = llvm_sub(b, c->shift, llvm_i64(b, t->window - 1));
        s->from = llvm_select(b, llvm_icmp(b, LLVMIntSLT, begin, zero), zero, begin);
    }
}

static void widen_query(LlvmBuild *b, const AttentionCode *c, LLVMValueRef q, LLVMValueRef to) {
    const AttentionKernel *t = c->t;
    for (int64_t dim = 0; dim < t->dim_qk; dim += TILE_LANES) {
        LLVMValueRef from = dims_at(b, c, q, llvm_i64(b, 0), 0, dim);
        llvm_store(b, llvm_load_typed(b, t->dtype, TILE_LANES, from, dim_mask(b, dim, t->dim_qk)),
                   llvm_at(b, b->f32, to, llvm_i64(b, dim)), 4);
    }
}

// The lines of a position `AHEAD` further on.
static void fetch_ahead(LlvmBuild *b, const AttentionCode *c, LLVMValueRef base,
                        LLVMValueRef position, int64_t stride, int64_t dims) {
    const int64_t bytes = (int64_t)dtype_bytes(c->t->dtype);
    for (int64_t dim = 0; dim < dims; dim += 64 / bytes)
        llvm_prefetch(b, dims_at(b, c, base, position, stride, dim),
                      llvm_i64(b, AHEAD * stride * bytes), PREFETCH_READ);
}

// Keys past the last are the last one again: its score is stored several times, the same.
static void multiply_keys(LlvmBuild *b, const AttentionCode *c, const Single *s) {
    const AttentionKernel *t = c->t;
    LLVMValueRef last = llvm_sub(b, s->to, llvm_i64(b, 1));
    LlvmLoop loop;
    llvm_loop_begin(b, &loop, s->from, s->to, KEYS);
    LLVMValueRef key[KEYS], sum[KEYS];
    for (int i = 0; i < KEYS; i++) {
        key[i] = tile_min(b, llvm_add(b, loop.index, llvm_i64(b, i)), last);
        sum[i] = llvm_zero(lanes_type(b));
        fetch_ahead(b, c, s->k, key[i], t->k[2], t->dim_qk);
    }
    for (int64_t dim = 0; dim < t->dim_qk; dim += TILE_LANES) {
        LLVMValueRef q = llvm_load(b, lanes_type(b), llvm_at(b, b->f32, s->q, llvm_i64(b, dim)), 4);
        for (int i = 0; i < KEYS; i++) {
            LLVMValueRef k =
                llvm_load_typed(b, t->dtype, TILE_LANES, dims_at(b, c, s->k, key[i], t->k[2], dim),
                                dim_mask(b, dim, t->dim_qk));
            sum[i] = llvm_fma(b, q, k, sum[i]);
        }
    }
    for (int i = 0; i < KEYS; i++)
        llvm_store(b, llvm_lanes_sum(b, sum[i]), llvm_at(b, b->f32, s->score, key[i]), 4);
    llvm_loop_end(b, &loop);
}

// Products become scores; their maximum. Lanes past the last key become -inf, so that their
// exponentials are 0.
static void find_maximum(LlvmBuild *b, const AttentionCode *c, Single *s) {
    LLVMValueRef query = llvm_i64(b, 0);
    LLVMValueRef least = llvm_float_like(lanes_type(b), -HUGE_VAL);
    LlvmLoop loop;
    llvm_loop_begin(b, &loop, s->from, s->to, TILE_LANES);
    LLVMValueRef most = llvm_loop_carry(b, &loop, least);
    LLVMValueRef at = llvm_at(b, b->f32, s->score, loop.index);
    LLVMValueRef seen = llvm_mask_below(b, TILE_LANES, llvm_sub(b, s->to, loop.index));
    LLVMValueRef product = llvm_load(b, lanes_type(b), at, 4);
    LLVMValueRef v = attention_scores(b, c, product, query, loop.index, NULL);
    v = llvm_select(b, attention_shown(b, c, query, loop.index, seen), v, least);
    llvm_store(b, v, at, 4);
    llvm_loop_next(&loop, 0, llvm_fmax(b, most, v));
    llvm_loop_end(b, &loop);
    s->maximum = llvm_lanes_max(b, loop.result[0]);
}

// Exponentials take the scores' place. Where all scores are -inf, or there are none, 0 is
// subtracted instead of -inf, and the exponentials are 0.
static void soften(LlvmBuild *b, Single *s) {
    LLVMValueRef unseen = llvm_fcmp(b, LLVMRealOEQ, s->maximum, llvm_f32(b, -HUGE_VAL));
    LLVMValueRef base = llvm_select(b, unseen, llvm_f32(b, 0), s->maximum);
    LlvmLoop loop;
    llvm_loop_begin(b, &loop, s->from, s->to, TILE_LANES);
    LLVMValueRef sum = llvm_loop_carry(b, &loop, llvm_zero(lanes_type(b)));
    LLVMValueRef at = llvm_at(b, b->f32, s->score, loop.index);
    LLVMValueRef v = llvm_load(b, lanes_type(b), at, 4);
    v = llvm_math_exp(b, llvm_fsub(b, v, llvm_splat(b, base, TILE_LANES)));
    llvm_store(b, v, at, 4);
    llvm_loop_next(&loop, 0, llvm_fadd(b, sum, v));
    llvm_loop_end(b, &loop);
    s->sum = llvm_lanes_sum(b, loop.result[0]);
}

// Head dims [dim, dim + VECTORS * 16) of the values' sum, over the exponentials' sum, to out.
static void sum_values(LlvmBuild *b, const AttentionCode *c, const Single *s, int64_t dim,
                       LLVMValueRef out) {
    const AttentionKernel *t = c->t;
    const int64_t left = (t->dim_v - dim + TILE_LANES - 1) / TILE_LANES;
    const int count = left < VECTORS ? (int)left : VECTORS;
    LlvmLoop loop;
    llvm_loop_begin(b, &loop, s->from, s->to, 1);
    LLVMValueRef sum[VECTORS];
    for (int j = 0; j < count; j++)
        sum[j] = llvm_loop_carry(b, &loop, llvm_zero(lanes_type(b)));
    fetch_ahead(b, c, dims_at(b, c, s->v, llvm_i64(b, 0), 0, dim), loop.index, t->v[2],
                count * TILE_LANES);
    LLVMValueRef weight = llvm_splat(
        b, llvm_load(b, b->f32, llvm_at(b, b->f32, s->score, loop.index), 4), TILE_LANES);
    for (int j = 0; j < count; j++) {
        const int64_t at = dim + j * TILE_LANES;
        LLVMValueRef v =
            llvm_load_typed(b, t->dtype, TILE_LANES, dims_at(b, c, s->v, loop.index, t->v[2], at),
                            dim_mask(b, at, t->dim_v));
        llvm_loop_next(&loop, j, llvm_fma(b, weight, v, sum[j]));
    }
    llvm_loop_end(b, &loop);
    LLVMValueRef none = llvm_fcmp(b, LLVMRealOEQ, s->sum, llvm_f32(b, 0));
    LLVMValueRef by = llvm_splat(b, llvm_select(b, none, llvm_f32(b, 1), s->sum), TILE_LANES);
    for (int j = 0; j < count; j++) {
        const int64_t at = dim + j * TILE_LANES;
        llvm_store_typed(b, t->dtype, llvm_fdiv(b, loop.result[j], by),
                         dims_at(b, c, out, llvm_i64(b, 0), 0, at), dim_mask(b, at, t->dim_v));
    }
}

// Tile numbers: batch slowest, then head.
void attention_single_tile(LlvmBuild *b, const AttentionCode *all, LLVMValueRef tile) {
    const AttentionKernel *t = all->t;
    LLVMValueRef batch = llvm_udiv(b, tile, t->heads), head = llvm_urem(b, tile, t->heads);
    const AttentionCode row = attention_in_batch(b, all, batch);
    const AttentionCode own = attention_for_head(b, &row, head), *c = &own;
    LLVMValueRef group = llvm_udiv(b, head, t->heads / t->groups), zero = llvm_i64(b, 0);
    Single s = {.k = attention_at(b, c, OPERAND_K, t->k, batch, group, zero),
                .v = attention_at(b, c, OPERAND_V, t->v, batch, group, zero),
                .q = attention_part(b, c, c->layout.q),
                .score = attention_part(b, c, c->layout.score)};
    find_keys(b, c, &s);
    widen_query(b, c, attention_at(b, c, OPERAND_Q, t->q, batch, head, zero), s.q);
    multiply_keys(b, c, &s);
    find_maximum(b, c, &s);
    soften(b, &s);
    LLVMValueRef out = attention_at(b, c, OPERAND_OUT, t->out, batch, head, zero);
    for (int64_t dim = 0; dim < t->dim_v; dim += VECTORS * TILE_LANES)
        sum_values(b, c, &s, dim, out);
    // A query that sees no key has the log-sum-exp -inf.
    LLVMValueRef none = llvm_fcmp(b, LLVMRealOEQ, s.sum, llvm_f32(b, 0));
    LLVMValueRef log = llvm_math_log(b, llvm_select(b, none, llvm_f32(b, 1), s.sum));
    llvm_store(b, llvm_select(b, none, llvm_f32(b, -HUGE_VAL), llvm_fadd(b, s.maximum, log)),
               llvm_at(b, b->f32, llvm_operand(b, OPERAND_LSE), tile), 4);
}
