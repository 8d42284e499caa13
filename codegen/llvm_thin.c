// Products of at most four rows: decoding a token, where every weight is read once and used once.
//
// What counts is the speed of memory, so b is neither packed nor copied: it streams through
// registers, where bf16 widens. Two shapes, by which stride of b is 1:
//  - by columns (b [k, n]): eight rows of b at a time go by, and the tile's sums, which stay in the
//    nearest cache, take them all up. Every element is one chain of fused multiply-adds along k, in
//    order.
//  - by depth (b [n, k]): dot products, element d of a column in lane d % 16 of one accumulator; at
//    the end lanes are added in halves. Several columns at a time keep as many chains in flight.
// Neither depends on vector width, tiles or workers. a is widened into the workspace first.
//
// f32 weights are fetched ahead best by the processor itself. bf16 ones are not: twice the
// operations a byte leave fewer lines in sight, and rows shorter than a page put several streams
// into one page, which its prefetcher takes for none. So lines of bf16 are asked for here, each
// once: the same place in the rows (or columns) that follow, or, where columns are shorter than a
// page, one column at a time goes by, as one stream.
//
// Cost: b once from memory, c once; a and the sums live in cache. Does nothing for larger m: there
// each element of b is used often enough for packing to pay.
#include "codegen/llvm_thin.h"

#include "codegen/llvm_tile.h"

enum {
    CHAINS = 4,  // columns x rows of a in flight by depth
    STREAMS = 8, // rows of b x rows of a in flight by columns
    LINE = 64,   // bytes of a cache line
    PAGE = 4096, // bytes that a prefetcher follows a stream in
    AHEAD = 1024 // bytes from what is read of a single column to what is asked for
};

static LLVMTypeRef lanes_type(const LlvmBuild *b) {
    return llvm_vector(b->f32, TILE_LANES);
}

// Row `row` of a in the workspace, f32, from depth on.
static LLVMValueRef packed_a_at(LlvmBuild *b, const ProductCode *t, int64_t row,
                                LLVMValueRef depth) {
    return llvm_at(b, b->f32, t->packed_a,
                   llvm_add(b, depth, llvm_i64(b, row * t->layout.depth_cap)));
}

// a to the workspace, row after row; depth past the last is 0 there.
static void widen_a(LlvmBuild *b, const ProductCode *t) {
    const ProductKernel *p = t->p;
    LLVMTypeRef wide = llvm_vector(b->i64, TILE_LANES);
    LLVMTypeRef memory = llvm_vector(llvm_memory_type(b, p->a), TILE_LANES);
    LLVMValueRef step = llvm_mul(b, LLVMBuildZExt(b->builder, llvm_iota(b, TILE_LANES), wide, ""),
                                 llvm_int_like(wide, p->a_stride[3]));
    for (int64_t i = 0; i < p->m; i++) {
        LlvmLoop depth;
        llvm_loop_begin(b, &depth, llvm_i64(b, 0), llvm_i64(b, p->k), TILE_LANES);
        LLVMValueRef from = product_element(
            b, p->a, t->a, (LLVMValueRef[]){llvm_i64(b, i), depth.index}, p->a_stride + 2, 2);
        LLVMValueRef mask =
            p->k % TILE_LANES
                ? llvm_mask_below(b, TILE_LANES, llvm_sub(b, llvm_i64(b, p->k), depth.index))
                : NULL;
        LLVMValueRef v = p->a_stride[3] == 1
                             ? llvm_load_typed(b, p->a, TILE_LANES, from, mask)
                             : llvm_widen_typed(b, p->a, llvm_gather(b, memory, from, step, mask));
        llvm_store(b, v, packed_a_at(b, t, i, depth.index), 4);
        llvm_loop_end(b, &depth);
    }
}

// The address of b at (depth, column) of the tile.
static LLVMValueRef b_at(LlvmBuild *b, const ProductCode *t, LLVMValueRef depth,
                         LLVMValueRef column) {
    return product_element(b, t->p->b, t->b, (LLVMValueRef[]){depth, column}, t->p->b_stride + 2,
                           2);
}

// By depth.

typedef struct {
    int columns;                 // of this group, at most CHAINS
    LLVMValueRef column[CHAINS]; // addresses of their first elements
    LLVMValueRef sum[CHAINS];    // of column i and row j: i * m + j
} Dots;

// From a column to the next.
static int64_t column_bytes(const ProductKernel *p) {
    return p->b_stride[3] * (int64_t)dtype_bytes(p->b);
}

static bool one_stream(const ProductKernel *p) {
    return p->b == DT_BF16 && column_bytes(p) < PAGE;
}

// 16 steps of depth of every column; mask NULL: all of them are there.
static void dots_step(LlvmBuild *b, const ProductCode *t, Dots *d, LLVMValueRef depth,
                      LLVMValueRef mask) {
    const int m = (int)t->p->m;
    LLVMValueRef a[CHAINS];
    for (int j = 0; j < m; j++)
        a[j] = llvm_load(b, lanes_type(b), packed_a_at(b, t, j, depth), 4);
    for (int i = 0; i < d->columns; i++) {
        LLVMValueRef at = llvm_at(b, llvm_memory_type(b, t->p->b), d->column[i], depth);
        LLVMValueRef v = llvm_load_typed(b, t->p->b, TILE_LANES, at, mask);
        for (int j = 0; j < m; j++)
            d->sum[i * m + j] = llvm_fma(b, a[j], v, d->sum[i * m + j]);
    }
}

// The whole depth: a line of each column a trip, then what is left.
static void dots_walk(LlvmBuild *b, const ProductCode *t, Dots *d) {
    const ProductKernel *p = t->p;
    const int count = d->columns * (int)p->m;
    const int64_t trip = LINE / (int64_t)dtype_bytes(p->b), whole = p->k / trip * trip;
    LlvmLoop loop;
    llvm_loop_begin(b, &loop, llvm_i64(b, 0), llvm_i64(b, whole), trip);
    for (int i = 0; i < count; i++)
        d->sum[i] = llvm_loop_carry(b, &loop, d->sum[i]);
    const int64_t ahead = one_stream(p) ? AHEAD : d->columns * column_bytes(p);
    for (int i = 0; p->b == DT_BF16 && i < d->columns; i++)
        llvm_prefetch(b, llvm_at(b, llvm_memory_type(b, p->b), d->column[i], loop.index),
                      llvm_i64(b, ahead), PREFETCH_READ);
    for (int64_t at = 0; at < trip; at += TILE_LANES)
        dots_step(b, t, d, llvm_add(b, loop.index, llvm_i64(b, at)), NULL);
    for (int i = 0; i < count; i++)
        llvm_loop_next(&loop, i, d->sum[i]);
    llvm_loop_end(b, &loop);
    for (int i = 0; i < count; i++)
        d->sum[i] = loop.result[i];
    for (int64_t at = whole; at < p->k; at += TILE_LANES)
        dots_step(b, t, d, llvm_i64(b, at),
                  p->k - at < TILE_LANES ? llvm_mask_first(b, TILE_LANES, p->k - at) : NULL);
}

// Columns past the last are the last one again: loaded first, all of c is stored the same twice.
static void by_depth(LlvmBuild *b, const ProductCode *t) {
    const ProductKernel *p = t->p;
    const int m = (int)p->m;
    Dots d = {.columns = one_stream(p) ? 1 : CHAINS / m};
    LLVMTypeRef memory = llvm_memory_type(b, p->c);
    LLVMValueRef at[CHAINS], base[CHAINS] = {NULL};
    LlvmLoop group;
    llvm_loop_begin(b, &group, llvm_i64(b, 0), t->columns, d.columns);
    LLVMValueRef last = llvm_sub(b, t->columns, llvm_i64(b, 1));
    for (int i = 0; i < d.columns; i++) {
        LLVMValueRef column = tile_min(b, llvm_add(b, group.index, llvm_i64(b, i)), last);
        d.column[i] = b_at(b, t, llvm_i64(b, 0), column);
        for (int j = 0; j < m; j++) {
            at[i * m + j] = product_element(b, p->c, t->c, (LLVMValueRef[]){llvm_i64(b, j), column},
                                            p->c_stride + 2, 2);
            d.sum[i * m + j] = llvm_zero(lanes_type(b));
        }
    }
    dots_walk(b, t, &d);
    for (int i = 0; i < d.columns * m && p->accumulate; i++)
        base[i] =
            llvm_widen_typed(b, p->c, llvm_load(b, memory, at[i], (unsigned)dtype_bytes(p->c)));
    for (int i = 0; i < d.columns * m; i++) {
        LLVMValueRef sum = llvm_lanes_sum(b, d.sum[i]);
        if (base[i])
            sum = llvm_fadd(b, base[i], sum);
        llvm_store(b, llvm_narrow_typed(b, p->c, sum), at[i], (unsigned)dtype_bytes(p->c));
    }
    llvm_loop_end(b, &group);
}

// By columns.

// 16 sums of row `row` of a, from column on.
static LLVMValueRef sum_at(LlvmBuild *b, const ProductCode *t, int64_t row, LLVMValueRef column) {
    return llvm_at(b, b->f32, t->sum, llvm_add(b, column, llvm_i64(b, row * t->layout.sum_stride)));
}

typedef struct {
    int rows;                // of b at a time
    LLVMValueRef depth;      // the first of them
    LLVMValueRef a[STREAMS]; // element (i, depth + j) of a in every lane: i * rows + j
} Streams;

// 16 columns: rows of b joined to the sums of all rows of a. mask NULL: all of them are there.
static void streams_step(LlvmBuild *b, const ProductCode *t, const Streams *s, LLVMValueRef column,
                         LLVMValueRef mask) {
    LLVMValueRef v[STREAMS];
    for (int j = 0; j < s->rows; j++)
        v[j] = llvm_load_typed(b, t->p->b, TILE_LANES,
                               b_at(b, t, llvm_add(b, s->depth, llvm_i64(b, j)), column), mask);
    for (int i = 0; i < (int)t->p->m; i++) {
        LLVMValueRef at = sum_at(b, t, i, column);
        LLVMValueRef sum = llvm_load(b, lanes_type(b), at, 4);
        for (int j = 0; j < s->rows; j++)
            sum = llvm_fma(b, s->a[i * s->rows + j], v[j], sum);
        llvm_store(b, sum, at, 4);
    }
}

// Rows [from, to) of b, a multiple of `rows` of them.
static void streams_walk(LlvmBuild *b, const ProductCode *t, int64_t from, int64_t to, int rows) {
    if (from == to)
        return;
    Streams s = {.rows = rows};
    LlvmLoop depth, column;
    llvm_loop_begin(b, &depth, llvm_i64(b, from), llvm_i64(b, to), rows);
    s.depth = depth.index;
    for (int i = 0; i < (int)t->p->m; i++)
        for (int j = 0; j < rows; j++) {
            LLVMValueRef at = packed_a_at(b, t, i, llvm_add(b, depth.index, llvm_i64(b, j)));
            s.a[i * rows + j] = llvm_splat(b, llvm_load(b, b->f32, at, 4), TILE_LANES);
        }
    const int64_t bytes = (int64_t)dtype_bytes(t->p->b), trip = LINE / bytes;
    // What is fetched ahead is the same place in the next rows.
    LLVMValueRef next = llvm_i64(b, rows * t->p->b_stride[2] * bytes);
    LLVMValueRef whole = LLVMBuildAnd(b->builder, t->columns, llvm_i64(b, -trip), "");
    llvm_loop_begin(b, &column, llvm_i64(b, 0), whole, trip);
    for (int j = 0; t->p->b == DT_BF16 && j < rows; j++)
        llvm_prefetch(b, b_at(b, t, llvm_add(b, depth.index, llvm_i64(b, j)), column.index), next,
                      PREFETCH_READ);
    for (int64_t at = 0; at < trip; at += TILE_LANES)
        streams_step(b, t, &s, llvm_add(b, column.index, llvm_i64(b, at)), NULL);
    llvm_loop_end(b, &column);
    llvm_loop_begin(b, &column, whole, t->columns, TILE_LANES);
    streams_step(b, t, &s, column.index,
                 llvm_mask_below(b, TILE_LANES, llvm_sub(b, t->columns, column.index)));
    llvm_loop_end(b, &column);
    llvm_loop_end(b, &depth);
}

// Sums of all rows, 16 columns at a time.
static void clear_sums(LlvmBuild *b, const ProductCode *t) {
    for (int64_t i = 0; i < t->p->m; i++) {
        LlvmLoop column;
        llvm_loop_begin(b, &column, llvm_i64(b, 0), t->columns, TILE_LANES);
        llvm_store(b, llvm_zero(lanes_type(b)), sum_at(b, t, i, column.index), 4);
        llvm_loop_end(b, &column);
    }
}

static void by_columns(LlvmBuild *b, const ProductCode *t) {
    const int64_t k = t->p->k;
    const int rows = STREAMS / (int)t->p->m;
    if (t->p->accumulate)
        product_move_sum(b, t, SUM_FROM_C);
    else
        clear_sums(b, t);
    streams_walk(b, t, 0, k / rows * rows, rows);
    streams_walk(b, t, k / rows * rows, k, 1);
    product_move_sum(b, t, SUM_TO_C);
}

void llvm_emit_thin_tile(LlvmBuild *b, const ProductCode *t) {
    widen_a(b, t);
    if (t->p->b_stride[3] == 1)
        by_columns(b, t);
    else
        by_depth(b, t);
}
