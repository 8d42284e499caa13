// Convolutions: products whose right operand is packed from an image, pixel by pixel.
//
//     y[m, p]      = sum over (c, k) of w[m, (c, k)] x[c, p stride + k dilation - before]
//     dx[c, h]     = sum over (m, k) of w[(m, k), c] y[m, (h + before - k dilation) / stride]
//     dw[m, (c,k)] = sum over (n, p) of y[m, (n, p)] x[c, p stride + k dilation - before]
//
// p, h and k are pairs, and what lies outside of an image or between its strides is 0. For y and dx
// (of stride 1; with strides, of each phase) 16 neighbouring pixels of the result are 16 lanes:
// whether a lane is inside, and where, is found once a tap and serves all channels of the block;
// where the lanes' sources are neighbours too (every convolution of stride 1 that keeps the width)
// they are one masked load, else a gather. For dw lanes are (channel, tap) pairs, gathered at each
// pixel. Everything else is the product's: panels, register tiles, one chain of fused multiply-adds
// an element, so that no bit depends on tiles, vector width or the number of workers (llvm_tile.h).
// After Chetlur et al. 2014 (cuDNN: the matrix is never in memory as a whole).
//
// Tiles and workspace: ir/kernel_convolve.c. One channel a group: llvm_planes.c.
#include "codegen/llvm_convolve.h"

#include "codegen/llvm_templates.h"
#include "codegen/llvm_tile.h"

// One kernel, and the tile at hand.
typedef struct {
    const ConvolutionKernel *k;
    const Convolution *c;
    ConvolutionLayout layout;
    int64_t taps;
    LLVMValueRef packed_a, packed_b, sum;
    LLVMValueRef group, image, row, column; // its first
    LLVMValueRef rows, images, columns;     // how many; columns of one image
} Convolve;

static LLVMTypeRef index_lanes(const LlvmBuild *b) {
    return llvm_vector(b->i32, TILE_LANES);
}

LLVMValueRef convolve_divide(LlvmBuild *b, LLVMValueRef x, int64_t by) {
    return LLVMBuildUDiv(b->builder, x, llvm_int_like(LLVMTypeOf(x), by), "");
}

LLVMValueRef convolve_rest(LlvmBuild *b, LLVMValueRef x, int64_t by) {
    return LLVMBuildURem(b->builder, x, llvm_int_like(LLVMTypeOf(x), by), "");
}

// x * factor + term, of i64 or lanes of i32.
LLVMValueRef convolve_line(LlvmBuild *b, LLVMValueRef x, int64_t factor, int64_t term) {
    LLVMTypeRef type = LLVMTypeOf(x);
    if (factor != 1)
        x = llvm_mul(b, x, llvm_int_like(type, factor));
    return term == 0 ? x : llvm_add(b, x, llvm_int_like(type, term));
}

// Below zero counts as far above.
LLVMValueRef convolve_inside(LlvmBuild *b, LLVMValueRef x, int64_t size) {
    return llvm_icmp(b, LLVMIntULT, x, llvm_int_like(LLVMTypeOf(x), size));
}

LLVMValueRef convolve_and(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y) {
    return LLVMBuildAnd(b->builder, x, y, "");
}

LLVMValueRef convolve_wide(LlvmBuild *b, LLVMValueRef x) {
    LLVMTypeRef type = llvm_vector(b->i64, llvm_width(LLVMTypeOf(x)));
    return LLVMBuildSExt(b->builder, x, type, "");
}

static LLVMValueRef splat_i32(LlvmBuild *b, LLVMValueRef x) {
    return llvm_splat(b, LLVMBuildTrunc(b->builder, x, b->i32, ""), TILE_LANES);
}

// Address of (image, channel of the group, element) of an operand's images.
static LLVMValueRef image_at(LlvmBuild *b, const Convolve *t, int operand, LLVMValueRef image,
                             LLVMValueRef channel) {
    const bool is_x =
        operand == 2 ? t->k->part == CONVOLVE_X : (operand == 0) == (t->k->part != CONVOLVE_X);
    const Convolution *c = t->c;
    const int64_t plane = is_x ? c->size[0] * c->size[1] : c->result[0] * c->result[1];
    const int64_t channels = is_x ? c->in : c->out;
    LLVMValueRef at = llvm_mul(b, image, llvm_i64(b, is_x ? t->k->x_stride : t->k->y_stride));
    channel = llvm_add(b, llvm_mul(b, t->group, llvm_i64(b, channels)), channel);
    at = llvm_add(b, at, llvm_mul(b, channel, llvm_i64(b, plane)));
    return llvm_at(b, llvm_memory_type(b, t->k->dtype[operand]), llvm_operand(b, operand), at);
}

// Address of w[out channel of the group, in channel].
static LLVMValueRef weight_at(LlvmBuild *b, const Convolve *t, int operand, LLVMValueRef out,
                              LLVMValueRef in) {
    LLVMValueRef at = llvm_add(b, llvm_mul(b, t->group, llvm_i64(b, t->c->out)), out);
    at = llvm_add(b, llvm_mul(b, at, llvm_i64(b, t->c->in)), in);
    at = llvm_mul(b, at, llvm_i64(b, t->taps));
    return llvm_at(b, llvm_memory_type(b, t->k->dtype[operand]), llvm_operand(b, operand), at);
}

// Where the panel of lanes from `lane` on is packed.
static LLVMValueRef panel_at(LlvmBuild *b, const Convolve *t, LLVMValueRef lane) {
    const int panel = tile_columns(b);
    LLVMValueRef in_panel = llvm_urem(b, lane, panel);
    LLVMValueRef before = llvm_sub(b, lane, in_panel);
    LLVMValueRef at = llvm_mul(b, before, llvm_i64(b, t->layout.depth_cap));
    return llvm_at(b, b->f32, t->packed_b, llvm_add(b, at, in_panel));
}

int64_t convolve_phases(const ConvolutionKernel *k) {
    return k->part == CONVOLVE_X ? k->shape.stride[0] * k->shape.stride[1] : 1;
}

// i with i x = 1 modulo m, where there is one.
static int64_t inverse(int64_t x, int64_t m) {
    for (int64_t i = 0; i < m; i++)
        if (i * (x % m) % m == 1 % m)
            return i;
    return 0;
}

// Taps k with start + before - k dilation a multiple of the stride: every step-th, from `first` on.
static ConvolveTaps phase_taps(LlvmBuild *b, const Convolution *c, int axis, LLVMValueRef start) {
    const int64_t stride = c->stride[axis], dilation = c->dilation[axis], size = c->kernel[axis];
    const int64_t divisor = convolution_divisor(stride, dilation);
    ConvolveTaps out = {.step = stride / divisor};
    LLVMValueRef from = convolve_line(b, start, 1, c->before[axis]);
    LLVMValueRef rest = llvm_urem(b, from, stride);
    LLVMValueRef times = llvm_i64(b, inverse(dilation / divisor, out.step));
    out.first = llvm_urem(b, llvm_mul(b, llvm_udiv(b, rest, divisor), times), out.step);
    out.count = llvm_sub(b, llvm_i64(b, size + out.step - 1), out.first);
    out.count = llvm_udiv(b, out.count, out.step);
    LLVMValueRef solved = llvm_icmp(b, LLVMIntEQ, llvm_urem(b, rest, divisor), llvm_i64(b, 0));
    out.count = llvm_select(b, solved, out.count, llvm_i64(b, 0));
    out.shift = llvm_sub(b, from, llvm_mul(b, out.first, llvm_i64(b, dilation)));
    out.shift = LLVMBuildSDiv(b->builder, out.shift, llvm_i64(b, stride), "");
    out.shift_step = -out.step * dilation / stride;
    return out;
}

ConvolvePhase convolve_phase(LlvmBuild *b, const ConvolutionKernel *k, LLVMValueRef number) {
    const Convolution *c = &k->shape;
    ConvolvePhase out = {.whole = convolve_phases(k) == 1};
    out.start[0] = llvm_udiv(b, number, c->stride[1]);
    out.start[1] = llvm_urem(b, number, c->stride[1]);
    for (int i = 0; i < 2; i++) {
        if (k->part == CONVOLVE_Y) {
            out.size[i] = llvm_i64(b, c->result[i]);
            out.axis[i] = (ConvolveTaps){llvm_i64(b, 0), llvm_i64(b, c->kernel[i]),
                                         llvm_i64(b, -c->before[i]), 1, c->dilation[i]};
            continue;
        }
        LLVMValueRef size = llvm_sub(b, llvm_i64(b, c->size[i] + c->stride[i] - 1), out.start[i]);
        out.size[i] = llvm_udiv(b, size, c->stride[i]);
        out.axis[i] = phase_taps(b, c, i, out.start[i]);
    }
    return out;
}

// The right operand of y and dx at a phase: which pixels of the result, and what each tap adds to
// where they look.
typedef struct {
    bool forward;
    bool by_tap;     // depth is (tap, channel) instead of (channel, tap)
    bool neighbours; // sources of neighbouring pixels of a row are neighbours
    int64_t size[2]; // of the source
    int64_t channels, plane;
    LLVMValueRef taps;
    ConvolvePhase phase;
} Source;

static Source source_of(LlvmBuild *b, const Convolve *t, const ConvolvePhase *phase) {
    const Convolution *c = t->c;
    Source s = {.forward = t->k->part == CONVOLVE_Y, .phase = *phase};
    for (int i = 0; i < 2; i++)
        s.size[i] = s.forward ? c->size[i] : c->result[i];
    s.channels = s.forward ? c->in : c->out;
    s.plane = s.size[0] * s.size[1];
    s.taps = llvm_mul(b, phase->axis[0].count, phase->axis[1].count);
    s.by_tap = !phase->whole;
    s.neighbours = !s.forward || c->stride[1] == 1;
    return s;
}

// 16 pixels of the result as lanes.
typedef struct {
    LLVMValueRef valid;  // lanes that are pixels of the tile
    LLVMValueRef at[2];  // i32: row and column in the source, before a tap moves them
    LLVMValueRef base;   // i32: their element, that of the image included
    LLVMValueRef united; // i1: sources are neighbours
    LLVMValueRef shift;  // of the tap at hand: i64 to be added to base
    LLVMValueRef inside; // of the tap at hand
} Lanes;

static Lanes lanes_begin(LlvmBuild *b, const Convolve *t, const Source *s, LLVMValueRef lane) {
    const Convolution *c = t->c;
    Lanes out = {0};
    LLVMValueRef pixel = llvm_add(b, splat_i32(b, lane), llvm_iota(b, TILE_LANES));
    out.valid = llvm_icmp(b, LLVMIntSLT, pixel, splat_i32(b, llvm_mul(b, t->images, t->columns)));
    LLVMValueRef far = llvm_zero(index_lanes(b));
    if (t->layout.images > 1) {
        const int64_t step = s->forward ? t->k->x_stride : t->k->y_stride;
        LLVMValueRef all = splat_i32(b, llvm_mul(b, s->phase.size[0], s->phase.size[1]));
        far = LLVMBuildUDiv(b->builder, pixel, all, "");
        far = convolve_line(b, far, step, 0);
        pixel = LLVMBuildURem(b->builder, pixel, all, "");
    }
    pixel = llvm_add(b, pixel, splat_i32(b, t->column));
    LLVMValueRef width = splat_i32(b, s->phase.size[1]);
    out.at[0] = LLVMBuildUDiv(b->builder, pixel, width, "");
    out.at[1] = LLVMBuildURem(b->builder, pixel, width, "");
    for (int i = 0; i < 2 && s->forward; i++)
        out.at[i] = convolve_line(b, out.at[i], c->stride[i], 0);
    out.base = llvm_add(b, convolve_line(b, out.at[0], s->size[1], 0), out.at[1]);
    out.base = llvm_add(b, out.base, far);
    LLVMValueRef first = llvm_splat(b, llvm_lane(b, out.base, 0), TILE_LANES);
    LLVMValueRef same =
        llvm_icmp(b, LLVMIntEQ, out.base, llvm_add(b, first, llvm_iota(b, TILE_LANES)));
    LLVMTypeRef bits = LLVMIntTypeInContext(b->context, TILE_LANES);
    same = LLVMBuildBitCast(b->builder, same, bits, "");
    out.united = llvm_icmp(b, LLVMIntEQ, same, LLVMConstAllOnes(bits));
    return out;
}

// Tap number (kh, kw) of the phase, i64: which lanes are inside, and how far it moves them.
static void lanes_move(LlvmBuild *b, const Source *s, Lanes *l, LLVMValueRef kh, LLVMValueRef kw) {
    LLVMValueRef tap[2] = {kh, kw};
    l->inside = l->valid;
    for (int i = 0; i < 2; i++) {
        const ConvolveTaps *axis = &s->phase.axis[i];
        tap[i] = llvm_add(b, convolve_line(b, tap[i], axis->shift_step, 0), axis->shift);
        LLVMValueRef at = llvm_add(b, l->at[i], splat_i32(b, tap[i]));
        l->inside = convolve_and(b, l->inside, convolve_inside(b, at, s->size[i]));
    }
    l->shift = llvm_add(b, llvm_mul(b, tap[0], llvm_i64(b, s->size[1])), tap[1]);
}

// One tap of all channels of the block: from the first one's plane to the tap's first step.
static void pack_channels(LlvmBuild *b, const Convolve *t, const Source *s, const Lanes *l,
                          LLVMValueRef from, LLVMValueRef to, LLVMValueRef channels, bool united) {
    const DType dtype = t->k->dtype[0];
    LLVMTypeRef memory = llvm_memory_type(b, dtype);
    LLVMValueRef first = llvm_add(b, convolve_wide(b, llvm_lane(b, l->base, 0)), l->shift);
    LLVMValueRef index = convolve_wide(b, llvm_add(b, l->base, splat_i32(b, l->shift)));
    LlvmLoop channel;
    llvm_loop_begin(b, &channel, llvm_i64(b, 0), channels, 1);
    LLVMValueRef plane = llvm_mul(b, channel.index, llvm_i64(b, s->plane)), v;
    if (united) {
        v = llvm_load_typed(b, dtype, TILE_LANES,
                            llvm_at(b, memory, from, llvm_add(b, plane, first)), l->inside);
    } else {
        v = llvm_gather(b, llvm_vector(memory, TILE_LANES), llvm_at(b, memory, from, plane), index,
                        l->inside);
        v = llvm_widen_typed(b, dtype, v);
    }
    LLVMValueRef step = convolve_line(b, channel.index, tile_columns(b), 0);
    if (!s->by_tap)
        step = llvm_mul(b, step, s->taps);
    llvm_store(b, v, llvm_at(b, b->f32, to, step), 4);
    llvm_loop_end(b, &channel);
}

// The right operand of y and dx.
static void pack_pixels(LlvmBuild *b, const Convolve *t, const Source *s, LLVMValueRef from,
                        LLVMValueRef channels) {
    const ConvolveTaps *axis = s->phase.axis;
    LlvmLoop lane, kh, kw;
    llvm_loop_begin(b, &lane, llvm_i64(b, 0), llvm_mul(b, t->images, t->columns), TILE_LANES);
    Lanes l = lanes_begin(b, t, s, lane.index);
    LLVMValueRef panel = panel_at(b, t, lane.index);
    llvm_loop_begin(b, &kh, llvm_i64(b, 0), axis[0].count, 1);
    llvm_loop_begin(b, &kw, llvm_i64(b, 0), axis[1].count, 1);
    lanes_move(b, s, &l, kh.index, kw.index);
    LLVMValueRef step = llvm_add(b, llvm_mul(b, kh.index, axis[1].count), kw.index);
    if (s->by_tap)
        step = llvm_mul(b, step, channels);
    LLVMValueRef to = llvm_at(b, b->f32, panel, llvm_mul(b, step, llvm_i64(b, tile_columns(b))));
    if (s->neighbours) {
        const LlvmIf together = llvm_if_begin(b, l.united);
        pack_channels(b, t, s, &l, from, to, channels, true);
        llvm_if_end(b, together);
    }
    const LlvmIf apart =
        llvm_if_begin(b, s->neighbours ? LLVMBuildNot(b->builder, l.united, "") : llvm_i1(b, true));
    pack_channels(b, t, s, &l, from, to, channels, false);
    llvm_if_end(b, apart);
    llvm_loop_end(b, &kw);
    llvm_loop_end(b, &kh);
    llvm_loop_end(b, &lane);
}

// Some taps of dx's weights, tap by tap.
static void pack_some_taps(LlvmBuild *b, const Convolve *t, const Source *s, LLVMValueRef first,
                           LLVMValueRef channels) {
    const TileSource source = {t->k->dtype[1], t->taps, t->c->in * t->taps};
    const ConvolveTaps *axis = s->phase.axis;
    const int panel = tile_left_panel(b);
    LLVMTypeRef memory = llvm_memory_type(b, source.dtype);
    LLVMValueRef from = weight_at(b, t, 1, first, t->row);
    LlvmLoop kh, kw;
    llvm_loop_begin(b, &kh, llvm_i64(b, 0), axis[0].count, 1);
    llvm_loop_begin(b, &kw, llvm_i64(b, 0), axis[1].count, 1);
    LLVMValueRef step = llvm_add(b, llvm_mul(b, kh.index, axis[1].count), kw.index);
    LLVMValueRef to = llvm_mul(b, llvm_mul(b, step, channels), llvm_i64(b, panel));
    LLVMValueRef row = llvm_add(b, convolve_line(b, kh.index, axis[0].step, 0), axis[0].first);
    LLVMValueRef column = llvm_add(b, convolve_line(b, kw.index, axis[1].step, 0), axis[1].first);
    LLVMValueRef tap = llvm_add(b, llvm_mul(b, row, llvm_i64(b, t->c->kernel[1])), column);
    tile_pack(b, &source, llvm_at(b, b->f32, t->packed_a, to), panel, t->layout.depth_cap,
              llvm_at(b, memory, from, tap), t->rows, channels);
    llvm_loop_end(b, &kw);
    llvm_loop_end(b, &kh);
}

// The left operand of y, w[out, (in, tap)], or of dx, w[(out, tap), in]: from channel `first` of
// what is summed on.
static void pack_weights(LlvmBuild *b, const Convolve *t, const Source *source, LLVMValueRef first,
                         LLVMValueRef channels) {
    const DType dtype = t->k->dtype[1];
    const int panel = tile_left_panel(b);
    const int64_t cap = t->layout.depth_cap;
    if (source->by_tap || (!source->forward && t->taps == 1)) {
        pack_some_taps(b, t, source, first, channels);
        return;
    }
    if (source->forward) {
        const TileSource s = {dtype, t->c->in * t->taps, 1};
        LLVMValueRef depth = llvm_mul(b, channels, llvm_i64(b, t->taps));
        tile_pack(b, &s, t->packed_a, panel, cap, weight_at(b, t, 1, t->row, first), t->rows,
                  depth);
        return;
    }
    // Channel by channel; what one writes past its taps the next one writes over, and the cap has
    // room for the last.
    const TileSource s = {dtype, t->taps, 1};
    LlvmLoop channel;
    llvm_loop_begin(b, &channel, llvm_i64(b, 0), channels, 1);
    LLVMValueRef to = llvm_mul(b, channel.index, llvm_i64(b, t->taps * panel));
    LLVMValueRef from = weight_at(b, t, 1, llvm_add(b, first, channel.index), t->row);
    tile_pack(b, &s, llvm_at(b, b->f32, t->packed_a, to), panel, cap, from, t->rows,
              llvm_i64(b, t->taps));
    llvm_loop_end(b, &channel);
}

// The right operand of dw at pixels first .. first + depth - 1 of an image: lanes (channel, tap).
static void pack_taps(LlvmBuild *b, const Convolve *t, LLVMValueRef from, LLVMValueRef first,
                      LLVMValueRef depth) {
    const Convolution *c = t->c;
    const DType dtype = t->k->dtype[0];
    const int64_t plane = c->size[0] * c->size[1];
    LLVMTypeRef memory = llvm_memory_type(b, dtype);
    LlvmLoop lane, step;
    llvm_loop_begin(b, &lane, llvm_i64(b, 0), t->columns, TILE_LANES);
    LLVMValueRef number = llvm_add(b, splat_i32(b, lane.index), llvm_iota(b, TILE_LANES));
    LLVMValueRef valid = llvm_icmp(b, LLVMIntSLT, number, splat_i32(b, t->columns));
    number = llvm_add(b, number, splat_i32(b, t->column));
    LLVMValueRef tap = convolve_rest(b, number, t->taps);
    LLVMValueRef row =
        convolve_line(b, convolve_divide(b, tap, c->kernel[1]), c->dilation[0], -c->before[0]);
    LLVMValueRef column =
        convolve_line(b, convolve_rest(b, tap, c->kernel[1]), c->dilation[1], -c->before[1]);
    LLVMValueRef index = llvm_add(b, convolve_line(b, row, c->size[1], 0), column);
    index = llvm_add(b, index, convolve_line(b, convolve_divide(b, number, t->taps), plane, 0));
    index = convolve_wide(b, index);
    LLVMValueRef panel = panel_at(b, t, lane.index);
    llvm_loop_begin(b, &step, llvm_i64(b, 0), depth, 1);
    LLVMValueRef pixel = llvm_add(b, first, step.index);
    LLVMValueRef h = convolve_line(b, llvm_udiv(b, pixel, c->result[1]), c->stride[0], 0);
    LLVMValueRef w = convolve_line(b, llvm_urem(b, pixel, c->result[1]), c->stride[1], 0);
    LLVMValueRef inside =
        convolve_and(b, convolve_inside(b, llvm_add(b, row, splat_i32(b, h)), c->size[0]),
                     convolve_inside(b, llvm_add(b, column, splat_i32(b, w)), c->size[1]));
    LLVMValueRef at = llvm_add(b, llvm_mul(b, h, llvm_i64(b, c->size[1])), w);
    LLVMValueRef v = llvm_gather(b, llvm_vector(memory, TILE_LANES), llvm_at(b, memory, from, at),
                                 index, convolve_and(b, valid, inside));
    LLVMValueRef to = llvm_mul(b, step.index, llvm_i64(b, tile_columns(b)));
    llvm_store(b, llvm_widen_typed(b, dtype, v), llvm_at(b, b->f32, panel, to), 4);
    llvm_loop_end(b, &step);
    llvm_loop_end(b, &lane);
}

// Address of the tile's element (row, column of image `image` of the tile).
static LLVMValueRef result_at(LlvmBuild *b, const Convolve *t, LLVMValueRef row, LLVMValueRef image,
                              LLVMValueRef column) {
    row = llvm_add(b, t->row, row);
    column = llvm_add(b, t->column, column);
    LLVMTypeRef memory = llvm_memory_type(b, t->k->dtype[2]);
    LLVMValueRef at = t->k->part == CONVOLVE_W
                          ? weight_at(b, t, 2, row, llvm_i64(b, 0))
                          : image_at(b, t, 2, llvm_add(b, t->image, image), row);
    return llvm_at(b, memory, at, column);
}

// A block of depth joins the sum.
static void multiply(LlvmBuild *b, const Convolve *t, LLVMValueRef depth, LLVMValueRef add) {
    const ConvolutionLayout *layout = &t->layout;
    LLVMValueRef zero = llvm_i64(b, 0);
    tile_product(
        b, &(TileProduct){.a = t->packed_a,
                          .b = t->packed_b,
                          .c = layout->in_place ? result_at(b, t, zero, zero, zero) : t->sum,
                          .rows = t->rows,
                          .columns = llvm_mul(b, t->images, t->columns),
                          .depth = depth,
                          .a_depth_cap = layout->depth_cap,
                          .b_depth_cap = layout->depth_cap,
                          .c_stride = layout->in_place ? layout->all_columns : layout->sum_stride,
                          .add = add});
}

// 16 elements of the sum, from column `column` of an image on, go to the result. mask NULL: all.
static void move_lanes(LlvmBuild *b, const Convolve *t, const ConvolvePhase *phase,
                       LLVMValueRef row, LLVMValueRef image, LLVMValueRef column,
                       LLVMValueRef mask) {
    LLVMValueRef at = llvm_add(b, llvm_mul(b, image, t->columns), column);
    at = llvm_add(b, llvm_mul(b, row, llvm_i64(b, t->layout.sum_stride)), at);
    LLVMValueRef v = llvm_load_masked(b, llvm_vector(b->f32, TILE_LANES),
                                      llvm_at(b, b->f32, t->sum, at), 4, mask);
    if (!phase || phase->whole) {
        llvm_store_typed(b, t->k->dtype[2], v, result_at(b, t, row, image, column), mask);
        return;
    }
    LLVMValueRef pixel = splat_i32(b, llvm_add(b, t->column, column));
    pixel = llvm_add(b, pixel, llvm_iota(b, TILE_LANES));
    LLVMValueRef width = splat_i32(b, phase->size[1]);
    LLVMValueRef h = LLVMBuildUDiv(b->builder, pixel, width, "");
    LLVMValueRef w = LLVMBuildURem(b->builder, pixel, width, "");
    h = llvm_add(b, convolve_line(b, h, t->c->stride[0], 0), splat_i32(b, phase->start[0]));
    w = llvm_add(b, convolve_line(b, w, t->c->stride[1], 0), splat_i32(b, phase->start[1]));
    LLVMValueRef to = llvm_add(b, convolve_line(b, h, t->c->size[1], 0), w);
    LLVMValueRef plane = image_at(b, t, 2, llvm_add(b, t->image, image), llvm_add(b, t->row, row));
    llvm_scatter(b, llvm_narrow_typed(b, t->k->dtype[2], v), plane, convolve_wide(b, to), mask);
}

// From the workspace to the result, image by image.
static void move_sum(LlvmBuild *b, const Convolve *t, const ConvolvePhase *phase) {
    LlvmLoop row, image, column;
    llvm_loop_begin(b, &row, llvm_i64(b, 0), t->rows, 1);
    llvm_loop_begin(b, &image, llvm_i64(b, 0), t->images, 1);
    LLVMValueRef whole = LLVMBuildAnd(b->builder, t->columns, llvm_i64(b, -TILE_LANES), "");
    llvm_loop_begin(b, &column, llvm_i64(b, 0), whole, TILE_LANES);
    move_lanes(b, t, phase, row.index, image.index, column.index, NULL);
    llvm_loop_end(b, &column);
    llvm_loop_begin(b, &column, whole, t->columns, TILE_LANES);
    move_lanes(b, t, phase, row.index, image.index, column.index,
               llvm_mask_below(b, TILE_LANES, llvm_sub(b, t->columns, column.index)));
    llvm_loop_end(b, &column);
    llvm_loop_end(b, &image);
    llvm_loop_end(b, &row);
}

// Pixels that no tap reaches.
static void clear_sum(LlvmBuild *b, const Convolve *t) {
    LlvmLoop row, column;
    llvm_loop_begin(b, &row, llvm_i64(b, 0), t->rows, 1);
    llvm_loop_begin(b, &column, llvm_i64(b, 0), llvm_mul(b, t->images, t->columns), 1);
    LLVMValueRef at = llvm_mul(b, row.index, llvm_i64(b, t->layout.sum_stride));
    llvm_store(b, llvm_zero(b->f32), llvm_at(b, b->f32, t->sum, llvm_add(b, at, column.index)), 4);
    llvm_loop_end(b, &column);
    llvm_loop_end(b, &row);
}

static void emit_phase(LlvmBuild *b, const Convolve *t, const ConvolvePhase *phase) {
    const Source s = source_of(b, t, phase);
    const LlvmIf none = llvm_if_begin(b, llvm_icmp(b, LLVMIntEQ, s.taps, llvm_i64(b, 0)));
    clear_sum(b, t);
    llvm_if_end(b, none);
    const LlvmIf some = llvm_if_begin(b, llvm_icmp(b, LLVMIntSGT, s.taps, llvm_i64(b, 0)));
    LlvmLoop block;
    llvm_loop_begin(b, &block, llvm_i64(b, 0), llvm_i64(b, s.channels), t->layout.channels);
    LLVMValueRef channels = tile_min(b, llvm_sub(b, llvm_i64(b, s.channels), block.index),
                                     llvm_i64(b, t->layout.channels));
    pack_pixels(b, t, &s, image_at(b, t, 0, t->image, block.index), channels);
    pack_weights(b, t, &s, block.index, channels);
    multiply(b, t, llvm_mul(b, channels, s.taps),
             llvm_icmp(b, LLVMIntSGT, block.index, llvm_i64(b, 0)));
    llvm_loop_end(b, &block);
    llvm_if_end(b, some);
    if (!t->layout.in_place)
        move_sum(b, t, phase);
}

// dx of a convolution with strides falls apart: pixels of equal rest by the stride are reached by
// the same taps, which are a convolution of stride 1.
static void emit_image_tile(LlvmBuild *b, const Convolve *t) {
    if (convolve_phases(t->k) == 1) {
        const ConvolvePhase phase = convolve_phase(b, t->k, llvm_i64(b, 0));
        emit_phase(b, t, &phase);
        return;
    }
    LlvmLoop number;
    llvm_loop_begin(b, &number, llvm_i64(b, 0), llvm_i64(b, convolve_phases(t->k)), 1);
    const ConvolvePhase phase = convolve_phase(b, t->k, number.index);
    Convolve part = *t;
    // Phases at the end may have fewer pixels, or none here.
    LLVMValueRef all = llvm_mul(b, phase.size[0], phase.size[1]);
    part.columns = tile_min(b, t->columns, llvm_sub(b, all, t->column));
    const LlvmIf any = llvm_if_begin(b, llvm_icmp(b, LLVMIntSGT, part.columns, llvm_i64(b, 0)));
    emit_phase(b, &part, &phase);
    llvm_if_end(b, any);
    llvm_loop_end(b, &number);
}

// A kernel of one tap that touches every pixel: the image is the matrix.
static bool is_plain(const Convolution *c) {
    bool plain = true;
    for (int i = 0; i < 2; i++)
        plain = plain && c->kernel[i] == 1 && c->stride[i] == 1 && c->before[i] == 0 &&
                c->after[i] == 0;
    return plain;
}

static void emit_weight_tile(LlvmBuild *b, const Convolve *t) {
    const Convolution *c = t->c;
    const int64_t pixels = c->result[0] * c->result[1];
    const TileSource left = {t->k->dtype[1], pixels, 1}, right = {t->k->dtype[0], pixels, 1};
    LlvmLoop image, block;
    llvm_loop_begin(b, &image, llvm_i64(b, 0), llvm_i64(b, c->batch), 1);
    llvm_loop_begin(b, &block, llvm_i64(b, 0), llvm_i64(b, pixels), t->layout.depth);
    LLVMValueRef depth =
        tile_min(b, llvm_sub(b, llvm_i64(b, pixels), block.index), llvm_i64(b, t->layout.depth));
    LLVMValueRef y = llvm_at(b, llvm_memory_type(b, t->k->dtype[1]),
                             image_at(b, t, 1, image.index, t->row), block.index);
    if (is_plain(c)) {
        LLVMValueRef x = llvm_at(b, llvm_memory_type(b, t->k->dtype[0]),
                                 image_at(b, t, 0, image.index, t->column), block.index);
        tile_pack(b, &right, t->packed_b, tile_columns(b), t->layout.depth_cap, x, t->columns,
                  depth);
    } else {
        pack_taps(b, t, image_at(b, t, 0, image.index, llvm_i64(b, 0)), block.index, depth);
    }
    tile_pack(b, &left, t->packed_a, tile_left_panel(b), t->layout.depth_cap, y, t->rows, depth);
    LLVMValueRef done = LLVMBuildOr(b->builder, image.index, block.index, "");
    multiply(b, t, depth, llvm_icmp(b, LLVMIntNE, done, llvm_i64(b, 0)));
    llvm_loop_end(b, &block);
    llvm_loop_end(b, &image);
}

// The last tile of an axis may be smaller.
static LLVMValueRef part_of(LlvmBuild *b, LLVMValueRef begin, int64_t all, int64_t part) {
    return tile_min(b, llvm_sub(b, llvm_i64(b, all), begin), llvm_i64(b, part));
}

static void locate_tile(LlvmBuild *b, Convolve *t, LLVMValueRef tile) {
    const ConvolutionLayout *l = &t->layout;
    const bool weights = t->k->part == CONVOLVE_W;
    const int64_t all_rows = t->k->part == CONVOLVE_X ? t->c->in : t->c->out;
    t->column = llvm_mul(b, llvm_urem(b, tile, l->column_tiles), llvm_i64(b, l->columns));
    tile = llvm_udiv(b, tile, l->column_tiles);
    t->image = llvm_mul(b, llvm_urem(b, tile, l->image_tiles), llvm_i64(b, l->images));
    tile = llvm_udiv(b, tile, l->image_tiles);
    t->row = llvm_mul(b, llvm_urem(b, tile, l->row_tiles), llvm_i64(b, l->rows));
    t->group = llvm_udiv(b, tile, l->row_tiles);
    t->rows = part_of(b, t->row, all_rows, l->rows);
    t->columns = part_of(b, t->column, l->all_columns, l->columns);
    t->images = weights ? llvm_i64(b, 1) : part_of(b, t->image, t->c->batch, l->images);
}

// Within a tile positions have 32 bits.
static bool fits(const ConvolutionKernel *k, const ConvolutionLayout *l) {
    const Convolution *c = &k->shape;
    return l->all_columns < CONVOLUTION_PIXELS_MAX &&
           (k->part != CONVOLVE_W || c->in < CONVOLUTION_PIXELS_MAX / (c->size[0] * c->size[1]));
}

void llvm_emit_convolution(LlvmBuild *b, const Kernel *k) {
    Convolve t = {.k = &k->convolution, .c = &k->convolution.shape};
    t.layout = convolution_layout(t.k);
    t.taps = t.c->kernel[0] * t.c->kernel[1];
    if (t.layout.planes) {
        llvm_emit_planes(b, t.k, &t.layout);
        return;
    }
    if (!fits(t.k, &t.layout)) {
        llvm_unsupported(b, "a convolution of images of 2^28 pixels or more");
        return;
    }
    t.packed_a = llvm_workspace(b);
    t.packed_b = llvm_at(b, b->f32, t.packed_a, llvm_i64(b, t.layout.b));
    t.sum = llvm_at(b, b->f32, t.packed_a, llvm_i64(b, t.layout.sum));
    LlvmLoop tile;
    llvm_loop_begin(b, &tile, llvm_tile_begin(b), llvm_tile_end(b), 1);
    locate_tile(b, &t, tile.index);
    if (t.k->part == CONVOLVE_W) {
        emit_weight_tile(b, &t);
        if (!t.layout.in_place)
            move_sum(b, &t, NULL);
    } else {
        emit_image_tile(b, &t);
    }
    llvm_loop_end(b, &tile);
}
