// Pitches: rows of odd length that begin at multiples of 16 bytes.
//
// A vocabulary of 50257 in bf16 makes rows of 100514 bytes. Side by side, one in eight begins where
// 16 bytes can be loaded at once: a GPU's row kernels would read and write element by element, and
// tensor-core products would copy such a matrix two bytes at a time. So a long row that is no
// multiple of 16 bytes takes what is missing, less than half a percent. What is between the rows
// is neither written nor read.
//
// On entry: find_stored and the homes are done. Pitched are values whose every user goes through
// them by strides: factors of products, elementwise and rowwise operators. Not those that a view
// or concat reads, that are committed or results, gradients, or in far memory: they are dense.
// The answer depends on the graph alone, never on the order, and is the same for all targets.
#include "passes/storage_work.h"

#include "ir/check.h"
#include "passes/lower_product.h"
#include "passes/lower_space.h"

enum { ROW_STEP = 16, ROW_MIN = 4096 }; // bytes

// Whether the operator walks input i, or its result, by any strides of the outer axes.
static bool walks_strides(const Node *n) {
    const OpInfo *info = op_info(n->op);
    if (n->op == OP_ACCUMULATE || n->op == OP_CONSTANT || info->family == FAMILY_UPDATE)
        return false;
    switch (info->lowering) {
    case LOWER_PRODUCT:
        return n->op == OP_EINSUM;
    case LOWER_SCALAR:
        return info->flags & OPF_ELEMENTWISE;
    case LOWER_ROWS:
    case LOWER_COLUMNS:
        return info->family != FAMILY_REDUCE || reduce_form(n).inner_count == 1;
    case LOWER_NONE:
    case LOWER_VIEW:
    case LOWER_MOVE:
    case LOWER_SCATTER:
    case LOWER_PART:
    case LOWER_CONVOLUTION:
    case LOWER_ATTENTION:
    case LOWER_EXPANDED:
        return false;
    }
    return false;
}

static bool row_is_odd(const Type *t) {
    const int64_t bytes = t->rank > 1 ? t->dim[t->rank - 1] * (int64_t)dtype_bytes(t->dtype) : 0;
    return bytes >= ROW_MIN && bytes % ROW_STEP != 0;
}

static bool may_be_pitched(const StorageWork *w, const Value *v) {
    return row_is_odd(&v->type) && w->root[v->id] == v && !w->viewed[v->id] && !w->far[v->id] &&
           !w->is_committed[v->id] && w->home[v->id].storage == STORAGE_NONE &&
           w->last_use[v->id] != STORAGE_END && walks_strides(v->def);
}

// Cost: nodes and their operands, once each way.
void storage_choose_pitches(StorageWork *w) {
    const Graph *g = w->g;
    for (int i = 0; i < g->node_count; i++)
        for (int r = 0; r < g->node[i]->result_count; r++) {
            const Value *v = &g->node[i]->result[r];
            w->pitched[v->id] = may_be_pitched(w, v);
        }
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        // einsum_add's base, input 0, is dense; its factors may be anything.
        const int first = n->op == OP_EINSUM_ADD ? product_first_input(n) : 0;
        const bool walks = walks_strides(n) || n->op == OP_EINSUM_ADD;
        for (int k = 0; k < n->input_count; k++)
            if (!walks || k < first)
                w->pitched[n->input[k]->id] = false;
    }
}

Type storage_memory_type(const StorageWork *w, const Value *v) {
    Type t = v->type;
    if (!w->pitched[v->id])
        return t;
    const int64_t step = ROW_STEP / (int64_t)dtype_bytes(t.dtype);
    int64_t *row = &t.dim[t.rank - 1];
    *row = (*row + step - 1) / step * step;
    return t;
}
