// Cheap values are computed again for the backward pass instead of being kept for it.
//
//   y = gelu(x)                                 y = gelu(x)
//   ... forward: einsum(y, w)                   ... forward: einsum(y, w)
//   ... backward: einsum(y, d), gelu_grad(x)    y' = gelu(x)
//                                               ... backward: einsum(y', d), gelu_grad(x)
//
// A value is computed again where that needs nothing that is not kept anyway: operands that
// backward nodes read themselves, state, inputs and constants, or others computed again. Then its
// bytes are saved from its last use in the forward to its first in the backward, at the price of
// reading the operands and writing it once more: a pointwise chain or a norm, never a product, a
// reduction to less, or a random draw. The same operator on the same operands gives the same bits.
// (What is dear to compute again is a question of budgets, and not this pass's.)
//
// On entry: gradients are built, simplification is over: sharing equal operators would undo this.
// On exit: the copies stand right before their first user, in the backward phase. Cost: O(nodes).
#include "ir/check.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

// DEPTH_MAX: operators of a chain. BYTES_MIN: below it a kernel's start outweighs the saving.
enum { DEPTH_MAX = 4, BYTES_MIN = 64 << 10 };

// What the backward pass will find of a forward value.
typedef enum {
    LOST, // nothing: no backward node reads it
    KEPT, // itself: read there, or there at any time
    AGAIN // a copy: computed again where wanted
} Fate;

typedef struct {
    PassCtx *cx;
    Rewrite rw;
    int *last_forward; // by value id: ordinal of the last forward node that reads it, through views
    int *first_backward; // of the first backward one; INT32_MAX where there is none
    Fate *fate;          // by value id
    int *depth;          // of AGAIN: operators from what is kept
    Value **copy;        // by value id: made so far
    int64_t saved;       // bytes
    int copies;
} Recompute;

// One walk from the end: what reads a view reads what it is a view of.
static void find_uses(Recompute *r) {
    for (uint32_t i = 0; i < r->rw.limit; i++)
        r->first_backward[i] = INT32_MAX;
    // Results and next versions of state are read after everything.
    const Graph *g = r->rw.g;
    for (int i = 0; i < g->result_count; i++)
        r->last_forward[g->result[i].value->id] = INT32_MAX;
    for (int i = 0; i < g->commit_count; i++)
        r->last_forward[g->commit[i].value->id] = INT32_MAX;
    for (int i = r->rw.old_count - 1; i >= 0; i--) {
        const Node *n = r->rw.old[i];
        for (int k = 0; k < n->input_count; k++) {
            const uint32_t in = n->input[k]->id;
            int last = n->phase == PHASE_FORWARD ? i : -1;
            int first = n->phase == PHASE_FORWARD ? INT32_MAX : i;
            for (int v = 0; match_view(n) && v < n->result_count; v++) {
                const uint32_t view = n->result[v].id;
                last = r->last_forward[view] > last ? r->last_forward[view] : last;
                first = r->first_backward[view] < first ? r->first_backward[view] : first;
            }
            if (last > r->last_forward[in])
                r->last_forward[in] = last;
            if (first < r->first_backward[in])
                r->first_backward[in] = first;
        }
    }
}

static bool is_cheap(const Node *n) {
    const OpInfo *op = op_info(n->op);
    if (op->flags & OPF_RANDOM)
        return false;
    return op->flags & OPF_ELEMENTWISE || n->op == OP_LAYERNORM || n->op == OP_RMSNORM;
}

// The fate of n's first result, should it be computed again: its operands decide.
static Fate fate_of_operands(const Recompute *r, const Node *n, int *depth) {
    *depth = 0;
    for (int i = 0; i < n->input_count; i++) {
        const uint32_t in = n->input[i]->id;
        if (r->fate[in] == LOST)
            return LOST;
        if (r->fate[in] == AGAIN && r->depth[in] > *depth)
            *depth = r->depth[in];
    }
    *depth += !match_view(n);
    return *depth > DEPTH_MAX ? LOST : AGAIN;
}

// Why a value that the backward pass reads is kept; NULL where it is rather computed again.
static const char *reason_to_keep(const Recompute *r, const Node *n, int *depth) {
    const Value *v = &n->result[0];
    if (!is_cheap(n))
        return op_info(n->op)->flags & OPF_RANDOM ? "it was drawn" : "it is dear to compute again";
    if (fate_of_operands(r, n, depth) == LOST)
        return *depth > DEPTH_MAX ? "too many operators in a row would run again"
                                  : "what it is made from is not kept";
    // Still in use by the forward when the backward begins with it: nothing would be saved.
    if (r->last_forward[v->id] >= r->first_backward[v->id])
        return "the forward pass reads it until the backward pass does";
    return type_bytes(&v->type) < BYTES_MIN ? "it is small" : NULL;
}

// Of values that are worth a thought.
static void explain(const Recompute *r, const Node *n, const char *kept) {
    const Value *v = &n->result[0];
    const long long bytes = (long long)type_bytes(&v->type);
    if (bytes < BYTES_MIN || n->phase != PHASE_FORWARD)
        return;
    const long long flops = (long long)node_flops(n), moved = (long long)node_bytes(n);
    const char *name = remark_value(r->cx->scratch, v);
    // The pass retain has the last word then.
    const PassOptions *o = r->cx->options;
    const bool open = o && (o->budget || o->far);
    if (kept)
        remark_add(r->cx, "recompute", name,
                   "in %s %lld bytes are kept for the backward pass%s: %s (%lld operations, %lld "
                   "bytes moved)",
                   r->rw.g->name, bytes, open ? ", unless the budget wants it otherwise" : "", kept,
                   flops, moved);
    else
        remark_add(r->cx, "recompute", name,
                   "in %s it is computed again for the backward pass, so that %lld bytes are not "
                   "kept: %lld operations, %lld bytes moved once more",
                   r->rw.g->name, bytes, flops, moved);
}

static void decide(Recompute *r, const Node *n) {
    for (int i = 0; i < n->result_count; i++) {
        const uint32_t v = n->result[i].id;
        r->fate[v] = r->first_backward[v] < INT32_MAX ? KEPT : LOST;
    }
    if (op_info(n->op)->family == FAMILY_LEAF && !(op_info(n->op)->flags & OPF_RANDOM)) {
        r->fate[n->result[0].id] = KEPT;
        return;
    }
    // A view of what is kept is kept; of what is computed again, a view of that.
    if (match_view(n)) {
        for (int i = 0; i < n->result_count; i++) {
            r->fate[n->result[i].id] = r->fate[n->input[0]->id];
            r->depth[n->result[i].id] = r->depth[n->input[0]->id];
        }
        return;
    }
    const Value *v = &n->result[0];
    const bool wanted = r->first_backward[v->id] < INT32_MAX;
    int depth = 0;
    if (n->phase != PHASE_FORWARD)
        return;
    const char *kept = reason_to_keep(r, n, &depth);
    // Nobody wants it itself, but maybe what is made of it: whether it is worth it is asked there.
    if (!wanted && (!is_cheap(n) || fate_of_operands(r, n, &depth) == LOST))
        return;
    if (wanted && kept) {
        explain(r, n, kept);
        return;
    }
    if (wanted && !rewrite_allowed(r->cx))
        return;
    r->fate[v->id] = AGAIN;
    r->depth[v->id] = depth;
    if (wanted)
        explain(r, n, NULL);
    // Other results of a norm are small, and kept where backward nodes read them.
}

// The copy of a forward value in the backward phase; the value itself where that is kept.
static Value *copy_of(Recompute *r, Value *v) {
    if (v->id >= r->rw.limit || r->fate[v->id] != AGAIN)
        return v;
    if (r->copy[v->id])
        return r->copy[v->id];
    const Node *n = v->def;
    Value *in[8];
    CHECK(n->input_count <= 8);
    for (int i = 0; i < n->input_count; i++)
        in[i] = copy_of(r, n->input[i]);
    Builder b = rewrite_builder(r->rw.g, n);
    b.origin.phase = PHASE_BACKWARD;
    const Node *made = build_node(&b, n->op, in, n->input_count, n->attr, n->attr_count);
    // All parts of a split at once; a norm's other results are nobody's.
    for (int i = 0; i < (match_view(n) ? n->result_count : 1); i++)
        r->copy[n->result[i].id] = &made->result[i];
    if (!match_view(n)) {
        r->copies++;
        r->saved += (int64_t)type_bytes(&v->type);
    }
    return r->copy[v->id];
}

static PassResult recompute_graph(Graph *g, PassCtx *cx) {
    Recompute whole = {.cx = cx}, *r = &whole;
    Arena *scratch = cx->scratch;
    rewrite_begin(&r->rw, g, scratch);
    r->last_forward = arena_array(scratch, int, r->rw.limit + 1);
    r->first_backward = arena_array(scratch, int, r->rw.limit + 1);
    r->fate = arena_array(scratch, Fate, r->rw.limit + 1);
    r->depth = arena_array(scratch, int, r->rw.limit + 1);
    r->copy = arena_array(scratch, Value *, r->rw.limit + 1);
    find_uses(r);
    for (int i = 0; i < r->rw.old_count; i++)
        decide(r, r->rw.old[i]);
    for (int i = 0; i < r->rw.old_count; i++) {
        Node *n = r->rw.old[i];
        for (int k = 0; n->phase == PHASE_BACKWARD && k < n->input_count; k++)
            n->input[k] = copy_of(r, n->input[k]);
        rewrite_keep(&r->rw, n);
    }
    rewrite_end(&r->rw);
    if (r->copies == 0)
        return PASS_SAME;
    graph_drop_dead(g); // Views that only the backward had use for.
    remark_add(cx, "recompute", g->name,
               "%d cheap values are computed again for the backward pass: %lld bytes less to keep",
               r->copies, (long long)r->saved);
    return PASS_CHANGED;
}

PassResult pass_recompute(Module *m, PassCtx *cx) {
    return pass_each_entry(m, cx, recompute_graph);
}
