// Convolutions of one channel a group (depthwise): planes of y or dx, 16 pixels of a row at a time,
// every tap a fused multiply-add of one weight with 16 source pixels; or the taps of dw, each 16
// sums over all rows of all images, whose lanes are added in halves at the end. Nothing is shared
// between planes, so nothing is packed. Sums have one fixed order: bits don't depend on tiles or
// vector width.
//
// A row of the source that lies outside empties the mask: a load of nothing is cheaper than a
// branch nobody foresees. Sources of neighbouring pixels that are neighbours are masked loads,
// others gathers.
#include "codegen/llvm_convolve.h"

#include "codegen/llvm_tile.h"

enum { TAPS_AT_ONCE = 8 }; // of a row of the kernel, for dw: sums in flight

typedef struct {
    const ConvolutionKernel *k;
    const Convolution *c;
    LLVMValueRef group, image;
} Planes;

static LLVMTypeRef lanes_type(const LlvmBuild *b) {
    return llvm_vector(b->f32, TILE_LANES);
}

// The plane (image, group) of an operand that is x or y.
static LLVMValueRef plane_at(LlvmBuild *b, const Planes *t, int operand, bool is_x,
                             LLVMValueRef image) {
    const int64_t *size = is_x ? t->c->size : t->c->result;
    LLVMValueRef at = llvm_mul(b, image, llvm_i64(b, is_x ? t->k->x_stride : t->k->y_stride));
    at = llvm_add(b, at, llvm_mul(b, t->group, llvm_i64(b, size[0] * size[1])));
    return llvm_at(b, llvm_memory_type(b, t->k->dtype[operand]), llvm_operand(b, operand), at);
}

static LLVMValueRef tap_at(LlvmBuild *b, const Planes *t, int operand, LLVMValueRef tap) {
    const int64_t taps = t->c->kernel[0] * t->c->kernel[1];
    LLVMValueRef at = llvm_add(b, llvm_mul(b, t->group, llvm_i64(b, taps)), tap);
    return llvm_at(b, llvm_memory_type(b, t->k->dtype[operand]), llvm_operand(b, operand), at);
}

// A walk over x from pixels of y (forward), or over y from pixels of x.
typedef struct {
    bool forward;
    int64_t height, width, stride[2], dilation[2], shift[2];
} Walk;

static Walk walk_of(const Convolution *c, bool forward) {
    Walk w = {.forward = forward,
              .height = forward ? c->size[0] : c->result[0],
              .width = forward ? c->size[1] : c->result[1]};
    for (int i = 0; i < 2; i++) {
        w.stride[i] = c->stride[i];
        w.dilation[i] = forward ? c->dilation[i] : -c->dilation[i];
        w.shift[i] = forward ? -c->before[i] : c->before[i];
    }
    return w;
}

// Where position `at` looks by a tap along axis i; *inside is narrowed. i64 or lanes of i32.
static LLVMValueRef step_to(LlvmBuild *b, const Walk *w, int i, LLVMValueRef at, LLVMValueRef moved,
                            LLVMValueRef *inside) {
    LLVMTypeRef type = LLVMTypeOf(at);
    at = w->forward ? convolve_line(b, at, w->stride[i], w->shift[i])
                    : convolve_line(b, at, 1, w->shift[i]);
    at = llvm_add(b, at, moved);
    if (!w->forward && w->stride[i] > 1) {
        LLVMValueRef rest = convolve_rest(b, at, w->stride[i]);
        LLVMValueRef good = llvm_icmp(b, LLVMIntEQ, rest, llvm_zero(type));
        good = convolve_and(b, good, llvm_icmp(b, LLVMIntSGE, at, llvm_zero(type)));
        *inside = *inside ? convolve_and(b, *inside, good) : good;
        at = convolve_divide(b, at, w->stride[i]);
    }
    LLVMValueRef good = convolve_inside(b, at, i ? w->width : w->height);
    *inside = *inside ? convolve_and(b, *inside, good) : good;
    return at;
}

// A row of the source, and whether there is one.
typedef struct {
    LLVMValueRef start; // i64: its first element
    LLVMValueRef there; // i1
} Row;

static Row row_of(LlvmBuild *b, const Walk *w, LLVMValueRef at, LLVMValueRef kh) {
    Row out = {0};
    LLVMValueRef moved = llvm_mul(b, kh, llvm_i64(b, w->dilation[0]));
    LLVMValueRef row = step_to(b, w, 0, at, moved, &out.there);
    out.start = llvm_mul(b, row, llvm_i64(b, w->width));
    return out;
}

// The sources of 16 pixels from column `first` on, by column kw of the kernel. valid: the pixels
// that are there.
static LLVMValueRef load_sources(LlvmBuild *b, const Walk *w, DType dtype, LLVMValueRef plane,
                                 const Row *row, LLVMValueRef first, int64_t kw,
                                 LLVMValueRef valid) {
    LLVMTypeRef memory = llvm_memory_type(b, dtype), lanes = llvm_vector(b->i32, TILE_LANES);
    LLVMValueRef start = llvm_splat(b, LLVMBuildTrunc(b->builder, first, b->i32, ""), TILE_LANES);
    LLVMValueRef column = llvm_add(b, start, llvm_iota(b, TILE_LANES));
    LLVMValueRef inside = convolve_and(b, valid, llvm_splat(b, row->there, TILE_LANES));
    LLVMValueRef moved = llvm_int_like(lanes, kw * w->dilation[1]);
    LLVMValueRef at = step_to(b, w, 1, column, moved, &inside);
    if (w->stride[1] == 1) {
        LLVMValueRef from = llvm_add(b, row->start, convolve_wide(b, llvm_lane(b, at, 0)));
        return llvm_load_typed(b, dtype, TILE_LANES, llvm_at(b, memory, plane, from), inside);
    }
    LLVMValueRef v =
        llvm_gather(b, llvm_vector(memory, TILE_LANES), llvm_at(b, memory, plane, row->start),
                    convolve_wide(b, at), inside);
    return llvm_widen_typed(b, dtype, v);
}

// One plane of y or dx.
static void emit_plane(LlvmBuild *b, const Planes *t) {
    const Convolution *c = t->c;
    const bool forward = t->k->part == CONVOLVE_Y;
    const int64_t *size = forward ? c->result : c->size;
    const Walk w = walk_of(c, forward);
    const DType *dtype = t->k->dtype;
    LLVMValueRef from = plane_at(b, t, 0, forward, t->image),
                 to = plane_at(b, t, 2, !forward, t->image);
    LlvmLoop row, column, kh;
    llvm_loop_begin(b, &row, llvm_i64(b, 0), llvm_i64(b, size[0]), 1);
    llvm_loop_begin(b, &column, llvm_i64(b, 0), llvm_i64(b, size[1]), TILE_LANES);
    LLVMValueRef valid =
        llvm_mask_below(b, TILE_LANES, llvm_sub(b, llvm_i64(b, size[1]), column.index));
    llvm_loop_begin(b, &kh, llvm_i64(b, 0), llvm_i64(b, c->kernel[0]), 1);
    LLVMValueRef sum = llvm_loop_carry(b, &kh, llvm_zero(lanes_type(b)));
    const Row source = row_of(b, &w, row.index, kh.index);
    for (int64_t kw = 0; kw < c->kernel[1]; kw++) {
        LLVMValueRef tap = convolve_line(b, kh.index, c->kernel[1], kw);
        LLVMValueRef weight = llvm_load(b, llvm_memory_type(b, dtype[1]), tap_at(b, t, 1, tap),
                                        (unsigned)dtype_bytes(dtype[1]));
        weight = llvm_splat(b, llvm_widen_typed(b, dtype[1], weight), TILE_LANES);
        LLVMValueRef v = load_sources(b, &w, dtype[0], from, &source, column.index, kw, valid);
        sum = llvm_fma(b, weight, v, sum);
    }
    llvm_loop_next(&kh, 0, sum);
    llvm_loop_end(b, &kh);
    LLVMValueRef at = llvm_add(b, llvm_mul(b, row.index, llvm_i64(b, size[1])), column.index);
    llvm_store_typed(b, dtype[2], kh.result[0], llvm_at(b, llvm_memory_type(b, dtype[2]), to, at),
                     valid);
    llvm_loop_end(b, &column);
    llvm_loop_end(b, &row);
}

// 16 pixels of a row of y: each joins the sums of the taps kw .. kw + count - 1.
static void sum_pixels(LlvmBuild *b, const Planes *t, const Walk *w, LLVMValueRef image,
                       LLVMValueRef p, LLVMValueRef column, const Row *source, int64_t kw,
                       int count, const LLVMValueRef *sum, LLVMValueRef *out) {
    const Convolution *c = t->c;
    LLVMValueRef valid =
        llvm_mask_below(b, TILE_LANES, llvm_sub(b, llvm_i64(b, c->result[1]), column));
    LLVMValueRef at = llvm_add(b, llvm_mul(b, p, llvm_i64(b, c->result[1])), column);
    LLVMValueRef y =
        llvm_at(b, llvm_memory_type(b, t->k->dtype[1]), plane_at(b, t, 1, false, image), at);
    y = llvm_load_typed(b, t->k->dtype[1], TILE_LANES, y, valid);
    LLVMValueRef x = plane_at(b, t, 0, true, image);
    for (int i = 0; i < count; i++)
        out[i] = llvm_fma(
            b, y, load_sources(b, w, t->k->dtype[0], x, source, column, kw + i, valid), sum[i]);
}

// Taps (kh, kw .. kw + count - 1) of dw.
static void emit_taps(LlvmBuild *b, const Planes *t, LLVMValueRef kh, int64_t kw, int count) {
    const Convolution *c = t->c;
    const Walk w = walk_of(c, true);
    LLVMValueRef sum[TAPS_AT_ONCE];
    LlvmLoop image, row, column;
    for (int i = 0; i < count; i++)
        sum[i] = llvm_zero(lanes_type(b));
    llvm_loop_begin(b, &image, llvm_i64(b, 0), llvm_i64(b, c->batch), 1);
    for (int i = 0; i < count; i++)
        sum[i] = llvm_loop_carry(b, &image, sum[i]);
    llvm_loop_begin(b, &row, llvm_i64(b, 0), llvm_i64(b, c->result[0]), 1);
    for (int i = 0; i < count; i++)
        sum[i] = llvm_loop_carry(b, &row, sum[i]);
    const Row source = row_of(b, &w, row.index, kh);
    llvm_loop_begin(b, &column, llvm_i64(b, 0), llvm_i64(b, c->result[1]), TILE_LANES);
    for (int i = 0; i < count; i++)
        sum[i] = llvm_loop_carry(b, &column, sum[i]);
    LLVMValueRef next[TAPS_AT_ONCE];
    sum_pixels(b, t, &w, image.index, row.index, column.index, &source, kw, count, sum, next);
    // Each sum goes on through all three loops.
    LlvmLoop *const loop[] = {&column, &row, &image};
    for (int l = 0; l < 3; l++) {
        for (int i = 0; i < count; i++)
            llvm_loop_next(loop[l], i, next[i]);
        llvm_loop_end(b, loop[l]);
        for (int i = 0; i < count; i++)
            next[i] = loop[l]->result[i];
    }
    const DType dtype = t->k->dtype[2];
    for (int i = 0; i < count; i++) {
        LLVMValueRef tap = convolve_line(b, kh, c->kernel[1], kw + i);
        LLVMValueRef v = llvm_narrow_typed(b, dtype, llvm_lanes_sum(b, next[i]));
        llvm_store(b, v, tap_at(b, t, 2, tap), (unsigned)dtype_bytes(dtype));
    }
}

static void emit_plane_weights(LlvmBuild *b, const Planes *t) {
    const int64_t *kernel = t->c->kernel;
    LlvmLoop kh;
    llvm_loop_begin(b, &kh, llvm_i64(b, 0), llvm_i64(b, kernel[0]), 1);
    for (int64_t kw = 0; kw < kernel[1]; kw += TAPS_AT_ONCE)
        emit_taps(b, t, kh.index, kw,
                  (int)(kernel[1] - kw < TAPS_AT_ONCE ? kernel[1] - kw : TAPS_AT_ONCE));
    llvm_loop_end(b, &kh);
}

// Tiles: image by image, several groups a tile.
void llvm_emit_planes(LlvmBuild *b, const ConvolutionKernel *k, const ConvolutionLayout *layout) {
    enum { WIDTH_MAX = 256 };
    Planes t = {.k = k, .c = &k->shape};
    // Written out tap by tap.
    if (k->shape.kernel[1] > WIDTH_MAX) {
        llvm_unsupported(b, "a depthwise convolution with a kernel wider than 256");
        return;
    }
    LlvmLoop tile, group;
    llvm_loop_begin(b, &tile, llvm_tile_begin(b), llvm_tile_end(b), 1);
    t.image = llvm_udiv(b, tile.index, layout->row_tiles);
    LLVMValueRef first =
        llvm_mul(b, llvm_urem(b, tile.index, layout->row_tiles), llvm_i64(b, layout->rows));
    LLVMValueRef end =
        tile_min(b, llvm_add(b, first, llvm_i64(b, layout->rows)), llvm_i64(b, k->shape.groups));
    llvm_loop_begin(b, &group, first, end, 1);
    t.group = group.index;
    if (k->part == CONVOLVE_W)
        emit_plane_weights(b, &t);
    else
        emit_plane(b, &t);
    llvm_loop_end(b, &group);
    llvm_loop_end(b, &tile);
}
