// Index spaces. Elementwise operators walk their result; rowwise ones, and reduces, their first
// operand; scatter_add its rows, dynamic_update its part. An operand that has fewer axes follows
// the leading ones (statistics of rows, targets, indices) unless the operator's index map says
// otherwise (weights follow the last).
#include "passes/lower_space.h"

#include "ir/check.h"

const Type *node_space(const Node *n) {
    switch (op_info(n->op)->lowering) {
    case LOWER_ROWS:
    case LOWER_COLUMNS:
        return &n->input[0]->type;
    // The updates' rows; the base is reached by index.
    case LOWER_SCATTER:
        return &n->input[2]->type;
    // What is stored; the whole is reached by index.
    case LOWER_PART:
        return &n->input[1]->type;
    case LOWER_SCALAR:
    case LOWER_NONE:
    case LOWER_VIEW:
    case LOWER_PRODUCT:
    case LOWER_CONVOLUTION:
    case LOWER_ATTENTION:
    case LOWER_MOVE:
    case LOWER_EXPANDED:
        return &n->result[0].type;
    }
    UNREACHABLE();
}

int node_space_axis(const Node *n, int operand, int axis) {
    const OpInfo *info = op_info(n->op);
    const Type *space = node_space(n);
    const bool input = operand < n->input_count;
    const Type *t = input ? &n->input[operand]->type : &n->result[operand - n->input_count].type;
    // Also where an index map exists: equal shapes walk alike.
    if (type_same_shape(t, space))
        return axis;
    if (!input && info->family == FAMILY_REDUCE) {
        const ReduceForm form = reduce_form(n);
        return form.axis == KERNEL_ROWS ? form.outer[axis] : form.inner[axis];
    }
    // Sums down columns keep the trailing axes.
    if (!input && info->lowering == LOWER_COLUMNS)
        return axis + space->rank - t->rank;
    IndexMap map;
    if (info->map && info->map(n, &map)) {
        const int dim = map.axis_dim[operand][axis];
        // Below 0 the whole axis takes part at every index: it is the row that is walked.
        return dim < 0 ? space->rank - 1 : dim;
    }
    return axis;
}

// pass_legalize has seen to it that the axes lead or trail; all of them count as trailing.
ReduceForm reduce_form(const Node *n) {
    int count;
    const int64_t *axes = node_ints(n, "axes", &count);
    const int rank = n->input[0]->type.rank;
    bool reduced[RANK_MAX] = {false};
    for (int i = 0; i < count; i++)
        reduced[axes[i]] = true;
    ReduceForm form = {.axis = count < rank && !reduced[rank - 1] ? KERNEL_COLUMNS : KERNEL_ROWS};
    for (int i = 0; i < rank; i++) {
        if (reduced[i] == (form.axis == KERNEL_ROWS))
            form.inner[form.inner_count++] = i;
        else
            form.outer[form.outer_count++] = i;
    }
    return form;
}

// Dense in this order, the inner axes are neighbours.
void reduce_copy_order(const ReduceForm *form, int *order) {
    int at = 0;
    for (int i = 0; i < form->outer_count; i++)
        order[at++] = form->outer[i];
    for (int i = 0; i < form->inner_count; i++)
        order[at++] = form->inner[i];
}
