// Packing and register tiles. See llvm_tile.h.
//
// The register tile has rows() x tile_columns() accumulators: 8 x 32 with AVX-512 (16 of 32
// registers), 4 x 16 else (8 of 16): enough chains to hide the latency of a fused multiply-add, and
// a broadcast per row and step is folded into it as a memory operand. Edges go through a full tile
// on the stack.
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
enum { MICRO_A, MICRO_B, MICRO_C, MICRO_DEPTH, MICRO_C_STRIDE, MICRO_ADD, MICRO_PARAMETERS };
// Parameters of plim_tile_pack_*.
enum {
    PACK_TO,
    // Floats from one step of depth to the next in the panel.
    PACK_TO_STEP,
    PACK_FROM,
    // Strides of the source, in its elements.
    PACK_LANE_STRIDE,
    PACK_DEPTH_STRIDE,
    // Lanes left from here, of which at most 16 are packed; steps of depth.
    PACK_LANES,
    PACK_DEPTH,
    PACK_PARAMETERS
};

int tile_columns(const LlvmBuild *b) {
    return b->target->avx512 ? 32 : 16;
}

static int tile_rows(const LlvmBuild *b) {
    return b->target->avx512 ? 8 : 4;
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

// Packing 16 lanes.

// Lane stride 1: every step of depth is one vector.
static void pack_copy(LlvmBuild *b, DType dtype) {
    // Nothing beyond the source is read; lanes past the last are 0.
    LLVMValueRef mask = llvm_mask_below(b, TILE_LANES, param(b, PACK_LANES));
    LlvmLoop loop;
    llvm_loop_begin(b, &loop, llvm_i64(b, 0), param(b, PACK_DEPTH), 1);
    LLVMValueRef from = llvm_at(b, llvm_memory_type(b, dtype), param(b, PACK_FROM),
                                llvm_mul(b, loop.index, param(b, PACK_DEPTH_STRIDE)));
    LLVMValueRef to =
        llvm_at(b, b->f32, param(b, PACK_TO), llvm_mul(b, loop.index, param(b, PACK_TO_STEP)));
    llvm_store(b, llvm_load_typed(b, dtype, TILE_LANES, from, mask), to, 4);
    llvm_loop_end(b, &loop);
}

// Any strides: a gather per step.
// Slow, but only where neither stride is 1.
static void pack_gather(LlvmBuild *b, DType dtype) {
    LLVMTypeRef memory = llvm_memory_type(b, dtype);
    LLVMTypeRef wide = llvm_vector(b->i64, TILE_LANES);
    LLVMValueRef mask = llvm_mask_below(b, TILE_LANES, param(b, PACK_LANES));
    LLVMValueRef lane = LLVMBuildZExt(b->builder, llvm_iota(b, TILE_LANES), wide, "");
    // Of each lane, the same at every step.
    LLVMValueRef offset = llvm_mul(b, lane, llvm_splat(b, param(b, PACK_LANE_STRIDE), TILE_LANES));
    LlvmLoop loop;
    llvm_loop_begin(b, &loop, llvm_i64(b, 0), param(b, PACK_DEPTH), 1);
    LLVMValueRef from = llvm_at(b, memory, param(b, PACK_FROM),
                                llvm_mul(b, loop.index, param(b, PACK_DEPTH_STRIDE)));
    LLVMValueRef to =
        llvm_at(b, b->f32, param(b, PACK_TO), llvm_mul(b, loop.index, param(b, PACK_TO_STEP)));
    LLVMValueRef v = llvm_gather(b, llvm_vector(memory, TILE_LANES), from, offset, mask);
    llvm_store(b, llvm_widen_typed(b, dtype, v), to, 4);
    llvm_loop_end(b, &loop);
}

// Exchanges bit `bit` of the row number with the same bit of the lane number, for all rows: four
// such exchanges transpose a 16 x 16 block.
static void exchange(LlvmBuild *b, LLVMValueRef v[TILE_LANES], int bit) {
    int low[TILE_LANES], high[TILE_LANES];
    for (int i = 0; i < TILE_LANES; i++) {
        low[i] = i & bit ? (i - bit) + TILE_LANES : i;
        high[i] = i & bit ? i + TILE_LANES : i + bit;
    }
    for (int i = 0; i < TILE_LANES; i++) {
        if (i & bit)
            continue;
        LLVMValueRef x = v[i], y = v[i + bit];
        // Rows i and i + bit give each other the lanes where they differ in that bit.
        v[i] = llvm_shuffle(b, x, y, low, TILE_LANES);
        v[i + bit] = llvm_shuffle(b, x, y, high, TILE_LANES);
    }
}

// Depth stride 1: blocks of 16 x 16 are read along depth and transposed in registers. Lanes past
// the last read the last one again.
// Steps of depth past the last are written as 0: the panel has room up to a multiple of 16.
static void pack_transpose(LlvmBuild *b, DType dtype) {
    LLVMTypeRef memory = llvm_memory_type(b, dtype);
    LLVMValueRef last = llvm_sub(b, param(b, PACK_LANES), llvm_i64(b, 1));
    // The addresses of the 16 lanes' first elements.
    LLVMValueRef row[TILE_LANES];
    for (int i = 0; i < TILE_LANES; i++)
        row[i] =
            llvm_at(b, memory, param(b, PACK_FROM),
                    llvm_mul(b, tile_min(b, llvm_i64(b, i), last), param(b, PACK_LANE_STRIDE)));
    LlvmLoop loop;
    llvm_loop_begin(b, &loop, llvm_i64(b, 0), param(b, PACK_DEPTH), TILE_LANES);
    LLVMValueRef mask =
        llvm_mask_below(b, TILE_LANES, llvm_sub(b, param(b, PACK_DEPTH), loop.index));
    LLVMValueRef v[TILE_LANES];
    for (int i = 0; i < TILE_LANES; i++)
        v[i] = llvm_load_typed(b, dtype, TILE_LANES, llvm_at(b, memory, row[i], loop.index), mask);
    // v [lane, depth] becomes v [depth, lane].
    for (int bit = 1; bit < TILE_LANES; bit *= 2)
        exchange(b, v, bit);
    for (int i = 0; i < TILE_LANES; i++) {
        LLVMValueRef depth = llvm_add(b, loop.index, llvm_i64(b, i));
        llvm_store(
            b, v[i],
            llvm_at(b, b->f32, param(b, PACK_TO), llvm_mul(b, depth, param(b, PACK_TO_STEP))), 4);
    }
    llvm_loop_end(b, &loop);
}

// One function a way of packing and a dtype, made at first use; its name says which it is.
static LLVMValueRef pack_function(LlvmBuild *b, const TileSource *s) {
    const char *how = s->lane_stride == 1 ? "copy" : s->depth_stride == 1 ? "transpose" : "gather";
    const char *name = arena_format(b->arena, "plim_tile_pack_%s_%s", how, dtype_name(s->dtype));
    LLVMValueRef found = LLVMGetNamedFunction(b->module, name);
    if (found)
        return found;
    const LLVMTypeRef parameter[PACK_PARAMETERS] = {b->ptr, b->i64, b->ptr, b->i64,
                                                    b->i64, b->i64, b->i64};
    const Place place = helper_begin(b, name, parameter, PACK_PARAMETERS);
    if (s->lane_stride == 1)
        pack_copy(b, s->dtype);
    else if (s->depth_stride == 1)
        pack_transpose(b, s->dtype);
    else
        pack_gather(b, s->dtype);
    return helper_end(b, place);
}

void tile_pack(LlvmBuild *b, const TileSource *s, LLVMValueRef packed, int panel, int64_t depth_cap,
               LLVMValueRef source, LLVMValueRef count, LLVMValueRef depth) {
    LLVMValueRef fn = pack_function(b, s);
    LlvmLoop loop;
    llvm_loop_begin(b, &loop, llvm_i64(b, 0), count, TILE_LANES);
    // 16 lanes a trip: the panel they are in starts at lane `before`, and they in it at in_panel.
    LLVMValueRef in_panel = llvm_urem(b, loop.index, panel);
    LLVMValueRef before = llvm_sub(b, loop.index, in_panel);
    // A panel is [depth_cap][panel], so the panels before take before * depth_cap floats.
    LLVMValueRef to = llvm_add(b, llvm_mul(b, before, llvm_i64(b, depth_cap)), in_panel);
    LLVMValueRef from = llvm_mul(b, loop.index, llvm_i64(b, s->lane_stride));
    LLVMValueRef arg[PACK_PARAMETERS] = {
        llvm_at(b, b->f32, packed, to),
        llvm_i64(b, panel),
        llvm_at(b, llvm_memory_type(b, s->dtype), source, from),
        llvm_i64(b, s->lane_stride),
        llvm_i64(b, s->depth_stride),
        llvm_sub(b, count, loop.index),
        depth,
    };
    call(b, fn, arg, PACK_PARAMETERS);
    llvm_loop_end(b, &loop);
}

// The register tile.

// The address of the 16 columns of c at (row, vector).
static LLVMValueRef micro_element(LlvmBuild *b, int row, int vector) {
    LLVMValueRef at = llvm_add(b, llvm_mul(b, llvm_i64(b, row), param(b, MICRO_C_STRIDE)),
                               llvm_i64(b, vector * TILE_LANES));
    return llvm_at(b, b->f32, param(b, MICRO_C), at);
}

// c [rows, columns] = (add ? c : 0) + a [depth][16] b [depth][columns], all sums in registers.
static LLVMValueRef micro_function(LlvmBuild *b) {
    LLVMValueRef found = LLVMGetNamedFunction(b->module, "plim_tile_micro");
    if (found)
        return found;
    const LLVMTypeRef parameter[MICRO_PARAMETERS] = {b->ptr, b->ptr, b->ptr, b->i64, b->i64, b->i1};
    const Place place = helper_begin(b, "plim_tile_micro", parameter, MICRO_PARAMETERS);
    const int rows = tile_rows(b), vectors = tile_columns(b) / TILE_LANES;
    // Without add the mask is empty: what is in c is not read, and the sums start at 0.
    LLVMValueRef mask = llvm_splat(b, param(b, MICRO_ADD), TILE_LANES);
    LLVMValueRef start[ROWS_MAX][VECTOR_MAX];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++)
            start[i][j] = llvm_load_masked(b, lanes_type(b), micro_element(b, i, j), 4, mask);

    LlvmLoop loop;
    llvm_loop_begin(b, &loop, llvm_i64(b, 0), param(b, MICRO_DEPTH), 1);
    LLVMValueRef sum[ROWS_MAX][VECTOR_MAX];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++)
            sum[i][j] = llvm_loop_carry(b, &loop, start[i][j]);
    // One step of depth: a row of b, and one number of a for each row of c.
    LLVMValueRef right[VECTOR_MAX];
    LLVMValueRef b_at = llvm_at(b, b->f32, param(b, MICRO_B),
                                llvm_mul(b, loop.index, llvm_i64(b, tile_columns(b))));
    for (int j = 0; j < vectors; j++)
        right[j] =
            llvm_load(b, lanes_type(b), llvm_at(b, b->f32, b_at, llvm_i64(b, j * TILE_LANES)), 4);
    LLVMValueRef a_at =
        llvm_at(b, b->f32, param(b, MICRO_A), llvm_mul(b, loop.index, llvm_i64(b, TILE_LANES)));
    // Each sum is a chain of its own; numbering as they were carried.
    for (int i = 0; i < rows; i++) {
        LLVMValueRef left = llvm_splat(
            b, llvm_load(b, b->f32, llvm_at(b, b->f32, a_at, llvm_i64(b, i)), 4), TILE_LANES);
        for (int j = 0; j < vectors; j++)
            llvm_loop_next(&loop, i * vectors + j, llvm_fma(b, left, right[j], sum[i][j]));
    }
    // The only stores: c is written once a call.
    llvm_loop_end(b, &loop);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++)
            llvm_store(b, loop.result[i * vectors + j], micro_element(b, i, j), 4);
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
                       LLVMValueRef c_stride) {
    LLVMValueRef arg[MICRO_PARAMETERS] = {
        a, right, c, param(b, BLOCK_DEPTH), c_stride, param(b, BLOCK_ADD)};
    call(b, micro_function(b), arg, MICRO_PARAMETERS);
}

// One register tile at row i, column j of the block.
static void emit_register_tile(LlvmBuild *b, LLVMValueRef i, LLVMValueRef j, LLVMValueRef full) {
    LLVMValueRef rows_left =
        tile_min(b, llvm_sub(b, param(b, BLOCK_ROWS), i), llvm_i64(b, tile_rows(b)));
    LLVMValueRef columns_left = llvm_sub(b, param(b, BLOCK_COLUMNS), j);
    // A block of a is 16 rows and a register tile 4 or 8, so it may start inside a block.
    LLVMValueRef in_block = LLVMBuildAnd(b->builder, i, llvm_i64(b, TILE_LANES - 1), "");
    LLVMValueRef block = LLVMBuildLShr(b->builder, i, llvm_i64(b, 4), "");
    LLVMValueRef panel = llvm_udiv(b, j, tile_columns(b));
    LLVMValueRef a = llvm_at(b, b->f32, param(b, BLOCK_A),
                             llvm_add(b, llvm_mul(b, block, param(b, BLOCK_A_STEP)), in_block));
    LLVMValueRef right =
        llvm_at(b, b->f32, param(b, BLOCK_B), llvm_mul(b, panel, param(b, BLOCK_B_STEP)));
    LLVMValueRef c = llvm_at(b, b->f32, param(b, BLOCK_C),
                             llvm_add(b, llvm_mul(b, i, param(b, BLOCK_C_STRIDE)), j));
    // Else rows or columns are missing, and the tile goes through the stack.
    LLVMValueRef whole =
        LLVMBuildAnd(b->builder, llvm_icmp(b, LLVMIntEQ, rows_left, llvm_i64(b, tile_rows(b))),
                     llvm_icmp(b, LLVMIntSGE, columns_left, llvm_i64(b, tile_columns(b))), "");

    LlvmIf direct = llvm_if_begin(b, whole);
    call_micro(b, a, right, c, param(b, BLOCK_C_STRIDE));
    llvm_if_end(b, direct);
    LlvmIf edge = llvm_if_begin(b, LLVMBuildNot(b->builder, whole, ""));
    // The stack's other elements hold anything; they are never copied back.
    copy_edge(b, c, full, rows_left, columns_left, true);
    call_micro(b, a, right, full, llvm_i64(b, tile_columns(b)));
    copy_edge(b, c, full, rows_left, columns_left, false);
    llvm_if_end(b, edge);
}

// Down first: a panel of b stays in a near cache while the blocks of a go by.
static LLVMValueRef block_function(LlvmBuild *b) {
    LLVMValueRef found = LLVMGetNamedFunction(b->module, "plim_tile_block");
    if (found)
        return found;
    // Made before this function is begun, so that helpers are not nested deeper than needed.
    micro_function(b);
    const LLVMTypeRef parameter[BLOCK_PARAMETERS] = {b->ptr, b->ptr, b->ptr, b->i64, b->i64,
                                                     b->i64, b->i64, b->i64, b->i64, b->i1};
    const Place place = helper_begin(b, "plim_tile_block", parameter, BLOCK_PARAMETERS);
    // 64 bytes: a row of the tile never straddles more cache lines than it must.
    LLVMValueRef full = llvm_stack(b, b->f32, (int64_t)tile_rows(b) * tile_columns(b), 64);
    LlvmLoop across, down;
    llvm_loop_begin(b, &across, llvm_i64(b, 0), param(b, BLOCK_COLUMNS), tile_columns(b));
    llvm_loop_begin(b, &down, llvm_i64(b, 0), param(b, BLOCK_ROWS), tile_rows(b));
    emit_register_tile(b, down.index, across.index, full);
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
        llvm_i64(b, p->a_depth_cap * TILE_LANES),
        llvm_i64(b, p->b_depth_cap * tile_columns(b)),
        p->add,
    };
    call(b, block_function(b), arg, BLOCK_PARAMETERS);
}
