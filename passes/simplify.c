// Simplification to a fixed point: fold, cancel, share, drop.
//
// One sweep visits the nodes in order, so operands are simplified before their users: a rewrite
// that matches a node of one result (simplify_pointwise.c, simplify_shape.c) replaces it; else an
// equal node seen before replaces it (a hash table over operator, operands, attributes); else it
// stays. Then what nobody reads is dropped. Sweeps repeat until one changes nothing, two or three
// in practice; each is linear.
//
// Equal nodes are shared unless they draw random numbers. With micro-batches a node of the update
// may not read one that runs in every micro-batch, so the two kinds are not shared with each other.
#include "passes/simplify.h"

#include "ir/check.h"
#include "ir/value_number.h"

#include <string.h>

// Far beyond what any graph needs; a sweep less only leaves something unsimplified.
// Ends a pair of rewrites that undo each other, which would be our mistake.
enum { SWEEPS_MAX = 32 };

// Nodes kept so far, found by what they compute. Open addressing; a power of two of slots.
typedef struct {
    Node **slot;
    uint64_t mask;
} Seen;

// 2: as if read by others too, so that rewrites that pay only for a single reader hold back.
int simplify_uses(const Simplify *s, const Value *v) {
    return v->id < s->limit ? s->uses[v->id] : 2;
}

Value *simplify_uniform(Simplify *s, const Type *type, double value) {
    Value *one = build_constant(&s->b, type_scalar(type->dtype), value);
    return type->rank ? build_broadcast(&s->b, one, type, NULL) : one;
}

// Bit for bit: -0 and 0 are different constants.
static bool attr_same(const Attr *a, const Attr *b) {
    if (strcmp(a->name, b->name) != 0 || a->kind != b->kind)
        return false;
    switch (a->kind) {
    case ATTR_INT:
        return a->as.i == b->as.i;
    case ATTR_FLOAT:
        return memcmp(&a->as.f, &b->as.f, sizeof a->as.f) == 0;
    case ATTR_TEXT:
        return strcmp(a->as.text, b->as.text) == 0;
    case ATTR_INTS:
        return a->count == b->count &&
               (a->count == 0 ||
                memcmp(a->as.ints, b->as.ints, (size_t)a->count * sizeof *a->as.ints) == 0);
    case ATTR_FLOATS:
        return a->count == b->count &&
               (a->count == 0 ||
                memcmp(a->as.floats, b->as.floats, (size_t)a->count * sizeof *a->as.floats) == 0);
    }
    UNREACHABLE();
}

// Operands may be swapped. Not those of min and max: where they are equal the gradient tells them
// apart.
static bool commutes(Op op) {
    return (op_info(op)->flags & OPF_COMMUTES) && op != OP_MIN && op != OP_MAX;
}

static uint64_t node_hash(const Node *n) {
    uint64_t hash = hash_bytes(HASH_START, &n->op, sizeof n->op);
    // A sum does not depend on the order of its terms.
    uint64_t operands = 0;
    for (int i = 0; i < n->input_count; i++) {
        const uint32_t id = n->input[i]->id;
        if (commutes(n->op)) // in either order
            operands += hash_bytes(HASH_START, &id, sizeof id);
        else
            hash = hash_bytes(hash, &id, sizeof id);
    }
    hash ^= operands;
    for (int i = 0; i < n->attr_count; i++)
        hash = attr_hash(hash, &n->attr[i]);
    return hash;
}

static bool same_operands(const Node *a, const Node *b) {
    if (a->input_count != b->input_count)
        return false;
    bool same = true;
    for (int i = 0; i < a->input_count; i++)
        same = same && a->input[i] == b->input[i];
    return same || (commutes(a->op) && a->input_count == 2 && a->input[0] == b->input[1] &&
                    a->input[1] == b->input[0]);
}

// Equal hash or not: everything is compared, so collisions only cost time.
static bool same_work(const Graph *g, const Node *a, const Node *b) {
    if (a->op != b->op || a->attr_count != b->attr_count || a->result_count != b->result_count ||
        !same_operands(a, b))
        return false;
    // a stands earlier: nothing of the step's body may read the update.
    if ((a->phase == PHASE_UPDATE) != (b->phase == PHASE_UPDATE) &&
        (g->repeat > 1 || a->phase == PHASE_UPDATE))
        return false;
    for (int i = 0; i < a->attr_count; i++)
        if (!attr_same(&a->attr[i], &b->attr[i]))
            return false;
    for (int i = 0; i < a->result_count; i++)
        if (!type_equal(&a->result[i].type, &b->result[i].type))
            return false;
    return true;
}

// Not inputs, which differ by position, nor random draws and training statements. Moves say when
// something is in which memory: one less is another plan.
static bool is_shared(const Node *n) {
    const OpInfo *info = op_info(n->op);
    return n->op != OP_INPUT && n->result_count > 0 && !(info->flags & OPF_RANDOM) &&
           info->family != FAMILY_MOVE && info->family != FAMILY_TRAINING;
}

// At most half full: a sweep enters no more nodes than there were.
static Seen seen_create(Arena *scratch, int count) {
    uint64_t slots = 64;
    while (slots < 2 * (uint64_t)count)
        slots *= 2;
    return (Seen){arena_array(scratch, Node *, slots), slots - 1};
}

// The equal node kept before, or NULL; n is then remembered.
static const Node *seen_find(Seen *seen, const Graph *g, Node *n) {
    uint64_t at = node_hash(n) & seen->mask;
    while (seen->slot[at] && !same_work(g, seen->slot[at], n))
        at = (at + 1) & seen->mask;
    if (seen->slot[at])
        return seen->slot[at];
    seen->slot[at] = n;
    return NULL;
}

// Replaces n if a rewrite applies. Its operands are resolved.
static bool try_rewrites(Simplify *s, Rewrite *rw, const Node *n) {
    s->b = rewrite_builder(s->g, n);
    if (n->op == OP_SPLIT) {
        Value **out = arena_array(s->cx->scratch, Value *, n->result_count);
        if (!simplify_split(s, n, out) || !rewrite_allowed(s->cx))
            return false;
        for (int i = 0; i < n->result_count; i++)
            rewrite_replace(rw, &n->result[i], out[i]);
        return true;
    }
    if (n->result_count != 1 || n->input_count == 0)
        return false;
    // Nodes a refused rewrite has built are dropped as dead.
    const OpFamily family = op_info(n->op)->family;
    Value *by = NULL;
    if (family == FAMILY_POINTWISE)
        by = simplify_pointwise(s, n);
    else if (family == FAMILY_SHAPE)
        by = simplify_shape(s, n);
    if (!by && family == FAMILY_SHAPE)
        by = simplify_cut(s, n);
    if (!by || !rewrite_allowed(s->cx))
        return false;
    rewrite_replace(rw, &n->result[0], by);
    return true;
}

// n goes; its users read the node that stands earlier.
static bool try_share(Simplify *s, Rewrite *rw, Seen *seen, Node *n) {
    const Node *same = is_shared(n) ? seen_find(seen, s->g, n) : NULL;
    if (!same || !rewrite_allowed(s->cx))
        return false;
    for (int i = 0; i < n->result_count; i++)
        rewrite_replace(rw, &n->result[i], &same->result[i]);
    return true;
}

// One walk over the graph. Returns the number of nodes replaced.
static int sweep(Simplify *s) {
    Rewrite rw;
    int replaced = 0;
    // Uses are counted once a sweep: exact for nodes of before, and not for those built in it.
    s->limit = s->g->value_limit;
    s->uses = graph_use_counts(s->g, s->cx->scratch);
    Seen seen = seen_create(s->cx->scratch, s->g->node_count);
    rewrite_begin(&rw, s->g, s->cx->scratch);
    for (int i = 0; i < rw.old_count; i++) {
        Node *n = rw.old[i];
        rewrite_resolve_inputs(&rw, n);
        if (try_rewrites(s, &rw, n) || try_share(s, &rw, &seen, n))
            replaced++;
        else
            rewrite_keep(&rw, n);
    }
    rewrite_end(&rw);
    return replaced;
}

static bool has_gradients(const Graph *g) {
    for (int i = 0; i < g->node_count; i++)
        if (op_info(g->node[i]->op)->family == FAMILY_TRAINING ||
            g->node[i]->phase != PHASE_FORWARD)
            return true;
    return false;
}

static PassResult simplify_graph(Graph *g, PassCtx *cx, const char *pass) {
    Simplify s = {.cx = cx, .g = g, .trains = has_gradients(g)};
    PassResult result = PASS_SAME;
    const int before = g->node_count;
    for (int i = 0; i < SWEEPS_MAX; i++) {
        const int replaced = sweep(&s);
        const bool dropped = graph_drop_dead(g);
        if (!replaced && !dropped)
            break;
        result = PASS_CHANGED;
    }
    if (g->node_count != before)
        remark_add(cx, pass, g->name, "%d operators became %d", before, g->node_count);
    return result;
}

PassResult simplify_module(Module *m, PassCtx *cx, const char *pass) {
    PassResult result = PASS_SAME;
    for (int i = 0; i < m->entry_count; i++)
        if (simplify_graph(m->entry[i], cx, pass) == PASS_CHANGED)
            result = PASS_CHANGED;
    return result;
}

PassResult pass_simplify(Module *m, PassCtx *cx) {
    return simplify_module(m, cx, "simplify");
}
