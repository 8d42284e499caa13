// Values in parts along their rows.
//
// Rows are indices of the first axis that has more than one: examples of a batch, or tokens where
// there is a single example. Four parts, or as many of 3 or 2 as divide the rows: with a part of
// one value more or less in a schedule of dozens of values the trade is continuous enough, and
// each part is a kernel or copy of its own to start. Parts are equal, so they share kernels.
//
// What a node reads for a row its index map says. Kernels of one element or one row an index have
// the same bits wherever their rows begin, so every boundary between rows is one of their tiles.
#include "passes/retain/retain_cut.h"

#include "ir/check.h"

enum { PARTS = 4 };

RetainCut retain_cut(const Type *t, size_t part_min) {
    RetainCut cut = {0};
    while (cut.axis < t->rank && t->dim[cut.axis] == 1)
        cut.axis++;
    // A last axis is no axis of rows.
    if (cut.axis + 1 >= t->rank)
        return (RetainCut){0};
    for (int parts = PARTS; parts > 1 && !cut.parts; parts--)
        if (t->dim[cut.axis] % parts == 0 && type_bytes(t) / (size_t)parts >= part_min)
            cut.parts = parts;
    return cut;
}

Value *retain_cut_slice(Builder *b, Value *v, RetainCut cut, int first, int count) {
    const int64_t rows = v->type.dim[cut.axis] / cut.parts;
    return build_slice(b, v, cut.axis, first * rows, (first + count) * rows);
}

static bool is_row_kernel(const Node *n) {
    const OpInfo *info = op_info(n->op);
    if (info->flags & OPF_RANDOM || !info->map)
        return false; // draws are numbered by their places in the whole
    if (info->lowering == LOWER_SCALAR)
        return info->flags & OPF_ELEMENTWISE;
    return info->lowering == LOWER_ROWS && info->family == FAMILY_ROWWISE;
}

// The iteration dim that runs over the rows; -1 where there is none, or results are cut otherwise.
static int row_dim(const Node *n, RetainCut cut, IndexMap *map) {
    if (!is_row_kernel(n) || !op_info(n->op)->map(n, map))
        return -1;
    const int dim =
        cut.axis < n->result[0].type.rank ? map->axis_dim[n->input_count][cut.axis] : -1;
    if (dim < 0 || map->reduced & (UINT32_C(1) << dim))
        return -1;
    for (int i = 0; i < n->result_count; i++)
        if (cut.axis >= n->result[i].type.rank ||
            map->axis_dim[n->input_count + i][cut.axis] != dim)
            return -1;
    return dim;
}

bool retain_cut_rows(const Node *n, RetainCut cut) {
    IndexMap map;
    const int dim = row_dim(n, cut, &map);
    for (int k = 0; k < n->input_count && dim >= 0; k++)
        for (int i = 0; i < n->input[k]->type.rank; i++)
            if (map.axis_dim[k][i] == dim && i != cut.axis)
                return false;
    return dim >= 0;
}

bool retain_cut_has_rows(const Node *n, RetainCut cut, int input) {
    IndexMap map;
    const int dim = row_dim(n, cut, &map);
    return cut.axis < n->input[input]->type.rank && map.axis_dim[input][cut.axis] == dim;
}

Node *retain_cut_node(Builder *b, const Node *n, Value *const *input, RetainCut cut, int count) {
    Node *made = build_node(b, n->op, input, n->input_count, n->attr, n->attr_count);
    for (int i = 0; i < n->result_count; i++)
        CHECK(made->result[i].type.dim[cut.axis] * cut.parts ==
              n->result[i].type.dim[cut.axis] * count);
    return made;
}
