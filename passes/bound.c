// Limits of index inputs: which i32 arguments are used as indices, and into how many rows.
//
// One walk backwards over an entry. A table lookup demands indices below its number of rows, a
// cross entropy targets below its number of classes (negative ones are allowed: they count 0), and
// slices, updates and attention that start at a position known at run time that all they touch
// exists. A demand on a view's or concat's result is one on its operands, one on x - c one on x; of
// several the smallest counts.
// What arrives at an argument is written into Input.bound for the loader to check, so that a token
// outside the vocabulary is an error in the data and not a silently clamped row. Other arithmetic
// on the way ends a demand: nothing is promised then. Cost: O(nodes).
#include "ir/check.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

typedef struct {
    int64_t limit;     // indices are below it; 0: no demand
    bool not_negative; // some use can't take negative ones
} Demand;

static void demand(Demand *of, const Value *v, Demand d) {
    Demand *old = &of[v->id];
    if (d.limit == 0 || v->type.dtype != DT_I32)
        return;
    if (old->limit == 0 || d.limit < old->limit)
        old->limit = d.limit;
    old->not_negative = old->not_negative || d.not_negative;
}

// What n itself demands of its operands.
static void own_demands(Demand *of, const Node *n) {
    const Type *first = n->input_count ? &n->input[0]->type : NULL;
    switch ((int)n->op) { // the operators that index by a value
    case OP_GATHER:
    case OP_SCATTER_ADD:
        demand(of, n->input[1], (Demand){first->dim[0], true});
        break;
    case OP_TAKE:
        demand(of, n->input[1], (Demand){first->dim[first->rank - 1], true});
        break;
    case OP_CROSS_ENTROPY:
    case OP_CROSS_ENTROPY_GRAD:
        demand(of, n->input[1], (Demand){first->dim[first->rank - 1], false});
        break;
    case OP_DYNAMIC_SLICE:
    case OP_DYNAMIC_UPDATE: {
        const int axis = (int)node_int(n, "axis", 0);
        const bool slice = n->op == OP_DYNAMIC_SLICE;
        const Type *part = slice ? &n->result[0].type : &n->input[1]->type;
        demand(of, n->input[slice ? 1 : 2], (Demand){first->dim[axis] - part->dim[axis] + 1, true});
        break;
    }
    case OP_ATTENTION:
        if (attention_offset(n) >= 0)
            demand(of, n->input[3], (Demand){n->input[1]->type.dim[2] - first->dim[2] + 1, true});
        break;
    default:
        break;
    }
}

// x - c below a limit: x below limit + c. That x is at least c, and not just 0, is not said.
static void pass_difference(Demand *of, const Node *n) {
    double c;
    const Demand d = of[n->result[0].id];
    if (n->op == OP_SUB && d.limit > 0 && n->result[0].type.dtype == DT_I32 &&
        match_uniform(n->input[1], &c) && c >= 0 && c <= INT32_MAX)
        demand(of, n->input[0], (Demand){d.limit + (int64_t)c, d.not_negative});
}

// Operands whose elements are the result's, only somewhere else.
static int passed_operands(const Node *n) {
    if (n->op == OP_DYNAMIC_SLICE)
        return 1;
    if (n->op == OP_PAD) // adds zeros, which every table has
        return 1;
    return op_info(n->op)->lowering == LOWER_VIEW ? n->input_count : 0;
}

static PassResult bound_graph(Graph *g, PassCtx *cx) {
    Demand *of = arena_array(cx->scratch, Demand, g->value_limit);
    for (int i = g->node_count - 1; i >= 0; i--) {
        const Node *n = g->node[i];
        own_demands(of, n);
        pass_difference(of, n);
        for (int k = 0; k < passed_operands(n); k++)
            for (int r = 0; r < n->result_count; r++)
                demand(of, n->input[k], of[n->result[r].id]);
    }
    PassResult result = PASS_SAME;
    for (int i = 0; i < g->input_count; i++) {
        Input *in = &g->input[i];
        const Demand d = of[in->value->id];
        if (d.limit == 0 || (in->source != FROM_DATA && in->source != FROM_CALLER))
            continue;
        const int64_t bound = d.not_negative ? d.limit : -d.limit;
        if (in->bound == bound)
            continue;
        in->bound = bound;
        result = PASS_CHANGED;
        remark_add(cx, "bound", in->value->name, "values must be below %lld%s", (long long)d.limit,
                   d.not_negative ? "" : "; negative ones are allowed");
    }
    return result;
}

PassResult pass_bound(Module *m, PassCtx *cx) {
    return pass_each_entry(m, cx, bound_graph);
}
