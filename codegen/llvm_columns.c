// Scalar kernels that reduce down the rows: a tile is 64 neighbouring columns, four vectors held in
// registers while all rows go by, in order: in blocks of 128 rows, the blocks' sums added in order.
// A last pass over the rows, again in order, makes the stores and additions that vary along them.
// Each column's result depends on that column alone, so tiles may run anywhere.
#include "codegen/llvm_ops.h"
#include "codegen/llvm_scalar.h"

#include "ir/check.h"

// Part of what a result is (docs/architecture.md): another number gives other bits.
enum { ROW_BLOCK = 128 };

static uint32_t row_bits(const ScalarEmit *se) {
    return se->column_bit - 1; // All dims before the column
}

// Values that don't vary along the rows and wait for reductions of this depth only.
static void compute_tile_values(ScalarEmit *se, const ScalarBlock *block, int depth) {
    for (KRef i = 0; i < se->k->instr_count; i++) {
        const KOp op = se->k->instr[i].op;
        const bool at_entry = se->varies[i] == 0 && se->depth[i] == 0;
        se->todo[i] = !(se->varies[i] & row_bits(se)) && se->depth[i] == depth && !at_entry &&
                      !kop_is_effect(op) && !kop_is_reduction(op);
    }
    scalar_compute(se, block);
}

// A reduction of something uniform along the columns needs one lane only.
static LLVMTypeRef sum_type(const ScalarEmit *se, KRef i) {
    return llvm_vector(se->b->f32, scalar_is_vector(se, i) ? KERNEL_LANES : 1);
}

// Accumulators of reduction r stand at r * SCALAR_VECTORS_MAX.
// How many of the SCALAR_VECTORS_MAX accumulators of a reduction are in use.
static int sum_count(const ScalarEmit *se, const ScalarBlock *block, KRef i) {
    return scalar_is_vector(se, i) ? block->vectors : 1;
}

// One row joined to the sums.
static void reduce_row(ScalarEmit *se, const ScalarReductions *red, const ScalarBlock *block,
                       LLVMValueRef *sum) {
    for (int r = 0; r < red->count; r++)
        se->todo[red->ref[r]] = true;
    // Everything the operands need that changes from row to row; the reductions leave todo.
    scalar_close_todo(se, row_bits(se));
    scalar_compute(se, block);
    for (int r = 0; r < red->count; r++) {
        const KInstr *in = &se->k->instr[red->ref[r]];
        for (int v = 0; v < sum_count(se, block, red->ref[r]); v++) {
            LLVMValueRef x = scalar_is_vector(se, red->ref[r]) ? scalar_lanes(se, in->arg[0], v)
                                                               : se->uniform[in->arg[0]];
            LLVMValueRef *a = &sum[r * SCALAR_VECTORS_MAX + v];
            *a = scalar_reduction_join(se, red->ref[r], *a, x);
        }
    }
}

// Carries every accumulator around the loop; slots of the vectors a block lacks stay empty.
static void carry_sums(LlvmBuild *b, LlvmLoop *loop, LLVMValueRef *sum, int count) {
    for (int i = 0; i < count; i++)
        if (sum[i])
            sum[i] = llvm_loop_carry(b, loop, sum[i]);
}

// Carried values are numbered in the order of carry_sums: empty slots have no number.
static void next_sums(LlvmLoop *loop, LLVMValueRef const *sum, int count) {
    for (int i = 0, at = 0; i < count; i++)
        if (sum[i])
            llvm_loop_next(loop, at++, sum[i]);
}

// What the loop carried out takes the place of what went in, slot by slot.
static void take_results(const LlvmLoop *loop, LLVMValueRef *sum, int count) {
    for (int i = 0, at = 0; i < count; i++)
        if (sum[i])
            sum[i] = loop->result[at++];
}

// 0 or -inf in the slots in use, NULL in the others.
static void start_sums(const ScalarEmit *se, const ScalarReductions *red, const ScalarBlock *block,
                       LLVMValueRef *sum) {
    for (int r = 0; r < red->count; r++)
        for (int v = 0; v < SCALAR_VECTORS_MAX; v++)
            sum[r * SCALAR_VECTORS_MAX + v] =
                v < sum_count(se, block, red->ref[r])
                    ? scalar_reduction_start(se, red->ref[r], sum_type(se, red->ref[r]))
                    : NULL;
}

// All rows: a loop over blocks of rows around a loop over a block's rows.
static void reduce_pass(ScalarEmit *se, const ScalarReductions *red, const ScalarBlock *block) {
    LlvmBuild *b = se->b;
    const int64_t rows = scalar_rows(se->k);
    const int count = red->count * SCALAR_VECTORS_MAX;
    LLVMValueRef total[LLVM_CARRY_MAX], sum[LLVM_CARRY_MAX];
    LlvmLoop blocks, inner;
    start_sums(se, red, block, total);
    start_sums(se, red, block, sum);
    // total: of the blocks done; sum: of the block being walked, which starts anew in each.
    llvm_loop_begin(b, &blocks, llvm_i64(b, 0), llvm_i64(b, rows), ROW_BLOCK);
    carry_sums(b, &blocks, total, count);
    LLVMValueRef end = scalar_at_most(b, llvm_add(b, blocks.index, llvm_i64(b, ROW_BLOCK)), rows);
    llvm_loop_begin(b, &inner, blocks.index, end, 1);
    carry_sums(b, &inner, sum, count);
    scalar_enter_row(se, inner.index);
    reduce_row(se, red, block, sum);
    scalar_leave_row(se);
    next_sums(&inner, sum, count);
    llvm_loop_end(b, &inner);
    take_results(&inner, sum, count);
    // The inner loop has ended: its block joins the total, whole.
    for (int i = 0; i < count; i++)
        if (sum[i])
            total[i] =
                scalar_reduction_join(se, red->ref[i / SCALAR_VECTORS_MAX], total[i], sum[i]);
    next_sums(&blocks, total, count);
    llvm_loop_end(b, &blocks);
    take_results(&blocks, total, count);
    // From here on the reductions are values like any other.
    for (int r = 0; r < red->count; r++) {
        const KRef i = red->ref[r];
        if (!scalar_is_vector(se, i))
            se->uniform[i] = total[r * SCALAR_VECTORS_MAX];
        for (int v = 0; scalar_is_vector(se, i) && v < block->vectors; v++)
            se->lanes[v][i] = total[r * SCALAR_VECTORS_MAX + v];
    }
}

// Effects that happen once a row; the others happen once a tile.
static bool is_row_effect(const ScalarEmit *se, KRef i) {
    return kop_is_effect(se->k->instr[i].op) && (se->varies[i] & row_bits(se));
}

// The last pass, for what is stored along the rows. No pass at all where nothing is.
static void store_rows(ScalarEmit *se, const ScalarBlock *block) {
    LlvmBuild *b = se->b;
    bool any = false;
    for (KRef i = 0; i < se->k->instr_count; i++) {
        se->todo[i] = is_row_effect(se, i);
        any = any || se->todo[i];
    }
    scalar_close_todo(se, row_bits(se));
    if (!any)
        return;
    LlvmLoop rows;
    llvm_loop_begin(b, &rows, llvm_i64(b, 0), llvm_i64(b, scalar_rows(se->k)), 1);
    scalar_enter_row(se, rows.index);
    scalar_compute(se, block);
    for (KRef i = 0; i < se->k->instr_count; i++)
        if (is_row_effect(se, i))
            scalar_effect(se, block, i);
    scalar_leave_row(se);
    llvm_loop_end(b, &rows);
}

// One pass over the rows a stage, since a stage reads results of the one before; then stores.
static void emit_tile(ScalarEmit *se, const ScalarBlock *block) {
    compute_tile_values(se, block, 0);
    for (int stage = 0; stage < se->stages; stage++) {
        ScalarReductions red;
        // Too many of them: b->error is set, the module is thrown away.
        if (!scalar_reductions(se, stage, &red))
            return;
        for (KRef i = 0; i < se->k->instr_count; i++)
            se->todo[i] = false;
        reduce_pass(se, &red, block);
        compute_tile_values(se, block, stage + 1);
    }
    store_rows(se, block);
    for (KRef i = 0; i < se->k->instr_count; i++)
        if (kop_is_effect(se->k->instr[i].op) && !is_row_effect(se, i))
            // Column results, such as the sums themselves.
            scalar_effect(se, block, i);
}

// The tile with the last columns has its own code where it is not full.
void llvm_emit_columns(ScalarEmit *se) {
    LlvmBuild *b = se->b;
    const Kernel *k = se->k;
    const int64_t all = k->dim[k->rank - 1];
    int64_t tile_rows, tile_columns;
    kernel_tile_shape(k, &tile_rows, &tile_columns);
    CHECK(tile_columns == SCALAR_VECTORS_MAX * KERNEL_LANES);
    // Whole tiles, and the columns of one more that is not.
    const int64_t full = all / tile_columns, rest = all % tile_columns;

    LLVMValueRef limit = llvm_i64(b, full), from = llvm_tile_begin(b), to = llvm_tile_end(b);
    if (full > 0) {
        LlvmLoop tiles;
        // This call's tiles are [from, to); those below limit are whole.
        LLVMValueRef until = llvm_select(b, llvm_icmp(b, LLVMIntSLT, to, limit), to, limit);
        llvm_loop_begin(b, &tiles, from, until, 1);
        const ScalarBlock block = {SCALAR_VECTORS_MAX, KERNEL_LANES,
                                   llvm_mul(b, tiles.index, llvm_i64(b, tile_columns))};
        emit_tile(se, &block);
        llvm_loop_end(b, &tiles);
    }
    if (rest == 0)
        return;
    // The rest rounded up to vectors; the last one works under a mask.
    const int vectors = (int)((rest + KERNEL_LANES - 1) / KERNEL_LANES);
    // The narrow tile is number limit: this call makes it if it lies in [from, to).
    LLVMValueRef mine = LLVMBuildAnd(b->builder, llvm_icmp(b, LLVMIntSLE, from, limit),
                                     llvm_icmp(b, LLVMIntSGT, to, limit), "");
    const LlvmIf last = llvm_if_begin(b, mine);
    const ScalarBlock block = {vectors, (int)(rest - (int64_t)(vectors - 1) * KERNEL_LANES),
                               llvm_i64(b, full * tile_columns)};
    emit_tile(se, &block);
    llvm_if_end(b, last);
}
