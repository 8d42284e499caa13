// A step becomes an instruction: its kernel, found or added in the table; its operands as byte
// ranges of buffers; and what people want to know about it.
#include "passes/lower.h"

#include "ir/check.h"
#include "passes/lower_product.h"

#include <string.h>

enum { COPY_BYTES_MAX = 1 << 20 }; // longer copies are shared by the workers
// The last cache that CPUs are assumed to have: a core's share of it is rarely more.
enum { CACHE_BYTES = 32 << 20 };

// Half full at most, so that probing stays short.
// Doubles the slots, a power of two, and enters every kernel again.
static void table_grow(KernelTable *t) {
    t->slot_count = t->slot_count ? 2 * t->slot_count : 64;
    t->slot = arena_array(t->a, uint32_t, t->slot_count);
    for (int i = 0; i < t->count; i++) {
        // Linear probing; a slot holds the kernel's index + 1, and 0 where it is free.
        uint64_t at = kernel_hash(t->kernel[i]) & (t->slot_count - 1);
        while (t->slot[at])
            at = (at + 1) & (t->slot_count - 1);
        t->slot[at] = (uint32_t)i + 1;
    }
}

// Equal kernels differ in nothing but their name: the one there first keeps it.
uint32_t kernel_table_add(KernelTable *t, Kernel *k) {
    if (2 * ((uint32_t)t->count + 1) > t->slot_count)
        table_grow(t);
    uint64_t at = kernel_hash(k) & (t->slot_count - 1);
    for (; t->slot[at]; at = (at + 1) & (t->slot_count - 1))
        if (kernel_equal(t->kernel[t->slot[at] - 1], k))
            return t->slot[at] - 1;
    if (t->count == t->capacity) {
        const int capacity = t->capacity ? 2 * t->capacity : 64;
        t->kernel =
            arena_grow(t->a, t->kernel, (size_t)t->count, (size_t)capacity, sizeof *t->kernel);
        t->capacity = capacity;
    }
    // Numbered in the order of first use, so that names depend on the plan alone.
    k->name = arena_format(t->a, "k%d", t->count);
    t->kernel[t->count] = k;
    t->slot[at] = (uint32_t)++t->count;
    return (uint32_t)t->count - 1;
}

const char *loc_text(Arena *a, Loc loc) {
    if (!loc.file || loc.line == 0)
        return "";
    // No plan names a folder of the machine it was made on: build systems give absolute names, and
    // equal models must give equal bytes in every folder.
    const char *file = loc.file[0] == '/' ? strrchr(loc.file, '/') + 1 : loc.file;
    return arena_format(a, "%s:%d:%d", file, loc.line, loc.column);
}

// "add+layernorm h.0.ln_1"; long groups name their first operators.
static const char *step_name(Arena *a, const StoragePlan *sp, const Step *s) {
    enum { NAMED_MAX = 4 };
    const char *ops = "";
    if (step_is_move(sp, s))
        ops = op_info(sp->storage[s->to.storage].far ? OP_OFFLOAD : OP_FETCH)->name;
    else if (s->kind == STEP_COPY)
        ops = "copy";
    else if (s->kind == STEP_FILL)
        ops = "fill";
    for (int i = 0; s->kind == STEP_NODES && i < s->node_count; i++) {
        // Names are for people: lists of plans have one line an instruction.
        if (i == NAMED_MAX) {
            ops = arena_format(a, "%s+%d more", ops, s->node_count - i);
            break;
        }
        ops = arena_format(a, "%s%s%s", ops, i ? "+" : "", op_info(s->node[i]->op)->name);
    }
    const char *scope = s->for_node->scope;
    return scope && *scope ? arena_format(a, "%s %s", ops, scope) : ops;
}

// The same lists twice: runtime/ knows nothing of ir/.
static PlanPhase plan_phase(Phase p) {
    switch (p) {
    case PHASE_FORWARD:
        return PLAN_PHASE_FORWARD;
    case PHASE_BACKWARD:
        return PLAN_PHASE_BACKWARD;
    case PHASE_UPDATE:
        return PLAN_PHASE_UPDATE;
    }
    UNREACHABLE();
}

static PlanAccess plan_access(Access a) {
    switch (a) {
    case ACCESS_READ:
        return PLAN_READ;
    case ACCESS_WRITE:
        return PLAN_WRITE;
    case ACCESS_UPDATE:
        return PLAN_UPDATE;
    }
    UNREACHABLE();
}

// The bytes a call may touch: from the operand's first element, over its whole span.
// Its offset and size are in bytes from here on; places count elements.
static PlanOperand operand_at(const Lower *lw, const Step *s, const Place *p, DType dtype,
                              int64_t elements, PlanAccess access) {
    const Storage *storage = &lw->sp->storage[p->storage];
    PlanOperand o = {.buffer = lw->buffer_of[p->storage],
                     .offset = (uint64_t)p->offset * dtype_bytes(dtype),
                     .bytes = (uint64_t)elements * dtype_bytes(dtype),
                     .access = access};
    // A buffer left out, or a range past its end, would be a mistake of the choice of storage.
    CHECK(o.buffer != UINT32_MAX && o.offset + o.bytes <= storage->bytes);
    // With micro-batches such an input has one slot each, side by side; the call's slot moves it.
    if (storage->input >= 0 && source_by_slot(lw->g->input[storage->input].source) &&
        s->segment == STEP_BODY && lw->g->repeat > 1)
        o.slot_bytes = type_bytes(&storage->owner->type);
    return o;
}

// An operand of a call; of what is written the rows, where that is not all of the range.
static PlanOperand call_operand(const Lower *lw, const Step *s, const KernelCall *call,
                                int operand) {
    const Kernel *k = call->kernel;
    const DType dtype = kernel_dtype(k, operand);
    PlanOperand o = operand_at(lw, s, &call->operand[operand], dtype, kernel_span(k, operand),
                               plan_access(kernel_access(k, operand)));
    int64_t row, pitch;
    if (o.access != PLAN_READ && kernel_rows(k, operand, &row, &pitch)) {
        o.row = (uint64_t)row * dtype_bytes(dtype);
        o.pitch = (uint64_t)pitch * dtype_bytes(dtype);
    }
    return o;
}

// A buffer for one instruction: layout puts others over it before and after.
static void add_workspace(Lower *lw, const Step *s, int position, const Kernel *k, PlanInstr *out) {
    const size_t bytes = lower_workspace(lw->cx->options, k);
    if (bytes == 0)
        return;
    // One part a worker.
    const uint32_t workers = lw->plan->workers; // the runtime starts no more
    const PlanBuffer b = {.name = arena_format(lw->cx->arena, "%s workspace", out->name),
                          .kind = BUFFER_WORKSPACE,
                          .bytes = (uint64_t)bytes * workers,
                          .alignment = lower_alignment(lw->cx->options),
                          .entry = lw->entry,
                          .first = (uint32_t)position,
                          .last = (uint32_t)position,
                          .scope = s->for_node->scope ? s->for_node->scope : "",
                          .where = out->where,
                          .dtype = PLAN_BOOL,
                          .rank = 1,
                          .dim = {(int64_t)bytes * workers}};
    out->workspace = lower_add_buffer(lw, b);
}

// Where a scalar kernel's operands begin, for GPUs: a multiple of 16 bytes but for parts of others.
static void tell_alignment(const Lower *lw, const Step *s, const KernelCall *call) {
    Kernel *k = call->kernel;
    for (int i = 0; k->kind == KERNEL_SCALAR && i < k->operand_count; i++) {
        const PlanOperand o = call_operand(lw, s, call, i);
        const uint64_t bytes = o.offset | o.slot_bytes;
        k->operand[i].align = bytes % 16 != 0 ? (int)(bytes & (~bytes + 1) & 15) : 0;
    }
}

// What a kernel writes is stored past the caches where all that it touches is more than the last of
// them holds: whoever reads it next begins where it began, which would no longer be there, and
// storing through caches reads each line first. Where an operand lies in the same storage its lines
// are there already.
static void choose_streams(const KernelCall *call) {
    Kernel *k = call->kernel;
    if (k->kind != KERNEL_SCALAR || kernel_bytes(k) <= CACHE_BYTES)
        return;
    for (int o = 0; o < k->operand_count; o++) {
        bool alone = true;
        for (int i = 0; i < k->operand_count; i++)
            alone = alone && (i == o || call->operand[i].storage != call->operand[o].storage);
        k->operand[o].stream = alone && kernel_may_stream(k, o);
    }
}

// Once for each kernel: layers share them.
static void remark_streams(const Lower *lw, const Kernel *k) {
    for (int o = 0; k->kind == KERNEL_SCALAR && o < k->operand_count; o++)
        if (k->operand[o].stream)
            remark_add(lw->cx, "lower", k->name,
                       "operand %d is stored past the caches: a call moves %lld bytes, of which "
                       "%d would stay for whoever reads next",
                       o, (long long)kernel_bytes(k), CACHE_BYTES);
}

// Whether the host computes it: all of its operands are far, or none is.
static bool works_far(const Lower *lw, const KernelCall *call) {
    const int count = kernel_operand_count(call->kernel);
    int far = 0;
    for (int i = 0; i < count; i++)
        far += lw->sp->storage[call->operand[i].storage].far;
    CHECK(far == 0 || far == count);
    return far > 0;
}

// Costs are the kernel's own view of one call: shown to people, used by the cost model.
static void add_call(Lower *lw, const Step *s, int position, const KernelCall *call,
                     PlanInstr *out) {
    const Kernel *k = call->kernel;
    // Its kernel stays in the table as a description: no code is made for it.
    const bool library = k->kind == KERNEL_PRODUCT && k->product.library != PRODUCT_OWN;
    Arena *a = lw->cx->arena;
    out->kind = library ? INSTR_PRODUCT : INSTR_KERNEL;
    call->kernel->host = works_far(lw, call);
    if (k->host)
        CHECK(lw->cx->options->gpu.count > 0 && k->kind == KERNEL_SCALAR);
    else if (lw->cx->options->gpu.count > 0)
        tell_alignment(lw, s, call);
    else
        choose_streams(call);
    const int known = lw->kernels.count;
    out->kernel = kernel_table_add(&lw->kernels, call->kernel);
    if (lw->kernels.count > known)
        remark_streams(lw, k);
    const int count = kernel_operand_count(k);
    out->operand_count = (uint32_t)count;
    out->operand = arena_array(a, PlanOperand, count);
    for (int i = 0; i < count; i++)
        out->operand[i] = call_operand(lw, s, call, i);
    out->imm_count = (uint32_t)call->imm_count;
    // One more than needed, so that no list is of length 0.
    out->imm = arena_array(a, int64_t, call->imm_count + 1);
    memcpy(out->imm, call->imm, (size_t)call->imm_count * sizeof *out->imm);
    out->flops = (uint64_t)kernel_flops(k);
    out->bytes = (uint64_t)kernel_bytes(k);
    add_workspace(lw, s, position, k, out);
}

// By the runtime, with the byte 0 (the immediate): zero in every dtype.
static void add_fill(Lower *lw, const Step *s, PlanInstr *out) {
    out->kind = INSTR_FILL;
    out->operand_count = 1;
    out->operand = arena_array(lw->cx->arena, PlanOperand, 1);
    out->operand[0] = operand_at(lw, s, &s->to, s->type->dtype, type_count(s->type), PLAN_WRITE);
    out->imm_count = 1;
    out->imm = arena_array(lw->cx->arena, int64_t, 1);
    out->bytes = out->operand[0].bytes;
}

// Bytes one after another on both sides: no kernel is needed.
// Constants and long copies go by a kernel: it makes numbers, and its tiles are shared out.
// Moves are ranges of bytes, in whatever order their elements lie in them; gaps move along.
static bool is_plain_copy(const StoragePlan *sp, const Step *s) {
    if (step_is_move(sp, s))
        return true;
    return s->from.storage != STORAGE_NONE && type_bytes(s->type) <= COPY_BYTES_MAX &&
           place_is_dense(&s->from, s->type) && place_is_dense(&s->to, s->type);
}

static void add_plain_copy(Lower *lw, const Step *s, PlanInstr *out) {
    const int64_t count = place_span(&s->from, s->type);
    out->kind = INSTR_COPY;
    out->operand_count = 2;
    out->operand = arena_array(lw->cx->arena, PlanOperand, 2);
    out->operand[0] = operand_at(lw, s, &s->to, s->type->dtype, count, PLAN_WRITE);
    out->operand[1] = operand_at(lw, s, &s->from, s->type->dtype, count, PLAN_READ);
    // Read once and written once.
    out->bytes = 2 * out->operand[0].bytes;
}

// Templates know their operands by position; scalar programs collect theirs.
static void lower_nodes(Lower *lw, const Step *s, KernelCall *call) {
    Arena *a = lw->cx->arena;
    const OpLowering lowering = op_info(s->node[0]->op)->lowering;
    if (lowering == LOWER_PRODUCT)
        lower_product(lw->sp, s, lw->cx->options, a, call);
    else if (lowering == LOWER_CONVOLUTION)
        lower_convolution(lw->sp, s, a, call);
    else if (lowering == LOWER_ATTENTION)
        lower_attention(lw->sp, s, a, call);
    else
        lower_scalar(lw->sp, s, a, call);
}

PlanInstr lower_step(Lower *lw, int position) {
    const Step *s = &lw->sp->step[position];
    Arena *a = lw->cx->arena;
    PlanInstr out = {.workspace = UINT32_MAX,
                     .signal = UINT32_MAX,
                     .phase = plan_phase(s->for_node->phase),
                     .name = step_name(a, lw->sp, s),
                     .where = loc_text(a, s->for_node->loc)};
    KernelCall call = {0};
    switch (s->kind) {
    case STEP_FILL:
        add_fill(lw, s, &out);
        return out;
    // Strided, long, or a constant written out.
    case STEP_COPY:
        if (is_plain_copy(lw->sp, s)) {
            add_plain_copy(lw, s, &out);
            return out;
        }
        lower_copy(lw->sp, s, a, &call);
        break;
    case STEP_NODES:
        lower_nodes(lw, s, &call);
        break;
    }
    // Copies by kernel and nodes go the same way.
    add_call(lw, s, position, &call, &out);
    return out;
}
