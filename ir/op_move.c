// Moves between the device's memory and far memory. They compute nothing: what they mean is where
// bytes are, which the evaluator doesn't know. They are made once gradients are (so they have no
// rule for them); ir/far.h says which values are far, graph_verify who may read those.
#include "ir/op_rules.h"

#include <string.h>

bool infer_move(const Node *n, Type *result, Diag *d, Arena *scratch) {
    (void)d, (void)scratch;
    *result = n->input[0]->type;
    return true;
}

void evaluate_move(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)n, (void)cx;
    memcpy(out[0].at, in[0].at, (size_t)type_count(&in[0].type) * sizeof *in[0].at);
}
