// What the operators' rules share: checks with one wording each, and the plain index map.
//
// A check names the operator, what it wants and what it got, both shapes, so that the user sees at
// his own line which of the two to change.
#include "ir/op_rules.h"

#include "ir/check.h"

bool infer_want_float(const Node *n, int input, Diag *d, Arena *scratch) {
    const Type *t = &n->input[input]->type;
    if (dtype_is_float(t->dtype))
        return true;
    diag_error(d, n->loc, 302, "%s wants floating point elements, got %s", op_info(n->op)->name,
               type_text(scratch, t));
    diag_help(d, "convert with f32(x)");
    return false;
}

// The one check behind most of the others: wanted against given, both shown.
bool infer_want(const Node *n, int input, const char *role, Type type, WantDType want, Diag *d,
                Arena *scratch) {
    const Type *t = &n->input[input]->type;
    // WANT_FLOAT takes f32 for bf16 and the reverse: a gradient need not have its parameter's type.
    const bool fits = want == WANT_FLOAT ? dtype_is_float(t->dtype) : t->dtype == type.dtype;
    if (fits && type_same_shape(t, &type))
        return true;
    return diag_error(d, n->loc, 303, "%s wants %s %s, got %s", op_info(n->op)->name, role,
                      type_text(scratch, &type), type_text(scratch, t));
}

// At least so many axes: operators on rows take any number in front.
bool infer_want_rank(const Node *n, int input, int rank, Diag *d, Arena *scratch) {
    const Type *t = &n->input[input]->type;
    if (t->rank >= rank)
        return true;
    return diag_error(d, n->loc, 304, "%s wants at least %d ax%s, got %s", op_info(n->op)->name,
                      rank, rank == 1 ? "is" : "es", type_text(scratch, t));
}

bool infer_want_axis(const Node *n, int64_t axis, int rank, Diag *d) {
    if (axis >= 0 && axis < rank)
        return true;
    return diag_error(d, n->loc, 305, "%s has no axis %lld: its operand has %d",
                      op_info(n->op)->name, (long long)axis, rank);
}

// Before a result type is used for anything: the product of its dims must not overflow.
bool infer_want_size(const Node *n, const Type *t, Diag *d, Arena *scratch) {
    if (type_check(t))
        return true;
    return diag_error(d, n->loc, 306, "%s would give a tensor beyond the limits: %s",
                      op_info(n->op)->name, type_text(scratch, t));
}

// Says which of the two differs, shape or element type: they are mended differently.
bool infer_want_equal(const Node *n, int a, int b, Diag *d, Arena *scratch) {
    const Type *left = &n->input[a]->type, *right = &n->input[b]->type;
    if (type_equal(left, right))
        return true;
    const char *what = type_same_shape(left, right) ? "element types" : "shapes";
    return diag_error(
        d, n->loc, 301, "%s wants operands of one type, but their %s differ: %s and %s",
        op_info(n->op)->name, what, type_text(scratch, left), type_text(scratch, right));
}

// t without its last axis: one element a row.
Type type_rows(const Type *t, DType dtype) {
    CHECK(t->rank >= 1);
    return type_make(dtype, t->rank - 1, t->dim);
}

// The last axis alone: one element a column.
Type type_columns(const Type *t, DType dtype) {
    CHECK(t->rank >= 1);
    return type_make(dtype, 1, &t->dim[t->rank - 1]);
}

int node_axes(const Node *n, const char *name, int axes[RANK_MAX]) {
    int count;
    // Axes were checked when the node was inferred, so they fit an int.
    const int64_t *value = node_ints(n, name, &count);
    CHECK(count <= RANK_MAX);
    for (int i = 0; i < count; i++)
        axes[i] = (int)value[i];
    return count;
}

// Operands of an index map: the inputs, then the results.
const Type *map_operand(const Node *n, int o) {
    return o < n->input_count ? &n->input[o]->type : &n->result[o - n->input_count].type;
}

// The plain map; rules with other habits change single entries.
void index_map_init(const Node *n, const Type *t, IndexMap *out) {
    *out = (IndexMap){.dim_count = t->rank, .operand_count = n->input_count + n->result_count};
    CHECK(out->operand_count <= MAP_OPERANDS_MAX);
    for (int i = 0; i < t->rank; i++)
        out->extent[i] = t->dim[i];
    for (int o = 0; o < out->operand_count; o++)
        for (int i = 0; i < RANK_MAX; i++)
            // Axis i goes by dim i; -1 past the operand's rank.
            out->axis_dim[o][i] = (int8_t)(i < map_operand(n, o)->rank ? i : -1);
}
