// sample: one class a row, drawn from the softmax of its logits.
//
// temperature 0 (or below): the class with the largest logit, the first of several. Else, with
// z = x / temperature and S = sum e^z, the classes that are kept are the smallest set of the most
// probable ones whose e^z sum to at least top_p S (all for top_p 1; the most probable always; equal
// ones go together), and one of them is drawn with probability in proportion to e^z.
//
// The draw takes the largest z + g, g = -log(-log u) being Gumbel noise, which has just that
// distribution (Gumbel 1954): no sum has to be inverted, and each class needs only its own random
// number, keyed by (seed, step, key, element). step is the number of tokens so far, so every
// position draws anew and a sequence can be drawn again from its seed.
//
// The evaluator sorts; kernels pick (ir/lower_draw.c).
#include "ir/op_rules.h"

#include "ir/evaluate.h"

#include <math.h>
#include <stdlib.h>

// Classes are counted in f32 by kernels.
enum { CLASSES_MAX = 1 << 24 };

// (logits [..., v], temperature f32[], top_p f32[], seed i32[], step i32[]) -> i32 [...]
bool infer_sample(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type number = type_scalar(DT_F32), count = type_scalar(DT_I32);
    if (!infer_want_rank(n, 0, 1, d, scratch) || !infer_want_float(n, 0, d, scratch) ||
        !infer_want(n, 1, "a temperature", number, WANT_EXACT, d, scratch) ||
        !infer_want(n, 2, "a top_p", number, WANT_EXACT, d, scratch) ||
        !infer_want(n, 3, "a seed", count, WANT_EXACT, d, scratch) ||
        !infer_want(n, 4, "a step", count, WANT_EXACT, d, scratch))
        return false;
    const Type *x = &n->input[0]->type;
    if (x->dim[x->rank - 1] < 1 || x->dim[x->rank - 1] > CLASSES_MAX)
        return diag_error(d, n->loc, 311, "sample draws from 1 to %d classes, got %s", CLASSES_MAX,
                          type_text(scratch, x));
    result[0] = type_rows(x, DT_I32);
    return true;
}

static int compare_falling(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

// The least logit that is kept: from the largest down until their mass reaches top_p of the whole.
static double kept_from(const double *x, int64_t classes, double temperature, double top_p,
                        Arena *a) {
    double *falling = arena_array(a, double, classes), whole = 0, mass = 0;
    for (int64_t j = 0; j < classes; j++)
        falling[j] = x[j];
    qsort(falling, (size_t)classes, sizeof *falling, compare_falling);
    for (int64_t j = 0; j < classes; j++)
        whole += exp((falling[j] - falling[0]) / temperature);
    for (int64_t j = 0; j < classes; j++) {
        mass += exp((falling[j] - falling[0]) / temperature);
        if (top_p < 1 && mass >= top_p * whole)
            return falling[j];
    }
    return -HUGE_VAL;
}

void evaluate_sample(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    const Type *t = &in[0].type;
    const int64_t classes = t->dim[t->rank - 1], key = node_int(n, "key", 0);
    const double temperature = in[1].at[0];
    const bool greedy = temperature <= 0;
    for (int64_t row = 0; row < type_count(&out[0].type); row++) {
        const double *x = in[0].at + row * classes;
        const double least =
            greedy ? -HUGE_VAL : kept_from(x, classes, temperature, in[2].at[0], cx->arena);
        double best = -HUGE_VAL;
        for (int64_t j = 0; j < classes; j++) {
            const uint32_t bits =
                random_bits((int64_t)in[3].at[0], (int64_t)in[4].at[0], key, row * classes + j);
            // The least unit would have noise -inf: half a unit stands for it.
            const double unit = fmax((double)random_unit(bits), 0x1p-25);
            const double z = greedy ? x[j] : x[j] / temperature - log(-log(unit));
            if (x[j] >= least && z > best) {
                best = z;
                out[0].at[row] = (double)j;
            }
        }
    }
}
