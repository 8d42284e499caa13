// On a GPU a kernel is started for every tensor that is updated, and most tensors of a model are
// vectors of a few KiB: starting takes longer than computing. So updates of equally shaped small
// tensors share a kernel, which computes one after another at each index: nothing of the language
// of kernels is new, and as an update goes element by element no bit changes.
//
// Nobody but commits reads an update's results, so a group of them can stand anywhere after its
// gradients: it runs where its last member stands, and no cycle can arise. What that costs are the
// gradients of the earlier members, which live until then: small ones.
//
// Not joined: updates that are fused with something else, or whose results are read or moved, or
// that run in far memory, which costs no start; and
// anything on the CPU, where a call costs little.
#include "passes/fuse_updates.h"

#include "ir/far.h"
#include "ir/kernel.h"
#include "ir/op.h"

// Above this a tensor's own update keeps a GPU busy for longer than it takes to start.
enum { ELEMENTS_MAX = 1 << 16, MEMBERS_MAX = 8 };

// A group that may still grow.
typedef struct {
    const Type *shape;
    Node *member[MEMBERS_MAX];
    int members;
    int operands; // of its kernel
} Joined;

static bool is_candidate(const Node *n, const bool *read) {
    if (op_info(n->op)->family != FAMILY_UPDATE || n->group != 0 ||
        type_count(&n->result[0].type) > ELEMENTS_MAX)
        return false;
    for (int i = 0; i < n->result_count; i++)
        if (read[n->result[i].id])
            return false;
    return true;
}

static bool reads(const Node *n, const Value *v) {
    for (int i = 0; i < n->input_count; i++)
        if (n->input[i] == v)
            return true;
    return false;
}

// Operands that n adds to the group's kernel: rates and the like are the same for all members.
static int added_operands(const Joined *j, const Node *n) {
    int count = n->result_count;
    for (int i = 0; i < n->input_count; i++) {
        bool shared = false;
        for (int k = 0; k < j->members && !shared; k++)
            shared = reads(j->member[k], n->input[i]);
        count += !shared;
    }
    return count;
}

// By value id: whether a node or a result reads it.
static const bool *find_read(const Graph *g, Arena *a) {
    bool *read = arena_array(a, bool, g->value_limit + 1);
    for (int i = 0; i < g->node_count; i++)
        for (int k = 0; k < g->node[i]->input_count; k++)
            read[g->node[i]->input[k]->id] = true;
    for (int i = 0; i < g->result_count; i++)
        read[g->result[i].value->id] = true;
    return read;
}

// The group of its shape that has room for n, or a new one at the end.
static Joined *find_joined(Joined *all, int *count, const Node *n) {
    for (int i = 0; i < *count; i++)
        if (all[i].members < MEMBERS_MAX && type_same_shape(all[i].shape, &n->result[0].type) &&
            all[i].operands + added_operands(&all[i], n) <= KERNEL_OPERANDS_MAX)
            return &all[i];
    all[*count] = (Joined){.shape = &n->result[0].type};
    return &all[(*count)++];
}

int fuse_updates(const Module *m, Graph *g, int groups, PassCtx *cx) {
    if (cx->options->gpu.count == 0)
        return groups;
    Arena *a = cx->scratch;
    const bool *read = find_read(g, a);
    Joined *all = arena_array(a, Joined, g->node_count + 1);
    int count = 0, joined = 0, kernels = 0;
    for (int i = 0; i < g->node_count; i++) {
        Node *n = g->node[i];
        if (!is_candidate(n, read) || value_is_far(m, &n->result[0]))
            continue;
        Joined *j = find_joined(all, &count, n);
        j->operands += added_operands(j, n);
        j->member[j->members++] = n;
    }
    for (int i = 0; i < count; i++) {
        // One alone stays as it is.
        if (all[i].members < 2)
            continue;
        kernels++;
        joined += all[i].members;
        for (int k = 0; k < all[i].members; k++)
            all[i].member[k]->group = (uint32_t)(groups + kernels);
    }
    if (kernels > 0)
        remark_add(cx, "fuse", g->name, "%d updates of small tensors share %d kernels", joined,
                   kernels);
    return groups + kernels;
}
