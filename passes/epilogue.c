// Epilogues: what a GPU's product library does to a product before it stores it.
//
//   add(einsum(a, b), broadcast(v))  =>  einsum_add(broadcast(v), a, b) {row = 1}
//
// where v lies along the last axes of the result, nobody else reads the product, the target is a
// GPU, and somebody reads the sum who can't compute it on the way: attention, another product.
// Where all are elementwise or rowwise, the addition is part of their kernel and costs nothing as
// it is, while a row in bf16 would first have to be written.
//
// The mark says that the summand may be added as a row of the product, which costs no pass over
// memory (product_takes_row decides whether strides allow it; where they don't, the summand is
// written out first and added to, which costs what the two operators did). The sum is rounded once
// instead of twice, in bf16 too, whichever way it goes: so the pass is part of what a GPU's plan
// means, and comes before anything that looks at budgets.
//
// CPUs' libraries add no rows: marks that came with a graph's text are taken off. On exit marks are
// where the target has a use for them. Cost: O(nodes).
//
// Not done: activations and their gradients, sums of gradients for a bias.
#include "passes/pass.h"
#include "passes/rewrite.h"

// The broadcast's operand covers the last axes of the result and stands still along the others.
static bool is_row(const Value *v) {
    const Node *n = v->def;
    double uniform;
    if (n->op != OP_BROADCAST || match_uniform(v, &uniform))
        return false;
    const Type *from = &n->input[0]->type;
    int count;
    const int64_t *axes = node_ints(n, "axes", &count);
    int last = v->type.rank - 1;
    for (int i = from->rank - 1; i >= 0; i--) {
        if (from->dim[i] == 1)
            continue;
        while (last >= 0 && v->type.dim[last] == 1)
            last--;
        if (axes[i] != last)
            return false;
        last--;
    }
    // All of it: axis `last` and those before are the rows.
    return last < v->type.rank - 1 && last >= 0;
}

// By value id: somebody needs it in memory, and not only in registers of a kernel that could as
// well compute it.
static const bool *find_whole(const Graph *g, Arena *scratch) {
    bool *whole = arena_array(scratch, bool, g->value_limit + 1);
    for (int i = 0; i < g->result_count; i++)
        whole[g->result[i].value->id] = true;
    for (int i = 0; i < g->commit_count; i++)
        whole[g->commit[i].value->id] = true;
    for (int i = g->node_count - 1; i >= 0; i--) {
        const Node *n = g->node[i];
        const OpLowering lowering = op_info(n->op)->lowering;
        bool reads =
            lowering != LOWER_SCALAR && lowering != LOWER_ROWS && lowering != LOWER_COLUMNS;
        // A view is read by whoever reads what it shows.
        for (int r = 0; r < n->result_count && match_view(n); r++)
            reads = (r > 0 && reads) || whole[n->result[r].id];
        for (int k = 0; k < n->input_count; k++)
            whole[n->input[k]->id] = whole[n->input[k]->id] || reads;
    }
    return whole;
}

static Value *add_row(Graph *g, const Node *n, const int *uses, uint32_t limit) {
    for (int i = 0; i < 2; i++) {
        const Value *x = n->input[i];
        Value *row = n->input[1 - i];
        if (x->def->op != OP_EINSUM || x->id >= limit || uses[x->id] != 1 || !is_row(row))
            continue;
        Builder b = rewrite_builder(g, n);
        Value *in[3] = {row, x->def->input[0], x->def->input[1]};
        const Attr attr[2] = {attr_text("spec", node_text(x->def, "spec", "")), attr_int("row", 1)};
        return build_op(&b, OP_EINSUM_ADD, in, 3, attr, 2);
    }
    return NULL;
}

static Value *without_row(Graph *g, const Node *n) {
    Builder b = rewrite_builder(g, n);
    const Attr spec = attr_text("spec", node_text(n, "spec", ""));
    return build_op(&b, OP_EINSUM_ADD, n->input, 3, &spec, 1);
}

static PassResult graph_epilogues(Graph *g, PassCtx *cx) {
    const bool gpu = cx->options && cx->options->gpu.count > 0;
    const int *uses = graph_use_counts(g, cx->scratch);
    const bool *whole = find_whole(g, cx->scratch);
    int rows = 0;
    bool changed = false;
    Rewrite rw;
    rewrite_begin(&rw, g, cx->scratch);
    for (int i = 0; i < rw.old_count; i++) {
        Node *n = rw.old[i];
        Value *by = NULL;
        rewrite_resolve_inputs(&rw, n);
        if (gpu && n->op == OP_ADD && whole[n->result[0].id])
            by = add_row(g, n, uses, rw.limit);
        else if (!gpu && n->op == OP_EINSUM_ADD && node_int(n, "row", 0) == 1)
            by = without_row(g, n);
        if (!by) {
            rewrite_keep(&rw, n);
            continue;
        }
        rewrite_replace(&rw, &n->result[0], by);
        changed = true;
        rows += gpu;
    }
    rewrite_end(&rw);
    if (!changed)
        return PASS_SAME;
    graph_drop_dead(g); // The products that stood alone.
    if (rows)
        remark_add(cx, "epilogue", g->name, "biases that products add themselves: %d", rows);
    return PASS_CHANGED;
}

PassResult pass_epilogue(Module *m, PassCtx *cx) {
    return pass_each_entry(m, cx, graph_epilogues);
}
