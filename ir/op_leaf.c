// Leaves: arguments, state, constants, positions, keyed random draws. None has operands with
// elements, so none has a gradient; input and state get their types from who makes them.
#include "ir/op_rules.h"

#include "ir/evaluate.h"

// The shape attribute with an element type.
static bool infer_shape(const Node *n, DType dtype, Type *result, Diag *d, Arena *scratch) {
    int rank;
    const int64_t *dim = node_ints(n, "shape", &rank);
    if (rank > RANK_MAX)
        return diag_error(d, n->loc, 306, "%s has %d axes, at most %d are possible",
                          op_info(n->op)->name, rank, RANK_MAX);
    *result = type_make(dtype, rank, dim);
    return infer_want_size(n, result, d, scratch);
}

// One value everywhere; numbers that differ by element are state or arithmetic on iota.
bool infer_constant(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const char *name = node_text(n, "dtype", "");
    DType dtype;
    if (!dtype_find(name, &dtype))
        return diag_error(d, n->loc, 307, "there is no element type '%s'", name);
    return infer_shape(n, dtype, result, d, scratch);
}

// i32, so an axis beyond 2^31 wraps; none is.
bool infer_iota(const Node *n, Type *result, Diag *d, Arena *scratch) {
    return infer_shape(n, DT_I32, result, d, scratch) &&
           infer_want_axis(n, node_int(n, "axis", 0), result->rank, d);
}

// (seed, step?): both are data, so that a new run or step is no new kernel.
bool infer_random(const Node *n, Type *result, Diag *d, Arena *scratch) {
    for (int i = 0; i < n->input_count; i++)
        if (!infer_want(n, i, i == 0 ? "a seed" : "a step", type_scalar(DT_I32), WANT_EXACT, d,
                        scratch))
            return false;
    return infer_shape(n, DT_F32, result, d, scratch);
}

// One dim for each axis of the result; seed and step have no axes.
bool map_leaf(const Node *n, IndexMap *out) {
    index_map_init(n, &n->result[0].type, out);
    return true;
}

// Rounded to the type by whoever called.
void evaluate_constant(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)in, (void)cx;
    const int64_t count = type_count(&out[0].type);
    for (int64_t i = 0; i < count; i++)
        out[0].at[i] = node_float(n, "value", 0);
}

// The index along the axis, taken out of the dense position.
void evaluate_iota(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)in, (void)cx;
    const int axis = (int)node_int(n, "axis", 0);
    const int64_t count = type_count(&out[0].type);
    int64_t stride[RANK_MAX];
    type_strides(&out[0].type, stride);
    for (int64_t i = 0; i < count; i++)
        out[0].at[i] = (double)(i / stride[axis] % out[0].type.dim[axis]);
}

// The draw of element i; a part of a larger tensor counts from where the part begins.
static uint32_t draw(const Node *n, const Tensor *in, int64_t i) {
    const int64_t step = n->input_count > 1 ? (int64_t)in[1].at[0] : 0;
    return random_bits((int64_t)in[0].at[0], step, node_int(n, "key", 0),
                       node_int(n, "offset", 0) + i);
}

// The draw is f32; scaling it is rounded with the result.
void evaluate_random_uniform(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    const double low = node_float(n, "low", 0), high = node_float(n, "high", 1);
    const int64_t count = type_count(&out[0].type);
    for (int64_t i = 0; i < count; i++)
        out[0].at[i] = low + (high - low) * (double)random_unit(draw(n, in, i));
}

void evaluate_random_normal(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    const double mean = node_float(n, "mean", 0), std = node_float(n, "std", 1);
    const int64_t count = type_count(&out[0].type);
    for (int64_t i = 0; i < count; i++)
        out[0].at[i] = mean + std * (double)random_gauss(draw(n, in, i));
}
