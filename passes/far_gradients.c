// Gradients of far weights: which wait in far memory, and which are made in tiles.
//
// A gradient that a norm of all of them reads waits from then on until the norm is known. On the
// third rung it is made whole and goes away as soon as it is known:
//
//   g = einsum(dy, x)                     g = einsum(dy, x);  g1 = offload(g)
//   ... norm of g and others        =>    ... norm
//   w' = sgd(w, scale * g)                for each slice: sgd(fetch(w[i]), scale * fetch(g1[i]))
//
// On the last rung those of weights that are met in tiles are never whole:
//
//   g = einsum(dy, x)                     for each tile: t = einsum(dy[i], x);  g1[i] = offload(t)
//   q = reduce_sum(g * g, axes = [1])                    q[i] = reduce_sum(t * t, axes = [1])
//
// What does not wait is made where it is read, by its update's slices: there its own operands are
// still at hand. Sums that a gradient is made of (the weight has several readers) wait likewise.
//
// A table's gradient is mostly zeros where only lookups read the table: a few rows are added to
// them. That is made wherever it is read, from the first rung on: slice by slice once for the norm
// and again for the update. What is kept for that are the rows.
//
//   g = scatter_add(0, i, dy)             for each slice: t = scatter_add(0, i - start, dy)
//   q = reduce_sum(g * g, axes = [1])  =>                 q[i] = reduce_sum(t * t, axes = [1])
//   w' = sgd(w, scale * g)                for each slice: sgd(w[i], scale * scatter_add(0, ...))
//
// On entry: states, commits and, for tiles, chosen weights are known. On exit of the finds:
// what waits and what is made is marked, and the walk has but to ask. Gradients of several
// micro-batches are sums that change with each: they are far_sums.c's. Cost: O(nodes + tiles).
#include "passes/far_gradients.h"

#include "passes/far_operands.h"
#include "passes/far_slices.h"
#include "passes/far_tiles.h"
#include "passes/far_updates.h"
#include "passes/far_weights.h"

// --- which wait ---

static bool should_wait(const FarEntry *far, const Value *v, size_t least) {
    return far->use_count[v->id] > 1 && !far_entry_state(far, v) &&
           op_info(v->def->op)->family != FAMILY_LEAF && type_bytes(&v->type) >= least;
}

// Updates behind the backward pass: a fused update is applied at once.
void far_gradients_find_waiting(FarEntry *far, size_t least) {
    bool passed = far->g->repeat > 1; // the end of the backward pass
    for (int i = far->rw.old_count - 1; i >= 0 && !passed; i--) {
        const Node *n = far->rw.old[i];
        passed = n->phase == PHASE_BACKWARD;
        for (int k = 0; far_update_is_sliced(far, n) && k < n->input_count; k++) {
            if (!type_same_shape(&n->input[k]->type, &n->result[0].type))
                continue;
            const Value *v = operand_unscaled(far, n->input[k]);
            far->waits[v->id] = should_wait(far, v, least);
        }
    }
}

void far_gradients_send(FarEntry *far, const Node *n) {
    for (int k = 0; k < n->result_count; k++) {
        Value *v = &n->result[k];
        if (!far->waits[v->id])
            continue;
        Builder b = rewrite_builder(far->g, n);
        far->sent_copy[v->id] = build_unary(&b, OP_OFFLOAD, v);
        far->counts.waiting_gradients++;
    }
}

// --- which are made in tiles ---

const Value *far_gradient_squared(const FarEntry *far, const Node *n) {
    const Node *square = n->op == OP_REDUCE_SUM ? n->input[0]->def : NULL;
    int count = 0;
    const int64_t *axes = square ? node_ints(n, "axes", &count) : NULL;
    const bool rows = count == 1 && axes[0] == 1 && n->input[0]->type.rank == 2;
    return rows && square->op == OP_MUL && square->input[0] == square->input[1] &&
                   far->use_count[square->result[0].id] == 1
               ? square->input[0]
               : NULL;
}

static void find_square_sums(FarEntry *far) {
    for (int i = 0; i < far->rw.old_count; i++) {
        const Value *v = far_gradient_squared(far, far->rw.old[i]);
        if (v)
            far->square_sums[v->id] = far->rw.old[i];
    }
}

// uses: of v, but those that tiles do.
static bool is_makeable(const FarEntry *far, const Value *v, int uses) {
    const Node *n = v->def;
    if (uses != 1 || far_entry_state(far, v))
        return false;
    if (n->op == OP_CAST)
        return is_makeable(far, n->input[0], far->use_count[n->input[0]->id]);
    if (!tile_maker(n))
        return false;
    for (int k = 0; k < n->input_count; k++)
        if (far_entry_state(far, n->input[k]) || far->uncast_state[n->input[k]->id])
            return false;
    return true;
}

// A gradient that only its update, and a norm, reads, and the sums it is made of.
static void mark_made(FarEntry *far, const Value *v, bool waits, int64_t rows) {
    const bool norm = far->square_sums[v->id] != NULL;
    if (!is_makeable(far, v, far->use_count[v->id] - (norm ? 2 : 0)))
        return;
    far->waits[v->id] = waits || norm;
    for (;;) {
        far->is_made[v->id] = true;
        far->made_tile_rows[v->id] = rows;
        if (v->def->op == OP_CAST) {
            v = v->def->input[0];
            continue;
        }
        if (!operand_has_summand(v->def) ||
            !is_makeable(far, v->def->input[0], far->use_count[v->def->input[0]->id]))
            return;
        v = v->def->input[0];
        far->waits[v->id] = true;
    }
}

void far_gradient_mark_made(FarEntry *far, const Value *v, int64_t rows) {
    mark_made(far, v, false, rows);
}

void far_gradients_find_made(FarEntry *far) {
    const bool fused = far_updates_are_fused(far);
    find_square_sums(far);
    for (int i = 0; i < far->rw.old_count && far->g->repeat == 1; i++) {
        const Node *n = far->rw.old[i];
        const int64_t rows =
            far_update_is_sliced(far, n) ? far_weight_tile_rows(far, n->input[0]) : 0;
        for (int k = 0; rows && k < n->input_count; k++)
            if (type_same_shape(&n->input[k]->type, &n->result[0].type))
                mark_made(far, operand_unscaled(far, n->input[k]), !fused, rows);
    }
}

// Rows added to nothing.
static bool is_scattered(const Value *v) {
    double base;
    while (v->def->op == OP_CAST)
        v = v->def->input[0];
    return v->def->op == OP_SCATTER_ADD && match_uniform(v->def->input[0], &base) && base == 0;
}

// On a GPU a slice's rows may be summed otherwise than the whole's.
void far_gradients_find_scattered(FarEntry *far, size_t least) {
    find_square_sums(far);
    for (int i = 0; i < far->rw.old_count && far->g->repeat == 1; i++) {
        const Node *n = far->rw.old[i];
        const Value *v = far_update_gradient(far, n);
        if (!v || !is_scattered(v) || type_bytes(&v->type) < least ||
            (far->square_sums[v->id] && far->cx->options->gpu.count > 0))
            continue;
        const int64_t row = (int64_t)type_bytes(&v->type) / v->type.dim[0];
        if (row > (int64_t)far->slice_bytes)
            continue; // it would be cut within rows
        const int64_t tile = far->made_tile_rows[v->id];
        mark_made(far, v, false, tile ? tile : (int64_t)far->slice_bytes / row);
        far->waits[v->id] = false;
        far->counts.scattered += far->is_made[v->id];
    }
}

bool far_gradient_is_made(const FarEntry *far, const Node *n) {
    return n->result_count == 1 && far->is_made[n->result[0].id];
}

bool far_gradient_square_is_made(const FarEntry *far, const Node *n) {
    if (n->op == OP_REDUCE_SUM)
        return rewrite_resolve(&far->rw, &n->result[0]) != &n->result[0];
    return n->op == OP_MUL && far->is_made[n->input[0]->id];
}

// --- making them ---

static Value *sum_squares(OperandCut *c, Value *rows) {
    return build_reduce_sum(&c->b, build_binary(&c->b, OP_MUL, rows, rows), (int[]){1}, 1);
}

// One tile of a gradient that waits, and the sums of its rows' squares where a norm wants them.
static void make_waiting_rows(void *user, const int64_t *start, const int64_t *stop, Value **out) {
    OperandCut *c = user;
    Value *rows = operand_make_rows(c, c->n, start, stop);
    out[0] = build_unary(&c->b, OP_OFFLOAD, rows);
    if (c->far->square_sums[c->n->result[0].id])
        out[1] = sum_squares(c, rows);
}

// Of one that doesn't, these sums alone.
static void make_row_sums(void *user, const int64_t *start, const int64_t *stop, Value **out) {
    OperandCut *c = user;
    out[0] = sum_squares(c, operand_make_rows(c, c->n, start, stop));
}

void far_gradient_make(FarEntry *far, const Node *n) {
    const Value *v = &n->result[0];
    Value *out[2];
    Node *sums = far->square_sums[v->id];
    const bool waits = far->waits[v->id];
    if (!waits && !sums)
        return;
    OperandCut c = {.far = far, .n = n, .b = rewrite_builder(far->g, n)};
    const Slices slices = {.b = &c.b,
                           .type = v->type,
                           .rows = far->made_tile_rows[v->id],
                           .count = waits && sums ? 2 : 1,
                           .make = waits ? make_waiting_rows : make_row_sums,
                           .user = &c,
                           .scratch = far->cx->scratch};
    slices_build(&slices, out);
    if (sums)
        rewrite_replace(&far->rw, &sums->result[0], out[waits]);
    if (!waits)
        return;
    far->sent_copy[v->id] = out[0];
    far->counts.waiting_gradients++;
}
