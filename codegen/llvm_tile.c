// Packing and register tiles. See llvm_tile.h.
//
// The register tile has tile_rows() x tile_columns() accumulators: 8 x 32 with AVX-512 (16 of 32
// registers), 6 x 16 else (12 of 16): more chains than the latency of a fused multiply-add needs,
// so that a late load does not stall them. The lines of c that the tile below will read are fetched
// meanwhile. Edges go through a full tile on the stack.
#include "codegen/llvm_tile.h"

// The largest tile of any target: vectors of columns, rows.
enum { VECTOR_MAX = 2, ROWS_MAX = 8 };

// Parameters of plim_tile_block.
enum {
    // Packed operands; c in row-major order.
    BLOCK_A,
    BLOCK_B,
    BLOCK_C,
    // In elements.
    BLOCK_ROWS,
    BLOCK_COLUMNS,
    BLOCK_DEPTH,
    BLOCK_C_STRIDE,
    // Floats from one packed block or panel to the next.
    BLOCK_A_STEP,
    BLOCK_B_STEP,
    // i1: the product is added to what c holds.
    BLOCK_ADD,
    BLOCK_PARAMETERS
};
// Parameters of plim_tile_micro.
// Always a full tile: no counts of rows and columns.
enum {
    MICRO_A,
    MICRO_B,
    MICRO_C,
    MICRO_DEPTH,
    MICRO_C_STRIDE,
    MICRO_ADD,
    // Of a that is not packed: from one row to the next, and the last row there is.
    MICRO_A_STRIDE,
    MICRO_A_LAST,
    MICRO_PARAMETERS
};
// Parameters of plim_tile_pack_*.
enum {
    PACK_TO,
    // Floats from one step of depth to the next in the panel.
    PACK_TO_STEP,
    PACK_FROM,
    // Strides of the source, in its elements.
    PACK_LANE_STRIDE,
    PACK_DEPTH_STRIDE,
    // Lanes left from here, of which one panel's or 16 are packed; steps of depth.
    PACK_LANES,
    PACK_DEPTH,
    PACK_PARAMETERS
};

int tile_columns(const LlvmBuild *b) {
    return b->target->avx512 ? 32 : 16;
}

static int tile_rows(const LlvmBuild *b) {
    return b->target->avx512 ? 8 : 6;
}

// Just the register tile's rows where they don't divide 16: a tile then reads whole lines, which
// matters in a first-level cache that holds little more than a panel of b.
int tile_left_panel(const LlvmBuild *b) {
    return b->target->avx512 ? TILE_LANES : 6;
}

int64_t tile_round(int64_t x) {
    return (x + TILE_LANES - 1) / TILE_LANES * TILE_LANES;
}

LLVMValueRef tile_min(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y) {
    return llvm_select(b, llvm_icmp(b, LLVMIntSLT, x, y), x, y);
}

// Helper functions are written in the middle of a kernel: where to go on afterwards.
typedef struct {
    LLVMBasicBlockRef block;
    LLVMValueRef fn;
} Place;

// Internal functions without results; several kernels of a module call them.
static Place helper_begin(LlvmBuild *b, const char *name, const LLVMTypeRef *parameter, int count) {
    const Place place = {LLVMGetInsertBlock(b->builder), b->fn};
    LLVMTypeRef copy[BLOCK_PARAMETERS];
    for (int i = 0; i < count; i++)
        copy[i] = parameter[i];
    llvm_function_begin(b, name, LLVMFunctionType(b->void_type, copy, (unsigned)count, 0),
                        LLVMInternalLinkage);
    return place;
}

// Back to where helper_begin was called. Returns the function that was made.
static LLVMValueRef helper_end(LlvmBuild *b, Place place) {
    LLVMValueRef made = b->fn;
    llvm_function_end(b);
    b->fn = place.fn;
    LLVMPositionBuilderAtEnd(b->builder, place.block);
    return made;
}

static LLVMValueRef param(const LlvmBuild *b, int index) {
    return LLVMGetParam(b->fn, (unsigned)index);
}

static void call(LlvmBuild *b, LLVMValueRef fn, LLVMValueRef *arg, int count) {
    LLVMBuildCall2(b->builder, LLVMGlobalGetValueType(fn), fn, arg, (unsigned)count, "");
}

// f32 x 16: packed operands and sums are f32 whatever the dtype in memory.
static LLVMTypeRef lanes_type(const LlvmBuild *b) {
    return llvm_vector(b->f32, TILE_LANES);
}

// Packing.

// Lanes of a panel that are packed at a time, in a vector of `width`. A panel of 6 takes vectors of
// 8: where panels are packed one after the other, the two lanes too many are overwritten by the
// next step of depth, or lie in the room after the last.
typedef struct {
    DType dtype;
    int lanes, width;
} Packing;

static Packing packing_of(const LlvmBuild *b, const TileSource *s, int panel) {
    // Half as many lanes where a block to be transposed would not fit the registers.
    const bool transposed = s->lane_stride != 1 && s->depth_stride == 1;
    const int width = transposed && !b->target->avx512 ? TILE_LANES / 2 : TILE_LANES;
    if (panel % TILE_LANES == 0)
        return (Packing){s->dtype, width, width};
    return (Packing){s->dtype, panel, TILE_LANES / 2};
}

// Where step `depth` of the panel goes.
static LLVMValueRef pack_to(LlvmBuild *b, LLVMValueRef depth) {
    return llvm_at(b, b->f32, param(b, PACK_TO), llvm_mul(b, depth, param(b, PACK_TO_STEP)));
}

// Just the panel's lanes of one step: with steps packed in blocks, the lane after them may be
// another panel's and final already. Powers of two: 6 lanes are a store of 4 and one of 2.
static void store_step(LlvmBuild *b, const Packing *p, LLVMValueRef v, LLVMValueRef to) {
    int part = p->width;
    for (int at = 0; at < p->lanes; at += part) {
        while (part > p->lanes - at)
            part /= 2;
        int lane[TILE_LANES];
        for (int i = 0; i < part; i++)
            lane[i] = at + i;
        LLVMValueRef some = part == p->width ? v : llvm_shuffle(b, v, v, lane, part);
        llvm_store(b, some, llvm_at(b, b->f32, to, llvm_i64(b, at)), 4);
    }
}

// Every step of depth is one vector, all of it or what the mask says.
static void copy_steps(LlvmBuild *b, const Packing *p, LLVMValueRef mask) {
    LlvmLoop loop;
    llvm_loop_begin(b, &loop, llvm_i64(b, 0), param(b, PACK_DEPTH), 1);
    LLVMValueRef from = llvm_at(b, llvm_memory_type(b, p->dtype), param(b, PACK_FROM),
                                llvm_mul(b, loop.index, param(b, PACK_DEPTH_STRIDE)));
    // Each step is another row of the source, which no hardware foresees: what the next panel will
    // read of it is asked for now.
    llvm_prefetch(b, from, llvm_i64(b, p->lanes * (int64_t)dtype_bytes(p->dtype)), PREFETCH_READ);
    store_step(b, p, llvm_load_typed(b, p->dtype, p->width, from, mask), pack_to(b, loop.index));
    llvm_loop_end(b, &loop);
}

// Lane stride 1. Nothing beyond the source is read; lanes past the last are 0. Masks are slow for
// bf16 without AVX-512, so whole vectors have a loop of their own.
static void pack_copy(LlvmBuild *b, const Packing *p) {
    LLVMValueRef lanes = param(b, PACK_LANES);
    LLVMValueRef whole = llvm_icmp(b, LLVMIntSGE, lanes, llvm_i64(b, p->width));
    const LlvmIf full = llvm_if_begin(b, whole);
    copy_steps(b, p, NULL);
    llvm_if_end(b, full);
    const LlvmIf edge = llvm_if_begin(b, LLVMBuildNot(b->builder, whole, ""));
    copy_steps(b, p, llvm_mask_below(b, p->width, lanes));
    llvm_if_end(b, edge);
}

// Any strides: a gather per step.
// Slow, but only where neither stride is 1.
static void pack_gather(LlvmBuild *b, const Packing *p) {
    LLVMTypeRef memory = llvm_memory_type(b, p->dtype);
    LLVMTypeRef wide = llvm_vector(b->i64, p->width);
    LLVMValueRef mask = llvm_mask_below(b, p->width, param(b, PACK_LANES));
    LLVMValueRef lane = LLVMBuildZExt(b->builder, llvm_iota(b, p->width), wide, "");
    // Of each lane, the same at every step.
    LLVMValueRef offset = llvm_mul(b, lane, llvm_splat(b, param(b, PACK_LANE_STRIDE), p->width));
    LlvmLoop loop;
    llvm_loop_begin(b, &loop, llvm_i64(b, 0), param(b, PACK_DEPTH), 1);
    LLVMValueRef from = llvm_at(b, memory, param(b, PACK_FROM),
                                llvm_mul(b, loop.index, param(b, PACK_DEPTH_STRIDE)));
    LLVMValueRef v = llvm_gather(b, llvm_vector(memory, p->width), from, offset, mask);
    llvm_store(b, llvm_widen_typed(b, p->dtype, v), pack_to(b, loop.index), 4);
    llvm_loop_end(b, &loop);
}

// Exchanges bit `bit` of the row number with the same bit of the lane number, for all rows: one
// such exchange a bit transposes a width x width block.
static void exchange(LlvmBuild *b, LLVMValueRef v[TILE_LANES], int width, int bit) {
    int low[TILE_LANES], high[TILE_LANES];
    for (int i = 0; i < width; i++) {
        low[i] = i & bit ? (i - bit) + width : i;
        high[i] = i & bit ? i + width : i + bit;
    }
    for (int i = 0; i < width; i++) {
        if (i & bit)
            continue;
        LLVMValueRef x = v[i], y = v[i + bit];
        // Rows i and i + bit give each other the lanes where they differ in that bit.
        v[i] = llvm_shuffle(b, x, y, low, width);
        v[i + bit] = llvm_shuffle(b, x, y, high, width);
    }
}

// One block of width x width, from depth on: read along depth, transposed in registers. Rows that
// are no lanes of the panel repeat the last.
static void transpose_block(LlvmBuild *b, const Packing *p, LLVMValueRef const *row,
                            LLVMValueRef depth, LLVMValueRef mask) {
    LLVMTypeRef memory = llvm_memory_type(b, p->dtype);
    LLVMValueRef v[TILE_LANES];
    for (int i = 0; i < p->width; i++)
        v[i] = i < p->lanes
                   ? llvm_load_typed(b, p->dtype, p->width, llvm_at(b, memory, row[i], depth), mask)
                   : v[p->lanes - 1];
    // v [lane, depth] becomes v [depth, lane].
    for (int bit = 1; bit < p->width; bit *= 2)
        exchange(b, v, p->width, bit);
    for (int i = 0; i < p->width; i++)
        llvm_store(b, v[i], pack_to(b, llvm_add(b, depth, llvm_i64(b, i))), 4);
}

// Depth stride 1: blocks transposed in registers. Lanes past the last read the last one again.
// Steps of depth past the last are written as 0: the panel has room up to a multiple of 16.
static void pack_transpose(LlvmBuild *b, const Packing *p) {
    LLVMTypeRef memory = llvm_memory_type(b, p->dtype);
    LLVMValueRef last = llvm_sub(b, param(b, PACK_LANES), llvm_i64(b, 1));
    // The addresses of the lanes' first elements.
    LLVMValueRef row[TILE_LANES];
    for (int i = 0; i < p->lanes; i++)
        row[i] =
            llvm_at(b, memory, param(b, PACK_FROM),
                    llvm_mul(b, tile_min(b, llvm_i64(b, i), last), param(b, PACK_LANE_STRIDE)));
    LLVMValueRef depth = param(b, PACK_DEPTH);
    LLVMValueRef whole = LLVMBuildAnd(b->builder, depth, llvm_i64(b, -p->width), "");
    LlvmLoop loop;
    llvm_loop_begin(b, &loop, llvm_i64(b, 0), whole, p->width);
    transpose_block(b, p, row, loop.index, NULL);
    llvm_loop_end(b, &loop);
    const LlvmIf edge = llvm_if_begin(b, llvm_icmp(b, LLVMIntSLT, whole, depth));
    transpose_block(b, p, row, whole, llvm_mask_below(b, p->width, llvm_sub(b, depth, whole)));
    llvm_if_end(b, edge);
}

// What is packed from where to where.
typedef struct {
    LLVMValueRef packed, source;      // addresses of the operand's first elements
    LLVMValueRef count, first, depth; // lanes; the first step of depth and how many
    int64_t depth_cap;
} PackRange;

// One function a way of packing, made at first use; its name says which it is.
static LLVMValueRef pack_function(LlvmBuild *b, const TileSource *s, const Packing *p) {
    const char *how = s->lane_stride == 1 ? "copy" : s->depth_stride == 1 ? "transpose" : "gather";
    const char *name =
        arena_format(b->arena, "plim_tile_pack_%s_%s_%d", how, dtype_name(s->dtype), p->lanes);
    LLVMValueRef found = LLVMGetNamedFunction(b->module, name);
    if (found)
        return found;
    const LLVMTypeRef parameter[PACK_PARAMETERS] = {b->ptr, b->i64, b->ptr, b->i64,
                                                    b->i64, b->i64, b->i64};
    const Place place = helper_begin(b, name, parameter, PACK_PARAMETERS);
    if (s->lane_stride == 1)
        pack_copy(b, p);
    else if (s->depth_stride == 1)
        pack_transpose(b, p);
    else
        pack_gather(b, p);
    return helper_end(b, place);
}

// Packs `depth` steps from `first` on, of all lanes.
static void pack_panels(LlvmBuild *b, const TileSource *s, const Packing *p, int panel,
                        const PackRange *r) {
    LLVMValueRef fn = pack_function(b, s, p);
    LlvmLoop loop;
    llvm_loop_begin(b, &loop, llvm_i64(b, 0), r->count, p->lanes);
    // The panel these lanes are in starts at lane `before`, and they in it at in_panel.
    LLVMValueRef in_panel = llvm_urem(b, loop.index, panel);
    LLVMValueRef before = llvm_sub(b, loop.index, in_panel);
    // A panel is [depth_cap][panel], so the panels before take before * depth_cap floats.
    LLVMValueRef to = llvm_add(b, llvm_mul(b, before, llvm_i64(b, r->depth_cap)), in_panel);
    to = llvm_add(b, to, llvm_mul(b, r->first, llvm_i64(b, panel)));
    LLVMValueRef from = llvm_add(b, llvm_mul(b, loop.index, llvm_i64(b, s->lane_stride)),
                                 llvm_mul(b, r->first, llvm_i64(b, s->depth_stride)));
    LLVMValueRef arg[PACK_PARAMETERS] = {
        llvm_at(b, b->f32, r->packed, to),
        llvm_i64(b, panel),
        llvm_at(b, llvm_memory_type(b, s->dtype), r->source, from),
        llvm_i64(b, s->lane_stride),
        llvm_i64(b, s->depth_stride),
        llvm_sub(b, r->count, loop.index),
        r->depth,
    };
    call(b, fn, arg, PACK_PARAMETERS);
    llvm_loop_end(b, &loop);
}

// Panels in order, so that what one writes past its end the next one overwrites. Where lanes are
// neighbours, a few steps of depth at a time: each is another row of the source, and a row's lines
// are then read one after the other, by every panel that has a part of them.
void tile_pack(LlvmBuild *b, const TileSource *s, LLVMValueRef packed, int panel, int64_t depth_cap,
               LLVMValueRef source, LLVMValueRef count, LLVMValueRef depth) {
    enum { ROWS_TOGETHER = 8 };
    const Packing p = packing_of(b, s, panel);
    PackRange r = {packed, source, count, llvm_i64(b, 0), depth, depth_cap};
    if (s->lane_stride != 1) {
        pack_panels(b, s, &p, panel, &r);
        return;
    }
    LlvmLoop some;
    llvm_loop_begin(b, &some, llvm_i64(b, 0), depth, ROWS_TOGETHER);
    r.first = some.index;
    r.depth = tile_min(b, llvm_sub(b, depth, some.index), llvm_i64(b, ROWS_TOGETHER));
    pack_panels(b, s, &p, panel, &r);
    llvm_loop_end(b, &some);
}

// The register tile.

// The address of the 16 columns of c at (row, vector).
static LLVMValueRef micro_element(LlvmBuild *b, int row, int vector) {
    LLVMValueRef at = llvm_add(b, llvm_mul(b, llvm_i64(b, row), param(b, MICRO_C_STRIDE)),
                               llvm_i64(b, vector * TILE_LANES));
    return llvm_at(b, b->f32, param(b, MICRO_C), at);
}

// Where the first step of depth of row i is.
static LLVMValueRef micro_row(LlvmBuild *b, TileLeft left, int row) {
    LLVMValueRef at = llvm_i64(b, row);
    // Rows past the last read the last one again.
    if (left == TILE_LEFT_ROWS)
        at = llvm_mul(b, tile_min(b, at, param(b, MICRO_A_LAST)), param(b, MICRO_A_STRIDE));
    return llvm_at(b, b->f32, param(b, MICRO_A), at);
}

// c [rows, columns] = (add ? c : 0) + a b [depth][columns], all sums in registers. a is packed
// [depth][panel], or rows in memory. c is added last: chains are as long as one block of depth, so
// that rounding grows with the root of the block's length plus that of their number (Higham 1993).
static LLVMValueRef micro_function(LlvmBuild *b, TileLeft left_kind) {
    const char *name = left_kind == TILE_LEFT_ROWS ? "plim_tile_micro_rows" : "plim_tile_micro";
    LLVMValueRef found = LLVMGetNamedFunction(b->module, name);
    if (found)
        return found;
    const LLVMTypeRef parameter[MICRO_PARAMETERS] = {b->ptr, b->ptr, b->ptr, b->i64,
                                                     b->i64, b->i1,  b->i64, b->i64};
    const Place place = helper_begin(b, name, parameter, MICRO_PARAMETERS);
    const int rows = tile_rows(b), vectors = tile_columns(b) / TILE_LANES;
    LLVMValueRef below = llvm_mul(b, param(b, MICRO_C_STRIDE), llvm_i64(b, rows * 4));
    for (int i = 0; i < rows; i++)
        llvm_prefetch(b, micro_element(b, i, 0), below, PREFETCH_WRITE);

    LLVMValueRef a_row[ROWS_MAX];
    for (int i = 0; i < rows; i++)
        a_row[i] = micro_row(b, left_kind, i);
    LLVMValueRef a_step = llvm_i64(b, left_kind == TILE_LEFT_ROWS ? 1 : tile_left_panel(b));

    LlvmLoop loop;
    llvm_loop_begin(b, &loop, llvm_i64(b, 0), param(b, MICRO_DEPTH), 1);
    LLVMValueRef sum[ROWS_MAX][VECTOR_MAX];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++)
            sum[i][j] = llvm_loop_carry(b, &loop, LLVMConstNull(lanes_type(b)));
    // One step of depth: a row of b, and one number of a for each row of c.
    LLVMValueRef right[VECTOR_MAX];
    LLVMValueRef b_at = llvm_at(b, b->f32, param(b, MICRO_B),
                                llvm_mul(b, loop.index, llvm_i64(b, tile_columns(b))));
    for (int j = 0; j < vectors; j++)
        right[j] =
            llvm_load(b, lanes_type(b), llvm_at(b, b->f32, b_at, llvm_i64(b, j * TILE_LANES)), 4);
    LLVMValueRef a_at = llvm_mul(b, loop.index, a_step);
    // Each sum is a chain of its own; numbering as they were carried.
    for (int i = 0; i < rows; i++) {
        LLVMValueRef left =
            llvm_splat(b, llvm_load(b, b->f32, llvm_at(b, b->f32, a_row[i], a_at), 4), TILE_LANES);
        for (int j = 0; j < vectors; j++)
            llvm_loop_next(&loop, i * vectors + j, llvm_fma(b, left, right[j], sum[i][j]));
    }
    llvm_loop_end(b, &loop);
    // Without add the mask is empty: what is in c is not read, and counts as 0.
    LLVMValueRef mask = llvm_splat(b, param(b, MICRO_ADD), TILE_LANES);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++) {
            LLVMValueRef c_at = micro_element(b, i, j);
            LLVMValueRef before = llvm_load_masked(b, lanes_type(b), c_at, 4, mask);
            llvm_store(b, llvm_fadd(b, before, loop.result[i * vectors + j]), c_at, 4);
        }
    return helper_end(b, place);
}

// Moves a tile's valid part between c and a full tile on the stack.
static void copy_edge(LlvmBuild *b, LLVMValueRef c, LLVMValueRef full, LLVMValueRef rows,
                      LLVMValueRef columns, bool to_full) {
    const int width = tile_columns(b);
    LlvmLoop loop;
    llvm_loop_begin(b, &loop, llvm_i64(b, 0), rows, 1);
    for (int j = 0; j < width; j += TILE_LANES) {
        LLVMValueRef mask = llvm_mask_below(b, TILE_LANES, llvm_sub(b, columns, llvm_i64(b, j)));
        LLVMValueRef c_at =
            llvm_add(b, llvm_mul(b, loop.index, param(b, BLOCK_C_STRIDE)), llvm_i64(b, j));
        LLVMValueRef full_at =
            llvm_add(b, llvm_mul(b, loop.index, llvm_i64(b, width)), llvm_i64(b, j));
        LLVMValueRef in_c = llvm_at(b, b->f32, c, c_at),
                     in_full = llvm_at(b, b->f32, full, full_at);
        LLVMValueRef v = llvm_load_masked(b, lanes_type(b), to_full ? in_c : in_full, 4, mask);
        llvm_store_masked(b, v, to_full ? in_full : in_c, 4, mask);
    }
    llvm_loop_end(b, &loop);
}

// From inside plim_tile_block, whose depth and add are handed on.
static void call_micro(LlvmBuild *b, LLVMValueRef a, LLVMValueRef right, LLVMValueRef c,
                       LLVMValueRef c_stride, TileLeft left, LLVMValueRef rows) {
    LLVMValueRef arg[MICRO_PARAMETERS] = {a,
                                          right,
                                          c,
                                          param(b, BLOCK_DEPTH),
                                          c_stride,
                                          param(b, BLOCK_ADD),
                                          param(b, BLOCK_A_STEP),
                                          llvm_sub(b, rows, llvm_i64(b, 1))};
    call(b, micro_function(b, left), arg, MICRO_PARAMETERS);
}

// One register tile at row i, column j of the block.
static void emit_register_tile(LlvmBuild *b, TileLeft left, LLVMValueRef i, LLVMValueRef j,
                               LLVMValueRef full) {
    LLVMValueRef rows_left =
        tile_min(b, llvm_sub(b, param(b, BLOCK_ROWS), i), llvm_i64(b, tile_rows(b)));
    LLVMValueRef columns_left = llvm_sub(b, param(b, BLOCK_COLUMNS), j);
    // A block of a holds several register tiles.
    LLVMValueRef in_block = llvm_urem(b, i, tile_left_panel(b));
    LLVMValueRef block = llvm_udiv(b, i, tile_left_panel(b));
    LLVMValueRef panel = llvm_udiv(b, j, tile_columns(b));
    LLVMValueRef a_at = left == TILE_LEFT_ROWS
                            ? llvm_mul(b, i, param(b, BLOCK_A_STEP))
                            : llvm_add(b, llvm_mul(b, block, param(b, BLOCK_A_STEP)), in_block);
    LLVMValueRef a = llvm_at(b, b->f32, param(b, BLOCK_A), a_at);
    LLVMValueRef right =
        llvm_at(b, b->f32, param(b, BLOCK_B), llvm_mul(b, panel, param(b, BLOCK_B_STEP)));
    LLVMValueRef c = llvm_at(b, b->f32, param(b, BLOCK_C),
                             llvm_add(b, llvm_mul(b, i, param(b, BLOCK_C_STRIDE)), j));
    // Else rows or columns are missing, and the tile goes through the stack.
    LLVMValueRef whole =
        LLVMBuildAnd(b->builder, llvm_icmp(b, LLVMIntEQ, rows_left, llvm_i64(b, tile_rows(b))),
                     llvm_icmp(b, LLVMIntSGE, columns_left, llvm_i64(b, tile_columns(b))), "");

    LlvmIf direct = llvm_if_begin(b, whole);
    call_micro(b, a, right, c, param(b, BLOCK_C_STRIDE), left, llvm_i64(b, tile_rows(b)));
    llvm_if_end(b, direct);
    LlvmIf edge = llvm_if_begin(b, LLVMBuildNot(b->builder, whole, ""));
    // The stack's other elements hold anything; they are never copied back.
    copy_edge(b, c, full, rows_left, columns_left, true);
    call_micro(b, a, right, full, llvm_i64(b, tile_columns(b)), left, rows_left);
    copy_edge(b, c, full, rows_left, columns_left, false);
    llvm_if_end(b, edge);
}

// Down first: a panel of b stays in a near cache while the blocks of a go by.
static LLVMValueRef block_function(LlvmBuild *b, TileLeft left) {
    const char *name = left == TILE_LEFT_ROWS ? "plim_tile_block_rows" : "plim_tile_block";
    LLVMValueRef found = LLVMGetNamedFunction(b->module, name);
    if (found)
        return found;
    // Made before this function is begun, so that helpers are not nested deeper than needed.
    micro_function(b, left);
    const LLVMTypeRef parameter[BLOCK_PARAMETERS] = {b->ptr, b->ptr, b->ptr, b->i64, b->i64,
                                                     b->i64, b->i64, b->i64, b->i64, b->i1};
    const Place place = helper_begin(b, name, parameter, BLOCK_PARAMETERS);
    // 64 bytes: a row of the tile never straddles more cache lines than it must.
    LLVMValueRef full = llvm_stack(b, b->f32, (int64_t)tile_rows(b) * tile_columns(b), 64);
    LlvmLoop across, down;
    llvm_loop_begin(b, &across, llvm_i64(b, 0), param(b, BLOCK_COLUMNS), tile_columns(b));
    llvm_loop_begin(b, &down, llvm_i64(b, 0), param(b, BLOCK_ROWS), tile_rows(b));
    emit_register_tile(b, left, down.index, across.index, full);
    llvm_loop_end(b, &down);
    llvm_loop_end(b, &across);
    return helper_end(b, place);
}

void tile_product(LlvmBuild *b, const TileProduct *p) {
    LLVMValueRef arg[BLOCK_PARAMETERS] = {
        p->a,
        p->b,
        p->c,
        p->rows,
        p->columns,
        p->depth,
        llvm_i64(b, p->c_stride),
        llvm_i64(b,
                 p->left == TILE_LEFT_ROWS ? p->a_row_stride : p->a_depth_cap * tile_left_panel(b)),
        llvm_i64(b, p->b_depth_cap * tile_columns(b)),
        p->add,
    };
    call(b, block_function(b, p->left), arg, BLOCK_PARAMETERS);
}
