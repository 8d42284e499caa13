// Reduces as kernels can do them: over the trailing axes of a row, or down the leading ones of a
// column.
//
//   both ends, nothing else left        reduce(x, [0,2])  =>  reduce(reduce(x, [2]), [0])
//   axes in the middle                  reduce(x, [1])    =>  reduce(transpose(x, [0,2,1]), [2])
//   batchnorm                           sums and pointwise operators: see legalize_batchnorm.c
//
// The sum of sums may round in another place than one sum would, so this is part of what the
// compiler means by such a reduce, not a choice: the pass always runs. Cost: O(nodes).
#include "passes/legalize.h"

#include "ir/check.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

// The axes as bits, and how many of them lead and trail.
typedef struct {
    uint32_t axes;
    int leading, trailing, count;
} ReduceAxes;

static ReduceAxes reduce_axes(const Node *n) {
    ReduceAxes s = {0};
    const int64_t *axes = node_ints(n, "axes", &s.count);
    const int rank = n->input[0]->type.rank;
    for (int i = 0; i < s.count; i++)
        s.axes |= 1u << axes[i];
    while (s.leading < rank && (s.axes >> s.leading & 1))
        s.leading++;
    while (s.trailing < rank && (s.axes >> (rank - 1 - s.trailing) & 1))
        s.trailing++;
    return s;
}

static bool is_legal(const ReduceAxes *s) {
    return s->leading == s->count || s->trailing == s->count;
}

static Value *reduce(Builder *b, Op op, Value *x, uint32_t axes) {
    int64_t axis[RANK_MAX];
    int count = 0;
    for (int i = 0; i < x->type.rank; i++)
        if (axes >> i & 1)
            axis[count++] = i;
    const Attr attr = attr_ints("axes", axis, count);
    return build_op(b, op, &x, 1, &attr, 1);
}

// reduce(x, axes)  =>  reduce(reduce(x, trailing axes), other axes)
static Value *try_trailing_first(Builder *b, const Node *n, const ReduceAxes *s) {
    if (s->trailing == 0)
        return NULL;
    const int rank = n->input[0]->type.rank;
    const uint32_t last = ((1u << s->trailing) - 1) << (rank - s->trailing);
    return reduce(b, n->op, reduce(b, n->op, n->input[0], last), s->axes & ~last);
}

// reduce(x, axes)  =>  reduce(transpose(x, other axes then these), trailing axes)
static Value *try_move_last(Builder *b, const Node *n, const ReduceAxes *s) {
    const int rank = n->input[0]->type.rank;
    int perm[RANK_MAX], at = 0;
    for (int reduced = 0; reduced <= 1; reduced++)
        for (int i = 0; i < rank; i++)
            if ((int)(s->axes >> i & 1) == reduced)
                perm[at++] = i;
    const uint32_t last = ((1u << s->count) - 1) << (rank - s->count);
    return reduce(b, n->op, build_transpose(b, n->input[0], perm), last);
}

// Batch norms, which have no kernel. False where n is none.
static bool try_batchnorm(Rewrite *rw, const Node *n) {
    if (n->op != OP_BATCHNORM && n->op != OP_BATCHNORM_GRAD)
        return false;
    Value *by[4];
    Builder b = rewrite_builder(rw->g, n);
    if (n->op == OP_BATCHNORM)
        legalize_batchnorm(&b, n, by);
    else
        legalize_batchnorm_grad(&b, n, by);
    for (int i = 0; i < n->result_count; i++)
        rewrite_replace(rw, &n->result[i], by[i]);
    return true;
}

// One step towards legal; the nodes made are looked at again.
static PassResult legalize_graph(Graph *g, PassCtx *cx) {
    PassResult result = PASS_SAME;
    bool again = true;
    while (again) { // at most four times: norms first, then each step leaves fewer runs of axes
        Rewrite rw;
        again = false;
        rewrite_begin(&rw, g, cx->scratch);
        for (int i = 0; i < rw.old_count; i++) {
            const Node *n = rw.old[i];
            rewrite_resolve_inputs(&rw, rw.old[i]);
            if (try_batchnorm(&rw, n)) {
                again = true;
                result = PASS_CHANGED;
                continue;
            }
            const bool reduces = op_info(n->op)->family == FAMILY_REDUCE;
            const ReduceAxes s = reduces ? reduce_axes(n) : (ReduceAxes){0};
            if (!reduces || is_legal(&s)) {
                rewrite_keep(&rw, rw.old[i]);
                continue;
            }
            Builder b = rewrite_builder(g, n);
            Value *by = try_trailing_first(&b, n, &s);
            rewrite_replace(&rw, &n->result[0], by ? by : try_move_last(&b, n, &s));
            again = true;
            result = PASS_CHANGED;
        }
        rewrite_end(&rw);
    }
    return result;
}

PassResult pass_legalize(Module *m, PassCtx *cx) {
    return pass_each_entry(m, cx, legalize_graph);
}
