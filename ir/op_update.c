// Training: minimize and apply, which passes replace, and the update operators they become.
//
// Updates follow PyTorch to the letter. sgd and momentum add decay * w to the gradient; adamw's
// decay is decoupled: it shrinks w itself by lr * decay before the step. Scalars that change by
// step are operands.
#include "ir/op_rules.h"

#include "ir/check.h"

#include <math.h>
#include <string.h>

// The text attribute, where it is given, is one of these.
static bool want_known(const Node *n, const char *attr, const char *const *known, int count,
                       Diag *d) {
    const char *text = node_text(n, attr, NULL);
    if (!text)
        return true;
    for (int i = 0; i < count; i++)
        if (strcmp(text, known[i]) == 0)
            return true;
    diag_error(d, n->loc, 316, "%s is '%s', which is not known", attr, text);
    const char *near = diag_nearest(text, known, count);
    if (near)
        diag_help(d, "did you mean '%s'?", near);
    return false;
}

// f32[]: learning rates and what else changes by step.
static bool want_scalar(const Node *n, int input, const char *role, Diag *d, Arena *scratch) {
    return infer_want(n, input, role, type_scalar(DT_F32), WANT_EXACT, d, scratch);
}

// minimize: (loss, lr, parameters...); apply: (lr, parameters..., gradients...).
bool infer_minimize(const Node *n, Type *result, Diag *d, Arena *scratch) {
    (void)result;
    static const char *const optimizers[] = {"sgd", "momentum", "adamw"};
    static const char *const precisions[] = {"f32", "bf16"};
    // first: number of the first parameter, just after the learning rate.
    const bool apply = n->op == OP_APPLY;
    const int first = apply ? 1 : 2;
    const int parameters = apply ? (n->input_count - 1) / 2 : n->input_count - first;
    if (!want_known(n, "optimizer", optimizers, 3, d) ||
        !want_known(n, "precision", precisions, 2, d) ||
        !want_scalar(n, first - 1, "a learning rate", d, scratch))
        return false;
    if (!apply && (n->input[0]->type.rank != 0 || !infer_want_float(n, 0, d, scratch)))
        return diag_error(d, n->loc, 317, "minimize wants a scalar loss, got %s",
                          type_text(scratch, &n->input[0]->type));
    for (int i = 0; i < parameters; i++)
        if (!infer_want_float(n, first + i, d, scratch))
            return false;
    if (apply && n->input_count != 1 + 2 * parameters)
        return diag_error(d, n->loc, 317,
                          "apply wants one gradient for each parameter, got %d operands",
                          n->input_count);
    for (int i = 0; apply && i < parameters; i++)
        if (!infer_want(n, first + parameters + i, "a gradient", n->input[first + i]->type,
                        WANT_FLOAT, d, scratch))
            return false;
    // One decay a parameter, in their order.
    int decays;
    node_floats(n, "decay", &decays);
    if (decays != parameters)
        return diag_error(d, n->loc, 317, "%s has %d decays for %d parameters",
                          op_info(n->op)->name, decays, parameters);
    return true;
}

// Sums of micro-batches are f32 whatever is summed.
bool infer_accumulate(const Node *n, Type *result, Diag *d, Arena *scratch) {
    *result = type_with_dtype(n->input[0]->type, DT_F32);
    return infer_want_float(n, 0, d, scratch);
}

// A gradient like w and optimizer state (operands 1 .. states, f32) like w.
static bool want_update(const Node *n, int states, Diag *d, Arena *scratch) {
    const Type w = n->input[0]->type;
    if (!infer_want_float(n, 0, d, scratch) ||
        !infer_want(n, 1 + states, "a gradient", w, WANT_FLOAT, d, scratch))
        return false;
    for (int i = 1; i <= states; i++)
        if (!infer_want(n, i, "a moment", type_with_dtype(w, DT_F32), WANT_EXACT, d, scratch))
            return false;
    // What follows the gradient: lr, and adamw's scalars.
    for (int i = states + 2; i < n->input_count; i++)
        if (!want_scalar(n, i, "a scalar", d, scratch))
            return false;
    return true;
}

// Results are w' and the new states, typed like the old.
static bool infer_update(const Node *n, int states, Type *result, Diag *d, Arena *scratch) {
    for (int i = 0; i <= states; i++)
        result[i] = n->input[i]->type;
    return want_update(n, states, d, scratch);
}

bool infer_sgd(const Node *n, Type *result, Diag *d, Arena *scratch) {
    return infer_update(n, 0, result, d, scratch);
}

bool infer_momentum(const Node *n, Type *result, Diag *d, Arena *scratch) {
    return infer_update(n, 1, result, d, scratch);
}

bool infer_adamw(const Node *n, Type *result, Diag *d, Arena *scratch) {
    return infer_update(n, 2, result, d, scratch);
}

// (w, g, lr): w - lr (g + decay w)
void evaluate_sgd(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    const double decay = node_float(n, "decay", 0), lr = in[2].at[0];
    const int64_t count = type_count(&out[0].type);
    for (int64_t i = 0; i < count; i++)
        out[0].at[i] = in[0].at[i] - lr * (in[1].at[i] + decay * in[0].at[i]);
}

// (w, m, g, lr): m' = momentum m + g + decay w, w' = w - lr m'; Nesterov's step is g + decay w +
// momentum m'.
void evaluate_momentum(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    const double decay = node_float(n, "decay", 0), momentum = node_float(n, "momentum", 0);
    const bool nesterov = node_int(n, "nesterov", 0) != 0;
    const double lr = in[3].at[0];
    const int64_t count = type_count(&out[0].type);
    for (int64_t i = 0; i < count; i++) {
        const double g = in[2].at[i] + decay * in[0].at[i];
        const double m = momentum * in[1].at[i] + g;
        out[0].at[i] = in[0].at[i] - lr * (nesterov ? g + momentum * m : m);
        out[1].at[i] = m;
    }
}

// (w, m, v, g, lr, gscale, c1, c2), c = 1 - beta^t
void evaluate_adamw(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    const double decay = node_float(n, "decay", 0), eps = node_float(n, "eps", 0);
    const double beta1 = node_float(n, "beta1", 0), beta2 = node_float(n, "beta2", 0);
    const double lr = in[4].at[0], scale = in[5].at[0], c1 = in[6].at[0], c2 = in[7].at[0];
    const int64_t count = type_count(&out[0].type);
    for (int64_t i = 0; i < count; i++) {
        // gscale is what clipping multiplies gradients by.
        const double g = in[3].at[i] * scale;
        const double m = beta1 * in[1].at[i] + (1 - beta1) * g;
        const double v = beta2 * in[2].at[i] + (1 - beta2) * g * g;
        // Decoupled decay: w shrinks by itself, outside m and v.
        const double shrunk = in[0].at[i] - lr * decay * in[0].at[i];
        out[0].at[i] = shrunk - lr * (m / c1) / (sqrt(v / c2) + eps);
        out[1].at[i] = m;
        out[2].at[i] = v;
    }
}
