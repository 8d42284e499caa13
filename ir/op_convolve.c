// Convolutions of images: conv2d and its two gradients.
//
// y[n, m, p] = sum over c, k of x[n, c, p stride + k dilation - before] w[m, c, k], where p and k
// are pairs and x is 0 outside. Channels come in groups of equal size; those of a group see only
// each other (one channel a group: depthwise). Convolution is linear in x and in w, so there is one
// sum over (x, w, y) triples and three operators, each with another of the three as its result: y
// is conv2d, x is conv2d_input_grad, w is conv2d_weight_grad. The gradients of each are the other
// two, as often as one differentiates.
//
// The gradients take the size of their result as an attribute, since several sizes of x give the
// same y where the stride is more than 1. The weight's gradient is f32 whatever its operands: it is
// summed over every image and position.
#include "ir/convolution.h"

#include "ir/build.h"
#include "ir/check.h"
#include "ir/op_rules.h"

#include <string.h>

enum { PARTS = 3 };

void convolution_parts(const Node *n, ConvolutionPart part[3]) {
    static const ConvolutionPart y[] = {CONVOLVE_X, CONVOLVE_W, CONVOLVE_Y},
                                 x[] = {CONVOLVE_Y, CONVOLVE_W, CONVOLVE_X},
                                 w[] = {CONVOLVE_X, CONVOLVE_Y, CONVOLVE_W};
    const ConvolutionPart *from = n->op == OP_CONV2D ? y : n->op == OP_CONV2D_INPUT_GRAD ? x : w;
    memcpy(part, from, 3 * sizeof *part);
}

int64_t convolution_result(int64_t size, int64_t kernel, int64_t stride, int64_t padding,
                           int64_t dilation) {
    const int64_t span = dilation * (kernel - 1) + 1, room = size + padding;
    return room < span ? 0 : (room - span) / stride + 1;
}

static bool want_operands(const Node *n, Diag *d, Arena *scratch) {
    for (int i = 0; i < 2; i++) {
        const Type *t = &n->input[i]->type;
        if (!infer_want_float(n, i, d, scratch))
            return false;
        if (t->rank != 4)
            return diag_error(d, n->loc, 318, "%s wants operands of 4 axes, got %s",
                              op_info(n->op)->name, type_text(scratch, t));
    }
    if (n->input[0]->type.dtype == n->input[1]->type.dtype)
        return true;
    return diag_error(d, n->loc, 301, "%s wants operands of one element type, got %s and %s",
                      op_info(n->op)->name, type_text(scratch, &n->input[0]->type),
                      type_text(scratch, &n->input[1]->type));
}

// Height and width from an attribute, each from `least` on.
static bool read_pair(const Node *n, const char *name, int64_t least, int64_t out[2], Diag *d) {
    int count;
    const int64_t *given = node_ints(n, name, &count);
    if (count != 2)
        return diag_error(d, n->loc, 318, "%s wants 2 numbers in '%s', got %d",
                          op_info(n->op)->name, name, count);
    for (int i = 0; i < 2; i++) {
        out[i] = given[i];
        if (out[i] < least || out[i] > CONVOLUTION_MAX)
            return diag_error(d, n->loc, 318, "%s with a %s of %lld", op_info(n->op)->name, name,
                              (long long)out[i]);
    }
    return true;
}

static bool read_settings(const Node *n, Convolution *c, Diag *d) {
    c->groups = node_int(n, "groups", 1);
    if (c->groups < 1)
        return diag_error(d, n->loc, 318, "%s with %lld groups", op_info(n->op)->name,
                          (long long)c->groups);
    return read_pair(n, "stride", 1, c->stride, d) && read_pair(n, "before", 0, c->before, d) &&
           read_pair(n, "after", 0, c->after, d) && read_pair(n, "dilation", 1, c->dilation, d);
}

// Sizes that stand in the parts given; the third part's are filled in. NULL where they agree, else
// what does not.
static const char *find_sizes(const Type *const part[PARTS], Convolution *c) {
    const Type *x = part[CONVOLVE_X], *w = part[CONVOLVE_W], *y = part[CONVOLVE_Y];
    const Type *image = x ? x : y;
    c->batch = image->dim[0];
    if (x && y && y->dim[0] != c->batch)
        return "their images differ in number";
    const int64_t out = w ? w->dim[0] : y->dim[1];
    if (out % c->groups != 0)
        return "the groups don't divide the channels they give";
    c->out = out / c->groups;
    if (w && y && y->dim[1] != out)
        return "the channels given differ in number";
    if (x && x->dim[1] % c->groups != 0)
        return "the groups don't divide the channels they take";
    c->in = w ? w->dim[1] : x->dim[1] / c->groups;
    if (x && w && x->dim[1] / c->groups != c->in)
        return "a kernel does not have its group's channels";
    return NULL;
}

// Heights and widths: the result's from the attribute `size`, y's by the formula.
static bool find_extents(const Node *n, const Type *const part[PARTS], Convolution *c, Diag *d) {
    int64_t asked[2] = {0};
    if (n->op != OP_CONV2D && !read_pair(n, "size", 1, asked, d))
        return false;
    for (int i = 0; i < 2; i++) {
        c->size[i] = part[CONVOLVE_X] ? part[CONVOLVE_X]->dim[2 + i] : asked[i];
        c->kernel[i] = part[CONVOLVE_W] ? part[CONVOLVE_W]->dim[2 + i] : asked[i];
        if (c->kernel[i] > CONVOLUTION_MAX)
            return diag_error(d, n->loc, 318, "%s with a kernel of %lld", op_info(n->op)->name,
                              (long long)c->kernel[i]);
        c->result[i] = convolution_result(c->size[i], c->kernel[i], c->stride[i],
                                          c->before[i] + c->after[i], c->dilation[i]);
        if (c->result[i] == 0)
            return diag_error(d, n->loc, 318,
                              "%s: a kernel of %lld with dilation %lld does not fit into %lld "
                              "with %lld of padding",
                              op_info(n->op)->name, (long long)c->kernel[i],
                              (long long)c->dilation[i], (long long)c->size[i],
                              (long long)(c->before[i] + c->after[i]));
        if (part[CONVOLVE_Y] && part[CONVOLVE_Y]->dim[2 + i] != c->result[i])
            return diag_error(d, n->loc, 318, "%s: %s of %lld gives %lld, not %lld",
                              op_info(n->op)->name, i ? "a width" : "a height",
                              (long long)c->size[i], (long long)c->result[i],
                              (long long)part[CONVOLVE_Y]->dim[2 + i]);
    }
    return true;
}

static bool read_convolution(const Node *n, Convolution *c, Diag *d, Arena *scratch) {
    *c = (Convolution){0};
    if (!want_operands(n, d, scratch) || !read_settings(n, c, d))
        return false;
    ConvolutionPart which[3];
    const Type *part[PARTS] = {NULL};
    convolution_parts(n, which);
    part[which[0]] = &n->input[0]->type;
    part[which[1]] = &n->input[1]->type;
    const char *wrong = find_sizes(part, c);
    if (wrong)
        return diag_error(d, n->loc, 318, "%s of %s and %s in %lld group%s: %s",
                          op_info(n->op)->name, type_text(scratch, &n->input[0]->type),
                          type_text(scratch, &n->input[1]->type), (long long)c->groups,
                          c->groups == 1 ? "" : "s", wrong);
    return find_extents(n, part, c, d);
}

Convolution convolution_of(const Node *n) {
    Convolution c;
    CHECK(read_convolution(n, &c, NULL, NULL));
    return c;
}

Type convolution_type(const Convolution *c, ConvolutionPart part, DType dtype) {
    const int64_t x[] = {c->batch, c->groups * c->in, c->size[0], c->size[1]},
                  w[] = {c->groups * c->out, c->in, c->kernel[0], c->kernel[1]},
                  y[] = {c->batch, c->groups * c->out, c->result[0], c->result[1]};
    return type_make(dtype, 4, part == CONVOLVE_X ? x : part == CONVOLVE_W ? w : y);
}

bool infer_convolution(const Node *n, Type *result, Diag *d, Arena *scratch) {
    Convolution c;
    ConvolutionPart part[3];
    if (!read_convolution(n, &c, d, scratch))
        return false;
    convolution_parts(n, part);
    *result =
        convolution_type(&c, part[2], part[2] == CONVOLVE_W ? DT_F32 : n->input[0]->type.dtype);
    return infer_want_size(n, result, d, scratch);
}

// An axis that a kernel slides over takes part whole; so do channels of x where there are groups.
// Dims: the result's axes, then what is summed. Those of y that an input gradient slides over have
// no dim: its kernel's do.
bool map_convolution(const Node *n, IndexMap *out) {
    enum { BATCH, OUT, IN, HEIGHT, WIDTH, KH, KW, DIMS };
    const Convolution c = convolution_of(n);
    // Height and width of the image that is not slid over.
    const bool slides_y = n->op == OP_CONV2D_INPUT_GRAD;
    const int in = c.groups == 1 ? IN : -1;
    int axis[PARTS][4] = {{BATCH, in, -1, -1}, {OUT, IN, KH, KW}, {BATCH, OUT, HEIGHT, WIDTH}};
    int64_t extent[DIMS] = {c.batch,     c.groups * c.out, c.in,       c.result[0],
                            c.result[1], c.kernel[0],      c.kernel[1]};
    if (slides_y) {
        // x's channels are a dim of the result; a kernel has them by group.
        const int x[4] = {BATCH, IN, HEIGHT, WIDTH}, y[4] = {BATCH, OUT, -1, -1};
        memcpy(axis[CONVOLVE_X], x, sizeof x);
        memcpy(axis[CONVOLVE_Y], y, sizeof y);
        axis[CONVOLVE_W][1] = in;
        extent[IN] = c.groups * c.in;
        extent[HEIGHT] = c.size[0];
        extent[WIDTH] = c.size[1];
    }
    ConvolutionPart part[3];
    convolution_parts(n, part);
    *out = (IndexMap){.dim_count = DIMS, .operand_count = 3};
    memcpy(out->extent, extent, sizeof extent);
    memset(out->axis_dim, -1, sizeof out->axis_dim);
    out->reduced = (1u << DIMS) - 1;
    for (int o = 0; o < 3; o++)
        for (int i = 0; i < 4; i++) {
            out->axis_dim[o][i] = (int8_t)axis[part[o]][i];
            if (o == 2 && axis[part[o]][i] >= 0)
                out->reduced &= ~(1u << axis[part[o]][i]);
        }
    return true;
}

static int64_t saturating_mul(int64_t a, int64_t b) {
    int64_t out;
    return __builtin_mul_overflow(a, b, &out) ? INT64_MAX : out;
}

int64_t convolution_flops(const Convolution *c) {
    const Type y = convolution_type(c, CONVOLVE_Y, DT_F32);
    const int64_t taps = saturating_mul(c->in, saturating_mul(c->kernel[0], c->kernel[1]));
    return saturating_mul(2, saturating_mul(type_count(&y), taps));
}

// The operator that gives this part, of the other two; n has the settings.
static Value *build_convolution(Builder *b, const Node *n, ConvolutionPart part, Value *first,
                                Value *second) {
    static const Op op[PARTS] = {OP_CONV2D_INPUT_GRAD, OP_CONV2D_WEIGHT_GRAD, OP_CONV2D};
    const Convolution c = convolution_of(n);
    const Attr attr[] = {attr_ints("stride", c.stride, 2),
                         attr_ints("before", c.before, 2),
                         attr_ints("after", c.after, 2),
                         attr_ints("dilation", c.dilation, 2),
                         attr_int("groups", c.groups),
                         attr_ints("size", part == CONVOLVE_X ? c.size : c.kernel, 2)};
    // conv2d alone has no size.
    return build_op(b, op[part], (Value *[]){first, second}, 2, attr, part == CONVOLVE_Y ? 5 : 6);
}

// Each operand's gradient is the operator that gives its part, of the other operand and dresult.
void grad_convolution(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    ConvolutionPart part[3];
    convolution_parts(n, part);
    for (int i = 0; i < 2; i++) {
        const DType dtype = n->input[i]->type.dtype;
        Value *operand[PARTS] = {NULL};
        operand[part[1 - i]] = n->input[1 - i];
        operand[part[2]] = build_cast(b, dresult[0], dtype);
        // Operands as the rows of ops.def list them: (x, w), (y, w), (x, y).
        Value *first = part[i] == CONVOLVE_X ? operand[CONVOLVE_Y] : operand[CONVOLVE_X];
        Value *second = part[i] == CONVOLVE_W ? operand[CONVOLVE_Y] : operand[CONVOLVE_W];
        dinput[i] = build_cast(b, build_convolution(b, n, part[i], first, second), dtype);
    }
}

bool convolution_term(const Convolution *c, int64_t x_stride, int64_t y_stride, int64_t term,
                      int64_t at[3]) {
    enum { BATCH, GROUP, OUT, IN, P, Q, KH, KW, DIMS };
    const int64_t extent[DIMS] = {c->batch,     c->groups,    c->out,       c->in,
                                  c->result[0], c->result[1], c->kernel[0], c->kernel[1]};
    int64_t i[DIMS], row[2];
    for (int d = DIMS - 1; d >= 0; d--) {
        i[d] = term % extent[d];
        term /= extent[d];
    }
    for (int k = 0; k < 2; k++) {
        row[k] = i[P + k] * c->stride[k] + i[KH + k] * c->dilation[k] - c->before[k];
        if (row[k] < 0 || row[k] >= c->size[k])
            return false;
    }
    const int64_t in = i[GROUP] * c->in + i[IN], out = i[GROUP] * c->out + i[OUT];
    at[CONVOLVE_X] = i[BATCH] * x_stride + (in * c->size[0] + row[0]) * c->size[1] + row[1];
    at[CONVOLVE_W] = ((out * c->in + i[IN]) * c->kernel[0] + i[KH]) * c->kernel[1] + i[KW];
    at[CONVOLVE_Y] = i[BATCH] * y_stride + (out * c->result[0] + i[P]) * c->result[1] + i[Q];
    return true;
}

void evaluate_convolution(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    const Convolution c = convolution_of(n);
    const int64_t terms = convolution_flops(&c) / 2;
    ConvolutionPart part[3];
    convolution_parts(n, part);
    // Images one after another, all channels.
    const int64_t x_stride = c.groups * c.in * c.size[0] * c.size[1],
                  y_stride = c.groups * c.out * c.result[0] * c.result[1];
    for (int64_t t = 0; t < terms; t++) {
        int64_t at[PARTS];
        if (convolution_term(&c, x_stride, y_stride, t, at))
            out[0].at[at[part[2]]] += in[0].at[at[part[0]]] * in[1].at[at[part[1]]];
    }
}
