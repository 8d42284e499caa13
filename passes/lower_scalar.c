// Scalar kernels: one node, a fused group, or a copy. Values from outside are loaded with the
// strides of their place (a constant is a number in the kernel), values of the group are used as
// they are, rounded where they are bf16 so that fusing changes nothing, and what is read outside is
// stored.
#include "passes/lower.h"

#include "ir/check.h"
#include "ir/kernel_members.h"
#include "ir/op_lower.h"
#include "passes/lower_space.h"

#include <string.h>

// The kernel's dims: each walks axes of the space, several as one.
typedef struct {
    const Type *space;
    KernelAxis axis;
    int rank;
    // By dim: its axes of the space, slowest first.
    int axis_count[RANK_MAX];
    int axes[RANK_MAX][RANK_MAX];
} KernelSpace;

typedef struct {
    const StoragePlan *sp;
    const Step *step;
    Arena *a;
    KernelSpace space;
    KernelBuilder *kb;
    KernelCall *call;
    // Operands so far, to share equal ones.
    int operand_count;
    struct {
        DType dtype;
        Access access;
        int64_t stride[KERNEL_DIMS_MAX];
    } operand[KERNEL_OPERANDS_MAX];
    // Results of the group's nodes.
    int made_count;
    const Value **made;
    KRef *made_ref;
    const Node *node; // being lowered: whose inputs kb_source means
} ScalarBuild;

// One dim an axis, in the given order (NULL: as they stand).
static KernelSpace space_in_order(const Type *t, const int *order) {
    KernelSpace s = {.space = t, .axis = KERNEL_ROWS, .rank = t->rank};
    for (int i = 0; i < t->rank; i++) {
        s.axis_count[i] = 1;
        s.axes[i][0] = order ? order[i] : i;
    }
    return s;
}

// The inner axes are one dim: the column that is summed along, or the columns that are summed down.
// ROWS: outer dims, then the reduced one. COLUMNS: the reduced ones, then the kept one.
static KernelSpace space_of_reduce(const Node *n) {
    const ReduceForm form = reduce_form(n);
    KernelSpace s = {.space = &n->input[0]->type, .axis = form.axis};
    for (int i = 0; i < form.outer_count; i++) {
        s.axis_count[s.rank] = 1;
        s.axes[s.rank++][0] = form.outer[i];
    }
    s.axis_count[s.rank] = form.inner_count;
    for (int i = 0; i < form.inner_count; i++)
        s.axes[s.rank][i] = form.inner[i];
    s.rank++;
    return s;
}

// Elementwise kernels walk memory in the order of their first result, so that columns are
// contiguous.
static KernelSpace space_of_elementwise(const StoragePlan *sp, const Step *s, const Type *t) {
    for (int i = 0; i < s->node_count; i++)
        for (int r = 0; r < s->node[i]->result_count; r++) {
            const Place p = step_result(sp, s, s->node[i], r);
            // In registers only: no memory to follow.
            if (p.storage == STORAGE_NONE)
                continue;
            int order[RANK_MAX];
            place_axis_order(&p, t, order);
            return space_in_order(t, order);
        }
    return space_in_order(t, NULL);
}

// One operator leads: a rowwise or column one where there is one, for the others follow its axes.
static KernelSpace space_of_step(const StoragePlan *sp, const Step *s) {
    bool elementwise = true;
    // The last operator with axes of its own; fusion groups only such as agree on them.
    const Node *leader = s->node[0];
    KernelAxis axis = KERNEL_ROWS;
    for (int i = 0; i < s->node_count; i++) {
        const Node *n = s->node[i];
        const OpInfo *info = op_info(n->op);
        elementwise =
            elementwise && (info->flags & OPF_ELEMENTWISE || info->family == FAMILY_UPDATE);
        if (info->lowering != LOWER_SCALAR)
            leader = n;
        // The only ones that walk down columns; a reduce says for itself.
        if (info->lowering == LOWER_COLUMNS || info->lowering == LOWER_SCATTER)
            axis = KERNEL_COLUMNS;
    }
    if (op_info(leader->op)->family == FAMILY_REDUCE)
        return space_of_reduce(leader);
    if (elementwise)
        return space_of_elementwise(sp, s, node_space(leader));
    KernelSpace space = space_in_order(node_space(leader), NULL);
    space.axis = axis;
    // scatter_add into a vector: a last dim of extent 1 for the column (no axis walks it).
    if (op_info(leader->op)->lowering == LOWER_SCATTER && leader->input[0]->type.rank == 1)
        space.rank++;
    return space;
}

// A dim's extent is the product of its axes'.
static void build_begin(ScalarBuild *b) {
    int64_t dim[KERNEL_DIMS_MAX];
    CHECK(b->space.rank <= KERNEL_DIMS_MAX);
    for (int d = 0; d < b->space.rank; d++) {
        dim[d] = 1;
        for (int i = 0; i < b->space.axis_count[d]; i++)
            dim[d] *= b->space.space->dim[b->space.axes[d][i]];
    }
    b->kb = kernel_builder(b->a, b->space.axis, b->space.rank, dim);
}

// stride NULL: by source, whose strides the operator sets.
static int add_operand(ScalarBuild *b, DType dtype, Access access, const Place *p,
                       const int64_t *stride) {
    const int o = kernel_add_operand(b->kb, dtype, access, stride);
    b->call->operand[o] = *p;
    b->operand[o].dtype = dtype;
    b->operand[o].access = access;
    if (stride)
        memcpy(b->operand[o].stride, stride, sizeof b->operand[o].stride);
    else
        b->operand[o].stride[0] = -1; // by source: shared with nobody
    b->operand_count = o + 1;
    return o;
}

// The operand for memory at p whose axis i follows axis space_axis[i] of the space.
static int find_operand(ScalarBuild *b, const Type *t, Access access, const Place *p,
                        const int *space_axis) {
    // Axes of the space that t lacks, or that are broadcast, keep stride 0.
    Place on_space = {0};
    for (int i = 0; i < t->rank; i++)
        if (space_axis[i] >= 0 && t->dim[i] > 1)
            on_space.stride[space_axis[i]] = p->stride[i];
    int64_t stride[KERNEL_DIMS_MAX] = {0};
    for (int d = 0; d < b->space.rank; d++) {
        if (b->space.axis_count[d] == 0)
            continue;
        // Storage has made the copies that joining needs.
        CHECK(place_join(&on_space, b->space.space, b->space.axes[d], b->space.axis_count[d],
                         &stride[d]));
    }
    // Equal loads are one operand: a kernel has few, and reads the memory once.
    for (int o = 0; o < b->operand_count; o++)
        if (b->operand[o].dtype == t->dtype && b->operand[o].access == access &&
            b->call->operand[o].storage == p->storage && b->call->operand[o].offset == p->offset &&
            memcmp(b->operand[o].stride, stride, sizeof stride) == 0)
            return o;
    return add_operand(b, t->dtype, access, p, stride);
}

// The operand for input or result number `operand` of n.
static int node_operand(ScalarBuild *b, const Node *n, int operand, Access access, const Place *p) {
    const Value *v =
        operand < n->input_count ? n->input[operand] : &n->result[operand - n->input_count];
    int axis[RANK_MAX];
    for (int i = 0; i < v->type.rank; i++)
        axis[i] = node_space_axis(n, operand, i);
    return find_operand(b, &v->type, access, p, axis);
}

// The constant's own program: a number of its dtype.
static KRef constant_ref(ScalarBuild *b, const Node *constant) {
    KRef out = -1;
    op_info(constant->op)->lower(b->kb, constant, NULL, &out);
    return out;
}

// Input i of n at the kernel's index.
static KRef input_ref(ScalarBuild *b, const Node *n, int i) {
    const Value *v = n->input[i];
    for (int k = 0; k < b->made_count; k++)
        if (b->made[k] == v)
            // As a store and a load between two kernels would round it.
            return v->type.dtype == DT_BF16 ? kb_op1(b->kb, KOP_ROUND_BF16, b->made_ref[k])
                                            : b->made_ref[k];
    if (b->sp->constant[v->id])
        return constant_ref(b, b->sp->constant[v->id]);
    const Place p = step_input(b->sp, b->step, n, i);
    CHECK(p.storage != STORAGE_NONE);
    return kb_load(b->kb, node_operand(b, n, i, ACCESS_READ, &p));
}

// The program writes into what its first operand holds, by itself.
static bool lowering_updates(OpLowering lowering) {
    return lowering == LOWER_SCATTER || lowering == LOWER_PART;
}

// Called back by operators that move through an operand by themselves; never shared with other
// loads.
static KSource source_of(void *user, int input) {
    ScalarBuild *b = user;
    const Node *n = b->node;
    // The base of scatter_add and dynamic_update is where its result is: updated in place.
    const bool base = lowering_updates(op_info(n->op)->lowering) && input == 0;
    const Place p = base ? step_result(b->sp, b->step, n, 0) : step_input(b->sp, b->step, n, input);
    CHECK(p.storage != STORAGE_NONE);
    const Type *t = &n->input[input]->type;
    KSource out = {.rank = t->rank};
    out.operand = add_operand(b, t->dtype, base ? ACCESS_UPDATE : ACCESS_READ, &p, NULL);
    for (int i = 0; i < t->rank; i++)
        out.stride[i] = p.stride[i];
    return out;
}

// Loads or finds the inputs, adds the operator's program, stores what is read outside.
static void lower_node(ScalarBuild *b, const Node *n) {
    const OpInfo *info = op_info(n->op);
    KRef *in = arena_array(b->a, KRef, n->input_count + 2);
    KRef *out = arena_array(b->a, KRef, n->result_count + 1);
    // Room beyond the inputs: in[1] of accumulate is the sum so far.
    for (int i = 0; i < n->input_count + 2; i++)
        in[i] = -1;
    b->node = n;
    for (int i = 0; i < n->input_count; i++)
        if (!op_input_is_source(n->op, i))
            in[i] = input_ref(b, n, i);
    int accumulator = -1;
    if (n->op == OP_ACCUMULATE) {
        const Place p = step_result(b->sp, b->step, n, 0);
        accumulator = node_operand(b, n, 1, ACCESS_UPDATE, &p);
        in[1] = kb_load(b->kb, accumulator);
    }
    info->lower(b->kb, n, in, out);
    if (info->flags & OPF_RANDOM) {
        CHECK(b->call->imm_count < CALL_IMM_MAX);
        // Keys are immediates, so that layers that differ in nothing else share a kernel.
        b->call->imm[b->call->imm_count++] = node_int(n, "key", 0) & 0xffffffff;
        // So are places in a tensor that is drawn part by part.
        if (node_attr(n, "offset")) {
            CHECK(b->call->imm_count < CALL_IMM_MAX);
            b->call->imm[b->call->imm_count++] = node_int(n, "offset", 0) & 0xffffffff;
        }
    }
    for (int r = 0; r < n->result_count && !lowering_updates(info->lowering); r++) {
        const Value *v = &n->result[r];
        b->made[b->made_count] = v;
        b->made_ref[b->made_count++] = out[r];
        const Place p = step_result(b->sp, b->step, n, r);
        // Read inside the group only.
        if (p.storage == STORAGE_NONE)
            continue;
        kb_store(b->kb,
                 accumulator >= 0 ? accumulator
                                  : node_operand(b, n, n->input_count + r, ACCESS_WRITE, &p),
                 out[r]);
    }
}

// Updates that share a kernel are its members where they do the same: no member's result lies over
// another's operand (storage_may_overwrite).
static void state_members(Arena *a, const Step *s, Kernel *k) {
    bool updates = s->node_count > 1;
    for (int i = 0; i < s->node_count; i++)
        updates = updates && op_info(s->node[i]->op)->family == FAMILY_UPDATE &&
                  s->node[i]->op != OP_ACCUMULATE;
    KernelMembers members;
    k->members = updates ? s->node_count : 0;
    if (updates && !kernel_members_find(a, k, &members))
        k->members = 0;
}

void lower_scalar(const StoragePlan *sp, const Step *s, Arena *a, KernelCall *out) {
    ScalarBuild b = {.sp = sp, .step = s, .a = a, .call = out, .space = space_of_step(sp, s)};
    // One kernel of all nodes, in order: operands of later ones are made by earlier ones.
    int results = 0;
    for (int i = 0; i < s->node_count; i++)
        results += s->node[i]->result_count;
    b.made = arena_array(a, const Value *, results + 1);
    b.made_ref = arena_array(a, KRef, results + 1);
    build_begin(&b);
    kb_set_source(b.kb, source_of, &b);
    for (int i = 0; i < s->node_count; i++)
        lower_node(&b, s->node[i]);
    out->kernel = kernel_finish(b.kb);
    state_members(a, s, out->kernel);
    CHECK(out->kernel->imm_count == out->imm_count);
}

// Walks in the order of the target, so that writes are contiguous.
void lower_copy(const StoragePlan *sp, const Step *s, Arena *a, KernelCall *out) {
    int order[RANK_MAX], axis[RANK_MAX];
    place_axis_order(&s->to, s->type, order);
    for (int i = 0; i < s->type->rank; i++)
        axis[i] = i;
    ScalarBuild b = {
        .sp = sp, .step = s, .a = a, .call = out, .space = space_in_order(s->type, order)};
    build_begin(&b);
    const KRef value = s->from.storage == STORAGE_NONE
                           ? constant_ref(&b, sp->constant[s->value->id])
                           : kb_load(b.kb, find_operand(&b, s->type, ACCESS_READ, &s->from, axis));
    kb_store(b.kb, find_operand(&b, s->type, ACCESS_WRITE, &s->to, axis), value);
    out->kernel = kernel_finish(b.kb);
}
