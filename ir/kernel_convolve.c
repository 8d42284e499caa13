// Convolutions as kernels: how their work is cut into tiles, what they touch, and the dull
// //
// A convolution is a product whose right operand is not in memory as such: row (channel, tap) and
// column (pixel) of it are a pixel of the image moved by the tap, or 0. It is packed from the image
// block by block (codegen/llvm_convolve.c). Columns of a tile are pixels of one image, or all
// pixels of several small ones, so that what is packed of the weights serves enough of them; depth
// is taken in whole channels. One channel to a group has nothing to share: such planes are computed
// directly, several a tile.
#include "ir/template_layout.h"

#include "ir/convolution.h"
#include "ir/kernel_size.h"

enum { COLUMNS_MAX = 512, ROWS_MAX = 512, DEPTH = 256, WANTED_TILES = 8, ROWS_MIN = 48 };
enum { PLANE_WORK = 1 << 17 }; // taps x pixels that make a tile of planes

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// Rows are cut in halves while there are too few tiles for several workers.
static void cut_rows(ConvolutionLayout *out, int64_t rows, int64_t others) {
    out->rows = smaller(rows, ROWS_MAX);
    while (size_times(others, ceil_div(rows, out->rows)) < WANTED_TILES &&
           out->rows >= 2 * ROWS_MIN)
        out->rows = ceil_div(out->rows, 2);
    out->row_tiles = ceil_div(rows, out->rows);
}

// Planes of one image, or with the weights as result planes of all images.
static ConvolutionLayout plane_layout(const ConvolutionKernel *k) {
    const Convolution *c = &k->shape;
    const int64_t images = k->part == CONVOLVE_W ? 1 : c->batch;
    const int64_t pixels = size_times(c->result[0], c->result[1]);
    int64_t work = size_times(pixels, size_times(c->kernel[0], c->kernel[1]));
    if (k->part == CONVOLVE_W)
        work = size_times(work, c->batch);
    ConvolutionLayout out = {.planes = true, .image_tiles = images};
    out.rows = smaller(c->groups, work < PLANE_WORK ? ceil_div(PLANE_WORK, work) : 1);
    out.row_tiles = ceil_div(c->groups, out.rows);
    out.tiles = size_times(images, out.row_tiles);
    return out;
}

// Columns are (channel, tap), depth is the pixels of one image after the other.
static ConvolutionLayout weight_layout(const ConvolutionKernel *k) {
    const Convolution *c = &k->shape;
    const int64_t taps = size_times(c->kernel[0], c->kernel[1]);
    ConvolutionLayout out = {.images = 1, .image_tiles = 1};
    out.all_columns = size_times(c->in, taps);
    out.columns = smaller(out.all_columns, COLUMNS_MAX);
    out.column_tiles = ceil_div(out.all_columns, out.columns);
    cut_rows(&out, c->out, size_times(c->groups, out.column_tiles));
    out.depth = smaller(size_times(c->result[0], c->result[1]), DEPTH);
    out.in_place = k->dtype[2] == DT_F32;
    return out;
}

int64_t convolution_divisor(int64_t a, int64_t b) {
    return b == 0 ? a : convolution_divisor(b, a % b);
}

// Columns are pixels of the result, or of one phase of dx with strides; depth is (channel, tap) of
// the other image.
static ConvolutionLayout image_layout(const ConvolutionKernel *k) {
    const Convolution *c = &k->shape;
    const bool forward = k->part == CONVOLVE_Y;
    const int64_t channels = forward ? c->in : c->out;
    const int64_t far = forward ? k->x_stride : k->y_stride;
    ConvolutionLayout out = {.all_columns = 1};
    int64_t taps = 1, phases = 1;
    for (int i = 0; i < 2; i++) {
        const int64_t stride = forward ? 1 : c->stride[i];
        const int64_t step = stride / convolution_divisor(stride, c->dilation[i]);
        out.all_columns =
            size_times(out.all_columns, forward ? c->result[i] : ceil_div(c->size[i], stride));
        taps = size_times(taps, ceil_div(c->kernel[i], step));
        phases = size_times(phases, stride);
    }
    out.columns = smaller(out.all_columns, COLUMNS_MAX);
    out.column_tiles = ceil_div(out.all_columns, out.columns);
    // Equal parts, whole vectors.
    out.columns =
        smaller(out.columns, (ceil_div(out.all_columns, out.column_tiles) + 15) / 16 * 16);
    out.column_tiles = ceil_div(out.all_columns, out.columns);
    out.images = 1;
    // As many as leave tiles for several workers; offsets within a tile have 32 bits.
    while (out.column_tiles == 1 && 2 * out.images * out.columns <= COLUMNS_MAX &&
           2 * out.images <= c->batch && size_times(2 * out.images, far) < (1 << 28))
        out.images *= 2;
    out.image_tiles = ceil_div(c->batch, out.images);
    cut_rows(&out, forward ? c->out : c->in,
             size_times(c->groups, size_times(out.image_tiles, out.column_tiles)));
    out.channels = smaller(channels, taps < DEPTH ? DEPTH / taps : 1);
    out.depth = size_times(out.channels, taps);
    out.in_place = k->dtype[2] == DT_F32 && out.images == 1 && phases == 1;
    return out;
}

ConvolutionLayout convolution_layout(const ConvolutionKernel *k) {
    const Convolution *c = &k->shape;
    if (c->in == 1 && c->out == 1)
        return plane_layout(k);
    ConvolutionLayout out = k->part == CONVOLVE_W ? weight_layout(k) : image_layout(k);
    out.tiles = size_times(size_times(c->groups, out.row_tiles),
                           size_times(out.image_tiles, out.column_tiles));
    const int64_t width = size_times(out.images, out.columns);
    // Packing in parts writes up to 16 steps past each part.
    out.depth_cap = (out.depth + 15) / 16 * 16 + 16;
    out.sum_stride = width;
    // Whole panels of any target, and one more row.
    out.b = size_times((out.rows + 15) / 16 * 16 + 16, out.depth_cap);
    out.sum = size_plus(out.b, size_times((width + 31) / 32 * 32, out.depth_cap));
    out.floats = size_plus(out.sum, out.in_place ? 0 : size_times(out.rows, width));
    return out;
}

ConvolutionPart convolution_operand(const ConvolutionKernel *k, int operand) {
    if (operand == 2)
        return k->part;
    const ConvolutionPart first = k->part == CONVOLVE_X ? CONVOLVE_Y : CONVOLVE_X;
    const ConvolutionPart second = k->part == CONVOLVE_W ? CONVOLVE_Y : CONVOLVE_W;
    return operand == 0 ? first : second;
}

int64_t convolution_span(const ConvolutionKernel *k, int operand) {
    const Convolution *c = &k->shape;
    const ConvolutionPart part = convolution_operand(k, operand);
    if (part == CONVOLVE_W)
        return convolution_elements(k, operand);
    const int64_t one = size_times(part == CONVOLVE_X ? size_times(c->groups, c->in)
                                                      : size_times(c->groups, c->out),
                                   part == CONVOLVE_X ? size_times(c->size[0], c->size[1])
                                                      : size_times(c->result[0], c->result[1]));
    return size_plus(size_times(c->batch - 1, part == CONVOLVE_X ? k->x_stride : k->y_stride), one);
}

int64_t convolution_elements(const ConvolutionKernel *k, int operand) {
    const Type t = convolution_type(&k->shape, convolution_operand(k, operand), DT_F32);
    int64_t count = 1;
    for (int i = 0; i < t.rank; i++)
        count = size_times(count, t.dim[i]);
    return count;
}
