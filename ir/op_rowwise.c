// Rowwise operators: along the last axis, statistics in f32 (here: f64) whatever the operand.
//
// A row is the last axis; `rows` operands have one element a row (means, log-sum-exps), `columns`
// operands one a column (weights, biases). Gradients are operators of their own, so that each is
// one kernel and what is saved for it is plain to see; only gradients of statistics, which hardly
// anyone takes, are written out in small operators.
#include "ir/op_rules.h"

#include "ir/build.h"
#include "ir/check.h"

#include <math.h>

// Types.

// x [..., d], floating point: what a row operator works on.
static bool want_row_operand(const Node *n, int input, Diag *d, Arena *scratch) {
    return infer_want_rank(n, input, 1, d, scratch) && infer_want_float(n, input, d, scratch);
}

// x [..., d] -> y like x; softmax_grad's operands are (y, dy).
bool infer_softmax(const Node *n, Type *result, Diag *d, Arena *scratch) {
    *result = n->input[0]->type;
    return want_row_operand(n, 0, d, scratch);
}

// [d] for x [..., d]; weights may be f32 where x is bf16.
static bool want_columns(const Node *n, int input, const char *role, const Type *x, Diag *d,
                         Arena *scratch) {
    return infer_want(n, input, role, type_columns(x, DT_F32), WANT_FLOAT, d, scratch);
}

// f32 [...] for x [..., d]: statistics are f32 always.
static bool want_rows(const Node *n, int input, const char *role, const Type *x, Diag *d,
                      Arena *scratch) {
    return infer_want(n, input, role, type_rows(x, DT_F32), WANT_EXACT, d, scratch);
}

// (x [..., d], weight [d], bias [d]) -> (y like x, mean [...], rstd [...])
bool infer_layernorm(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *x = &n->input[0]->type;
    if (!want_row_operand(n, 0, d, scratch) || !want_columns(n, 1, "a weight", x, d, scratch) ||
        !want_columns(n, 2, "a bias", x, d, scratch))
        return false;
    result[0] = *x;
    result[1] = result[2] = type_rows(x, DT_F32);
    return true;
}

// (x [..., d], weight [d]) -> (y like x, rstd [...])
bool infer_rmsnorm(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *x = &n->input[0]->type;
    if (!want_row_operand(n, 0, d, scratch) || !want_columns(n, 1, "a weight", x, d, scratch))
        return false;
    result[0] = *x;
    result[1] = type_rows(x, DT_F32);
    return true;
}

// (dy, x) of one type: the start of every norm's gradient.
static bool want_pair(const Node *n, Diag *d, Arena *scratch) {
    return want_row_operand(n, 0, d, scratch) && infer_want_equal(n, 0, 1, d, scratch);
}

// (dy, x, weight, mean, rstd) -> dx like x
bool infer_layernorm_grad(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *x = &n->input[1]->type;
    *result = *x;
    return want_pair(n, d, scratch) && want_columns(n, 2, "a weight", x, d, scratch) &&
           want_rows(n, 3, "a mean", x, d, scratch) && want_rows(n, 4, "an rstd", x, d, scratch);
}

// (dy, x, mean, rstd) -> (dweight f32 [d], dbias f32 [d])
bool infer_layernorm_param_grad(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *x = &n->input[1]->type;
    if (!want_pair(n, d, scratch) || !want_rows(n, 2, "a mean", x, d, scratch) ||
        !want_rows(n, 3, "an rstd", x, d, scratch))
        return false;
    result[0] = result[1] = type_columns(x, DT_F32);
    return true;
}

// (dy, x, weight, rstd) -> dx like x
bool infer_rmsnorm_grad(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *x = &n->input[1]->type;
    *result = *x;
    return want_pair(n, d, scratch) && want_columns(n, 2, "a weight", x, d, scratch) &&
           want_rows(n, 3, "an rstd", x, d, scratch);
}

// (dy, x, rstd) -> dweight f32 [d]
bool infer_rmsnorm_param_grad(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *x = &n->input[1]->type;
    if (!want_pair(n, d, scratch) || !want_rows(n, 2, "an rstd", x, d, scratch))
        return false;
    *result = type_columns(x, DT_F32);
    return true;
}

// (logits [..., v], target i32 [...]): the start of both cross entropies.
static bool want_targets(const Node *n, Diag *d, Arena *scratch) {
    if (!want_row_operand(n, 0, d, scratch))
        return false;
    const Type rows = type_rows(&n->input[0]->type, DT_I32);
    return infer_want(n, 1, "targets", rows, WANT_EXACT, d, scratch);
}

// -> (loss f32 [...], log-sum-exp f32 [...]); the latter is saved for the gradient.
bool infer_cross_entropy(const Node *n, Type *result, Diag *d, Arena *scratch) {
    if (!want_targets(n, d, scratch))
        return false;
    const Type *x = &n->input[0]->type;
    if (x->dim[x->rank - 1] == 0)
        return diag_error(d, n->loc, 311, "cross_entropy over no classes: %s",
                          type_text(scratch, x));
    result[0] = result[1] = type_rows(x, DT_F32);
    return true;
}

// (logits [..., v], target [...], lse [...], dloss [...]) -> dlogits like logits.
bool infer_cross_entropy_grad(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *x = &n->input[0]->type;
    *result = *x;
    return want_targets(n, d, scratch) && want_rows(n, 2, "a log-sum-exp", x, d, scratch) &&
           want_rows(n, 3, "a gradient", x, d, scratch);
}

// (x [..., s, e], cos [s, e/2], sin [s, e/2]): element j is turned with element j + e/2.
bool infer_rotary(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *x = &n->input[0]->type;
    *result = *x;
    if (!infer_want_rank(n, 0, 2, d, scratch) || !infer_want_float(n, 0, d, scratch))
        return false;
    const int64_t e = x->dim[x->rank - 1];
    if (e % 2 != 0)
        return diag_error(d, n->loc, 311, "rotary turns pairs, but the last axis of %s is odd",
                          type_text(scratch, x));
    const Type angles = type_make(DT_F32, 2, (int64_t[]){x->dim[x->rank - 2], e / 2});
    return infer_want(n, 1, "cosines", angles, WANT_FLOAT, d, scratch) &&
           infer_want(n, 2, "sines", angles, WANT_FLOAT, d, scratch);
}

// Operands [d], which no dim of the map indexes. A weight [d] and the means of x [rows, d] look
// alike, so it takes the operator to tell them apart.
static bool is_columns_operand(const Node *n, int o) {
    switch (n->op) {
    case OP_LAYERNORM:
        return o == 1 || o == 2;
    case OP_RMSNORM:
        return o == 1;
    case OP_LAYERNORM_GRAD:
    case OP_RMSNORM_GRAD:
        return o == 2;
    default:
        return false;
    }
}

// Dims are the rows' axes; the row itself takes part whole.
bool map_rowwise(const Node *n, IndexMap *out) {
    const Type rows = type_rows(&n->input[0]->type, DT_F32);
    index_map_init(n, &rows, out);
    for (int o = 0; o < out->operand_count; o++) {
        const int rank = map_operand(n, o)->rank;
        for (int i = 0; i < rank; i++)
            if (i >= rows.rank || is_columns_operand(n, o))
                out->axis_dim[o][i] = -1;
    }
    return true;
}

// Gradients.

// y [...], one number a row, of the shape and type of x [..., d].
static Value *along_row(Builder *b, Value *y, const Type *x) {
    int axes[RANK_MAX];
    for (int i = 0; i < RANK_MAX; i++)
        axes[i] = i;
    return build_broadcast(b, build_cast(b, y, x->dtype), x, axes);
}

// The sum, where either may be missing.
static Value *add(Builder *b, Value *x, Value *y) {
    return x && y ? build_binary(b, OP_ADD, x, y) : x ? x : y;
}

static Value *mul(Builder *b, Value *x, Value *y) {
    return build_binary(b, OP_MUL, x, y);
}

// From y, not from x: x need not be kept.
void grad_softmax(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    dinput[0] = build_binary(b, OP_SOFTMAX_GRAD, &n->result[0], dresult[0]);
}

// The gradient of x [..., d] from that of rstd: -rstd^3 (x - mean) / d. mean is NULL for rmsnorm.
static Value *grad_of_rstd(Builder *b, Value *x, Value *mean, Value *rstd, Value *drstd) {
    const Type *t = &x->type;
    Value *factor = mul(b, drstd, mul(b, rstd, mul(b, rstd, rstd)));
    Value *off = mean ? build_binary(b, OP_SUB, x, along_row(b, mean, t)) : x;
    factor = build_scale(b, factor, -1.0 / (double)t->dim[t->rank - 1]);
    return mul(b, along_row(b, factor, t), off);
}

// Any of y, mean and rstd may have a gradient; y's alone is what models need.
void grad_layernorm(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *x = n->input[0], *weight = n->input[1], *bias = n->input[2];
    Value *mean = &n->result[1], *rstd = &n->result[2], *dy = dresult[0];
    const int64_t columns = x->type.dim[x->type.rank - 1];
    if (dy) {
        Value *const row[] = {dy, x, weight, mean, rstd};
        dinput[0] = build_op(b, OP_LAYERNORM_GRAD, row, 5, NULL, 0);
        Value *const column[] = {dy, x, mean, rstd};
        Node *param = build_node(b, OP_LAYERNORM_PARAM_GRAD, column, 4, NULL, 0);
        dinput[1] = build_cast(b, &param->result[0], weight->type.dtype);
        dinput[2] = build_cast(b, &param->result[1], bias->type.dtype);
    }
    if (dresult[1]) {
        // The gradient of a mean goes to every element of its row, 1/d of it.
        Value *share = build_scale(b, dresult[1], 1.0 / (double)columns);
        dinput[0] = add(b, dinput[0], along_row(b, share, &x->type));
    }
    if (dresult[2])
        dinput[0] = add(b, dinput[0], grad_of_rstd(b, x, mean, rstd, dresult[2]));
}

void grad_rmsnorm(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *x = n->input[0], *weight = n->input[1], *rstd = &n->result[1], *dy = dresult[0];
    if (dy) {
        Value *const row[] = {dy, x, weight, rstd};
        dinput[0] = build_op(b, OP_RMSNORM_GRAD, row, 4, NULL, 0);
        Value *const column[] = {dy, x, rstd};
        Value *dweight = build_op(b, OP_RMSNORM_PARAM_GRAD, column, 3, NULL, 0);
        dinput[1] = build_cast(b, dweight, weight->type.dtype);
    }
    if (dresult[1])
        dinput[0] = add(b, dinput[0], grad_of_rstd(b, x, NULL, rstd, dresult[1]));
}

// A gradient of the log-sum-exp (z-loss) is softmax(x) times it.
void grad_cross_entropy(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *x = n->input[0];
    if (dresult[0]) {
        Value *const in[] = {x, n->input[1], &n->result[1], dresult[0]};
        dinput[0] = build_op(b, OP_CROSS_ENTROPY_GRAD, in, 4, NULL, 0);
    }
    if (dresult[1]) {
        // d lse / d x = softmax(x).
        Value *share = build_unary(b, OP_SOFTMAX, x);
        dinput[0] = add(b, dinput[0], mul(b, share, along_row(b, dresult[1], &x->type)));
    }
}

// Sums over all axes but the last two.
static Value *sum_leading(Builder *b, Value *x) {
    int axes[RANK_MAX];
    for (int i = 0; i < RANK_MAX; i++)
        axes[i] = i;
    return build_reduce_sum(b, x, axes, x->type.rank - 2);
}

// With halves (a, b) of x and (p, q) of dy: dcos = sum a p + b q, dsin = sum a q - b p.
void grad_rotary(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *x = n->input[0], *dy = dresult[0];
    const bool inverse = node_int(n, "inverse", 0) != 0;
    // A rotation's transpose turns back.
    const Attr back = attr_int("inverse", !inverse);
    Value *const in[] = {dy, n->input[1], n->input[2]};
    dinput[0] = build_op(b, OP_ROTARY, in, 3, &back, 1);

    const int last = x->type.rank - 1;
    const int64_t e = x->type.dim[last];
    Value *low = build_slice(b, x, last, 0, e / 2), *high = build_slice(b, x, last, e / 2, e);
    Value *dlow = build_slice(b, dy, last, 0, e / 2), *dhigh = build_slice(b, dy, last, e / 2, e);
    Value *dcos = add(b, mul(b, low, dlow), mul(b, high, dhigh));
    Value *left = mul(b, low, dhigh), *right = mul(b, high, dlow);
    // The inverse turns by -sin, so its gradient changes sign.
    Value *dsin = build_binary(b, OP_SUB, inverse ? right : left, inverse ? left : right);
    dinput[1] = build_cast(b, sum_leading(b, dcos), n->input[1]->type.dtype);
    dinput[2] = build_cast(b, sum_leading(b, dsin), n->input[2]->type.dtype);
}

// Evaluation.

// The rows of a [..., d] operand.
typedef struct {
    int64_t rows, columns;
} RowShape;

// All leading axes together are the rows.
static RowShape row_shape(const Type *t) {
    const int64_t columns = t->dim[t->rank - 1];
    const Type rows = type_rows(t, t->dtype);
    return (RowShape){.rows = type_count(&rows), .columns = columns};
}

static double row_mean(const double *x, int64_t columns) {
    double sum = 0;
    for (int64_t j = 0; j < columns; j++)
        sum += x[j];
    return sum / (double)columns;
}

// -inf for an empty row.
static double row_max(const double *x, int64_t columns) {
    double max = -HUGE_VAL;
    for (int64_t j = 0; j < columns; j++)
        max = x[j] > max ? x[j] : max;
    return max;
}

// log sum e^x
static double row_lse(const double *x, int64_t columns) {
    const double max = row_max(x, columns);
    double sum = 0;
    for (int64_t j = 0; j < columns; j++)
        sum += exp(x[j] - max);
    return max + log(sum);
}

// mean((x - middle)^2)
static double row_spread(const double *x, int64_t columns, double middle) {
    double sum = 0;
    for (int64_t j = 0; j < columns; j++)
        sum += (x[j] - middle) * (x[j] - middle);
    return sum / (double)columns;
}

// e^(x - lse) rather than e^x / sum: no overflow, and nothing lost in f64.
void evaluate_softmax(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)n, (void)cx;
    const RowShape s = row_shape(&in[0].type);
    for (int64_t i = 0; i < s.rows; i++) {
        const double *x = in[0].at + i * s.columns;
        const double lse = row_lse(x, s.columns);
        for (int64_t j = 0; j < s.columns; j++)
            out[0].at[i * s.columns + j] = exp(x[j] - lse);
    }
}

// dx = y (dy - sum y dy)
void evaluate_softmax_grad(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)n, (void)cx;
    const RowShape s = row_shape(&in[0].type);
    for (int64_t i = 0; i < s.rows; i++) {
        const double *y = in[0].at + i * s.columns, *dy = in[1].at + i * s.columns;
        double dot = 0;
        for (int64_t j = 0; j < s.columns; j++)
            dot += y[j] * dy[j];
        for (int64_t j = 0; j < s.columns; j++)
            out[0].at[i * s.columns + j] = y[j] * (dy[j] - dot);
    }
}

// Population variance, eps inside the root, as PyTorch has it.
void evaluate_layernorm(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    const RowShape s = row_shape(&in[0].type);
    for (int64_t i = 0; i < s.rows; i++) {
        const double *x = in[0].at + i * s.columns;
        const double mean = row_mean(x, s.columns);
        const double rstd = 1 / sqrt(row_spread(x, s.columns, mean) + node_float(n, "eps", 0));
        for (int64_t j = 0; j < s.columns; j++)
            out[0].at[i * s.columns + j] = (x[j] - mean) * rstd * in[1].at[j] + in[2].at[j];
        out[1].at[i] = mean;
        out[2].at[i] = rstd;
    }
}

// The spread around 0 is the mean square.
void evaluate_rmsnorm(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    const RowShape s = row_shape(&in[0].type);
    for (int64_t i = 0; i < s.rows; i++) {
        const double *x = in[0].at + i * s.columns;
        const double rstd = 1 / sqrt(row_spread(x, s.columns, 0) + node_float(n, "eps", 0));
        for (int64_t j = 0; j < s.columns; j++)
            out[0].at[i * s.columns + j] = x[j] * rstd * in[1].at[j];
        out[1].at[i] = rstd;
    }
}

// With g = dy weight and h = (x - mean) rstd: dx = rstd (g - mean(g) - h mean(g h)). rmsnorm's rows
// are not centred: mean is NULL and mean(g) drops out.
static void norm_grad(const Tensor *in, const double *mean, const double *rstd, Tensor *out) {
    const RowShape s = row_shape(&in[1].type);
    for (int64_t i = 0; i < s.rows; i++) {
        const double *dy = in[0].at + i * s.columns, *x = in[1].at + i * s.columns;
        const double middle = mean ? mean[i] : 0;
        // Two walks: sums over the row, then its elements.
        double sum_g = 0, sum_gh = 0;
        for (int64_t j = 0; j < s.columns; j++) {
            const double g = dy[j] * in[2].at[j];
            sum_g += g;
            sum_gh += g * (x[j] - middle) * rstd[i];
        }
        const double mean_g = mean ? sum_g / (double)s.columns : 0;
        for (int64_t j = 0; j < s.columns; j++) {
            const double h = (x[j] - middle) * rstd[i];
            const double g = dy[j] * in[2].at[j];
            out[0].at[i * s.columns + j] = rstd[i] * (g - mean_g - h * sum_gh / (double)s.columns);
        }
    }
}

void evaluate_layernorm_grad(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)n, (void)cx;
    norm_grad(in, in[3].at, in[4].at, out);
}

void evaluate_rmsnorm_grad(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)n, (void)cx;
    norm_grad(in, NULL, in[3].at, out);
}

// dweight [d] = sum over rows of dy h, dbias [d] = sum of dy.
void evaluate_layernorm_param_grad(const Node *n, const Tensor *in, Tensor *out,
                                   const EvalCtx *cx) {
    (void)n, (void)cx;
    const RowShape s = row_shape(&in[1].type);
    for (int64_t i = 0; i < s.rows; i++)
        for (int64_t j = 0; j < s.columns; j++) {
            const double dy = in[0].at[i * s.columns + j], x = in[1].at[i * s.columns + j];
            out[0].at[j] += dy * (x - in[2].at[i]) * in[3].at[i];
            out[1].at[j] += dy;
        }
}

// dweight [d] = sum over rows of dy x rstd.
void evaluate_rmsnorm_param_grad(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)n, (void)cx;
    const RowShape s = row_shape(&in[1].type);
    for (int64_t i = 0; i < s.rows; i++)
        for (int64_t j = 0; j < s.columns; j++)
            out[0].at[j] += in[0].at[i * s.columns + j] * in[1].at[i * s.columns + j] * in[2].at[i];
}

// A target beyond the last class counts as if its logit were the row's largest; data is checked for
// it by the loader.
void evaluate_cross_entropy(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)n, (void)cx;
    const RowShape s = row_shape(&in[0].type);
    for (int64_t i = 0; i < s.rows; i++) {
        const double *x = in[0].at + i * s.columns;
        const int64_t target = (int64_t)in[1].at[i];
        const double lse = row_lse(x, s.columns);
        const double picked = target >= 0 && target < s.columns ? x[target] : row_max(x, s.columns);
        // A negative target is padding: no loss, and in the gradient 0.
        out[0].at[i] = target < 0 ? 0 : lse - picked;
        out[1].at[i] = lse;
    }
}

// dlogits = (softmax - [column is target]) dloss
void evaluate_cross_entropy_grad(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)n, (void)cx;
    const RowShape s = row_shape(&in[0].type);
    for (int64_t i = 0; i < s.rows; i++) {
        const int64_t target = (int64_t)in[1].at[i];
        for (int64_t j = 0; j < s.columns; j++) {
            const double p = exp(in[0].at[i * s.columns + j] - in[2].at[i]);
            const double d = (p - (j == target)) * in[3].at[i];
            out[0].at[i * s.columns + j] = target < 0 ? 0 : d;
        }
    }
}

// (a, b) -> (a cos - b sin, b cos + a sin); the inverse turns by minus the angle.
void evaluate_rotary(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    const RowShape s = row_shape(&in[0].type);
    const int64_t half = s.columns / 2, positions = in[0].type.dim[in[0].type.rank - 2];
    const double turn = node_int(n, "inverse", 0) != 0 ? -1 : 1;
    for (int64_t i = 0; i < s.rows; i++) {
        const double *x = in[0].at + i * s.columns;
        double *y = out[0].at + i * s.columns;
        for (int64_t j = 0; j < half; j++) {
            // i % positions: the row's place along the axis before the last.
            const int64_t angle = i % positions * half + j;
            const double cosine = in[1].at[angle], sine = turn * in[2].at[angle];
            y[j] = x[j] * cosine - x[j + half] * sine;
            y[j + half] = x[j + half] * cosine + x[j] * sine;
        }
    }
}
