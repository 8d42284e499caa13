// Indexed operators: rows of a table by i32 indices, and one element of each row.
//
// An index past the end counts as the last row; a negative one reads row 0, and adds nothing when
// rows are added (so what padding reads is never trained). Data is checked by the loader before it
// gets here.
#include "ir/op_rules.h"

#include "ir/build.h"
#include "ir/check.h"

// (table [v, ...], index i32): at least one row, so that a clamped index reads something.
static bool want_table(const Node *n, Diag *d, Arena *scratch) {
    const Type *table = &n->input[0]->type, *index = &n->input[1]->type;
    if (!infer_want_rank(n, 0, 1, d, scratch))
        return false;
    if (index->dtype != DT_I32)
        return diag_error(d, n->loc, 302, "%s wants i32 indices, got %s", op_info(n->op)->name,
                          type_text(scratch, index));
    if (table->dim[0] < 1)
        return diag_error(d, n->loc, 311, "%s has no row to take from %s", op_info(n->op)->name,
                          type_text(scratch, table));
    return true;
}

// index.shape ++ table.shape[1..]; false where that is too many axes.
static bool rows_type(const Node *n, Type *out, Diag *d, Arena *scratch) {
    const Type *table = &n->input[0]->type, *index = &n->input[1]->type;
    const int rank = index->rank + table->rank - 1;
    if (rank > RANK_MAX)
        return diag_error(d, n->loc, 306, "%s of %s by %s has %d axes, at most %d are possible",
                          op_info(n->op)->name, type_text(scratch, table),
                          type_text(scratch, index), rank, RANK_MAX);
    *out = type_make(table->dtype, index->rank, index->dim);
    for (int i = 1; i < table->rank; i++)
        out->dim[out->rank++] = table->dim[i];
    return infer_want_size(n, out, d, scratch);
}

// (table [v, d...], index [i...]) -> [i..., d...].
bool infer_gather(const Node *n, Type *result, Diag *d, Arena *scratch) {
    return want_table(n, d, scratch) && rows_type(n, result, d, scratch);
}

// (table [v, d...], index [i...], rows [i..., d...]) -> the table with the rows added.
bool infer_scatter_add(const Node *n, Type *result, Diag *d, Arena *scratch) {
    Type rows;
    if (!want_table(n, d, scratch) || !infer_want_float(n, 0, d, scratch) ||
        !rows_type(n, &rows, d, scratch))
        return false;
    *result = n->input[0]->type;
    return infer_want(n, 2, "rows", rows, WANT_FLOAT, d, scratch);
}

// (x [..., n], index i32 [...]) -> x [...]: one element of each row.
bool infer_take(const Node *n, Type *result, Diag *d, Arena *scratch) {
    const Type *x = &n->input[0]->type;
    if (!infer_want_rank(n, 0, 1, d, scratch))
        return false;
    if (x->dim[x->rank - 1] < 1)
        return diag_error(d, n->loc, 311, "take has nothing to take from %s",
                          type_text(scratch, x));
    *result = type_rows(x, x->dtype);
    return infer_want(n, 1, "indices", type_rows(x, DT_I32), WANT_EXACT, d, scratch);
}

// Rows are added where they were read, onto zeros; autodiff joins several such sums.
void grad_gather(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    Value *const in[] = {build_constant(b, n->input[0]->type, 0), n->input[1], dresult[0]};
    dinput[0] = build_op(b, OP_SCATTER_ADD, in, 3, NULL, 0);
}

// dy where the last axis stands at the index (clamped as in reading), else 0.
void grad_take(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    const Type *x = &n->input[0]->type;
    const Type *rows = &n->input[1]->type;
    const int last = x->rank - 1;
    // Leading axes onto themselves: what lacks the last axis is repeated along it.
    int axes[RANK_MAX];
    for (int i = 0; i < RANK_MAX; i++)
        axes[i] = i;
    // The index clamped to 0 .. n - 1, the same for all of x's columns.
    Value *index = build_binary(b, OP_MAX, n->input[1], build_constant(b, *rows, 0));
    Value *limit = build_constant(b, *rows, (double)(x->dim[last] - 1));
    index = build_binary(b, OP_MIN, index, limit);
    const Attr attr[] = {attr_ints("shape", x->dim, x->rank), attr_int("axis", last)};
    Value *position = build_op(b, OP_IOTA, NULL, 0, attr, 2);
    Value *hit = build_binary(b, OP_EQ, position, build_broadcast(b, index, x, axes));
    Value *dy = build_broadcast(b, dresult[0], x, axes);
    Value *zero = build_constant(b, *x, 0);
    dinput[0] = build_op(b, OP_SELECT, (Value *[]){hit, dy, zero}, 3, NULL, 0);
}

// To 0 .. count - 1.
static int64_t clamp(double index, int64_t count) {
    return index < 0 ? 0 : index >= (double)count ? count - 1 : (int64_t)index;
}

// Elements of one row of the table.
static int64_t row_size(const Type *table) {
    int64_t size = 1;
    for (int i = 1; i < table->rank; i++)
        size *= table->dim[i];
    return size;
}

void evaluate_gather(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)n, (void)cx;
    const int64_t size = row_size(&in[0].type), count = type_count(&in[1].type);
    for (int64_t i = 0; i < count; i++) {
        const int64_t row = clamp(in[1].at[i], in[0].type.dim[0]);
        for (int64_t j = 0; j < size; j++)
            out[0].at[i * size + j] = in[0].at[row * size + j];
    }
}

// In the order of the indices, so that sums of f32 are the same everywhere.
void evaluate_scatter_add(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)n, (void)cx;
    const int64_t size = row_size(&in[0].type), count = type_count(&in[1].type);
    const int64_t elements = type_count(&in[0].type);
    for (int64_t i = 0; i < elements; i++)
        out[0].at[i] = in[0].at[i];
    for (int64_t i = 0; i < count; i++) {
        if (in[1].at[i] < 0)
            continue;
        const int64_t row = clamp(in[1].at[i], in[0].type.dim[0]);
        for (int64_t j = 0; j < size; j++)
            out[0].at[row * size + j] += in[2].at[i * size + j];
    }
}

void evaluate_take(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)n, (void)cx;
    const int64_t count = type_count(&in[1].type);
    const int64_t columns = in[0].type.dim[in[0].type.rank - 1];
    for (int64_t i = 0; i < count; i++)
        out[0].at[i] = in[0].at[i * columns + clamp(in[1].at[i], columns)];
}
