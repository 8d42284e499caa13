// Where slices of operands come from. In this order:
//
//   far state                    fetch(w[slice])
//   a view of one                (view of fetch(w))[slice]
//   a gradient that waits        fetch(sent[slice])
//   a sum over micro-batches     fetch(its piece)
//   a gradient made in tiles     its maker's product or sum, of these rows
//   a scaled or cast gradient    the same of the slice of what is scaled
//   any other value              v[slice]
//
// On entry: the walk has built whatever old values the operand is made of. On exit: nothing is
// whole that need not be; otherwise a scaled gradient, say, would first be written as a whole. All
// of it is elementwise or keeps rows apart, so every slice has the bits it has in the whole. Cost:
// O(nodes between the operand and what it is scaled from).
#include "passes/far_operands.h"

#include "ir/check.h"
#include "passes/far_fetches.h"
#include "passes/far_slices.h"
#include "passes/far_sums.h"
#include "passes/far_tiles.h"

// SCALED_INPUTS_MAX: of elementwise nodes. MAKER_INPUTS_MAX: of products and sums with a summand.
enum { SCALED_INPUTS_MAX = 8, MAKER_INPUTS_MAX = 3 };

// Whether one operand alone has as many elements as the node, the others are scalars in its shape.
static bool is_scaled(const FarEntry *far, const Value *v) {
    const Node *n = v->def;
    if (!far_entry_is_old(far, v) || !(op_info(n->op)->flags & OPF_ELEMENTWISE) ||
        far->use_count[v->id] != 1)
        return false;
    int large = 0;
    for (int i = 0; i < n->input_count; i++)
        large += type_count(&match_viewed(n->input[i])->type) > 1;
    return large <= 1;
}

const Value *operand_unscaled(const FarEntry *far, const Value *v) {
    while (is_scaled(far, v)) {
        const Node *n = v->def;
        const Value *large = NULL;
        for (int i = 0; i < n->input_count; i++)
            if (type_count(&match_viewed(n->input[i])->type) > 1)
                large = n->input[i];
        if (!large)
            return v;
        v = large;
    }
    return v;
}

bool operand_has_summand(const Node *n) {
    return n->op == OP_EINSUM_ADD || n->op == OP_SCATTER_ADD;
}

Value *operand_make_rows(OperandCut *c, const Node *maker, const int64_t *start,
                         const int64_t *stop) {
    Value *in[MAKER_INPUTS_MAX];
    double value;
    if (maker->op == OP_CAST)
        return build_cast(&c->b, operand_make_rows(c, maker->input[0]->def, start, stop),
                          maker->result[0].type.dtype);
    CHECK(maker->input_count <= MAKER_INPUTS_MAX);
    for (int i = 0; i < maker->input_count; i++)
        in[i] = rewrite_resolve(&c->far->rw, maker->input[i]);
    if (operand_has_summand(maker) && match_uniform(maker->input[0], &value)) {
        Type t = maker->input[0]->type;
        t.dim[0] = stop[0] - start[0];
        in[0] = build_constant(&c->b, t, value);
    } else if (operand_has_summand(maker)) {
        in[0] = operand_slice(c, maker->input[0], start, stop);
    }
    c->far->counts.tiles++;
    return tile_make(&c->b, maker, in, start[0], stop[0]);
}

static Value *slice_scaled(OperandCut *c, const Node *n, const int64_t *start,
                           const int64_t *stop) {
    Value *in[SCALED_INPUTS_MAX];
    CHECK(n->input_count <= SCALED_INPUTS_MAX);
    for (int i = 0; i < n->input_count; i++)
        in[i] = operand_slice(c, n->input[i], start, stop);
    return build_op(&c->b, n->op, in, n->input_count, n->attr, n->attr_count);
}

static Value *fetch_slice(OperandCut *c, Value *v, const int64_t *start, const int64_t *stop) {
    return build_unary(&c->b, OP_FETCH, slice_of(&c->b, v, start, stop));
}

Value *operand_slice(OperandCut *c, Value *v, const int64_t *start, const int64_t *stop) {
    FarEntry *far = c->far;
    const bool is_state = far_entry_state(far, v) != NULL;
    // A rate, which may be a part of some other state.
    if (!type_same_shape(&v->type, &c->n->result[0].type))
        return is_state ? far_fetch_value(far, v, c->n, 0) : rewrite_resolve(&far->rw, v);
    if (far_sum_is(far, v))
        return far_sum_slice(c, v, start, stop);
    if (is_state && v->def->op == OP_STATE)
        return fetch_slice(c, v, start, stop);
    if (is_state)
        return slice_of(&c->b, far_fetch_value(far, v, c->n, 0), start, stop);
    if (far_entry_is_old(far, v) && far->sent_copy[v->id])
        return fetch_slice(c, far->sent_copy[v->id], start, stop);
    if (far_entry_is_old(far, v) && far->is_made[v->id])
        return operand_make_rows(c, v->def, start, stop);
    if (is_scaled(far, v))
        return slice_scaled(c, v->def, start, stop);
    return slice_of(&c->b, rewrite_resolve(&far->rw, v), start, stop);
}
