// Convolutions of one channel a group (depthwise): planes of y or dx, 16 pixels of a row at a time,
// every tap a fused multiply-add of one weight with 16 source pixels; or the taps of dw, each 16
// sums over all rows of all images, whose lanes are added in halves at the end. Nothing is shared
// between planes, so nothing is packed. Sums have one fixed order: bits don't depend on tiles or
// vector width.
//
// A strip of 16 columns is walked downwards: what lies outside left and right is a mask that holds
// for the whole strip, and what lies outside above and below bounds the loop over the kernel's
// rows. dx of a convolution with strides goes by phases, as in llvm_convolve.c.
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

// Positions in the source along an axis: pixel * mult + shift + tap * step, which are there from 0
// to size - 1.
typedef struct {
    int64_t mult, step, size;
    LLVMValueRef shift, taps;
} Axis;

static Axis axis_of(const Planes *t, const ConvolvePhase *phase, int axis) {
    const Convolution *c = t->c;
    const bool forward = t->k->part != CONVOLVE_X;
    return (Axis){.mult = forward ? c->stride[axis] : 1,
                  .step = phase->axis[axis].shift_step,
                  .size = forward ? c->size[axis] : c->result[axis],
                  .shift = phase->axis[axis].shift,
                  .taps = phase->axis[axis].count};
}

// x <= 0 ? 0 : ceil(x / by)
static LLVMValueRef round_up(LlvmBuild *b, LLVMValueRef x, int64_t by) {
    LLVMValueRef zero = llvm_i64(b, 0);
    x = llvm_select(b, llvm_icmp(b, LLVMIntSLT, x, zero), zero, x);
    return llvm_udiv(b, convolve_line(b, x, 1, by - 1), by);
}

// The taps from..to - 1 that find a source from position `at`.
static void taps_inside(LlvmBuild *b, const Axis *a, LLVMValueRef at, LLVMValueRef *from,
                        LLVMValueRef *to) {
    LLVMValueRef size = llvm_i64(b, a->size), zero = llvm_i64(b, 0);
    if (a->step > 0) {
        *from = round_up(b, llvm_sub(b, zero, at), a->step);
        *to = round_up(b, llvm_sub(b, size, at), a->step);
    } else {
        *from = round_up(b, convolve_line(b, llvm_sub(b, at, size), 1, 1), -a->step);
        *to = round_up(b, convolve_line(b, at, 1, 1), -a->step);
    }
    *to = tile_min(b, *to, a->taps);
}

// Columns of the source that 16 neighbouring pixels look at by one tap.
typedef struct {
    LLVMValueRef first;  // i64: the first lane's
    LLVMValueRef index;  // i64 lanes, where they are no neighbours
    LLVMValueRef inside; // lanes that are there
    LLVMValueRef raw[2]; // of stride 2: of the 32 neighbours they are half of
} Columns;

static LLVMValueRef splat_i32(LlvmBuild *b, LLVMValueRef x) {
    return llvm_splat(b, LLVMBuildTrunc(b->builder, x, b->i32, ""), TILE_LANES);
}

static Columns columns_of(LlvmBuild *b, const Axis *a, LLVMValueRef column, LLVMValueRef tap,
                          LLVMValueRef valid) {
    Columns out = {0};
    LLVMValueRef iota = llvm_iota(b, TILE_LANES);
    out.first = llvm_add(b, convolve_line(b, column, a->mult, 0), a->shift);
    out.first = llvm_add(b, out.first, convolve_line(b, tap, a->step, 0));
    LLVMValueRef first = splat_i32(b, out.first);
    LLVMValueRef at = llvm_add(b, first, convolve_line(b, iota, a->mult, 0));
    out.inside = convolve_inside(b, at, a->size);
    if (valid)
        out.inside = convolve_and(b, valid, out.inside);
    out.index = convolve_wide(b, at);
    for (int i = 0; i < 2 && a->mult == 2; i++) {
        LLVMValueRef one = llvm_add(b, first, convolve_line(b, iota, 1, (int64_t)i * TILE_LANES));
        out.raw[i] = convolve_inside(b, one, a->size);
    }
    return out;
}

// From the row of the source that begins at `row`; lanes that are not there give 0.
static LLVMValueRef columns_load(LlvmBuild *b, const Axis *a, DType dtype, LLVMValueRef row,
                                 const Columns *c) {
    LLVMTypeRef memory = llvm_memory_type(b, dtype);
    LLVMValueRef from = llvm_at(b, memory, row, c->first);
    if (a->mult == 1)
        return llvm_load_typed(b, dtype, TILE_LANES, from, c->inside);
    if (a->mult > 2) {
        LLVMValueRef v = llvm_gather(b, llvm_vector(memory, TILE_LANES), row, c->index, c->inside);
        return llvm_widen_typed(b, dtype, v);
    }
    int even[TILE_LANES];
    LLVMValueRef half[2];
    for (int i = 0; i < TILE_LANES; i++)
        even[i] = 2 * i;
    for (int i = 0; i < 2; i++)
        half[i] = llvm_load_typed(b, dtype, TILE_LANES,
                                  llvm_at(b, memory, from, llvm_i64(b, i * TILE_LANES)), c->raw[i]);
    LLVMValueRef v = llvm_shuffle(b, half[0], half[1], even, TILE_LANES);
    return llvm_select(b, c->inside, v, llvm_zero(lanes_type(b)));
}

// The weight of tap (row kh, column kw of the kernel), in every lane.
static LLVMValueRef weight_of(LlvmBuild *b, const Planes *t, LLVMValueRef kh, LLVMValueRef kw) {
    const DType dtype = t->k->dtype[1];
    LLVMValueRef tap = llvm_add(b, convolve_line(b, kh, t->c->kernel[1], 0), kw);
    LLVMValueRef v = llvm_load(b, llvm_memory_type(b, dtype), tap_at(b, t, 1, tap),
                               (unsigned)dtype_bytes(dtype));
    return llvm_splat(b, llvm_widen_typed(b, dtype, v), TILE_LANES);
}

// 16 pixels of a row at hand.
typedef struct {
    const ConvolvePhase *phase;
    Axis axis[2];
    LLVMValueRef column, valid; // valid: pixels that are there; NULL: all
    const Columns *known;       // by column of the kernel, where there is one phase
    LLVMValueRef source;        // the plane
} Strip;

// One row of the kernel joins the sum of the strip.
static LLVMValueRef add_taps(LlvmBuild *b, const Planes *t, const Strip *s, LLVMValueRef row,
                             LLVMValueRef kh, LLVMValueRef sum) {
    const DType dtype = t->k->dtype[0];
    for (int64_t kw = 0; s->known && kw < t->c->kernel[1]; kw++) {
        LLVMValueRef v = columns_load(b, &s->axis[1], dtype, row, &s->known[kw]);
        sum = llvm_fma(b, weight_of(b, t, kh, llvm_i64(b, kw)), v, sum);
    }
    if (s->known)
        return sum;
    const ConvolveTaps *taps = &s->phase->axis[1];
    LlvmLoop loop;
    llvm_loop_begin(b, &loop, llvm_i64(b, 0), taps->count, 1);
    LLVMValueRef carried = llvm_loop_carry(b, &loop, sum);
    const Columns c = columns_of(b, &s->axis[1], s->column, loop.index, s->valid);
    LLVMValueRef kw = llvm_add(b, convolve_line(b, loop.index, taps->step, 0), taps->first);
    LLVMValueRef v = columns_load(b, &s->axis[1], dtype, row, &c);
    llvm_loop_next(&loop, 0, llvm_fma(b, weight_of(b, t, kh, kw), v, carried));
    llvm_loop_end(b, &loop);
    return loop.result[0];
}

static void store_strip(LlvmBuild *b, const Planes *t, const Strip *s, LLVMValueRef plane,
                        LLVMValueRef row, LLVMValueRef sum) {
    const Convolution *c = t->c;
    const int64_t width = t->k->part == CONVOLVE_Y ? c->result[1] : c->size[1];
    const DType dtype = t->k->dtype[2];
    LLVMTypeRef memory = llvm_memory_type(b, dtype);
    if (s->phase->whole) {
        LLVMValueRef at = llvm_add(b, convolve_line(b, row, width, 0), s->column);
        llvm_store_typed(b, dtype, sum, llvm_at(b, memory, plane, at), s->valid);
        return;
    }
    row = llvm_add(b, convolve_line(b, row, c->stride[0], 0), s->phase->start[0]);
    LLVMValueRef at = llvm_add(b, splat_i32(b, s->column), llvm_iota(b, TILE_LANES));
    at = llvm_add(b, convolve_line(b, at, c->stride[1], 0), splat_i32(b, s->phase->start[1]));
    plane = llvm_at(b, memory, plane, convolve_line(b, row, width, 0));
    llvm_scatter(b, llvm_narrow_typed(b, dtype, sum), plane, convolve_wide(b, at), s->valid);
}

// What the same strip of the next plane will read and write: walking down strips is no pattern that
// hardware foresees.
static void fetch_next(LlvmBuild *b, const Planes *t, const Strip *s, LLVMValueRef to,
                       LLVMValueRef row) {
    const int64_t width = s->axis[1].size;
    LLVMValueRef at = llvm_mul(b, row, llvm_i64(b, s->axis[0].mult * width));
    at = llvm_add(b, at, convolve_line(b, s->column, s->axis[1].mult, 0));
    const int64_t bytes = (int64_t)dtype_bytes(t->k->dtype[0]);
    llvm_prefetch(b, llvm_at(b, llvm_memory_type(b, t->k->dtype[0]), s->source, at),
                  llvm_i64(b, s->axis[0].size * width * bytes), PREFETCH_READ);
    if (!s->phase->whole)
        return;
    const int64_t *size = t->k->part == CONVOLVE_Y ? t->c->result : t->c->size;
    at = llvm_add(b, convolve_line(b, row, size[1], 0), s->column);
    llvm_prefetch(b, llvm_at(b, llvm_memory_type(b, t->k->dtype[2]), to, at),
                  llvm_i64(b, size[0] * size[1] * (int64_t)dtype_bytes(t->k->dtype[2])),
                  PREFETCH_WRITE);
}

// One phase of a plane of y or dx: columns in strips, and down each strip.
static void emit_plane(LlvmBuild *b, const Planes *t, const ConvolvePhase *phase) {
    const Convolution *c = t->c;
    const bool forward = t->k->part == CONVOLVE_Y;
    Strip s = {.phase = phase, .axis = {axis_of(t, phase, 0), axis_of(t, phase, 1)}};
    s.source = plane_at(b, t, 0, forward, t->image);
    LLVMValueRef to = plane_at(b, t, 2, !forward, t->image);
    Columns *known = phase->whole ? arena_array(b->arena, Columns, c->kernel[1]) : NULL;
    s.known = known;
    LlvmLoop column, row, kh;
    llvm_loop_begin(b, &column, llvm_i64(b, 0), phase->size[1], TILE_LANES);
    s.column = column.index;
    s.valid = llvm_mask_below(b, TILE_LANES, llvm_sub(b, phase->size[1], column.index));
    // The last strip of a wide plane begins earlier and computes some pixels again: masked stores
    // are slow on many CPUs.
    if ((forward ? c->result[1] : c->size[1] / c->stride[1]) >= TILE_LANES) {
        LLVMValueRef last = convolve_line(b, phase->size[1], 1, -TILE_LANES);
        s.column = tile_min(b, column.index, last);
        s.valid = NULL;
    }
    for (int64_t kw = 0; known && kw < c->kernel[1]; kw++)
        known[kw] = columns_of(b, &s.axis[1], s.column, llvm_i64(b, kw), s.valid);
    llvm_loop_begin(b, &row, llvm_i64(b, 0), phase->size[0], 1);
    LLVMValueRef at = llvm_add(b, convolve_line(b, row.index, s.axis[0].mult, 0), s.axis[0].shift);
    fetch_next(b, t, &s, to, row.index);
    LLVMValueRef from, end;
    taps_inside(b, &s.axis[0], at, &from, &end);
    llvm_loop_begin(b, &kh, from, end, 1);
    LLVMValueRef sum = llvm_loop_carry(b, &kh, llvm_zero(lanes_type(b)));
    LLVMValueRef start = llvm_add(b, at, convolve_line(b, kh.index, s.axis[0].step, 0));
    start = llvm_at(b, llvm_memory_type(b, t->k->dtype[0]), s.source,
                    convolve_line(b, start, s.axis[1].size, 0));
    const ConvolveTaps *taps = &phase->axis[0];
    LLVMValueRef tap = llvm_add(b, convolve_line(b, kh.index, taps->step, 0), taps->first);
    llvm_loop_next(&kh, 0, add_taps(b, t, &s, start, tap, sum));
    llvm_loop_end(b, &kh);
    store_strip(b, t, &s, to, row.index, kh.result[0]);
    llvm_loop_end(b, &row);
    llvm_loop_end(b, &column);
}

// The sums of taps (kh, kw .. kw + count - 1) of dw, at hand while one strip of images goes by.
typedef struct {
    LLVMValueRef kh;
    int64_t kw;
    int count;
    Axis axis[2];
} Taps;

// Down a strip of one image: rows of y whose source rows are there.
static void sum_strip(LlvmBuild *b, const Planes *t, const Taps *taps, LLVMValueRef image,
                      LLVMValueRef column, LLVMValueRef *sum) {
    const Convolution *c = t->c;
    const DType *dtype = t->k->dtype;
    LLVMTypeRef memory = llvm_memory_type(b, dtype[1]);
    LLVMValueRef valid =
        llvm_mask_below(b, TILE_LANES, llvm_sub(b, llvm_i64(b, c->result[1]), column));
    Columns known[TAPS_AT_ONCE];
    for (int i = 0; i < taps->count; i++)
        known[i] = columns_of(b, &taps->axis[1], column, llvm_i64(b, taps->kw + i), valid);
    // p stride + shift + kh dilation is in 0 .. size - 1.
    LLVMValueRef at =
        llvm_add(b, convolve_line(b, taps->kh, taps->axis[0].step, 0), taps->axis[0].shift);
    const Axis down = {.mult = 1,
                       .step = taps->axis[0].mult,
                       .size = c->size[0],
                       .taps = llvm_i64(b, c->result[0])};
    LLVMValueRef from, end;
    taps_inside(b, &down, at, &from, &end);
    LLVMValueRef x = plane_at(b, t, 0, true, image), y = plane_at(b, t, 1, false, image);
    LlvmLoop row;
    llvm_loop_begin(b, &row, from, end, 1);
    LLVMValueRef carried[TAPS_AT_ONCE];
    for (int i = 0; i < taps->count; i++)
        carried[i] = llvm_loop_carry(b, &row, sum[i]);
    LLVMValueRef place = llvm_add(b, convolve_line(b, row.index, c->result[1], 0), column);
    LLVMValueRef dy = llvm_load_typed(b, dtype[1], TILE_LANES, llvm_at(b, memory, y, place), valid);
    LLVMValueRef start = llvm_add(b, convolve_line(b, row.index, down.step, 0), at);
    start = llvm_at(b, llvm_memory_type(b, dtype[0]), x, convolve_line(b, start, c->size[1], 0));
    for (int i = 0; i < taps->count; i++) {
        LLVMValueRef v = columns_load(b, &taps->axis[1], dtype[0], start, &known[i]);
        llvm_loop_next(&row, i, llvm_fma(b, dy, v, carried[i]));
    }
    llvm_loop_end(b, &row);
    for (int i = 0; i < taps->count; i++)
        sum[i] = row.result[i];
}

static void emit_taps(LlvmBuild *b, const Planes *t, const Taps *taps) {
    const Convolution *c = t->c;
    LLVMValueRef sum[TAPS_AT_ONCE];
    LlvmLoop image, column;
    llvm_loop_begin(b, &image, llvm_i64(b, 0), llvm_i64(b, c->batch), 1);
    for (int i = 0; i < taps->count; i++)
        sum[i] = llvm_loop_carry(b, &image, llvm_zero(lanes_type(b)));
    llvm_loop_begin(b, &column, llvm_i64(b, 0), llvm_i64(b, c->result[1]), TILE_LANES);
    for (int i = 0; i < taps->count; i++)
        sum[i] = llvm_loop_carry(b, &column, sum[i]);
    sum_strip(b, t, taps, image.index, column.index, sum);
    // Each sum goes on through both loops.
    LlvmLoop *const loop[] = {&column, &image};
    for (int l = 0; l < 2; l++) {
        for (int i = 0; i < taps->count; i++)
            llvm_loop_next(loop[l], i, sum[i]);
        llvm_loop_end(b, loop[l]);
        for (int i = 0; i < taps->count; i++)
            sum[i] = loop[l]->result[i];
    }
    const DType dtype = t->k->dtype[2];
    for (int i = 0; i < taps->count; i++) {
        LLVMValueRef tap = convolve_line(b, taps->kh, c->kernel[1], taps->kw + i);
        LLVMValueRef v = llvm_narrow_typed(b, dtype, llvm_lanes_sum(b, sum[i]));
        llvm_store(b, v, tap_at(b, t, 2, tap), (unsigned)dtype_bytes(dtype));
    }
}

static void emit_plane_weights(LlvmBuild *b, const Planes *t) {
    const int64_t *kernel = t->c->kernel;
    // x is walked from pixels of y, as forwards.
    const ConvolutionKernel forward = {.part = CONVOLVE_Y, .shape = *t->c};
    const ConvolvePhase phase = convolve_phase(b, &forward, llvm_i64(b, 0));
    LlvmLoop kh;
    llvm_loop_begin(b, &kh, llvm_i64(b, 0), llvm_i64(b, kernel[0]), 1);
    Taps taps = {.kh = kh.index, .axis = {axis_of(t, &phase, 0), axis_of(t, &phase, 1)}};
    for (; taps.kw < kernel[1]; taps.kw += TAPS_AT_ONCE) {
        const int64_t left = kernel[1] - taps.kw;
        taps.count = (int)(left < TAPS_AT_ONCE ? left : TAPS_AT_ONCE);
        emit_taps(b, t, &taps);
    }
    llvm_loop_end(b, &kh);
}

// y in one go, dx phase by phase.
static void emit_phases(LlvmBuild *b, const Planes *t) {
    const int64_t phases = convolve_phases(t->k);
    if (phases == 1) {
        const ConvolvePhase whole = convolve_phase(b, t->k, llvm_i64(b, 0));
        emit_plane(b, t, &whole);
        return;
    }
    LlvmLoop number;
    llvm_loop_begin(b, &number, llvm_i64(b, 0), llvm_i64(b, phases), 1);
    const ConvolvePhase phase = convolve_phase(b, t->k, number.index);
    emit_plane(b, t, &phase);
    llvm_loop_end(b, &number);
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
        emit_phases(b, &t);
    llvm_loop_end(b, &group);
    llvm_loop_end(b, &tile);
}
