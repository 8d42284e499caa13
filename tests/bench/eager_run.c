// A training step as PyTorch's eager mode runs it, as far as memory goes.
//
// Operators run in program order: forward, backward in reverse, then the optimizer. A tensor is
// freed when its last reader has run (reference counting, and autograd drops what it saved when a
// node is done); gradients of parameters and the batch live to the step's end, where they are set
// to none. Where PyTorch's operators are not ours, PyTorch's are taken:
//   - bias: added by the product or convolution itself; views cost nothing, products' and
//     attention's layouts never need copies, and no library asks for workspace;
//   - relu in place, as vision models say it, and its gradient reads its result; gradients of
//     pointwise operators are one kernel each: masks, and values that one other pointwise gradient
//     reads, exist only inside. Random numbers of dropout exist only inside its kernel;
//   - gradients of one value from several users: added into the first where it dies;
//   - cross entropy: log_softmax and nll_loss. The logits die (no variable of the user's holds
//     them), the log probabilities are kept, and going back there is nll_loss's gradient beside
//     log_softmax's;
//   - max pooling: its indices are kept, 8 bytes each;
//   - an embedding's gradient: zeros of the table's size, then added to what is there;
//   - the optimizer updates everything in place without temporaries (fused = True).
// Where there was a choice it was made in PyTorch's favour. Cost: linear, and the allocator's.
#include "tests/bench/eager_run.h"

#include "ir/check.h"
#include "ir/op.h"

#include <string.h>

enum { STEPS = 3 };
#define NO_TENSOR (-1)

typedef struct {
    uint64_t bytes;
    int last;       // node index of the last reader; node_count: the step's end
    uint32_t block; // while it lives
} EagerTensor;

typedef struct {
    const Module *m;
    const Graph *g;
    Arena *a;
    const Value **root;  // by value id: what a view looks at
    const Value **relu;  // by value id: the relu of it, which stands for it in gradients
    const Node **reader; // by root's value id: one that reads it
    int *reader_count;   // by root's value id: operators that read it, views not counted
    int *last;           // by root's value id
    int *tensor_of;      // by root's value id
    int tensor_count;
    EagerTensor *tensor;
    int *extra;          // by node index: a tensor made there that the graph doesn't know
    uint64_t *temporary; // by node index: bytes needed while it runs
    int *made_begin, *made;
} Eager;

static bool is_view(const Node *n) {
    return n->op == OP_RESHAPE || n->op == OP_TRANSPOSE || n->op == OP_BROADCAST ||
           n->op == OP_SLICE || n->op == OP_SPLIT;
}

static bool is_relu(const Node *n) {
    return (n->op == OP_RELU || n->op == OP_RELU6) && n->phase == PHASE_FORWARD;
}

static bool is_pointwise_gradient(const Node *n) {
    return n->phase == PHASE_BACKWARD && op_info(n->op)->family == FAMILY_POINTWISE;
}

// Part of a gradient's kernel: no memory holds its result. What reads it reads its operands.
static bool is_inside(const Eager *e, const Node *n) {
    if (n->op == OP_MAX_POOL_INDEX || n->op == OP_RANDOM_UNIFORM)
        return true;
    if (!is_pointwise_gradient(n))
        return false;
    const Value *v = &n->result[0];
    const Node *reader = e->reader[v->id];
    return v->type.dtype == DT_BOOL ||
           (e->reader_count[v->id] == 1 && is_pointwise_gradient(reader) &&
            type_count(&reader->result[0].type) == type_count(&v->type));
}

static void find_readers(Eager *e) {
    for (int i = 0; i < e->g->node_count; i++) {
        const Node *n = e->g->node[i];
        for (int r = 0; r < n->result_count; r++)
            e->root[n->result[r].id] = is_view(n) ? e->root[n->input[0]->id] : &n->result[r];
        if (is_relu(n))
            e->relu[e->root[n->input[0]->id]->id] = &n->result[0];
        for (int k = 0; k < n->input_count && !is_view(n); k++) {
            const uint32_t id = e->root[n->input[k]->id]->id;
            e->reader_count[id] += e->reader[id] != n;
            e->reader[id] = n;
        }
    }
}

// The node at index i reads the value, or the values it is made of inside the kernel.
static void read_value(Eager *e, const Node *n, int input, int i) {
    const Value *v = e->root[n->input[input]->id];
    const Node *def = v->def;
    // The log probabilities stand for the logits: see add_extras.
    if (n->op == OP_CROSS_ENTROPY_GRAD && input == 0)
        return;
    if (is_inside(e, def)) {
        for (int k = 0; k < def->input_count; k++)
            read_value(e, def, k, i);
        return;
    }
    // A mask is made of relu's result as well as of its operand.
    if (n->result_count && n->result[0].type.dtype == DT_BOOL && is_inside(e, n) && e->relu[v->id])
        v = e->root[e->relu[v->id]->id];
    if (e->last[v->id] < i)
        e->last[v->id] = i;
}

static bool is_gradient_reader(const Node *n) {
    return n->op == OP_SGD || n->op == OP_MOMENTUM || n->op == OP_ADAMW;
}

static void find_last_uses(Eager *e) {
    const int end = e->g->node_count;
    for (uint32_t i = 0; i < e->g->value_limit; i++)
        e->last[i] = -1;
    for (int i = 0; i < end; i++) {
        const Node *n = e->g->node[i];
        for (int k = 0; k < n->input_count && !is_view(n) && !is_inside(e, n); k++)
            read_value(e, n, k, is_gradient_reader(n) ? end : i);
    }
    for (int i = 0; i < e->g->result_count; i++)
        e->last[e->root[e->g->result[i].value->id]->id] = end;
    // The user's variables hold the batch.
    for (int i = 0; i < e->g->input_count; i++)
        e->last[e->g->input[i].value->id] = end;
    for (int i = 0; i < e->g->commit_count; i++)
        e->last[e->root[e->g->commit[i].value->id]->id] = end;
}

static int tensor_add(Eager *e, uint64_t bytes, int last) {
    e->tensor[e->tensor_count] = (EagerTensor){.bytes = bytes, .last = last, .block = UINT32_MAX};
    return e->tensor_count++;
}

// Whether the operand's memory may become the result's: it is the operand's last use.
static int dying(const Eager *e, const Node *n, int input, int at) {
    const Value *v = e->root[n->input[input]->id];
    const bool same = type_bytes(&v->type) == type_bytes(&n->result[0].type);
    const int tensor = e->tensor_of[v->id];
    return same && e->last[v->id] == at && tensor != NO_TENSOR && e->tensor[tensor].last == at
               ? tensor
               : NO_TENSOR;
}

static bool is_broadcast(const Value *v) {
    return v->def->op == OP_BROADCAST;
}

static bool makes_biased(const Node *n) {
    return n->op == OP_EINSUM || n->op == OP_CONV2D;
}

// The operand that PyTorch would write over, or NO_TENSOR.
static int overwritten(const Eager *e, const Node *n, int at) {
    if (is_relu(n))
        return dying(e, n, 0, at);
    if (n->op == OP_SELECT && n->phase == PHASE_FORWARD) // dropout scales and selects in one
        return dying(e, n, 1, at);
    if (n->op == OP_EINSUM_ADD || n->op == OP_SCATTER_ADD)
        return dying(e, n, 0, at);
    if (n->op != OP_ADD)
        return NO_TENSOR;
    for (int k = 0; k < 2; k++) {
        const int tensor = dying(e, n, k, at);
        const bool bias =
            is_broadcast(n->input[1 - k]) && makes_biased(e->root[n->input[k]->id]->def);
        if (tensor != NO_TENSOR && (bias || n->phase == PHASE_BACKWARD))
            return tensor;
    }
    return NO_TENSOR;
}

// Whether the node is the gradient for which an operator keeps something beside its result.
static bool needs_extra(const Node *n, const Node *forward) {
    if (forward->op == OP_CROSS_ENTROPY)
        return n->op == OP_CROSS_ENTROPY_GRAD && n->input[0] == forward->input[0];
    const Node *index = n->op == OP_MAX_POOL_GRAD ? n->input[0]->def : NULL;
    return index && index->op == OP_MAX_POOL_INDEX && index->input[0] == forward->input[0];
}

// Log probabilities, or indices: they live until the last gradient that reads them.
static void add_extra(Eager *e, int at, uint64_t bytes) {
    int last = at;
    for (int i = at; i < e->g->node_count; i++)
        if (needs_extra(e->g->node[i], e->g->node[at]))
            last = i;
    e->extra[at] = tensor_add(e, bytes, last);
}

static void add_extras(Eager *e, const Node *n, int at) {
    enum { INDEX_BYTES = 8 };
    if (n->op == OP_CROSS_ENTROPY)
        add_extra(e, at, type_bytes(&n->input[0]->type));
    if (n->op == OP_MAX_POOL)
        add_extra(e, at, INDEX_BYTES * (uint64_t)type_count(&n->result[0].type));
    if (n->op == OP_CROSS_ENTROPY_GRAD)
        e->temporary[at] = type_bytes(&n->result[0].type);
    if (n->op == OP_SCATTER_ADD && n->input[0]->def->op != OP_CONSTANT &&
        e->root[n->input[0]->id]->def->op != OP_CONSTANT)
        e->temporary[at] = type_bytes(&n->result[0].type);
}

// Nothing of the update phase is a tensor of its own: scalars are Python's numbers, updates are in
// place.
static bool has_tensors(const Eager *e, const Node *n) {
    return n->phase != PHASE_UPDATE && n->op != OP_STATE && n->op != OP_CONSTANT && !is_view(n) &&
           !is_inside(e, n);
}

static void find_tensors(Eager *e) {
    int made = 0;
    for (int i = 0; i < e->g->node_count; i++) {
        const Node *n = e->g->node[i];
        e->extra[i] = NO_TENSOR;
        e->made_begin[i] = made;
        for (int r = 0; r < n->result_count; r++) {
            const Value *v = &n->result[r];
            e->tensor_of[v->id] = NO_TENSOR;
            if (!has_tensors(e, n) || (n->op == OP_CROSS_ENTROPY && r == 1))
                continue;
            const int old = r == 0 ? overwritten(e, n, i) : NO_TENSOR;
            if (old != NO_TENSOR) {
                e->tensor[old].last = e->last[v->id];
                e->tensor_of[v->id] = old;
                continue;
            }
            const int last = e->last[v->id] < i ? i : e->last[v->id];
            e->tensor_of[v->id] = tensor_add(e, type_bytes(&v->type), last);
            e->made[made++] = e->tensor_of[v->id];
        }
        add_extras(e, n, i);
        if (e->extra[i] != NO_TENSOR)
            e->made[made++] = e->extra[i];
    }
    e->made_begin[e->g->node_count] = made;
}

static Eager *eager_create(const Module *m, const Graph *g, Arena *a) {
    Eager *e = arena_new(a, Eager);
    const uint32_t values = g->value_limit + 1;
    const int nodes = g->node_count + 1;
    *e = (Eager){.m = m, .g = g, .a = a};
    e->root = arena_array(a, const Value *, values);
    e->relu = arena_array(a, const Value *, values);
    e->reader = arena_array(a, const Node *, values);
    e->reader_count = arena_array(a, int, values);
    e->last = arena_array(a, int, values);
    e->tensor_of = arena_array(a, int, values);
    // Results, and at most one extra a node.
    e->tensor = arena_array(a, EagerTensor, values + (uint32_t)nodes);
    e->made = arena_array(a, int, values + (uint32_t)nodes);
    e->extra = arena_array(a, int, nodes);
    e->temporary = arena_array(a, uint64_t, nodes);
    e->made_begin = arena_array(a, int, nodes + 1);
    find_readers(e);
    find_last_uses(e);
    find_tensors(e);
    return e;
}

// Tensors by the node after which they are freed: end[i] .. end[i + 1] of the list.
static int *group_by_last(const Eager *e, int **begin) {
    const int nodes = e->g->node_count;
    *begin = arena_array(e->a, int, nodes + 3);
    int *list = arena_array(e->a, int, e->tensor_count + 1);
    for (int i = 0; i < e->tensor_count; i++)
        (*begin)[e->tensor[i].last + 1]++;
    for (int i = 0; i <= nodes; i++)
        (*begin)[i + 1] += (*begin)[i];
    int *filled = arena_array(e->a, int, nodes + 2);
    for (int i = 0; i < e->tensor_count; i++) {
        const int last = e->tensor[i].last;
        list[(*begin)[last] + filled[last]++] = i;
    }
    return list;
}

static void run_step(Eager *e, CachingAllocator *ca, const int *freed_begin, const int *freed) {
    for (int i = 0; i <= e->g->node_count; i++) {
        if (i < e->g->node_count) {
            for (int k = e->made_begin[i]; k < e->made_begin[i + 1]; k++)
                e->tensor[e->made[k]].block = caching_alloc(ca, e->tensor[e->made[k]].bytes);
            caching_free(ca, caching_alloc(ca, e->temporary[i]));
        }
        for (int k = freed_begin[i]; k < freed_begin[i + 1]; k++)
            caching_free(ca, e->tensor[freed[k]].block);
    }
}

static void allocate_state(const Module *m, CachingAllocator *ca, bool optimizer) {
    for (int i = 0; i < m->state_count; i++)
        if ((m->state[i]->kind == STATE_OPTIMIZER) == optimizer)
            caching_alloc(ca, type_bytes(&m->state[i]->type));
}

CachingStats eager_run(const Module *m, const Graph *g, EagerScope scope, Arena *a) {
    CHECK(g->repeat == 1);
    Eager *e = eager_create(m, g, a);
    int *begin;
    const int *freed = group_by_last(e, &begin);
    CachingAllocator *ca = caching_create(a);
    if (scope == EAGER_WITH_STATE)
        allocate_state(m, ca, false);
    for (int step = 0; step < STEPS; step++) {
        run_step(e, ca, begin, freed);
        // The optimizer makes its state with the first update, when gradients are there: here at
        // the step's end, so that they may take the activations' place.
        if (scope == EAGER_WITH_STATE && step == 0)
            allocate_state(m, ca, true);
    }
    return caching_stats(ca);
}
