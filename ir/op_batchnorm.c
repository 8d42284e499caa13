// Batch normalisation: each channel (axis 1) of x [n, c, ...] to mean 0 and variance 1 over the
// whole batch, then weight and bias.
//
// It is an operator so that its gradient is the short formula and what is kept for it is plain: x
// and two numbers a channel. It has no kernel of its own: pass_legalize writes it as sums and
// pointwise operators, which fuse with what stands around, and which the backward pass computes
// again instead of keeping y. Statistics are f32; running ones are the language's business
// (frontend/nn.plim), which is what mean and variance are results for.
#include "ir/op_rules.h"

#include "ir/build.h"

#include <math.h>

// [c] for x [n, c, ...].
static Type channels(const Type *x, DType dtype) {
    return type_make(dtype, 1, &x->dim[1]);
}

static bool want_channels(const Node *n, int input, const char *role, const Type *x, WantDType want,
                          Diag *d, Arena *scratch) {
    return infer_want(n, input, role, channels(x, DT_F32), want, d, scratch);
}

// (x [n, c, ...], weight [c], bias [c]) -> (y like x, mean [c], variance [c], rstd [c])
bool infer_batchnorm(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *x = &n->input[0]->type;
    if (!infer_want_rank(n, 0, 2, d, scratch) || !infer_want_float(n, 0, d, scratch) ||
        !want_channels(n, 1, "a weight", x, WANT_FLOAT, d, scratch) ||
        !want_channels(n, 2, "a bias", x, WANT_FLOAT, d, scratch))
        return false;
    result[0] = *x;
    result[1] = result[2] = result[3] = channels(x, DT_F32);
    return true;
}

// (dy, x, weight [c], mean [c], rstd [c]) -> (dx like x, dweight f32 [c], dbias f32 [c])
bool infer_batchnorm_grad(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *x = &n->input[1]->type;
    if (!infer_want_rank(n, 0, 2, d, scratch) || !infer_want_float(n, 0, d, scratch) ||
        !infer_want_equal(n, 0, 1, d, scratch) ||
        !want_channels(n, 2, "a weight", x, WANT_FLOAT, d, scratch) ||
        !want_channels(n, 3, "a mean", x, WANT_EXACT, d, scratch) ||
        !want_channels(n, 4, "an rstd", x, WANT_EXACT, d, scratch))
        return false;
    result[0] = *x;
    result[1] = result[2] = channels(x, DT_F32);
    return true;
}

// Dims are the axes of x; of operands like x all but the channels take part whole.
bool map_batchnorm(const Node *n, IndexMap *out) {
    const bool backward = n->op == OP_BATCHNORM_GRAD;
    index_map_init(n, &n->result[0].type, out);
    for (int o = 0; o < out->operand_count; o++) {
        if (map_operand(n, o)->rank == 1)
            out->axis_dim[o][0] = 1;
        for (int i = 0; o <= (backward ? 1 : 0) && i < n->result[0].type.rank; i++)
            out->axis_dim[o][i] = (int8_t)(i == 1 ? 1 : -1);
    }
    return true;
}

// Elements that make one statistic.
static double group_size(const Type *x) {
    return (double)(type_count(x) / x->dim[1]);
}

static Value *add_to(Builder *b, Value *sum, Value *x) {
    return sum ? build_binary(b, OP_ADD, sum, x) : x;
}

// dx of the statistics: dmean / n + (x - mean) dvariance 2 / n, dvariance += -rstd^3 / 2 drstd
static Value *statistics_gradient(Builder *b, const Node *n, Value *const *dresult, Value *dx) {
    Value *x = n->input[0], *mean = &n->result[1], *rstd = &n->result[3];
    const double size = group_size(&x->type);
    Value *dvariance = dresult[2];
    int axis = 1;
    if (dresult[3]) {
        Value *cube = build_binary(b, OP_MUL, rstd, build_binary(b, OP_MUL, rstd, rstd));
        Value *part = build_scale(b, build_binary(b, OP_MUL, dresult[3], cube), -0.5);
        dvariance = add_to(b, dvariance, part);
    }
    const Type wide = type_with_dtype(x->type, DT_F32);
    if (dresult[1]) {
        Value *part = build_broadcast(b, build_scale(b, dresult[1], 1 / size), &wide, &axis);
        dx = add_to(b, dx, build_cast(b, part, x->type.dtype));
    }
    if (dvariance) {
        Value *off = build_binary(b, OP_SUB, build_cast(b, x, DT_F32),
                                  build_broadcast(b, mean, &wide, &axis));
        Value *share = build_broadcast(b, build_scale(b, dvariance, 2 / size), &wide, &axis);
        dx = add_to(b, dx, build_cast(b, build_binary(b, OP_MUL, off, share), x->type.dtype));
    }
    return dx;
}

void grad_batchnorm(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    if (dresult[0]) {
        Value *const in[] = {dresult[0], n->input[0], n->input[1], &n->result[1], &n->result[3]};
        const Node *made = build_node(b, OP_BATCHNORM_GRAD, in, 5, NULL, 0);
        dinput[0] = &made->result[0];
        dinput[1] = build_cast(b, &made->result[1], n->input[1]->type.dtype);
        dinput[2] = build_cast(b, &made->result[2], n->input[2]->type.dtype);
    }
    dinput[0] = statistics_gradient(b, n, dresult, dinput[0]);
}

// How to walk x: element (i, j) of channel c is at (i channels + c) rest + j.
typedef struct {
    int64_t batch, channels, rest;
} Walk;

static Walk walk_of(const Type *x) {
    return (Walk){
        .batch = x->dim[0], .channels = x->dim[1], .rest = type_count(x) / (x->dim[0] * x->dim[1])};
}

static int64_t element(const Walk *s, int64_t c, int64_t i) {
    return (i / s->rest * s->channels + c) * s->rest + i % s->rest;
}

void evaluate_batchnorm(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    const Walk s = walk_of(&in[0].type);
    const int64_t count = s.batch * s.rest;
    const double eps = node_float(n, "eps", 0);
    for (int64_t c = 0; c < s.channels; c++) {
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < count; i++)
            mean += in[0].at[element(&s, c, i)] / (double)count;
        for (int64_t i = 0; i < count; i++) {
            const double off = in[0].at[element(&s, c, i)] - mean;
            variance += off * off / (double)count;
        }
        const double rstd = 1 / sqrt(variance + eps);
        for (int64_t i = 0; i < count; i++) {
            const int64_t at = element(&s, c, i);
            out[0].at[at] = (in[0].at[at] - mean) * rstd * in[1].at[c] + in[2].at[c];
        }
        out[1].at[c] = mean;
        out[2].at[c] = variance;
        out[3].at[c] = rstd;
    }
}

// With h = (x - mean) rstd: dx = weight rstd (dy - mean(dy) - h mean(dy h)).
void evaluate_batchnorm_grad(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)n, (void)cx;
    const Walk s = walk_of(&in[0].type);
    const int64_t count = s.batch * s.rest;
    for (int64_t c = 0; c < s.channels; c++) {
        const double mean = in[3].at[c], rstd = in[4].at[c];
        double bias = 0, weight = 0;
        for (int64_t i = 0; i < count; i++) {
            const int64_t at = element(&s, c, i);
            bias += in[0].at[at];
            weight += in[0].at[at] * (in[1].at[at] - mean) * rstd;
        }
        for (int64_t i = 0; i < count; i++) {
            const int64_t at = element(&s, c, i);
            const double h = (in[1].at[at] - mean) * rstd;
            const double off = in[0].at[at] - (bias + h * weight) / (double)count;
            out[0].at[at] = in[2].at[c] * rstd * off;
        }
        out[1].at[c] = weight;
        out[2].at[c] = bias;
    }
}
