// Pooling of images [n, c, h, w]: windows that slide along h and w, and the nearest upsampling.
//
// A window may stand half outside, over `padding` elements that are not there: a maximum ignores
// them, a mean counts them as 0 and still divides by the whole window, as PyTorch does by default.
// Windows that do not fit at the end are left out (no ceil_mode).
//
// The gradient of a maximum goes to the first of its window, in row-major order. Its place in the
// window is a value of its own (max_pool_index), made from x when the backward pass begins: x is
// kept for other gradients more often than not, and then nothing more is. max_pool_grad gathers:
// each element of dx looks at the windows that it is in, so no two additions meet.
#include "ir/op_rules.h"

#include "ir/build.h"
#include "ir/check.h"
#include "ir/pooling.h"

#include <math.h>
#include <string.h>

// A window has few elements, each is some operations of a kernel; h w is an i32 in kernels.
enum { WINDOW_MAX = 256 };
static const int64_t plane_max = INT32_MAX;

// Attributes of two numbers, one along h and one along w.
static bool want_pair(const Node *n, const char *name, Diag *d) {
    int count;
    node_ints(n, name, &count);
    if (count == 2)
        return true;
    return diag_error(d, n->loc, 308, "%s wants 2 numbers in '%s', for h and w, got %d",
                      op_info(n->op)->name, name, count);
}

// x [n, c, h, w].
static bool want_image(const Node *n, const Type *x, Diag *d, Arena *scratch) {
    const char *name = op_info(n->op)->name;
    if (x->rank != 4)
        return diag_error(d, n->loc, 304, "%s wants images [n, c, h, w], got %s", name,
                          type_text(scratch, x));
    if (x->dim[2] * x->dim[3] > plane_max)
        return diag_error(d, n->loc, 306, "%s of %s: a channel has more than 2^31 elements", name,
                          type_text(scratch, x));
    return true;
}

// The window along axis 2 + i of x.
static bool want_window(const Node *n, const Type *x, int i, Diag *d, Arena *scratch) {
    const PoolWindow p = pool_window(n);
    const char *name = op_info(n->op)->name;
    const long long window = p.window[i], stride = p.stride[i], padding = p.padding[i];
    if (window < 1 || stride < 1 || stride > plane_max || padding < 0)
        return diag_error(d, n->loc, 311, "%s: a window of %lld with stride %lld and padding %lld",
                          name, window, stride, padding);
    if (window > WINDOW_MAX || p.window[0] * p.window[1] > WINDOW_MAX)
        return diag_error(d, n->loc, 306, "%s: a window has at most %d elements", name, WINDOW_MAX);
    // So every window has an element.
    if (2 * padding > window)
        return diag_error(d, n->loc, 311, "%s: padding %lld is more than half the window, %lld",
                          name, padding, window);
    if (x->dim[2 + i] + 2 * padding < window)
        return diag_error(d, n->loc, 311, "%s: a window of %lld does not fit axis %d of %s", name,
                          window, 2 + i, type_text(scratch, x));
    return true;
}

// The shape of the pool of x.
static bool pooled_type(const Node *n, const Type *x, DType dtype, Type *out, Diag *d,
                        Arena *scratch) {
    if (!want_image(n, x, d, scratch) || !want_pair(n, "window", d) || !want_pair(n, "stride", d) ||
        !want_pair(n, "padding", d))
        return false;
    *out = type_with_dtype(*x, dtype);
    for (int i = 0; i < 2; i++) {
        if (!want_window(n, x, i, d, scratch))
            return false;
        const PoolWindow p = pool_window(n);
        out->dim[2 + i] = (x->dim[2 + i] + 2 * p.padding[i] - p.window[i]) / p.stride[i] + 1;
    }
    return true;
}

// x [n, c, h, w] -> y [n, c, h', w'], h' = (h + 2 padding - window) / stride + 1 rounded down.
bool infer_pool(const Node *n, Type *result, Diag *d, Arena *scratch) {
    return infer_want_float(n, 0, d, scratch) &&
           pooled_type(n, &n->input[0]->type, n->input[0]->type.dtype, result, d, scratch);
}

bool infer_max_pool_index(const Node *n, Type *result, Diag *d, Arena *scratch) {
    return infer_want_float(n, 0, d, scratch) &&
           pooled_type(n, &n->input[0]->type, DT_I32, result, d, scratch);
}

// The operand's shape is not told by the result's, so `size` says h and w.
static bool infer_backward(const Node *n, const Type *dy, Type *result, Diag *d, Arena *scratch) {
    int count;
    Type pooled;
    const int64_t *size = node_ints(n, "size", &count);
    if (!want_image(n, dy, d, scratch) || !want_pair(n, "size", d))
        return false;
    *result = *dy;
    result->dim[2] = size[0];
    result->dim[3] = size[1];
    if (size[0] < 1 || size[1] < 1 || size[0] > plane_max || size[1] > plane_max ||
        !type_check(result))
        return diag_error(d, n->loc, 306, "%s would give images of %lld x %lld",
                          op_info(n->op)->name, (long long)size[0], (long long)size[1]);
    if (!pooled_type(n, result, dy->dtype, &pooled, d, scratch))
        return false;
    if (!type_equal(&pooled, dy))
        return diag_error(d, n->loc, 301, "%s: the pool of %s is %s, not %s", op_info(n->op)->name,
                          type_text(scratch, result), type_text(scratch, &pooled),
                          type_text(scratch, dy));
    return true;
}

// (index i32, dy) -> dx
bool infer_max_pool_grad(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *dy = &n->input[1]->type;
    return infer_want_float(n, 1, d, scratch) &&
           infer_want(n, 0, "an index", type_with_dtype(*dy, DT_I32), WANT_EXACT, d, scratch) &&
           infer_backward(n, dy, result, d, scratch);
}

bool infer_avg_pool_grad(const Node *n, Type *result, Diag *d, Arena *scratch) {
    return infer_want_float(n, 0, d, scratch) &&
           infer_backward(n, &n->input[0]->type, result, d, scratch);
}

// x [n, c, h, w] -> [n, c, factor h, factor w]
bool infer_upsample(const Node *n, Type *result, Diag *d, Arena *scratch) {
    int count;
    const Type *x = &n->input[0]->type;
    const int64_t *factor = node_ints(n, "factor", &count);
    if (!infer_want_float(n, 0, d, scratch) || !want_image(n, x, d, scratch) ||
        !want_pair(n, "factor", d))
        return false;
    if (factor[0] < 1 || factor[1] < 1 || factor[0] > WINDOW_MAX ||
        factor[0] * factor[1] > WINDOW_MAX)
        return diag_error(d, n->loc, 311, "upsample by %lld and %lld", (long long)factor[0],
                          (long long)factor[1]);
    *result = *x;
    for (int i = 0; i < 2; i++)
        result->dim[2 + i] = x->dim[2 + i] * factor[i];
    return infer_want_size(n, result, d, scratch) && want_image(n, result, d, scratch);
}

static void read_pair(const Node *n, const char *name, int64_t out[2]) {
    int count;
    const int64_t *pair = node_ints(n, name, &count);
    CHECK(pair && count == 2);
    memcpy(out, pair, 2 * sizeof *out);
}

PoolWindow pool_window(const Node *n) {
    PoolWindow out;
    read_pair(n, "window", out.window);
    read_pair(n, "stride", out.stride);
    read_pair(n, "padding", out.padding);
    return out;
}

void upsample_factor(const Node *n, int64_t factor[2]) {
    read_pair(n, "factor", factor);
}

// Dims are the result's axes; h and w of the operands take part whole.
bool map_pool(const Node *n, IndexMap *out) {
    index_map_init(n, &n->result[0].type, out);
    for (int i = 0; i < n->input_count; i++)
        out->axis_dim[i][2] = out->axis_dim[i][3] = -1;
    return true;
}

// The gradient operators take the window of the pool and the operand's h and w.
static Value *build_backward(Builder *b, const Node *n, Op op, Value *const *in, int count) {
    const PoolWindow p = pool_window(n);
    const Attr attr[] = {attr_ints("window", p.window, 2), attr_ints("stride", p.stride, 2),
                         attr_ints("padding", p.padding, 2),
                         attr_ints("size", &n->input[0]->type.dim[2], 2)};
    return build_op(b, op, in, count, attr, 4);
}

static Value *build_pool(Builder *b, Op op, Value *x, const PoolWindow *p) {
    const Attr attr[] = {attr_ints("window", p->window, 2), attr_ints("stride", p->stride, 2),
                         attr_ints("padding", p->padding, 2)};
    return build_op(b, op, &x, 1, attr, 3);
}

void grad_max_pool(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    const PoolWindow p = pool_window(n);
    Value *index = build_pool(b, OP_MAX_POOL_INDEX, n->input[0], &p);
    dinput[0] = build_backward(b, n, OP_MAX_POOL_GRAD, (Value *[]){index, dresult[0]}, 2);
}

void grad_avg_pool(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    dinput[0] = build_backward(b, n, OP_AVG_POOL_GRAD, dresult, 1);
}

// It is linear, and its transpose is the pool.
void grad_avg_pool_grad(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    const PoolWindow p = pool_window(n);
    dinput[0] = build_pool(b, OP_AVG_POOL, dresult[0], &p);
}

// Each element's copies add up: a mean of them times their number.
void grad_upsample(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    int64_t factor[2];
    upsample_factor(n, factor);
    const PoolWindow p = {.window = {factor[0], factor[1]}, .stride = {factor[0], factor[1]}};
    Value *mean = build_pool(b, OP_AVG_POOL, dresult[0], &p);
    dinput[0] = build_scale(b, mean, (double)(factor[0] * factor[1]));
}

// Evaluation: a plane at a time.

// One window of a plane.
typedef struct {
    PoolWindow p;
    int64_t h, w;      // of the plane
    int64_t top, left; // where the window begins, below 0 in the padding
} Window;

static int64_t plane_count(const Type *t) {
    return t->dim[0] * t->dim[1];
}

// Element (i, j) of the window in the plane, or -1 in the padding.
static int64_t window_element(const Window *s, int64_t i, int64_t j) {
    const int64_t row = s->top + i, column = s->left + j;
    return row < 0 || row >= s->h || column < 0 || column >= s->w ? -1 : row * s->w + column;
}

// What a window gives, or takes back. small is the pool's plane, large that of the images.
typedef void (*Visit)(const Window *s, double *small, double *large, const double *other);

static void each_window(const Node *n, const Type *large, const Type *small, double *large_at,
                        double *small_at, const double *other, Visit visit) {
    Window s = {.p = pool_window(n), .h = large->dim[2], .w = large->dim[3]};
    const int64_t rows = small->dim[2], columns = small->dim[3];
    for (int64_t plane = 0; plane < plane_count(large); plane++)
        for (int64_t i = 0; i < rows * columns; i++) {
            s.top = i / columns * s.p.stride[0] - s.p.padding[0];
            s.left = i % columns * s.p.stride[1] - s.p.padding[1];
            const int64_t at = plane * rows * columns + i;
            visit(&s, &small_at[at], &large_at[plane * s.h * s.w], other ? &other[at] : NULL);
        }
}

// The place of the largest in the window; the first where several are; a NaN is the largest.
static int64_t largest(const Window *s, const double *large, double *out) {
    int64_t at = 0;
    *out = -HUGE_VAL;
    for (int64_t i = 0; i < s->p.window[0]; i++)
        for (int64_t j = 0; j < s->p.window[1]; j++) {
            const int64_t element = window_element(s, i, j);
            if (element < 0 || large[element] <= *out || isnan(*out))
                continue;
            *out = large[element];
            at = i * s->p.window[1] + j;
        }
    return at;
}

static void visit_max(const Window *s, double *small, double *large, const double *other) {
    (void)other;
    largest(s, large, small);
}

static void visit_index(const Window *s, double *small, double *large, const double *other) {
    double most;
    (void)other;
    *small = (double)largest(s, large, &most);
}

static void visit_max_grad(const Window *s, double *small, double *large, const double *other) {
    CHECK(other);
    const int64_t at = (int64_t)*other;
    const int64_t element = window_element(s, at / s->p.window[1], at % s->p.window[1]);
    if (at >= 0 && at < s->p.window[0] * s->p.window[1] && element >= 0)
        large[element] += *small;
}

static void visit_mean(const Window *s, double *small, double *large, const double *other) {
    (void)other;
    for (int64_t i = 0; i < s->p.window[0]; i++)
        for (int64_t j = 0; j < s->p.window[1]; j++) {
            const int64_t element = window_element(s, i, j);
            *small += element < 0 ? 0 : large[element];
        }
    *small /= (double)(s->p.window[0] * s->p.window[1]);
}

static void visit_mean_grad(const Window *s, double *small, double *large, const double *other) {
    (void)other;
    for (int64_t i = 0; i < s->p.window[0]; i++)
        for (int64_t j = 0; j < s->p.window[1]; j++) {
            const int64_t element = window_element(s, i, j);
            if (element >= 0)
                large[element] += *small / (double)(s->p.window[0] * s->p.window[1]);
        }
}

void evaluate_max_pool(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    each_window(n, &in[0].type, &out[0].type, in[0].at, out[0].at, NULL, visit_max);
}

void evaluate_max_pool_index(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    each_window(n, &in[0].type, &out[0].type, in[0].at, out[0].at, NULL, visit_index);
}

void evaluate_max_pool_grad(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    each_window(n, &out[0].type, &in[1].type, out[0].at, in[1].at, in[0].at, visit_max_grad);
}

void evaluate_avg_pool(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    each_window(n, &in[0].type, &out[0].type, in[0].at, out[0].at, NULL, visit_mean);
}

void evaluate_avg_pool_grad(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    each_window(n, &out[0].type, &in[0].type, out[0].at, in[0].at, NULL, visit_mean_grad);
}

void evaluate_upsample(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    int64_t factor[2];
    upsample_factor(n, factor);
    const Type *x = &in[0].type, *y = &out[0].type;
    for (int64_t i = 0; i < type_count(y); i++) {
        const int64_t column = i % y->dim[3], row = i / y->dim[3] % y->dim[2];
        const int64_t plane = i / (y->dim[2] * y->dim[3]);
        out[0].at[i] =
            in[0].at[(plane * x->dim[2] + row / factor[0]) * x->dim[3] + column / factor[1]];
    }
}
