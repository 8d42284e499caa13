// Shapes are small (axes of 1 to 4) since bugs of rules live in ranks, ones and orders, not in
// sizes.
#include "op_sample.h"

#include "ir/build.h"
#include "ir/check.h"
#include "ir/convolution.h"

#include <string.h>

// Splitmix64 (Steele et al., 2014).
static uint64_t next(Sample *s) {
    uint64_t z = s->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int64_t sample_int(Sample *s, int64_t limit) {
    return (int64_t)(next(s) % (uint64_t)limit);
}

double sample_float(Sample *s, double low, double high) {
    return low + (high - low) * (double)(next(s) >> 11) * 0x1p-53;
}

Value *sample_argument(Sample *s, Type t, double low, double high) {
    const int index = s->g->input_count;
    CHECK(index < SAMPLE_OPERANDS_MAX);
    const NodeOrigin origin = {.scope = ""};
    Node *n = graph_add_typed(s->g, OP_INPUT, NULL, 0, NULL, 0, &t, 1, origin);
    graph_add_input(s->g, &n->result[0], FROM_CALLER);
    s->argument[index] = tensor_create(s->a, t);
    for (int64_t i = 0; i < type_count(&t); i++)
        s->argument[index].at[i] = dtype_is_float(t.dtype)
                                       ? sample_float(s, low, high)
                                       : low + (double)sample_int(s, (int64_t)(high - low) + 1);
    return &n->result[0];
}

Tensor *sample_operand(Sample *s, int input) {
    // What a fetch reads is an offload of the argument.
    const Value *v = s->n->op == OP_FETCH ? s->n->input[0]->def->input[0] : s->n->input[input];
    for (int i = 0; i < s->g->input_count; i++)
        if (s->g->input[i].value == v)
            return &s->argument[i];
    UNREACHABLE();
}

void sample_evaluate(Sample *s, bool exact, Tensor *out) {
    Tensor in[SAMPLE_OPERANDS_MAX];
    for (int i = 0; i < s->n->input_count; i++)
        in[i] = *sample_operand(s, i);
    const EvalCtx cx = {.arena = s->a, .exact = exact};
    node_evaluate(s->n, in, out, &cx);
}

// A node from operands and attributes; they are the current sample's.
typedef struct {
    Value *in[SAMPLE_OPERANDS_MAX];
    int in_count;
    Attr attr[8];
    int attr_count;
} Parts;

static void add_in(Parts *p, Value *v) {
    p->in[p->in_count++] = v;
}

static void add_attr(Parts *p, Attr attr) {
    p->attr[p->attr_count++] = attr;
}

// Nodes copy their attributes, but the parts outlive the arrays they are made of.
static void add_ints(Sample *s, Parts *p, const char *name, const int64_t *ints, int count) {
    const size_t n = (size_t)count;
    add_attr(p, attr_ints(name, arena_grow(s->a, ints, n, n, sizeof(int64_t)), count));
}

static DType float_type(Sample *s) {
    return sample_int(s, 2) ? DT_F32 : DT_BF16;
}

// Rank from..to, axes of 1 to 4.
static Type shape(Sample *s, DType dtype, int from, int to) {
    int64_t dim[RANK_MAX];
    const int rank = from + (int)sample_int(s, to - from + 1);
    for (int i = 0; i < rank; i++)
        dim[i] = 1 + sample_int(s, 4);
    return type_make(dtype, rank, dim);
}

static Value *argument(Sample *s, Type t) {
    return sample_argument(s, t, -2, 2);
}

static Type rows_of(Type t, DType dtype) {
    return type_make(dtype, t.rank - 1, t.dim);
}

static Type columns_of(Type t, DType dtype) {
    return type_make(dtype, 1, &t.dim[t.rank - 1]);
}

static void make_leaf(Sample *s, Op op, Parts *p) {
    static const char *const name[] = {"f32", "bf16", "i32", "bool"};
    const Type t = shape(s, DT_F32, op == OP_IOTA, 3);
    if (op == OP_RANDOM_UNIFORM || op == OP_RANDOM_NORMAL) {
        add_in(p, sample_argument(s, type_scalar(DT_I32), 0, 1000));
        if (sample_int(s, 2))
            add_in(p, sample_argument(s, type_scalar(DT_I32), 0, 1000));
    }
    if (op == OP_CONSTANT) {
        add_attr(p, attr_float("value", (double)sample_int(s, 2)));
        add_attr(p, attr_text("dtype", name[sample_int(s, 4)]));
    }
    add_ints(s, p, "shape", t.dim, t.rank);
    if (op == OP_IOTA)
        add_attr(p, attr_int("axis", sample_int(s, t.rank)));
    if (op == OP_RANDOM_UNIFORM || op == OP_RANDOM_NORMAL)
        add_attr(p, attr_int("key", sample_int(s, 1000)));
    if (op == OP_RANDOM_UNIFORM) {
        add_attr(p, attr_float("low", -1));
        add_attr(p, attr_float("high", 3));
    } else if (op == OP_RANDOM_NORMAL) {
        add_attr(p, attr_float("mean", 1));
        add_attr(p, attr_float("std", 2));
    }
}

// log, sqrt and rsqrt want positive numbers, a divisor is kept away from 0.
static void make_pointwise(Sample *s, Op op, Parts *p) {
    const int operands = op_info(op)->input_min;
    const Type t = shape(s, float_type(s), 0, 3);
    const Type flags = type_with_dtype(t, DT_BOOL);
    if (op == OP_NOT || op == OP_AND || op == OP_OR) {
        for (int i = 0; i < operands; i++)
            add_in(p, sample_argument(s, flags, 0, 1));
        return;
    }
    const bool positive = op == OP_LOG || op == OP_SQRT || op == OP_RSQRT;
    const bool clamps = op == OP_RELU6 || op == OP_HARD_SIGMOID || op == OP_HARD_SWISH;
    if (op == OP_SELECT)
        add_in(p, sample_argument(s, flags, 0, 1));
    while (p->in_count < operands) {
        const bool divisor = op == OP_DIV && p->in_count == 1;
        // Both bends of those that are clamped.
        const double far = clamps ? 8 : 2;
        add_in(p, sample_argument(s, t, positive || divisor ? 0.5 : -far, far));
    }
    if (op == OP_CAST)
        add_attr(p, attr_text("to", sample_int(s, 2) ? "f32" : "bf16"));
}

// The axes in reverse order, or [1, count].
static void make_reshape(Sample *s, Parts *p, Type t) {
    const int64_t count = type_count(&t);
    int64_t reversed[RANK_MAX];
    for (int i = 0; i < t.rank; i++)
        reversed[i] = t.dim[t.rank - 1 - i];
    const int64_t flat[2] = {1, count};
    if (sample_int(s, 2))
        add_ints(s, p, "shape", reversed, t.rank);
    else
        add_ints(s, p, "shape", flat, 2);
}

// Fisher and Yates' shuffle.
static void make_transpose(Sample *s, Parts *p, Type t) {
    int64_t perm[RANK_MAX];
    for (int i = 0; i < t.rank; i++)
        perm[i] = i;
    for (int i = t.rank - 1; i > 0; i--) {
        const int64_t j = sample_int(s, i + 1), kept = perm[i];
        perm[i] = perm[j];
        perm[j] = kept;
    }
    add_ints(s, p, "perm", perm, t.rank);
}

// Each axis of the result is new, stretched or kept.
static void make_broadcast(Sample *s, Parts *p) {
    const Type to = shape(s, float_type(s), 0, 4);
    Type from = type_scalar(to.dtype);
    int64_t axes[RANK_MAX];
    for (int i = 0; i < to.rank; i++)
        if (sample_int(s, 2)) {
            axes[from.rank] = i;
            from.dim[from.rank++] = sample_int(s, 2) ? to.dim[i] : 1;
        }
    add_in(p, argument(s, from));
    add_ints(s, p, "shape", to.dim, to.rank);
    add_ints(s, p, "axes", axes, from.rank);
}

// Never empty: an empty operand has no gradient to check.
static void make_slice(Sample *s, Parts *p, Type t) {
    int64_t start[RANK_MAX], stop[RANK_MAX];
    for (int i = 0; i < t.rank; i++) {
        start[i] = sample_int(s, t.dim[i]);
        stop[i] = start[i] + 1 + sample_int(s, t.dim[i] - start[i]);
    }
    add_ints(s, p, "start", start, t.rank);
    add_ints(s, p, "stop", stop, t.rank);
}

static void make_pad(Sample *s, Parts *p, Type t) {
    int64_t before[RANK_MAX], after[RANK_MAX];
    for (int i = 0; i < t.rank; i++) {
        before[i] = sample_int(s, 3);
        after[i] = sample_int(s, 3);
    }
    add_ints(s, p, "before", before, t.rank);
    add_ints(s, p, "after", after, t.rank);
}

static void make_split(Sample *s, Parts *p, Type t) {
    const int64_t axis = sample_int(s, t.rank);
    int64_t sizes[4];
    int count = 0;
    for (int64_t left = t.dim[axis]; left > 0; left -= sizes[count++])
        sizes[count] = 1 + sample_int(s, left);
    add_attr(p, attr_int("axis", axis));
    add_ints(s, p, "sizes", sizes, count);
}

static void make_shape(Sample *s, Op op, Parts *p) {
    if (op == OP_BROADCAST) {
        make_broadcast(s, p);
        return;
    }
    const bool scalars = op == OP_RESHAPE || op == OP_TRANSPOSE || op == OP_SLICE || op == OP_PAD;
    const Type t = shape(s, float_type(s), !scalars, 3);
    const int64_t axis = t.rank ? sample_int(s, t.rank) : 0;
    Type part = t;
    add_in(p, argument(s, t));
    if (op == OP_RESHAPE) {
        make_reshape(s, p, t);
    } else if (op == OP_TRANSPOSE) {
        make_transpose(s, p, t);
    } else if (op == OP_SLICE) {
        make_slice(s, p, t);
    } else if (op == OP_PAD) {
        make_pad(s, p, t);
    } else if (op == OP_SPLIT) {
        make_split(s, p, t);
    } else if (op == OP_CONCAT) {
        for (int64_t i = sample_int(s, 3); i > 0; i--) {
            part.dim[axis] = 1 + sample_int(s, 3);
            add_in(p, argument(s, part));
        }
        add_attr(p, attr_int("axis", axis));
    } else {
        part.dim[axis] = 1 + sample_int(s, t.dim[axis]);
        if (op == OP_DYNAMIC_UPDATE)
            add_in(p, argument(s, part));
        add_in(p, sample_argument(s, type_scalar(DT_I32), -2, 5));
        add_attr(p, attr_int("axis", axis));
        if (op == OP_DYNAMIC_SLICE)
            add_attr(p, attr_int("size", part.dim[axis]));
    }
}

static void make_reduce(Sample *s, Parts *p) {
    const Type t = shape(s, float_type(s), 1, 4);
    int64_t axes[RANK_MAX];
    int count = 0;
    for (int i = 0; i < t.rank; i++)
        if (sample_int(s, 2) || (count == 0 && i == t.rank - 1))
            axes[count++] = i;
    add_in(p, argument(s, t));
    add_ints(s, p, "axes", axes, count);
}

// Operands as the rows of ops.def list them; rstd is positive.
static void make_norm(Sample *s, Op op, Parts *p) {
    const Type t = shape(s, float_type(s), 1, 3);
    const Type rows = rows_of(t, DT_F32);
    const bool centred =
        op == OP_LAYERNORM || op == OP_LAYERNORM_GRAD || op == OP_LAYERNORM_PARAM_GRAD;
    const bool forward = op == OP_LAYERNORM || op == OP_RMSNORM;
    add_in(p, argument(s, t));
    if (!forward)
        add_in(p, argument(s, t));
    if (op != OP_LAYERNORM_PARAM_GRAD && op != OP_RMSNORM_PARAM_GRAD)
        add_in(p, argument(s, columns_of(t, float_type(s))));
    if (op == OP_LAYERNORM)
        add_in(p, argument(s, columns_of(t, float_type(s))));
    if (!forward) {
        if (centred)
            add_in(p, argument(s, rows));
        add_in(p, sample_argument(s, rows, 0.5, 2));
    } else {
        add_attr(p, attr_float("eps", 0.01));
    }
}

static void make_cross_entropy(Sample *s, Op op, Parts *p) {
    const Type t = shape(s, float_type(s), 1, 3);
    const double last = (double)(t.dim[t.rank - 1] - 1);
    add_in(p, argument(s, t));
    add_in(p, sample_argument(s, rows_of(t, DT_I32), -1, last));
    if (op == OP_CROSS_ENTROPY_GRAD) {
        add_in(p, argument(s, rows_of(t, DT_F32)));
        add_in(p, argument(s, rows_of(t, DT_F32)));
    }
}

// Cosines and sines need not lie on a circle for the rule to hold.
static void make_rotary(Sample *s, Parts *p) {
    Type t = shape(s, float_type(s), 2, 4);
    t.dim[t.rank - 1] = 2 * (1 + sample_int(s, 3));
    const int64_t angles[2] = {t.dim[t.rank - 2], t.dim[t.rank - 1] / 2};
    add_in(p, argument(s, t));
    add_in(p, argument(s, type_make(float_type(s), 2, angles)));
    add_in(p, argument(s, type_make(float_type(s), 2, angles)));
    add_attr(p, attr_int("inverse", sample_int(s, 2)));
}

static void make_rowwise(Sample *s, Op op, Parts *p) {
    if (op == OP_SOFTMAX || op == OP_SOFTMAX_GRAD) {
        const Type t = shape(s, float_type(s), 1, 3);
        for (int i = 0; i < op_info(op)->input_min; i++)
            add_in(p, argument(s, t));
    } else if (op == OP_CROSS_ENTROPY || op == OP_CROSS_ENTROPY_GRAD) {
        make_cross_entropy(s, op, p);
    } else if (op == OP_SAMPLE) {
        add_in(p, argument(s, shape(s, float_type(s), 1, 3)));
        add_in(p, sample_argument(s, type_scalar(DT_F32), 0.2, 2));
        add_in(p, sample_argument(s, type_scalar(DT_F32), 0, 1));
        add_in(p, sample_argument(s, type_scalar(DT_I32), 0, 1000));
        add_in(p, sample_argument(s, type_scalar(DT_I32), 0, 1000));
        add_attr(p, attr_int("key", sample_int(s, 1000)));
    } else if (op == OP_ROTARY) {
        make_rotary(s, p);
    } else {
        make_norm(s, op, p);
    }
}

// Letters in a random order with their sizes.
typedef struct {
    char letter[8];
    int64_t size[8];
    int count;
} Letters;

static void insert_letter(Sample *s, Letters *l, char letter, int64_t size) {
    const int at = (int)sample_int(s, l->count + 1);
    for (int i = l->count; i > at; i--) {
        l->letter[i] = l->letter[i - 1];
        l->size[i] = l->size[i - 1];
    }
    l->letter[at] = letter;
    l->size[at] = size;
    l->count++;
}

// Each letter is one of both operands and the result, of one operand and the result, or summed.
static void make_contraction(Sample *s, Op op, Parts *p) {
    static const bool in[4][3] = {{1, 1, 1}, {1, 0, 1}, {0, 1, 1}, {1, 1, 0}};
    const DType dtype = float_type(s);
    Letters part[3] = {0};
    for (int64_t count = sample_int(s, 6), i = 0; i < count; i++) {
        const int64_t kind = sample_int(s, 4), size = 1 + sample_int(s, 3);
        for (int k = 0; k < 3; k++)
            if (in[kind][k])
                insert_letter(s, &part[k], (char)((i % 2 ? 'a' : 'A') + i), size);
    }
    if (op == OP_EINSUM_ADD)
        add_in(p, argument(s, type_make(float_type(s), part[2].count, part[2].size)));
    for (int k = 0; k < 2; k++)
        add_in(p, argument(s, type_make(dtype, part[k].count, part[k].size)));
    add_attr(p, attr_text("spec", arena_format(s->a, "%s,%s->%s", part[0].letter, part[1].letter,
                                               part[2].letter)));
}

// Kernels up to 3 over images up to 5, any stride, dilation, padding and groups; where the kernel
// would not fit, the padding grows until it does.
static void make_convolution(Sample *s, Op op, Parts *p) {
    const DType dtype = float_type(s);
    const int64_t batch = 1 + sample_int(s, 2), groups = 1 + sample_int(s, 3);
    const int64_t in = 1 + sample_int(s, 2), out = 1 + sample_int(s, 2);
    int64_t size[2], kernel[2], result[2], stride[2], before[2], after[2], dilation[2];
    for (int i = 0; i < 2; i++) {
        size[i] = 1 + sample_int(s, 5);
        kernel[i] = 1 + sample_int(s, 3);
        stride[i] = 1 + sample_int(s, 3);
        dilation[i] = 1 + sample_int(s, 2);
        before[i] = sample_int(s, 3);
        after[i] = sample_int(s, 3);
        while (before[i] + size[i] + after[i] <= dilation[i] * (kernel[i] - 1))
            after[i]++;
        result[i] =
            convolution_result(size[i], kernel[i], stride[i], before[i] + after[i], dilation[i]);
    }
    const Type x = type_make(dtype, 4, (int64_t[]){batch, groups * in, size[0], size[1]});
    const Type w = type_make(dtype, 4, (int64_t[]){groups * out, in, kernel[0], kernel[1]});
    const Type y = type_make(dtype, 4, (int64_t[]){batch, groups * out, result[0], result[1]});
    add_in(p, argument(s, op == OP_CONV2D_INPUT_GRAD ? y : x));
    add_in(p, argument(s, op == OP_CONV2D_WEIGHT_GRAD ? y : w));
    if (op != OP_CONV2D)
        add_ints(s, p, "size", op == OP_CONV2D_INPUT_GRAD ? size : kernel, 2);
    add_ints(s, p, "stride", stride, 2);
    add_ints(s, p, "before", before, 2);
    add_ints(s, p, "after", after, 2);
    add_ints(s, p, "dilation", dilation, 2);
    add_attr(p, attr_int("groups", groups));
}

// A bias or a mask, the same along some axes.
static Type pair_type(Sample *s, DType dtype, const int64_t dim[4]) {
    Type t = type_make(dtype, 4, dim);
    for (int i = 0; i < 4; i++)
        if (sample_int(s, 3) == 0)
            t.dim[i] = 1;
    return t;
}

// More queries than keys happens too: then the first rows see nothing.
static void make_attention(Sample *s, Op op, Parts *p) {
    const DType dtype = float_type(s);
    const int64_t batch = 1 + sample_int(s, 2), groups = 1 + sample_int(s, 2);
    const int64_t heads = groups * (1 + sample_int(s, 2));
    const int64_t queries = 1 + sample_int(s, 4), keys = 1 + sample_int(s, 5);
    const int64_t e = 1 + sample_int(s, 3), f = 1 + sample_int(s, 3);
    const Type out = type_make(dtype, 4, (int64_t[]){batch, heads, queries, f});
    add_in(p, argument(s, type_make(dtype, 4, (int64_t[]){batch, heads, queries, e})));
    add_in(p, argument(s, type_make(dtype, 4, (int64_t[]){batch, groups, keys, e})));
    add_in(p, argument(s, type_make(dtype, 4, (int64_t[]){batch, groups, keys, f})));
    if (op != OP_ATTENTION) {
        add_in(p, argument(s, out));
        add_in(p, argument(s, rows_of(out, DT_F32)));
        add_in(p, argument(s, out));
    }
    // An offset is an index: past the end it is clamped.
    const bool offset = op == OP_ATTENTION && queries <= keys && sample_int(s, 3) == 0;
    if (offset)
        add_in(p, sample_argument(s, type_scalar(DT_I32), -1, 6));
    // Numbers of a table are ids, or where keys begin and end: any will do.
    const bool interval = !offset && sample_int(s, 3) == 0;
    const bool documents = !offset && queries <= keys && sample_int(s, 3) == 0;
    const int64_t table[2] = {batch, (interval ? 2 * queries : 0) + (documents ? keys : 0)};
    if (table[1] > 0)
        add_in(p, sample_argument(s, type_make(DT_I32, 2, table), 0, interval ? (double)keys : 1));
    if (interval)
        add_attr(p, attr_int("interval", 1));
    if (sample_int(s, 3) == 0)
        add_in(p, argument(s, type_make(DT_F32, 1, &heads)));
    const int64_t pairs[4] = {batch, heads, queries, keys};
    if (op == OP_ATTENTION_GRAD_BIAS || sample_int(s, 2) == 0)
        add_in(p, argument(s, pair_type(s, float_type(s), pairs)));
    if (sample_int(s, 3) == 0)
        add_in(p, sample_argument(s, pair_type(s, DT_BOOL, pairs), 0, 1));
    const bool causal = offset || sample_int(s, 3) > 0;
    add_attr(p, attr_int("causal", causal));
    add_attr(p, attr_int("window", causal ? sample_int(s, 4) : 0));
    add_attr(p, attr_float("scale", sample_float(s, 0.2, 1)));
    if (sample_int(s, 3) == 0)
        add_attr(p, attr_float("cap", sample_float(s, 0.3, 2)));
}

// x [n, c, ...], statistics a channel; rstd is positive.
static void make_batchnorm(Sample *s, Op op, Parts *p) {
    const Type x = shape(s, float_type(s), 2, 4);
    const Type channels = type_make(DT_F32, 1, &x.dim[1]);
    add_in(p, argument(s, x));
    if (op == OP_BATCHNORM_GRAD)
        add_in(p, argument(s, x));
    add_in(p, argument(s, type_with_dtype(channels, float_type(s))));
    add_in(p,
           argument(s, op == OP_BATCHNORM ? type_with_dtype(channels, float_type(s)) : channels));
    if (op == OP_BATCHNORM)
        add_attr(p, attr_float("eps", 0.1));
    else
        add_in(p, sample_argument(s, channels, 0.5, 2));
}

// Windows overlap, leave gaps, stand in the padding, and do not reach the end.
static void make_pool(Sample *s, Op op, Parts *p) {
    Type x = shape(s, float_type(s), 4, 4), y;
    int64_t window[2], stride[2], padding[2], factor[2];
    for (int i = 0; i < 2; i++) {
        window[i] = 1 + sample_int(s, 4);
        stride[i] = 1 + sample_int(s, 3);
        padding[i] = sample_int(s, window[i] / 2 + 1);
        factor[i] = 1 + sample_int(s, 3);
        x.dim[2 + i] = window[i] + sample_int(s, 5);
    }
    y = x;
    for (int i = 2; i < 4; i++)
        y.dim[i] = (x.dim[i] + 2 * padding[i - 2] - window[i - 2]) / stride[i - 2] + 1;
    const bool backward = op == OP_MAX_POOL_GRAD || op == OP_AVG_POOL_GRAD;
    const double last = (double)(window[0] * window[1] - 1);
    if (op == OP_MAX_POOL_GRAD)
        add_in(p, sample_argument(s, type_with_dtype(y, DT_I32), 0, last));
    add_in(p, argument(s, backward ? y : x));
    if (op == OP_UPSAMPLE) {
        add_ints(s, p, "factor", factor, 2);
        return;
    }
    add_ints(s, p, "window", window, 2);
    add_ints(s, p, "stride", stride, 2);
    add_ints(s, p, "padding", padding, 2);
    if (backward)
        add_ints(s, p, "size", &x.dim[2], 2);
}

// Indices go past the end, where they are clamped. Negative ones have no gradient by design, so
// gather gets none; take is checked with them since it clamps both ways.
static void make_indexed(Sample *s, Op op, Parts *p) {
    const Type t = shape(s, float_type(s), 1, 3);
    if (op == OP_TAKE) {
        add_in(p, argument(s, t));
        add_in(p, sample_argument(s, rows_of(t, DT_I32), -1, 5));
        return;
    }
    Type rows = shape(s, t.dtype, 0, 2);
    const Type index = type_with_dtype(rows, DT_I32);
    add_in(p, argument(s, t));
    add_in(p, sample_argument(s, index, 0, 5));
    for (int i = 1; i < t.rank; i++)
        rows.dim[rows.rank++] = t.dim[i];
    if (op == OP_SCATTER_ADD)
        add_in(p, argument(s, rows));
}

// Moments are positive: the second one's root is taken.
static void make_update(Sample *s, Op op, Parts *p) {
    const Type t = shape(s, DT_F32, 0, 2);
    const int states = op == OP_ADAMW ? 2 : op == OP_MOMENTUM ? 1 : 0;
    if (op == OP_ACCUMULATE) {
        add_in(p, argument(s, type_with_dtype(t, float_type(s))));
        return;
    }
    add_in(p, argument(s, t));
    for (int i = 0; i < states; i++)
        add_in(p, sample_argument(s, t, 0.1, 1));
    add_in(p, argument(s, type_with_dtype(t, float_type(s))));
    while (p->in_count < op_info(op)->input_min)
        add_in(p, sample_argument(s, type_scalar(DT_F32), 0.1, 1));
    add_attr(p, attr_float("decay", sample_int(s, 2) ? 0.1 : 0));
    if (op == OP_MOMENTUM) {
        add_attr(p, attr_float("momentum", 0.9));
        add_attr(p, attr_int("nesterov", sample_int(s, 2)));
    } else if (op == OP_ADAMW) {
        add_attr(p, attr_float("beta1", 0.9));
        add_attr(p, attr_float("beta2", 0.99));
        add_attr(p, attr_float("eps", 1e-8));
    }
}

// minimize: loss, lr, parameters; apply: lr, parameters, gradients.
static void make_training(Sample *s, Op op, Parts *p) {
    double *decay = arena_array(s->a, double, 3);
    const int parameters = 1 + (int)sample_int(s, 3);
    const Type t = shape(s, DT_F32, 0, 2);
    add_in(p, argument(s, type_scalar(DT_F32)));
    if (op == OP_MINIMIZE)
        add_in(p, argument(s, type_scalar(DT_F32)));
    for (int i = 0; i < (op == OP_APPLY ? 2 * parameters : parameters); i++)
        add_in(p, argument(s, t));
    add_attr(p, attr_text("optimizer", "adamw"));
    add_attr(p, attr_float("beta1", 0.9));
    add_attr(p, attr_floats("decay", decay, parameters));
}

// One of a pair: sample_create adds the other where it comes after.
static void make_move(Sample *s, Op op, Parts *p) {
    Value *x = argument(s, shape(s, float_type(s), 0, 3));
    add_in(p, op == OP_FETCH ? &graph_add_typed(s->g, OP_OFFLOAD, &x, 1, NULL, 0, &x->type, 1,
                                                (NodeOrigin){.scope = ""})
                                    ->result[0]
                             : x);
}

static void make_parts(Sample *s, Op op, Parts *p) {
    switch (op_info(op)->family) {
    case FAMILY_LEAF:
        make_leaf(s, op, p);
        return;
    case FAMILY_POINTWISE:
        make_pointwise(s, op, p);
        return;
    case FAMILY_SHAPE:
        make_shape(s, op, p);
        return;
    case FAMILY_REDUCE:
        make_reduce(s, p);
        return;
    case FAMILY_ROWWISE:
        make_rowwise(s, op, p);
        return;
    case FAMILY_CONTRACTION:
        make_contraction(s, op, p);
        return;
    case FAMILY_CONVOLUTION:
        make_convolution(s, op, p);
        return;
    case FAMILY_ATTENTION:
        make_attention(s, op, p);
        return;
    case FAMILY_CHANNEL:
        if (op == OP_BATCHNORM || op == OP_BATCHNORM_GRAD)
            make_batchnorm(s, op, p);
        else
            make_pool(s, op, p);
        return;
    case FAMILY_INDEXED:
        make_indexed(s, op, p);
        return;
    case FAMILY_UPDATE:
        make_update(s, op, p);
        return;
    case FAMILY_MOVE:
        make_move(s, op, p);
        return;
    case FAMILY_TRAINING:
        make_training(s, op, p);
        return;
    }
}

Sample sample_create(Arena *a, Op op, uint64_t seed) {
    Sample s = {.a = a, .random = seed * 1000 + (uint64_t)op};
    s.diag = diag_create(a);
    s.m = module_create(a, "sample");
    s.g = graph_create(a, "test");
    module_add_entry(s.m, s.g);
    if (op == OP_INPUT || op == OP_STATE)
        return s;
    Parts p = {0};
    s.g->repeat = op == OP_ACCUMULATE ? 2 : 1;
    make_parts(&s, op, &p);
    const NodeOrigin origin = {.scope = ""};
    s.n = graph_add(s.g, s.diag, op, p.in, p.in_count, p.attr, p.attr_count, origin);
    if (!s.n)
        diag_print(s.diag, stderr, false);
    CHECK(s.n);
    const Node *last = s.n;
    // No entry gives a result in far memory.
    if (op == OP_OFFLOAD)
        last = graph_add_typed(s.g, OP_FETCH, &(Value *){&s.n->result[0]}, 1, NULL, 0,
                               &s.n->result[0].type, 1, origin);
    for (int i = 0; i < last->result_count; i++)
        graph_add_result(s.g, NULL, &last->result[i]);
    return s;
}
