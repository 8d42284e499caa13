// The gradient of attention's bias: that of the scores, ds = p (dp - delta), summed where they
// share the bias, without holding queries x keys but where the bias has that many numbers itself.
//
// A tile of the work owns up to 64 x 64 numbers of the bias's own axes and walks over those that it
// is broadcast along, batch rows, heads, blocks of queries, blocks of keys, in this order; scores
// are made again as in llvm_attention_grad.c. So each number is summed by one worker in one order
// and written once. Sums over queries or keys are kept for each place in a block until the end, and
// folded there. Cost: two products a block, of the five that the other gradients take; few owners,
// as of one number a head, leave workers idle.
#include "codegen/llvm_attention.h"

enum { BLOCK = ATTENTION_BLOCK, VECTORS = BLOCK / TILE_LANES };
enum { BATCH, HEAD, QUERY, KEY, AXES };
enum { OPERAND_DBIAS = 6 };

// What a tile owns of an axis, or all of it: indices [from, to), blocks of 64 for queries and keys.
typedef struct {
    LLVMValueRef from[AXES], to[AXES];
} Owned;

static bool owns(const AttentionCode *c, int axis) {
    return c->t->dbias_at[axis] > 0;
}

static Owned find_owned(LlvmBuild *b, const AttentionCode *c, LLVMValueRef tile) {
    const AttentionKernel *t = c->t;
    const int64_t all[AXES] = {t->batch, t->heads, (t->queries + BLOCK - 1) / BLOCK,
                               (t->keys + BLOCK - 1) / BLOCK};
    Owned out;
    for (int axis = AXES - 1; axis >= 0; axis--) {
        const int64_t blocks = attention_bias_blocks(t, axis, axis < QUERY ? 1 : BLOCK);
        out.from[axis] = owns(c, axis) ? llvm_urem(b, tile, blocks) : llvm_i64(b, 0);
        out.to[axis] =
            owns(c, axis) ? llvm_add(b, out.from[axis], llvm_i64(b, 1)) : llvm_i64(b, all[axis]);
        tile = llvm_udiv(b, tile, blocks);
    }
    return out;
}

// sum += gradients of the scores of g's queries and keys [key, key + keys).
static void add_keys(LlvmBuild *b, const AttentionCode *c, const GradTile *g, LLVMValueRef key,
                     LLVMValueRef keys) {
    const TableRange documents = attention_range(b, c, key, keys);
    const LlvmIf seen = llvm_if_begin(b, attention_meets(b, c, g->documents, documents));
    attention_grad_scores(b, c, g, GRADIENT_OF_SCORES, key, keys);
    LLVMTypeRef lanes = llvm_vector(b->f32, TILE_LANES);
    LLVMValueRef sum = attention_part(b, c, c->layout.dbias);
    LLVMValueRef dscore = attention_part(b, c, c->layout.dscore);
    LlvmLoop row;
    llvm_loop_begin(b, &row, llvm_i64(b, 0), g->rows, 1);
    for (int j = 0; j < VECTORS; j++) {
        LLVMValueRef to = attention_row(b, sum, row.index, BLOCK, j);
        LLVMValueRef ds = llvm_load(b, lanes, attention_row(b, dscore, row.index, BLOCK, j), 4);
        llvm_store(b, llvm_fadd(b, llvm_load(b, lanes, to, 4), ds), to, 4);
    }
    llvm_loop_end(b, &row);
    llvm_if_end(b, seen);
}

static LLVMValueRef tile_max(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y) {
    return llvm_select(b, llvm_icmp(b, LLVMIntSLT, x, y), y, x);
}

// One block of queries and the tile's keys among those that it sees.
static void add_queries(LlvmBuild *b, const AttentionCode *c, const Owned *o, GradTile *g) {
    LLVMValueRef block = llvm_i64(b, BLOCK), from, to;
    attention_visible(b, c, g->first, g->rows, &from, &to);
    from = tile_max(b, from, llvm_mul(b, o->from[KEY], block));
    to = tile_min(b, to, llvm_mul(b, o->to[KEY], block));
    const LlvmIf some = llvm_if_begin(b, llvm_icmp(b, LLVMIntSLT, from, to));
    attention_grad_queries(b, c, g);
    LlvmLoop key;
    llvm_loop_begin(b, &key, from, to, BLOCK);
    add_keys(b, c, g, key.index, tile_min(b, llvm_sub(b, to, key.index), block));
    llvm_loop_end(b, &key);
    llvm_if_end(b, some);
}

// Over all that the tile's numbers are broadcast along.
static void sum_tile(LlvmBuild *b, const AttentionCode *all, const Owned *o) {
    const AttentionKernel *t = all->t;
    LlvmLoop batch, head, query;
    llvm_loop_begin(b, &batch, o->from[BATCH], o->to[BATCH], 1);
    const AttentionCode row = attention_in_batch(b, all, batch.index);
    llvm_loop_begin(b, &head, o->from[HEAD], o->to[HEAD], 1);
    const AttentionCode own = attention_for_head(b, &row, head.index);
    llvm_loop_begin(b, &query, o->from[QUERY], o->to[QUERY], 1);
    GradTile g = {.batch = batch.index, .head = head.index};
    g.group = llvm_udiv(b, head.index, t->heads / t->groups);
    g.first = llvm_mul(b, query.index, llvm_i64(b, BLOCK));
    g.rows = tile_min(b, llvm_sub(b, llvm_i64(b, t->queries), g.first), llvm_i64(b, BLOCK));
    add_queries(b, &own, o, &g);
    llvm_loop_end(b, &query);
    llvm_loop_end(b, &head);
    llvm_loop_end(b, &batch);
}

// Rows of sums are added to the first.
static void fold_queries(LlvmBuild *b, const AttentionCode *c) {
    LLVMTypeRef lanes = llvm_vector(b->f32, TILE_LANES);
    LLVMValueRef sum = attention_part(b, c, c->layout.dbias), zero = llvm_i64(b, 0);
    LlvmLoop row;
    llvm_loop_begin(b, &row, llvm_i64(b, 1), llvm_i64(b, BLOCK), 1);
    for (int j = 0; j < VECTORS; j++) {
        LLVMValueRef to = attention_row(b, sum, zero, BLOCK, j);
        LLVMValueRef x = llvm_load(b, lanes, attention_row(b, sum, row.index, BLOCK, j), 4);
        llvm_store(b, llvm_fadd(b, llvm_load(b, lanes, to, 4), x), to, 4);
    }
    llvm_loop_end(b, &row);
}

// One row of sums, to where the bias's gradient has it: 64 numbers, or their sum.
static void store_row(LlvmBuild *b, const AttentionCode *c, LLVMValueRef row, LLVMValueRef to,
                      LLVMValueRef keys) {
    const DType dtype = c->t->bias_dtype;
    LLVMTypeRef lanes = llvm_vector(b->f32, TILE_LANES);
    LLVMValueRef sum = attention_part(b, c, c->layout.dbias), all = NULL;
    for (int j = 0; j < VECTORS; j++) {
        LLVMValueRef x = llvm_load(b, lanes, attention_row(b, sum, row, BLOCK, j), 4);
        LLVMValueRef first = llvm_i64(b, j * TILE_LANES);
        if (owns(c, KEY))
            llvm_store_typed(b, dtype, x, llvm_at(b, llvm_memory_type(b, dtype), to, first),
                             llvm_mask_below(b, TILE_LANES, llvm_sub(b, keys, first)));
        all = all ? llvm_fadd(b, all, x) : x;
    }
    if (!owns(c, KEY))
        llvm_store_typed(b, dtype, llvm_lanes_sum(b, all), to, NULL);
}

static void store_tile(LlvmBuild *b, const AttentionCode *c, const Owned *o) {
    const AttentionKernel *t = c->t;
    LLVMTypeRef memory = llvm_memory_type(b, t->bias_dtype);
    LLVMValueRef to = llvm_operand(b, OPERAND_DBIAS), block = llvm_i64(b, BLOCK);
    LLVMValueRef rows = llvm_i64(b, 1), keys = block;
    for (int axis = 0; axis < AXES; axis++) {
        const int64_t step = t->dbias_at[axis] * (axis < QUERY ? 1 : BLOCK);
        if (owns(c, axis))
            to = llvm_at(b, memory, to, llvm_mul(b, o->from[axis], llvm_i64(b, step)));
    }
    if (owns(c, QUERY))
        rows = llvm_sub(b, llvm_i64(b, t->queries), llvm_mul(b, o->from[QUERY], block));
    else
        fold_queries(b, c);
    if (owns(c, KEY))
        keys = llvm_sub(b, llvm_i64(b, t->keys), llvm_mul(b, o->from[KEY], block));
    LlvmLoop row;
    llvm_loop_begin(b, &row, llvm_i64(b, 0), tile_min(b, rows, block), 1);
    LLVMValueRef at = llvm_mul(b, row.index, llvm_i64(b, t->dbias_at[QUERY]));
    store_row(b, c, row.index, llvm_at(b, memory, to, at), keys);
    llvm_loop_end(b, &row);
}

void llvm_emit_attention_grad_bias(LlvmBuild *b, const Kernel *k) {
    const AttentionCode c = attention_code(b, k);
    LlvmLoop tile;
    llvm_loop_begin(b, &tile, llvm_tile_begin(b), llvm_tile_end(b), 1);
    const Owned owned = find_owned(b, &c, tile.index);
    attention_clear(b, attention_part(b, &c, c.layout.dbias), llvm_i64(b, BLOCK * BLOCK));
    sum_tile(b, &c, &owned);
    store_tile(b, &c, &owned);
    llvm_loop_end(b, &tile);
}
