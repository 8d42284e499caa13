// Sums over micro-batches in far memory: each comes in, is added to, and goes out again, in every
// micro-batch.
//
//   s = accumulate(einsum(dy, x))         s = accumulate(einsum(dy, x)), far
//   t = accumulate(g)               =>    for each slice: t[i] = accumulate(g[i]), far
//   ... norm of s and t                   ... fetch(s[i]) * fetch(s[i]), summed row by row
//   w' = sgd(w, scale * s)                for each slice: sgd(fetch(w[i]), scale * fetch(s[i]))
//
// A product that adds straight to its sum goes on doing so, to a copy of all of it, for adding the
// finished product would round otherwise; where the weight is met in tiles each tile of the product
// has a sum of its own. Everything else is added slice by slice, the slices that the update reads.
// One piece of a sum is one `accumulate`: storage makes of it a copy in, the kernel, and a copy out
// (passes/storage_steps.c).
//
// On entry: states, commits and chosen weights are known. far_sums_find marks sums that updates in
// slices read and that no caller and no commit does. On exit: a marked sum is read by fetch only.
// A norm's squares are summed slice by slice on a CPU, where rows have the same bits in any number;
// on a GPU the sum is fetched whole for them, as it is for any other reader. Cost: O(slices).
#include "passes/far_sums.h"

#include "ir/check.h"
#include "passes/far_gradients.h"
#include "passes/far_slices.h"
#include "passes/far_updates.h"
#include "passes/far_weights.h"

#include <string.h>

// A part of a sum, by an `accumulate` of its own.
typedef struct FarPiece FarPiece;
struct FarPiece {
    Value *value; // far
    int64_t start[RANK_MAX], stop[RANK_MAX];
    FarPiece *next;
};

struct FarSum {
    int64_t rows;               // of a slice, where the weight is met in tiles; 0: by bytes
    FarPiece *first, *last;     // NULL: not built yet
    const Node *square, *total; // what a norm makes of it: s * s, and the sum of each row
    Value *near;                // all of it, fetched; NULL: nobody asked
};

bool far_sum_is(const FarEntry *far, const Value *v) {
    return far_entry_is_old(far, v) && far->sum[v->id];
}

// --- which sums ---

static bool is_result(const FarEntry *far, const Value *v) {
    for (int i = 0; i < far->g->result_count; i++)
        if (far->g->result[i].value == v)
            return true;
    return false;
}

// What is scaled between the sum and its update is computed with the update's slices.
static void mark_scaled(FarEntry *far, const Value *read, const Value *v) {
    while (read != v) {
        far->sum_under[read->id] = v;
        const Node *n = read->def;
        for (int k = 0; k < n->input_count && read->def == n; k++)
            if (operand_unscaled(far, n->input[k]) == v)
                read = n->input[k];
        CHECK(read->def != n);
    }
}

// read: by an update in slices of that many rows.
static void mark(FarEntry *far, const Value *read, int64_t rows, size_t least) {
    const Value *v = operand_unscaled(far, read);
    if (v->def->op != OP_ACCUMULATE || type_bytes(&v->type) < least || far->is_committed[v->id] ||
        is_result(far, v))
        return;
    mark_scaled(far, read, v);
    if (far->sum[v->id])
        return; // another update's, too
    far->sum[v->id] = arena_new(far->cx->scratch, FarSum);
    far->sum[v->id]->rows = rows;
    far->sum_of[v->def->input[0]->id] = v->def;
    if (rows)
        far_gradient_mark_made(far, operand_unscaled(far, v->def->input[0]), rows);
}

// Rows of the sum that are summed each by itself, as a vector, which norms are made of.
static void find_row_sums(FarEntry *far) {
    for (int i = 0; i < far->rw.old_count && far->cx->options->gpu.count == 0; i++) {
        const Node *n = far->rw.old[i];
        const Value *rows = far_gradient_squared(far, n);
        const Value *v = rows && rows->def->op == OP_RESHAPE ? rows->def->input[0] : rows;
        if (v && far_sum_is(far, v) && v->type.rank > 1 &&
            rows->type.dim[1] == v->type.dim[v->type.rank - 1]) {
            const Node *square = n->input[0]->def;
            far->sum[v->id]->square = square;
            far->sum[v->id]->total = n;
            far->sum_under[square->result[0].id] = far->sum_under[n->result[0].id] = v;
        }
    }
}

void far_sums_find(FarEntry *far, size_t least) {
    for (int i = 0; i < far->rw.old_count && far->g->repeat > 1; i++) {
        const Node *n = far->rw.old[i];
        for (int k = 0; far_update_is_sliced(far, n) && k < n->input_count; k++)
            if (type_equal(&n->input[k]->type, &n->result[0].type))
                mark(far, n->input[k], far_weight_tile_rows(far, n->input[0]), least);
    }
    find_row_sums(far);
}

// --- adding ---

// What storage lets add straight to its sum (find_direct), or might.
static bool adds_straight(const FarEntry *far, const Value *v) {
    double base;
    const bool product =
        v->def->op == OP_EINSUM ||
        (v->def->op == OP_EINSUM_ADD && match_uniform(v->def->input[0], &base) && base == 0);
    return product && far->use_count[v->id] == 1;
}

static void add_piece(OperandCut *c, Value *part, const int64_t *start, const int64_t *stop) {
    FarSum *s = c->far->sum[c->n->result[0].id];
    const Attr attr = attr_int("far", 1);
    const size_t size = sizeof *start * (size_t)part->type.rank;
    FarPiece *p = arena_new(c->far->cx->scratch, FarPiece);
    memcpy(p->start, start, size);
    memcpy(p->stop, stop, size);
    p->value = build_op(&c->b, OP_ACCUMULATE, &part, 1, &attr, 1);
    if (s->last)
        s->last->next = p;
    else
        s->first = p;
    s->last = p;
    c->far->counts.sum_pieces++;
}

static void add_slice(void *user, const int64_t *start, const int64_t *stop, Value **out) {
    OperandCut *c = user;
    out[0] = operand_slice(c, c->n->input[0], start, stop);
    add_piece(c, out[0], start, stop);
}

// What make builds of all slices joined, which is dropped again where nobody reads it.
static Value *build_slices(OperandCut *c, const Value *v, SliceFn *make, void *user) {
    Value *out = NULL;
    const Slices slices = {.b = &c->b,
                           .type = v->type,
                           .bytes = c->far->slice_bytes,
                           .rows = c->far->sum[v->id]->rows,
                           .count = 1,
                           .make = make,
                           .user = user,
                           .scratch = c->far->cx->scratch};
    slices_build(&slices, &out);
    return out;
}

static OperandCut cut_of(FarEntry *far, const Node *n) {
    return (OperandCut){.far = far, .n = n, .b = rewrite_builder(far->g, n)};
}

// n: the `accumulate` as it was.
static void build_sum(FarEntry *far, const Node *n) {
    const Value *v = &n->result[0];
    static const int64_t start[RANK_MAX] = {0};
    OperandCut c = cut_of(far, n);
    far->counts.sums++;
    if (!far->is_made[n->input[0]->id] && adds_straight(far, n->input[0])) {
        add_piece(&c, rewrite_resolve(&far->rw, n->input[0]), start, v->type.dim);
        far->sum[v->id]->first->value->name = v->name;
    } else {
        build_slices(&c, v, add_slice, &c);
    }
}

void far_sums_add(FarEntry *far, const Node *n) {
    for (int k = 0; k < n->result_count; k++) {
        const Node *sum = far->sum_of[n->result[k].id];
        if (sum && !far->sum[sum->result[0].id]->first)
            build_sum(far, sum);
    }
}

// --- reading ---

// A part that was not summed as a piece (an update that is cut otherwise) comes with all of it.
static Value *fetch_part(OperandCut *c, const FarSum *s, const int64_t *start,
                         const int64_t *stop) {
    const size_t size = sizeof *start * (size_t)c->n->result[0].type.rank;
    for (const FarPiece *p = s->first; p; p = p->next)
        if (memcmp(p->start, start, size) == 0 && memcmp(p->stop, stop, size) == 0)
            return build_unary(&c->b, OP_FETCH, p->value);
    return s->first->next
               ? NULL
               : build_unary(&c->b, OP_FETCH, slice_of(&c->b, s->first->value, start, stop));
}

static void fetch_slice(void *user, const int64_t *start, const int64_t *stop, Value **out) {
    OperandCut *c = user;
    out[0] = fetch_part(c, c->far->sum[c->n->result[0].id], start, stop);
}

// All of the sum, once for whoever reads it whole.
static Value *fetch_sum(FarEntry *far, const Value *v) {
    FarSum *s = far->sum[v->id];
    OperandCut c = cut_of(far, v->def);
    c.b.origin.phase = PHASE_UPDATE;
    if (!s->near)
        s->near = s->first->next ? build_slices(&c, v, fetch_slice, &c)
                                 : build_unary(&c.b, OP_FETCH, s->first->value);
    return s->near;
}

Value *far_sum_slice(OperandCut *c, Value *v, const int64_t *start, const int64_t *stop) {
    Value *part = fetch_part(c, c->far->sum[v->id], start, stop);
    return part ? part : slice_of(&c->b, fetch_sum(c->far, v), start, stop);
}

void far_sums_fetch_inputs(FarEntry *far, Node *n) {
    for (int k = 0; k < n->input_count; k++)
        if (far_sum_is(far, n->input[k]))
            n->input[k] = fetch_sum(far, n->input[k]);
}

// --- norms ---

// The sums of rows, in order.
typedef struct {
    OperandCut cut; // of the accumulate
    Value **part;
    int count;
    bool cuts_rows; // a slice has a part of a row, whose sum another kernel would round
} RowSums;

static void sum_rows(void *user, const int64_t *start, const int64_t *stop, Value **out) {
    RowSums *r = user;
    Builder *b = &r->cut.b;
    const Value *v = &r->cut.n->result[0];
    const int64_t columns = v->type.dim[v->type.rank - 1];
    out[0] = far_sum_slice(&r->cut, r->cut.n->result, start, stop);
    r->cuts_rows = r->cuts_rows || out[0]->type.dim[v->type.rank - 1] != columns;
    if (r->cuts_rows)
        return;
    Value *rows = build_reshape(b, out[0], 2,
                                (const int64_t[]){type_count(&out[0]->type) / columns, columns});
    r->part[r->count++] =
        build_reduce_sum(b, build_binary(b, OP_MUL, rows, rows), (const int[]){1}, 1);
}

// False where rows are cut: then all is read whole, as by anyone else.
static bool build_row_sums(FarEntry *far, const Value *v) {
    FarSum *s = far->sum[v->id];
    RowSums r = {.cut = cut_of(far, v->def)};
    r.cut.b = rewrite_builder(far->g, s->total);
    int64_t slices = 1;
    for (int i = 0; i + 1 < v->type.rank; i++)
        slices *= v->type.dim[i];
    r.part = arena_array(far->cx->scratch, Value *, slices);
    build_slices(&r.cut, v, sum_rows, &r);
    if (!r.cuts_rows)
        rewrite_replace(&far->rw, &s->total->result[0], build_concat(&r.cut.b, r.part, r.count, 0));
    return !r.cuts_rows;
}

bool far_sum_build(FarEntry *far, const Node *n) {
    const Value *v = n->result_count == 1 ? &n->result[0] : NULL;
    if (!v)
        return false;
    if (far->sum[v->id]) {
        if (!far->sum[v->id]->first)
            build_sum(far, n);
        return true;
    }
    const Value *sum = far->sum_under[v->id];
    if (!sum)
        return false;
    if (n == far->sum[sum->id]->square)
        return build_row_sums(far, sum);
    return n != far->sum[sum->id]->total || rewrite_resolve(&far->rw, n->result) != n->result;
}
