// Scalar kernels over rows: for each tile, for each row of it, one pass over the columns for every
// depth of reductions and a last pass for the stores.
//
// The sum of a row has one shape everywhere: column j is added to lane j % 16 of accumulator (j /
// 16) % 4, so a pass handles 64 columns a trip with four accumulators of 16 lanes; at the end (A0 +
// A1) + (A2 + A3), then the lanes in halves. Columns past the last multiple of 64 follow the loop
// as straight code, the last vector under a constant mask. A kernel without reductions may take
// fewer vectors a trip when its body is long.
//
// A reduction of select(c, x, what counts as nothing), c the same along the row, is not walked
// where c is false: that is how a program says that a row needs less.
#include "codegen/llvm_ops.h"
#include "codegen/llvm_scalar.h"

#include "ir/check.h"

#include <math.h>
#include <string.h>

// WEIGHT_*: weights of a body (llvm_op_weight) above which two vectors, or one, are computed a
// trip.
// WEIGHT_KEPT: of an operation whose values are kept for later walks, ROWS_KEPT_MAX rows of at most
// ROW_MAX columns. The next row of up to ROW_FAR_MAX columns has room beside this one in the second
// cache.
enum { ROW_ACCUMULATORS = 4, WEIGHT_TWO = 48, WEIGHT_ONE = 160 };
enum { WEIGHT_KEPT = 12, ROWS_KEPT_MAX = 2, ROW_MAX = 4096, ROW_FAR_MAX = 1 << 16, LINE = 64 };

// The columns of one tile; first and end are i64, constant where a tile is whole rows.
typedef struct {
    LLVMValueRef first, end;
    bool whole; // the tile spans all columns
} Columns;

static void clear_todo(ScalarEmit *se) {
    for (KRef i = 0; i < se->k->instr_count; i++)
        se->todo[i] = false;
}

// Values that don't vary along the column and wait for reductions of this depth only.
// Once a row: before the first pass, and again after each, for what waited for its reductions.
static void compute_row_values(ScalarEmit *se, int depth) {
    for (KRef i = 0; i < se->k->instr_count; i++) {
        const KOp op = se->k->instr[i].op;
        const bool at_entry = se->varies[i] == 0 && se->depth[i] == 0;
        se->todo[i] = !scalar_is_vector(se, i) && se->depth[i] == depth && !at_entry &&
                      !kop_is_effect(op) && !kop_is_reduction(op);
    }
    scalar_compute(se, NULL);
}

// What the reductions of a pass (or, with none, the stores along the column) need of each block.
static void choose_block_values(ScalarEmit *se, const ScalarReductions *red) {
    clear_todo(se);
    for (int r = 0; r < red->count; r++)
        se->todo[red->ref[r]] = true;
    for (KRef i = 0; red->count == 0 && i < se->k->instr_count; i++)
        se->todo[i] = kop_is_effect(se->k->instr[i].op) && scalar_is_vector(se, i);
    scalar_close_todo(se, se->column_bit);
}

// 0 or -inf in each lane.
static LLVMValueRef lanes_start(const ScalarEmit *se, KRef i) {
    return scalar_reduction_start(se, i, llvm_vector(se->b->f32, KERNEL_LANES));
}

// Vectors [first, first + count) of a block, as far as it has them.
static ScalarBlock part_of(const ScalarEmit *se, const ScalarBlock *block, int first, int count) {
    const int left = block->vectors - first;
    LLVMValueRef moved = llvm_i64(se->b, (int64_t)first * KERNEL_LANES);
    return (ScalarBlock){
        .vectors = left < count ? left : count,
        .tail = left <= count ? block->tail : KERNEL_LANES,
        .column = llvm_add(se->b, block->column, moved),
    };
}

// Vectors that are computed together: of a chain of steps as many as its operands' registers allow,
// of what is cheap as many as there are.
static int vectors_together(const ScalarEmit *se) {
    for (KRef i = 0; i < se->k->instr_count; i++)
        if (se->todo[i] && !se->kept[i] && llvm_op_is_chain(se->k->instr[i].op))
            return scalar_joined(se);
    return SCALAR_VECTORS_MAX;
}

// Computes a part of a block and adds it to the accumulators, from sum[r * 4] on.
static void reduce_part(ScalarEmit *se, const ScalarBlock *part, const ScalarReductions *red,
                        LLVMValueRef *sum) {
    scalar_compute(se, part);
    for (int r = 0; r < red->count; r++) {
        const KInstr *in = &se->k->instr[red->ref[r]];
        for (int v = 0; v < part->vectors; v++) {
            LLVMValueRef x = scalar_lanes(se, in->arg[0], v);
            LLVMValueRef mask = scalar_mask(se, part, v);
            // Columns past the end count as nothing: 0 for a sum, -inf for a maximum.
            if (mask)
                x = llvm_select(se->b, mask, x, lanes_start(se, red->ref[r]));
            LLVMValueRef *a = &sum[r * ROW_ACCUMULATORS + v];
            *a = scalar_reduction_join(se, red->ref[r], *a, x);
        }
    }
}

// Adds a block to the accumulators: sum[r * 4 + v].
static void reduce_block(ScalarEmit *se, const ScalarBlock *block, const void *user,
                         LLVMValueRef *sum) {
    const int together = vectors_together(se);
    for (int first = 0; first < block->vectors; first += together) {
        const ScalarBlock part = part_of(se, block, first, together);
        reduce_part(se, &part, user, sum + first);
    }
}

// The walks that compute what is in todo have been made: from the next on it is loaded.
static void note_kept(ScalarEmit *se) {
    for (KRef i = 0; i < se->k->instr_count; i++)
        se->kept[i] = se->kept[i] || (se->todo[i] && se->row[i]);
}

// From here on the reduction is a value like any other, uniform along the row.
static void finish_reduction(ScalarEmit *se, KRef i, LLVMValueRef const *sum) {
    LlvmBuild *b = se->b;
    const KOp op = se->k->instr[i].op;
    LLVMValueRef low = scalar_reduction_join(se, i, sum[0], sum[1]);
    LLVMValueRef high = scalar_reduction_join(se, i, sum[2], sum[3]);
    LLVMValueRef all = scalar_reduction_join(se, i, low, high);
    se->uniform[i] = op == KOP_SUM ? llvm_lanes_sum(b, all) : llvm_lanes_max(b, all);
}

// Columns of a row that don't fill a block of `wide`: straight code.
// wide in columns; there must be a rest.
static ScalarBlock rest_block(const ScalarEmit *se, int64_t wide) {
    const int64_t all = se->k->dim[se->k->rank - 1], rest = all % wide;
    const int vectors = (int)((rest + KERNEL_LANES - 1) / KERNEL_LANES);
    return (ScalarBlock){
        .vectors = vectors,
        .tail = (int)(rest - (int64_t)(vectors - 1) * KERNEL_LANES),
        .column = llvm_i64(se->b, all - rest),
    };
}

// Asks for the block's place in the next row, of every operand that goes by in both.
static void ask_ahead(ScalarEmit *se, const ScalarBlock *block) {
    LlvmBuild *b = se->b;
    const Kernel *k = se->k;
    const int last = k->rank - 1;
    if (se->walk != 1 || k->rank < 2 || k->dim[last] > ROW_FAR_MAX)
        return;
    const bool near = k->dim[last] <= ROW_MAX;
    for (int o = 0; o < k->operand_count; o++) {
        const KOperand *operand = &k->operand[o];
        // What is stored past the caches is not wanted in them.
        if (operand->stride[last] != 1 || operand->stride[last - 1] == 0 || operand->stream)
            continue;
        const int64_t bytes = (int64_t)dtype_bytes(operand->dtype);
        // A long row fills the second cache: no room for what it writes.
        if (!near && operand->access == ACCESS_WRITE)
            continue;
        const Prefetch what = !near                            ? PREFETCH_FAR
                              : operand->access == ACCESS_READ ? PREFETCH_READ
                                                               : PREFETCH_WRITE;
        LLVMValueRef from =
            llvm_at(b, llvm_memory_type(b, operand->dtype), se->row_base[o], block->column);
        for (int64_t at = 0; at < block->vectors * KERNEL_LANES * bytes; at += LINE)
            llvm_prefetch(b, from, llvm_i64(b, operand->stride[last - 1] * bytes + at), what);
    }
}

void scalar_walk_row(ScalarEmit *se, const RowWalk *w, LLVMValueRef *carried) {
    LlvmBuild *b = se->b;
    const int64_t wide = (int64_t)w->vectors * KERNEL_LANES;
    const int64_t all = se->k->dim[se->k->rank - 1];
    // A short row has no loop at all, and its code no branches.
    if (all >= wide) {
        LlvmLoop loop;
        llvm_loop_begin(b, &loop, llvm_i64(b, 0), llvm_i64(b, all / wide * wide), wide);
        for (int i = 0; i < w->count; i++)
            carried[i] = llvm_loop_carry(b, &loop, carried[i]);
        const ScalarBlock block = {w->vectors, KERNEL_LANES, loop.index};
        ask_ahead(se, &block);
        w->block(se, &block, w->user, carried);
        for (int i = 0; i < w->count; i++)
            llvm_loop_next(&loop, i, carried[i]);
        llvm_loop_end(b, &loop);
        for (int i = 0; i < w->count; i++)
            carried[i] = loop.result[i];
    }
    if (all % wide != 0) {
        // The rest goes to the accumulators as a trip would: vector v to number v.
        const ScalarBlock block = rest_block(se, wide);
        w->block(se, &block, w->user, carried);
    }
}

// Invariant: sum[r * 4 + v] holds what vector v of all blocks so far gave reduction r.
static void reduce_pass(ScalarEmit *se, const ScalarReductions *red) {
    const int count = red->count * ROW_ACCUMULATORS;
    const RowWalk walk = {reduce_block, red, ROW_ACCUMULATORS, count};
    choose_block_values(se, red);
    LLVMValueRef sum[LLVM_CARRY_MAX];
    for (int i = 0; i < count; i++)
        sum[i] = lanes_start(se, red->ref[i / ROW_ACCUMULATORS]);
    scalar_walk_row(se, &walk, sum);
    note_kept(se);
    for (int r = 0; r < red->count; r++)
        finish_reduction(se, red->ref[r], &sum[r * ROW_ACCUMULATORS]);
}

// What reduction i gives where all it joins is select(condition, x, what counts as nothing) and the
// condition, the same along the row, is false.
static LLVMValueRef guarded_start(const ScalarEmit *se, KRef i) {
    return se->k->instr[i].op == KOP_PICK ? llvm_i32(se->b, 0)
                                          : scalar_reduction_start(se, i, se->b->f32);
}

// That condition, or -1.
static KRef guard_of(const ScalarEmit *se, KRef i) {
    const KInstr *in = &se->k->instr[i];
    const KInstr *joined = &se->k->instr[in->arg[in->op == KOP_PICK ? 2 : 0]];
    if (joined->op != KOP_SELECT || scalar_is_vector(se, joined->arg[0]))
        return -1;
    const KInstr *other = &se->k->instr[joined->arg[2]];
    const bool nothing =
        other->op == KOP_CONST && other->as.f == (in->op == KOP_SUM ? 0 : -HUGE_VAL);
    return nothing ? joined->arg[0] : -1;
}

// A reduction that has no walk in common with others.
static bool is_apart(const ScalarEmit *se, KRef i) {
    return se->k->instr[i].op == KOP_PICK || llvm_sum_is_one(se, i);
}

// The walks for some reductions of one depth.
static void reduce_group(ScalarEmit *se, const ScalarReductions *red) {
    if (se->k->instr[red->ref[0]].op == KOP_PICK)
        llvm_emit_pick(se, red->ref[0]);
    else if (llvm_sum_is_one(se, red->ref[0]))
        llvm_emit_one(se, red->ref[0]);
    else
        reduce_pass(se, red);
}

// No walk at all where nothing counts: a loop of one trip or none.
static void reduce_guarded(ScalarEmit *se, const ScalarReductions *red, KRef guard) {
    LlvmBuild *b = se->b;
    LlvmLoop once;
    bool *kept = arena_array(b->arena, bool, se->k->instr_count);
    memcpy(kept, se->kept, (size_t)se->k->instr_count * sizeof *kept);
    llvm_loop_begin(b, &once, llvm_i64(b, 0),
                    LLVMBuildZExt(b->builder, se->uniform[guard], b->i64, ""), 1);
    for (int r = 0; r < red->count; r++)
        llvm_loop_carry(b, &once, guarded_start(se, red->ref[r]));
    reduce_group(se, red);
    // Kept perhaps is not kept.
    memcpy(se->kept, kept, (size_t)se->k->instr_count * sizeof *kept);
    for (int r = 0; r < red->count; r++)
        llvm_loop_next(&once, r, se->uniform[red->ref[r]]);
    llvm_loop_end(b, &once);
    for (int r = 0; r < red->count; r++)
        se->uniform[red->ref[r]] = once.result[r];
}

// All reductions of one depth: those under one guard share a walk, but for what stands apart.
static void reduce_stage(ScalarEmit *se, ScalarReductions *left) {
    while (left->count > 0) {
        ScalarReductions group = {.count = 0}, others = {.count = 0};
        const KRef first = left->ref[0], guard = guard_of(se, first);
        for (int r = 0; r < left->count; r++) {
            const KRef i = left->ref[r];
            const bool apart = is_apart(se, first) || is_apart(se, i);
            const bool joins = i == first || (!apart && guard_of(se, i) == guard);
            ScalarReductions *to = joins ? &group : &others;
            to->ref[to->count++] = i;
        }
        if (guard >= 0)
            reduce_guarded(se, &group, guard);
        else
            reduce_group(se, &group);
        *left = others;
    }
}

static void store_block(ScalarEmit *se, const ScalarBlock *block) {
    scalar_compute(se, block);
    for (KRef i = 0; i < se->k->instr_count; i++)
        if (kop_is_effect(se->k->instr[i].op) && scalar_is_vector(se, i))
            scalar_effect(se, block, i);
}

// Vectors a trip of the walk that stores: enough to overlap latencies, few where the body is long.
// Of what todo has: more would only spill registers. Nothing is summed, so any number gives the
// same bits.
static int vectors_a_trip(const ScalarEmit *se) {
    int weight = 0;
    for (KRef i = 0; i < se->k->instr_count; i++)
        weight += se->todo[i] ? llvm_op_weight(se->k->instr[i].op) : 0;
    const int most = weight > WEIGHT_ONE ? 1 : weight > WEIGHT_TWO ? 2 : SCALAR_VECTORS_MAX;
    const int together = vectors_together(se);
    return together < most ? together : most;
}

// The loop over whole trips, which end at full; a tile that has fewer columns ends sooner.
static void store_loop(ScalarEmit *se, const Columns *columns, int vectors, int64_t full) {
    LlvmBuild *b = se->b;
    LlvmLoop loop;
    llvm_loop_begin(b, &loop, columns->first, scalar_at_most(b, columns->end, full),
                    (int64_t)vectors * KERNEL_LANES);
    const ScalarBlock block = {vectors, KERNEL_LANES, loop.index};
    ask_ahead(se, &block);
    store_block(se, &block);
    llvm_loop_end(b, &loop);
}

// Nothing is stored before it: an operand may lie where a result does.
static void store_pass(ScalarEmit *se, const Columns *columns) {
    LlvmBuild *b = se->b;
    const ScalarReductions none = {.count = 0};
    choose_block_values(se, &none);
    bool any = false;
    for (KRef i = 0; i < se->k->instr_count; i++)
        any = any || (kop_is_effect(se->k->instr[i].op) && scalar_is_vector(se, i));
    if (!any)
        return;
    const int vectors = vectors_a_trip(se);
    const int64_t wide = (int64_t)vectors * KERNEL_LANES;
    const int64_t all = se->k->dim[se->k->rank - 1], full = all / wide * wide;
    if (full > 0 && se->stream_fits) {
        // Two loops: operands lie at whole lines, as planned ones do, or anywhere.
        const LlvmIf fits = llvm_if_begin(b, se->stream_fits);
        se->streaming = true;
        store_loop(se, columns, vectors, full);
        se->streaming = false;
        llvm_if_end(b, fits);
        const LlvmIf other = llvm_if_begin(b, LLVMBuildNot(b->builder, se->stream_fits, ""));
        store_loop(se, columns, vectors, full);
        llvm_if_end(b, other);
    } else if (full > 0) {
        store_loop(se, columns, vectors, full);
    }
    if (full == all)
        return;
    const ScalarBlock block = rest_block(se, wide);
    if (columns->whole) {
        store_block(se, &block);
        return;
    }
    // Only the tile that reaches the last column has the rest.
    const LlvmIf last = llvm_if_begin(b, llvm_icmp(b, LLVMIntEQ, columns->end, llvm_i64(b, all)));
    store_block(se, &block);
    llvm_if_end(b, last);
}

// How many walks of a row need value i.
static int walks_reading(ScalarEmit *se, KRef i) {
    int count = 0;
    for (int stage = 0; stage <= se->stages; stage++) {
        ScalarReductions red; // none of the last: the stores
        if (!scalar_reductions(se, stage, &red))
            return 0;
        choose_block_values(se, &red);
        count += se->todo[i];
    }
    return count;
}

// Room for rows of what is dear and read by several walks: softmax's exponentials. Few rows, short
// enough to stay in the nearest cache.
static void choose_rows(ScalarEmit *se) {
    const Kernel *k = se->k;
    const int64_t columns = k->dim[k->rank - 1];
    if (se->stages == 0 || columns > ROW_MAX)
        return;
    int count = 0;
    for (KRef i = 0; i < k->instr_count && count < ROWS_KEPT_MAX; i++) {
        if (!scalar_is_vector(se, i) || k->instr[i].dtype != DT_F32 ||
            llvm_op_weight(k->instr[i].op) < WEIGHT_KEPT || walks_reading(se, i) < 2)
            continue;
        const int64_t room = (columns + KERNEL_LANES - 1) / KERNEL_LANES * KERNEL_LANES;
        se->row[i] = llvm_stack(se->b, se->b->f32, room, KERNEL_LANES * 4);
        count++;
    }
}

// A pass or more a depth of reductions, since they read each other's results; the last pass stores.
static void emit_row(ScalarEmit *se, const Columns *columns) {
    memset(se->kept, 0, (size_t)se->k->instr_count * sizeof *se->kept);
    compute_row_values(se, 0);
    for (int stage = 0; stage < se->stages; stage++) {
        ScalarReductions red;
        if (!scalar_reductions(se, stage, &red))
            return;
        // A row of a kernel with reductions is never divided among tiles.
        CHECK(columns->whole);
        se->walk = stage;
        reduce_stage(se, &red);
        compute_row_values(se, stage + 1);
    }
    se->walk = se->stages;
    store_pass(se, columns);
    // One store a row, made by the tile with the first column.
    const ScalarBlock block = {1, KERNEL_LANES,
                               columns->whole ? llvm_i64(se->b, 0) : columns->first};
    for (KRef i = 0; i < se->k->instr_count; i++)
        if (kop_is_effect(se->k->instr[i].op) && !scalar_is_vector(se, i))
            scalar_effect(se, &block, i);
}

// Whether every operand that is to be streamed begins at a whole line; the strides keep the rows
// there.
static LLVMValueRef stream_fits(const ScalarEmit *se) {
    LlvmBuild *b = se->b;
    LLVMValueRef all = NULL;
    for (int o = 0; o < se->k->operand_count; o++) {
        if (!se->k->operand[o].stream)
            continue;
        LLVMValueRef at = LLVMBuildPtrToInt(b->builder, se->base[o], b->i64, "");
        all = all ? LLVMBuildOr(b->builder, all, at, "") : at;
    }
    if (!all)
        return NULL;
    all = LLVMBuildAnd(b->builder, all, llvm_i64(b, KERNEL_STREAM_LINE - 1), "");
    return llvm_icmp(b, LLVMIntEQ, all, llvm_i64(b, 0));
}

void llvm_emit_rows(ScalarEmit *se) {
    LlvmBuild *b = se->b;
    const Kernel *k = se->k;
    const int64_t all_rows = scalar_rows(k), all_columns = k->dim[k->rank - 1];
    int64_t tile_rows, tile_columns;
    kernel_tile_shape(k, &tile_rows, &tile_columns);
    const int64_t across = (all_columns + tile_columns - 1) / tile_columns;

    choose_rows(se);
    se->stream_fits = stream_fits(se);
    LlvmLoop tiles, rows;
    llvm_loop_begin(b, &tiles, llvm_tile_begin(b), llvm_tile_end(b), 1);
    LLVMValueRef down = tiles.index;
    // Constant bounds where tiles are whole rows: LLVM then knows the trips.
    Columns columns = {llvm_i64(b, 0), llvm_i64(b, all_columns), across == 1};
    // Tiles side by side in a row are numbered first, then rows of tiles.
    if (across > 1) {
        LLVMValueRef side = llvm_urem(b, tiles.index, across);
        down = llvm_udiv(b, tiles.index, across);
        columns.first = llvm_mul(b, side, llvm_i64(b, tile_columns));
        columns.end =
            scalar_at_most(b, llvm_add(b, columns.first, llvm_i64(b, tile_columns)), all_columns);
    }
    LLVMValueRef first = llvm_mul(b, down, llvm_i64(b, tile_rows));
    LLVMValueRef end = scalar_at_most(b, llvm_add(b, first, llvm_i64(b, tile_rows)), all_rows);
    llvm_loop_begin(b, &rows, first, end, 1);
    // One row after another; nothing is kept from row to row.
    scalar_enter_row(se, rows.index);
    emit_row(se, &columns);
    scalar_leave_row(se);
    llvm_loop_end(b, &rows);
    llvm_loop_end(b, &tiles);
    // Another worker may read next.
    if (se->stream_fits)
        llvm_store_fence(b);
}
