// Products compiled here, without a library: KERNEL_PRODUCT with PRODUCT_OWN.
//
// A tile of the work is tile_m x tile_n elements of c. Depth is walked in blocks of PRODUCT_DEPTH:
// pack the block of b; then, PRODUCT_ROWS rows at a time, pack these of a and multiply panel by
// panel into c (loop order of Goto and van de Geijn 2008). Rows of a whose steps of k are
// neighbours are not packed: the register tile takes one number of a row at a time. bf16 operands
// widen to f32 while they are packed. A c that is not f32 with contiguous columns is summed in
// workspace and stored at the end. Every element of c is the sum of its blocks of depth, in order, each
// a chain of fused multiply-adds. Products of a few rows go to llvm_thin.c instead.
//
// Workspace: ir/template_layout.h.
#include "codegen/llvm_gemm.h"

#include "codegen/llvm_templates.h"
#include "codegen/llvm_thin.h"
#include "codegen/llvm_tile.h"

LLVMValueRef product_element(LlvmBuild *b, DType dtype, LLVMValueRef base,
                             const LLVMValueRef *index, const int64_t *stride, int count) {
    LLVMValueRef at = llvm_i64(b, 0);
    for (int i = 0; i < count; i++)
        if (stride[i] != 0)
            at = llvm_add(b, at, llvm_mul(b, index[i], llvm_i64(b, stride[i])));
    return llvm_at(b, llvm_memory_type(b, dtype), base, at);
}

// Tile numbers: batch slowest, then rows of tiles, then columns. Edge tiles are smaller.
static void locate_tile(LlvmBuild *b, ProductCode *t, LLVMValueRef tile) {
    const ProductKernel *p = t->p;
    const int64_t across = (p->n + t->layout.tile_n - 1) / t->layout.tile_n;
    const int64_t down = (p->m + t->layout.tile_m - 1) / t->layout.tile_m;
    LLVMValueRef batch = llvm_udiv(b, tile, across * down);
    LLVMValueRef m =
        llvm_mul(b, llvm_urem(b, llvm_udiv(b, tile, across), down), llvm_i64(b, t->layout.tile_m));
    LLVMValueRef n = llvm_mul(b, llvm_urem(b, tile, across), llvm_i64(b, t->layout.tile_n));
    LLVMValueRef batch0 = llvm_udiv(b, batch, p->batch[1]),
                 batch1 = llvm_urem(b, batch, p->batch[1]);
    t->a = product_element(b, p->a, llvm_operand(b, 0), (LLVMValueRef[]){batch0, batch1, m},
                           p->a_stride, 3);
    // b is [batch, batch, k, n]: its k axis is walked later, by blocks.
    const int64_t b_stride[3] = {p->b_stride[0], p->b_stride[1], p->b_stride[3]};
    t->b = product_element(b, p->b, llvm_operand(b, 1), (LLVMValueRef[]){batch0, batch1, n},
                           b_stride, 3);
    t->c = product_element(b, p->c, llvm_operand(b, 2), (LLVMValueRef[]){batch0, batch1, m, n},
                           p->c_stride, 4);
    t->rows = tile_min(b, llvm_sub(b, llvm_i64(b, p->m), m), llvm_i64(b, t->layout.tile_m));
    t->columns = tile_min(b, llvm_sub(b, llvm_i64(b, p->n), n), llvm_i64(b, t->layout.tile_n));
}

// 16 elements at a time.
void product_move_sum(LlvmBuild *b, const ProductCode *t, SumMove way) {
    const ProductKernel *p = t->p;
    LLVMTypeRef memory = llvm_memory_type(b, p->c);
    LlvmLoop row, column;
    llvm_loop_begin(b, &row, llvm_i64(b, 0), t->rows, 1);
    llvm_loop_begin(b, &column, llvm_i64(b, 0), t->columns, TILE_LANES);
    LLVMValueRef mask = llvm_mask_below(b, TILE_LANES, llvm_sub(b, t->columns, column.index));
    LLVMValueRef c = product_element(b, p->c, t->c, (LLVMValueRef[]){row.index, column.index},
                                     p->c_stride + 2, 2);
    LLVMValueRef sum = llvm_at(
        b, b->f32, t->sum,
        llvm_add(b, llvm_mul(b, row.index, llvm_i64(b, t->layout.sum_stride)), column.index));
    LLVMTypeRef lanes = llvm_vector(b->f32, TILE_LANES);
    LLVMTypeRef wide = llvm_vector(b->i64, TILE_LANES);
    LLVMValueRef index = llvm_mul(b, LLVMBuildZExt(b->builder, llvm_iota(b, TILE_LANES), wide, ""),
                                  llvm_int_like(wide, p->c_stride[3]));
    // Any stride between columns: gathers, and scatters unless the columns are neighbours.
    if (way == SUM_FROM_C) {
        LLVMValueRef v = llvm_gather(b, llvm_vector(memory, TILE_LANES), c, index, mask);
        llvm_store_masked(b, llvm_widen_typed(b, p->c, v), sum, 4, mask);
    } else if (p->c_stride[3] == 1) {
        llvm_store_typed(b, p->c, llvm_load_masked(b, lanes, sum, 4, mask), c, mask);
    } else {
        LLVMValueRef v = llvm_load_masked(b, lanes, sum, 4, mask);
        llvm_scatter(b, llvm_narrow_typed(b, p->c, v), c, index, mask);
    }
    llvm_loop_end(b, &column);
    llvm_loop_end(b, &row);
}

// Rows of a against the packed block of b: packed just before, so that they are still in a near
// cache, or read where they lie. later: the sum holds something from earlier blocks of depth.
static void emit_rows(LlvmBuild *b, const ProductCode *t, LLVMValueRef a, LLVMValueRef depth,
                      LLVMValueRef later) {
    const ProductKernel *p = t->p;
    const int64_t c_stride = t->layout.in_place ? p->c_stride[2] : t->layout.sum_stride;
    LlvmLoop some;
    llvm_loop_begin(b, &some, llvm_i64(b, 0), t->rows, PRODUCT_ROWS);
    LLVMValueRef rows = tile_min(b, llvm_sub(b, t->rows, some.index), llvm_i64(b, PRODUCT_ROWS));
    LLVMValueRef left = product_element(b, p->a, a, &some.index, &p->a_stride[2], 1);
    if (!t->layout.rows_in_place) {
        // Lanes are m; depth is k.
        const TileSource source = {p->a, p->a_stride[2], p->a_stride[3]};
        tile_pack(b, &source, t->packed_a, tile_left_panel(b), t->layout.depth_cap, left, rows,
                  depth);
    }
    LLVMValueRef sum = t->layout.in_place ? t->c : t->sum;
    tile_product(b,
                 &(TileProduct){.left = t->layout.rows_in_place ? TILE_LEFT_ROWS : TILE_LEFT_PACKED,
                                .a = t->layout.rows_in_place ? left : t->packed_a,
                                .b = t->packed_b,
                                .c = product_element(b, DT_F32, sum, &some.index, &c_stride, 1),
                                .rows = rows,
                                .columns = t->columns,
                                .depth = depth,
                                .a_depth_cap = t->layout.depth_cap,
                                .a_row_stride = p->a_stride[2],
                                .b_depth_cap = t->layout.depth_cap,
                                .c_stride = c_stride,
                                .add = p->accumulate ? llvm_i1(b, true) : later});
    llvm_loop_end(b, &some);
}

static void emit_tile(LlvmBuild *b, const ProductCode *t) {
    const ProductKernel *p = t->p;
    // The sum begins as what c holds.
    if (!t->layout.in_place && p->accumulate)
        product_move_sum(b, t, SUM_FROM_C);
    LlvmLoop block;
    llvm_loop_begin(b, &block, llvm_i64(b, 0), llvm_i64(b, p->k), PRODUCT_DEPTH);
    LLVMValueRef depth =
        tile_min(b, llvm_sub(b, llvm_i64(b, p->k), block.index), llvm_i64(b, PRODUCT_DEPTH));
    // Lanes are n; depth is k.
    const TileSource right = {p->b, p->b_stride[3], p->b_stride[2]};
    LLVMValueRef a = product_element(b, p->a, t->a, &block.index, &p->a_stride[3], 1);
    LLVMValueRef from_b = product_element(b, p->b, t->b, &block.index, &p->b_stride[2], 1);
    tile_pack(b, &right, t->packed_b, tile_columns(b), t->layout.depth_cap, from_b, t->columns,
              depth);
    // The first block of depth writes the sum, the others add to it.
    emit_rows(b, t, a, depth, llvm_icmp(b, LLVMIntSGT, block.index, llvm_i64(b, 0)));
    llvm_loop_end(b, &block);
    if (!t->layout.in_place)
        product_move_sum(b, t, SUM_TO_C);
}

void llvm_emit_product(LlvmBuild *b, const Kernel *k, LLVMValueRef fn) {
    (void)fn;
    const ProductKernel *p = &k->product;
    ProductCode t = {.p = p, .layout = product_layout(p)};
    LLVMValueRef workspace = llvm_workspace(b);
    t.packed_a = llvm_at(b, b->f32, workspace, llvm_i64(b, t.layout.a));
    t.packed_b = llvm_at(b, b->f32, workspace, llvm_i64(b, t.layout.b));
    t.sum = llvm_at(b, b->f32, workspace, llvm_i64(b, t.layout.sum));
    LlvmLoop tile;
    llvm_loop_begin(b, &tile, llvm_tile_begin(b), llvm_tile_end(b), 1);
    locate_tile(b, &t, tile.index);
    if (t.layout.thin)
        llvm_emit_thin_tile(b, &t);
    else
        emit_tile(b, &t);
    llvm_loop_end(b, &tile);
}
