// A weight in tiles of rows (memory-centric tiling, ZeRO-Infinity, arXiv 2104.07857).
//
//   y  = einsum(x, w)   rows are outputs   =>  concat over tiles of einsum(x, w[tile])
//   dx = einsum(dy, w)  rows are summed    =>  einsum_add(... einsum_add(einsum(dy[tile 0], w[tile
//   0]),
//                                                dy[tile 1], w[tile 1]) ...)
//   dw = einsum(dy, x)  rows of the result =>  einsum(dy[tile], x), for each tile
//   wte[i]              a lookup           =>  select(i >= start of tile, w[tile][i - start],
//   before) scatter_add(s, i, u)                   =>  scatter_add(s[tile], i - start or -1, u),
//   for each tile
//
// A tile is rows of the weight, because copies to and from far memory move ranges of bytes. Rows
// are either not summed, then each element of the result is made of the same chain of operations as
// before; or they are, and tiles go by in order. Our own products (codegen/llvm_gemm.c) sum depth
// in blocks of PRODUCT_DEPTH, each added to what c holds: cut at multiples of it, with c kept in
// f32, the additions are the same ones. Thin products (llvm_thin.c) that walk down a weight's rows
// are one chain along depth, which c carries on. Libraries promise neither.
//
// So that operands are walked as in the whole product, only such are cut that need no copies
// (lower_product.c) whatever the sizes: no batch; one letter of the weight is summed, the other is
// free; for dw both letters of the result are free, so how rows join depends on no size.
//
// Lookups keep their rules: a negative index reads row 0 and adds nothing, one past the end counts
// as the last row. Cost: O(tiles).
#include "passes/far_tiles.h"

#include "ir/check.h"
#include "ir/template_layout.h"
#include "passes/far_slices.h"

_Static_assert(TILE_ROWS_UNIT % PRODUCT_DEPTH == 0, "tiles end where blocks of depth do");

// COLUMNS_MIN: narrower weights would be a thin product's rows. FREE_MAX: axes that a product has
// room for besides the weight's: one dim and two of batch.
enum { COLUMNS_MIN = 16, FREE_MAX = 3 };

bool tiles_keep_bits(const PassOptions *options) {
    return !options->onednn && !options->openblas && options->gpu.count == 0;
}

int64_t tile_rows(const Type *weight, size_t bytes) {
    if (weight->rank != 2 || weight->dim[1] < COLUMNS_MIN)
        return 0;
    const size_t unit = TILE_ROWS_UNIT * (size_t)weight->dim[1] * dtype_bytes(weight->dtype);
    const int64_t units = bytes > unit ? (int64_t)(bytes / unit) : 1;
    const int64_t rows = units * TILE_ROWS_UNIT;
    return slice_end(0, rows, weight->dim[0]) < weight->dim[0] ? rows : 0;
}

// --- which products ---

static bool is_product(const Node *n) {
    return n->op == OP_EINSUM || n->op == OP_EINSUM_ADD;
}

static int first_factor(const Node *n) {
    return n->op == OP_EINSUM_ADD ? 1 : 0;
}

static int other_factor(const Node *n, int input) {
    return 2 * first_factor(n) + 1 - input;
}

// The axis of an operand (inputs, then the result) that the dim walks, or -1.
static int axis_of(const Node *n, const IndexMap *map, int operand, int dim) {
    const Type *t = operand < n->input_count ? &n->input[operand]->type : &n->result[0].type;
    for (int i = 0; i < t->rank; i++)
        if (map->axis_dim[operand][i] == dim)
            return i;
    return -1;
}

static bool is_reduced(const IndexMap *map, int dim) {
    return map->reduced >> dim & 1;
}

static bool product_reads(const Node *n, int input) {
    IndexMap map;
    if (input < first_factor(n) || n->input[input]->type.rank != 2 ||
        n->input[first_factor(n)] == n->input[first_factor(n) + 1] || !op_info(n->op)->map(n, &map))
        return false;
    const int other = other_factor(n, input);
    const int row = map.axis_dim[input][0], column = map.axis_dim[input][1];
    const int free = is_reduced(&map, row) ? column : row;
    return is_reduced(&map, row) != is_reduced(&map, column) && axis_of(n, &map, other, free) < 0 &&
           n->input[other]->type.rank - 1 <= FREE_MAX;
}

bool tile_reader(const Node *n, int input) {
    if (n->op == OP_GATHER)
        return input == 0 && n->input[0]->type.rank == 2;
    return is_product(n) && product_reads(n, input);
}

bool tile_maker(const Node *n) {
    if (n->op == OP_SCATTER_ADD)
        return n->input[0]->type.rank == 2;
    IndexMap map;
    if (!is_product(n) || n->result[0].type.rank != 2 || n->result[0].type.dim[1] < COLUMNS_MIN ||
        !op_info(n->op)->map(n, &map))
        return false;
    // Each of the result's letters is in one factor only.
    const int a = first_factor(n), b = a + 1;
    const int row = map.axis_dim[n->input_count][0], column = map.axis_dim[n->input_count][1];
    const bool row_in_a = axis_of(n, &map, a, row) >= 0, row_in_b = axis_of(n, &map, b, row) >= 0;
    const bool column_in_a = axis_of(n, &map, a, column) >= 0,
               column_in_b = axis_of(n, &map, b, column) >= 0;
    return row_in_a != row_in_b && column_in_a != column_in_b && row_in_a == column_in_b;
}

// --- reading ---

static Value *add_product(Builder *b, const Node *n, Value *sum, Value *const factor[2]) {
    Value *in[3] = {sum, factor[0], factor[1]};
    const Attr *spec = node_attr(n, "spec");
    return sum ? build_op(b, OP_EINSUM_ADD, in, 3, spec, 1)
               : build_op(b, OP_EINSUM, in + 1, 2, spec, 1);
}

// Rows are summed. A sum that would be rounded to less than f32 at each tile is f32 until its end.
static Value *read_summed(const TileRead *r, const IndexMap *map) {
    const int first = first_factor(r->n), other = other_factor(r->n, r->input);
    const int axis = axis_of(r->n, map, other, map->axis_dim[r->input][0]);
    const int64_t dim = r->n->input[r->input]->type.dim[0];
    const Type *result = &r->n->result[0].type;
    Value *sum = first ? r->in[0] : NULL;
    if (sum)
        sum = build_cast(r->b, sum, DT_F32);
    else if (result->dtype != DT_F32)
        sum = build_constant(r->b, type_with_dtype(*result, DT_F32), 0);
    for (int64_t start = 0, stop; start < dim; start = stop) {
        stop = slice_end(start, r->rows, dim);
        Value *factor[2];
        factor[r->input - first] = r->tile(r->user, start, stop);
        factor[other - first] = build_slice(r->b, r->in[other], axis, start, stop);
        sum = add_product(r->b, r->n, sum, factor);
    }
    return build_cast(r->b, sum, result->dtype);
}

// Rows are an axis of the result.
static Value *read_free(const TileRead *r, const IndexMap *map) {
    const int first = first_factor(r->n), other = other_factor(r->n, r->input);
    const int axis = axis_of(r->n, map, r->n->input_count, map->axis_dim[r->input][0]);
    const int64_t dim = r->n->input[r->input]->type.dim[0];
    Value **part = arena_array(r->scratch, Value *, dim / r->rows + 1);
    int parts = 0;
    for (int64_t start = 0, stop; start < dim; start = stop) {
        stop = slice_end(start, r->rows, dim);
        Value *factor[2];
        factor[r->input - first] = r->tile(r->user, start, stop);
        factor[other - first] = r->in[other];
        Value *sum = first ? build_slice(r->b, r->in[0], axis, start, stop) : NULL;
        part[parts++] = add_product(r->b, r->n, sum, factor);
    }
    return build_concat(r->b, part, parts, axis);
}

// i - start, the same for all i.
static Value *moved_index(Builder *b, Value *index, int64_t start) {
    return start == 0
               ? index
               : build_binary(b, OP_SUB, index, build_constant(b, index->type, (double)start));
}

// start <= i
static Value *reaches(Builder *b, Value *index, int64_t start) {
    return build_binary(b, OP_LE, build_constant(b, index->type, (double)start), index);
}

// An index before a tile reads that tile's first row, which the tile of its own has replaced
// before it is looked at: select keeps what earlier tiles gave.
static Value *read_rows(const TileRead *r) {
    const Type *result = &r->n->result[0].type;
    const int64_t dim = r->n->input[0]->type.dim[0];
    Value *index = r->in[1], *out = NULL;
    int axes[RANK_MAX];
    for (int i = 0; i < RANK_MAX; i++)
        axes[i] = i;
    for (int64_t start = 0, stop; start < dim; start = stop) {
        stop = slice_end(start, r->rows, dim);
        Value *in[2] = {r->tile(r->user, start, stop), moved_index(r->b, index, start)};
        Value *found = build_op(r->b, OP_GATHER, in, 2, NULL, 0);
        if (out) {
            Value *here = build_broadcast(r->b, reaches(r->b, index, start), result, axes);
            found = build_op(r->b, OP_SELECT, (Value *[3]){here, found, out}, 3, NULL, 0);
        }
        out = found;
    }
    return out;
}

Value *tile_read(const TileRead *r) {
    if (r->n->op == OP_GATHER)
        return read_rows(r);
    IndexMap map;
    CHECK(op_info(r->n->op)->map(r->n, &map));
    return is_reduced(&map, map.axis_dim[r->input][0]) ? read_summed(r, &map) : read_free(r, &map);
}

// --- making ---

// An index of other tiles becomes -1, which adds nothing; those past the end belong to the last.
static Value *make_added_rows(Builder *b, const Node *n, Value *const *in, int64_t start,
                              int64_t stop) {
    Value *index = moved_index(b, in[1], start);
    if (stop < n->result[0].type.dim[0]) {
        Value *none = build_constant(b, index->type, -1);
        index =
            build_op(b, OP_SELECT, (Value *[3]){reaches(b, in[1], stop), none, index}, 3, NULL, 0);
    }
    return build_op(b, OP_SCATTER_ADD, (Value *[3]){in[0], index, in[2]}, 3, NULL, 0);
}

Value *tile_make(Builder *b, const Node *n, Value *const *in, int64_t start, int64_t stop) {
    if (n->op == OP_SCATTER_ADD)
        return make_added_rows(b, n, in, start, stop);
    IndexMap map;
    CHECK(op_info(n->op)->map(n, &map));
    const int first = first_factor(n), row = map.axis_dim[n->input_count][0];
    Value *factor[2];
    for (int i = 0; i < 2; i++) {
        const int axis = axis_of(n, &map, first + i, row);
        factor[i] = axis < 0 ? in[first + i] : build_slice(b, in[first + i], axis, start, stop);
    }
    return add_product(b, n, first ? in[0] : NULL, factor);
}
