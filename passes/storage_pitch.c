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
// or concat reads, that are committed or results, or gradients: they are dense. Copies of a value,
// by running again or by coming back from far memory, are asked about together with it, as if one
// had all their users: so a product reads the same strides, and gives the same bits, whatever a
// budget does. The answer depends on the graph alone, never on the order, and is the same for all
// targets.
#include "passes/storage_work.h"

#include "ir/value_number.h"
#include "passes/lower_product.h"
#include "passes/lower_space.h"

enum { ROW_STEP = 16, ROW_MIN = 4096 }; // bytes

// Whether the operator walks input i, or its result, by any strides of the outer axes.
static bool walks_strides(const Node *n) {
    const OpInfo *info = op_info(n->op);
    if (n->op == OP_ACCUMULATE || n->op == OP_CONSTANT || info->family == FAMILY_UPDATE)
        return false;
    switch (info->lowering) {
    case LOWER_PRODUCT: // what is added to lies where its base does
        return n->op == OP_EINSUM || node_int(n, "row", 0) == 1;
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

// A move brings the strides it finds.
static bool may_be_pitched(const StorageWork *w, const Value *v) {
    const bool moves = op_info(v->def->op)->family == FAMILY_MOVE;
    return row_is_odd(&v->type) && w->root[v->id] == v && !w->viewed[v->id] &&
           !w->is_committed[v->id] && w->home[v->id].storage == STORAGE_NONE &&
           w->last_use[v->id] != STORAGE_END &&
           (moves || (!w->far[v->id] && walks_strides(v->def)));
}

const uint32_t *storage_first_alike(StorageWork *w) {
    if (w->first_alike)
        return w->first_alike;
    const Graph *g = w->g;
    const uint64_t *number = value_numbers(g, w->a);
    uint64_t slots = 64;
    while (slots < 2 * (uint64_t)g->value_limit)
        slots *= 2;
    // Open addressing; a slot holds an id + 1, and 0 where it is free.
    uint32_t *slot = arena_array(w->a, uint32_t, slots);
    uint32_t *first = arena_array(w->a, uint32_t, g->value_limit + 1);
    for (int i = 0; i < g->node_count; i++)
        for (int r = 0; r < g->node[i]->result_count; r++) {
            const uint32_t id = g->node[i]->result[r].id;
            uint64_t at = number[id] & (slots - 1);
            while (slot[at] && number[slot[at] - 1] != number[id])
                at = (at + 1) & (slots - 1);
            if (!slot[at])
                slot[at] = id + 1;
            first[id] = slot[at] - 1;
        }
    w->first_alike = first;
    return first;
}

// Most graphs have no such rows.
static bool any_row_is_odd(const Graph *g) {
    for (int i = 0; i < g->node_count; i++)
        for (int r = 0; r < g->node[i]->result_count; r++)
            if (row_is_odd(&g->node[i]->result[r].type))
                return true;
    return false;
}

// Cost: nodes and their operands, a few times each.
void storage_choose_pitches(StorageWork *w) {
    const Graph *g = w->g;
    if (!any_row_is_odd(g))
        return;
    const uint32_t *first = storage_first_alike(w);
    bool *refused = arena_array(w->a, bool, g->value_limit + 1); // by the first of its number
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        for (int r = 0; r < n->result_count; r++)
            if (!may_be_pitched(w, &n->result[r]))
                refused[first[n->result[r].id]] = true;
        // einsum_add's base, input 0, is dense; its factors may be anything.
        const int factor = n->op == OP_EINSUM_ADD ? product_first_input(n) : 0;
        const bool walks = walks_strides(n) || n->op == OP_EINSUM_ADD;
        for (int k = 0; op_info(n->op)->family != FAMILY_MOVE && k < n->input_count; k++)
            if (!walks || k < factor)
                refused[first[n->input[k]->id]] = true;
    }
    for (int i = 0; i < g->node_count; i++)
        for (int r = 0; r < g->node[i]->result_count; r++) {
            const Value *v = &g->node[i]->result[r];
            w->pitched[v->id] = !refused[first[v->id]];
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
