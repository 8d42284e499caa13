// Building scalar kernels: operations are appended, equal ones shared through a hash table;
// finishing drops what no store needs, puts the stores last (so that every load reads what was
// there before the call), and simplifies the index space: dims of extent 1 go, neighbours merge
// where every operand in use walks them as one. A dim whose INDEX is read keeps to itself, the
// reduced dims and the others never mix, and the column of a kernel that reduces stays the last dim
// even with extent 1. Cost: linear in operations.
#include "ir/kernel.h"

#include "ir/check.h"

#include <math.h>
#include <string.h>

struct KernelBuilder {
    Arena *arena;
    Kernel *kernel; // what has been said so far
    int instr_capacity;
    int32_t *slot;  // open addressing: instr + 1, 0 where free
    int slot_count; // a power of two, at least twice the operations
    KSourceFn source;
    void *source_user;
};

KernelBuilder *kernel_builder(Arena *a, KernelAxis axis, int rank, const int64_t *dim) {
    CHECK(rank >= 0 && rank <= KERNEL_DIMS_MAX);
    KernelBuilder *kb = arena_new(a, KernelBuilder);
    kb->arena = a;
    kb->kernel = arena_new(a, Kernel);
    kb->kernel->name = "k";
    kb->kernel->kind = KERNEL_SCALAR;
    kb->kernel->axis = axis;
    // A scalar is a row of one column: every kernel has a column dim.
    kb->kernel->rank = rank > 0 ? rank : 1;
    kb->kernel->dim[0] = 1;
    for (int i = 0; i < rank; i++)
        kb->kernel->dim[i] = dim[i];
    return kb;
}

int kernel_add_operand(KernelBuilder *kb, DType dtype, Access access, const int64_t *stride) {
    Kernel *k = kb->kernel;
    CHECK(k->operand_count < KERNEL_OPERANDS_MAX);
    KOperand *o = &k->operand[k->operand_count];
    o->dtype = dtype;
    o->access = access;
    for (int i = 0; i < k->rank; i++)
        // Without strides the operand stands still until kb_set_stride.
        o->stride[i] = stride ? stride[i] : 0;
    return k->operand_count++;
}

// Immediates are 64 bits of each call; operations see the low 32.
int kernel_add_imm(KernelBuilder *kb) {
    return kb->kernel->imm_count++;
}

// boost's hash_combine, then a fold of MurmurHash3, since slots are taken from the low bits.
static uint64_t mix(uint64_t h, uint64_t x) {
    h ^= x + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
    h *= 0xff51afd7ed558ccdu;
    return h ^ (h >> 33);
}

static uint64_t instr_hash(const KInstr *i) {
    uint64_t h = mix((uint64_t)i->op, (uint64_t)i->dtype);
    for (int j = 0; j < 4; j++)
        h = mix(h, (uint64_t)i->arg[j]);
    h = mix(h, (uint64_t)i->operand);
    h = mix(h, (uint64_t)i->limit);
    h = mix(h, (uint64_t)i->step);
    return mix(h, (uint64_t)i->as.i);
}

// Doubles the table and enters every operation anew. The old table stays in the arena; all of them
// together are no larger than the newest.
static void slots_grow(KernelBuilder *kb) {
    const Kernel *k = kb->kernel;
    kb->slot_count = kb->slot_count ? kb->slot_count * 2 : 64;
    kb->slot = arena_array(kb->arena, int32_t, kb->slot_count);
    const uint64_t mask = (uint64_t)kb->slot_count - 1;
    for (int i = 0; i < k->instr_count; i++) {
        uint64_t at = instr_hash(&k->instr[i]) & mask;
        while (kb->slot[at])
            at = (at + 1) & mask;
        kb->slot[at] = i + 1;
    }
}

// The operation equal to i, appended if there is none. Effects are always appended.
// Loads are shared even across a store: finishing puts the stores last, so both read the same.
static KRef push(KernelBuilder *kb, KInstr i) {
    Kernel *k = kb->kernel;
    if (2 * (k->instr_count + 1) > kb->slot_count)
        slots_grow(kb);
    const uint64_t mask = (uint64_t)kb->slot_count - 1;
    uint64_t at = instr_hash(&i) & mask;
    for (; kb->slot[at]; at = (at + 1) & mask)
        if (!kop_is_effect(i.op) && kinstr_equal(&k->instr[kb->slot[at] - 1], &i))
            return kb->slot[at] - 1;
    if (k->instr_count == kb->instr_capacity) {
        const int capacity = kb->instr_capacity ? kb->instr_capacity * 2 : 32;
        k->instr = arena_grow(kb->arena, k->instr, (size_t)k->instr_count, (size_t)capacity,
                              sizeof *k->instr);
        kb->instr_capacity = capacity;
    }
    k->instr[k->instr_count] = i;
    kb->slot[at] = ++k->instr_count;
    return k->instr_count - 1;
}

// A KRef of this builder; any other is a mistake of the caller.
static const KInstr *instr_at(const KernelBuilder *kb, KRef r) {
    CHECK(r >= 0 && r < kb->kernel->instr_count);
    return &kb->kernel->instr[r];
}

// The type a load gives and a store wants: bf16 is f32 in programs.
static DType operand_value(const KernelBuilder *kb, int operand) {
    CHECK(operand >= 0 && operand < kb->kernel->operand_count);
    const DType t = kb->kernel->operand[operand].dtype;
    return t == DT_BF16 ? DT_F32 : t;
}

// All fields that an operation doesn't use have one value, because equal operations compare whole.
static KInstr blank(KOp op, DType dtype) {
    KInstr i = {.op = op, .dtype = dtype, .arg = {-1, -1, -1, -1}, .operand = -1};
    i.as.i = 0;
    return i;
}

KRef kb_load(KernelBuilder *kb, int operand) {
    KInstr i = blank(KOP_LOAD, operand_value(kb, operand));
    i.operand = operand;
    return push(kb, i);
}

KRef kb_load_at(KernelBuilder *kb, int operand, KRef index, int64_t limit, int64_t step) {
    KInstr i = blank(KOP_LOAD_AT, operand_value(kb, operand));
    CHECK(kb_dtype(kb, index) == DT_I32 && limit >= 1);
    i.arg[0] = index;
    i.operand = operand;
    i.limit = limit;
    i.step = step;
    return push(kb, i);
}

// index is -1 for a plain store. The value's type must be the operand's.
static void push_store(KernelBuilder *kb, KOp op, int operand, KRef value, KRef index,
                       int64_t limit, int64_t step) {
    KInstr i = blank(op, kb_dtype(kb, value));
    CHECK(i.dtype == operand_value(kb, operand));
    i.arg[0] = value;
    i.arg[1] = index;
    i.operand = operand;
    i.limit = limit;
    i.step = step;
    push(kb, i);
}

void kb_store(KernelBuilder *kb, int operand, KRef value) {
    push_store(kb, KOP_STORE, operand, value, -1, 0, 0);
}

void kb_store_at(KernelBuilder *kb, int operand, KRef value, KRef index, int64_t limit,
                 int64_t step) {
    CHECK(kb_dtype(kb, index) == DT_I32 && limit >= 1);
    push_store(kb, KOP_STORE_AT, operand, value, index, limit, step);
}

void kb_add_at(KernelBuilder *kb, int operand, KRef value, KRef index, int64_t limit,
               int64_t step) {
    CHECK(kb_dtype(kb, index) == DT_I32 && limit >= 1);
    push_store(kb, KOP_ADD_AT, operand, value, index, limit, step);
}

KRef kb_float(KernelBuilder *kb, double value) {
    KInstr i = blank(KOP_CONST, DT_F32);
    // Rounded to f32 and with one NaN, so that equal constants have equal bits.
    i.as.f = isnan(value) ? (double)NAN : (double)(float)value;
    return push(kb, i);
}

KRef kb_int(KernelBuilder *kb, int64_t value) {
    KInstr i = blank(KOP_CONST, DT_I32);
    // Wraps, as i32 arithmetic in a kernel does.
    i.as.i = (int32_t)(uint32_t)(uint64_t)value;
    return push(kb, i);
}

KRef kb_bool(KernelBuilder *kb, bool value) {
    KInstr i = blank(KOP_CONST, DT_BOOL);
    i.as.i = value;
    return push(kb, i);
}

KRef kb_imm(KernelBuilder *kb, int imm) {
    CHECK(imm >= 0 && imm < kb->kernel->imm_count);
    KInstr i = blank(KOP_IMM, DT_I32);
    i.as.i = imm;
    return push(kb, i);
}

KRef kb_index(KernelBuilder *kb, int dim) {
    CHECK(dim >= 0 && dim < kb->kernel->rank);
    KInstr i = blank(KOP_INDEX, DT_I32);
    i.as.i = dim;
    return push(kb, i);
}

// Operations on values alone. Types that the operation does not take are a mistake of the lowering,
// not of the user: a CHECK.
static KRef push_op(KernelBuilder *kb, KOp op, int count, const KRef *arg) {
    CHECK(kop_arity(op) == count);
    DType of[4] = {DT_F32, DT_F32, DT_F32, DT_F32};
    for (int j = 0; j < count; j++)
        of[j] = kb_dtype(kb, arg[j]);
    DType result = DT_F32;
    CHECK(kop_infer(op, of, &result));
    KInstr i = blank(op, result);
    for (int j = 0; j < count; j++)
        i.arg[j] = arg[j];
    return push(kb, i);
}

// Whether the value is one that bf16 holds already.
static bool is_bf16(const KernelBuilder *kb, KRef r) {
    const KInstr *in = instr_at(kb, r);
    if (in->op == KOP_LOAD || in->op == KOP_LOAD_AT)
        return kb->kernel->operand[in->operand].dtype == DT_BF16;
    return in->op == KOP_ROUND_BF16;
}

// Operations by arity. Types are checked where they are added, not when the kernel is finished.
KRef kb_op1(KernelBuilder *kb, KOp op, KRef a) {
    // Rounding twice is rounding once.
    if (op == KOP_ROUND_BF16 && is_bf16(kb, a))
        return a;
    return push_op(kb, op, 1, (const KRef[]){a});
}

KRef kb_op2(KernelBuilder *kb, KOp op, KRef a, KRef b) {
    return push_op(kb, op, 2, (const KRef[]){a, b});
}

KRef kb_op3(KernelBuilder *kb, KOp op, KRef a, KRef b, KRef c) {
    return push_op(kb, op, 3, (const KRef[]){a, b, c});
}

KRef kb_random(KernelBuilder *kb, KRef seed, KRef step, KRef key, KRef index) {
    return push_op(kb, KOP_RANDOM, 4, (const KRef[]){seed, step, key, index});
}

KRef kb_pick(KernelBuilder *kb, KRef d, KRef e, KRef y, KRef mass) {
    return push_op(kb, KOP_PICK, 4, (const KRef[]){d, e, y, mass});
}

DType kb_dtype(const KernelBuilder *kb, KRef r) {
    return instr_at(kb, r)->dtype;
}

int64_t kb_dim(const KernelBuilder *kb, int dim) {
    CHECK(dim >= 0 && dim < kb->kernel->rank);
    return kb->kernel->dim[dim];
}

int kb_rank(const KernelBuilder *kb) {
    return kb->kernel->rank;
}

// Only the lowering pass knows which operand holds a node's input, so it is asked.
KSource kb_source(KernelBuilder *kb, int input) {
    CHECK(kb->source != NULL);
    return kb->source(kb->source_user, input);
}

void kb_set_stride(KernelBuilder *kb, int operand, int dim, int64_t stride) {
    CHECK(operand >= 0 && operand < kb->kernel->operand_count && dim >= 0 &&
          dim < kb->kernel->rank);
    kb->kernel->operand[operand].stride[dim] = stride;
}

void kb_set_source(KernelBuilder *kb, KSourceFn fn, void *user) {
    kb->source = fn;
    kb->source_user = user;
}

// What finishing knows about the program.
typedef struct {
    bool *live; // by operation
    bool operand_used[KERNEL_OPERANDS_MAX];
    bool index_used[KERNEL_DIMS_MAX];
    bool reduces; // a live reduction
} Facts;

// Backward from the effects. Users stand after their operands, so one pass finds all that is live.
static Facts facts_find(Arena *a, const Kernel *k) {
    Facts f = {.live = arena_array(a, bool, k->instr_count + 1)};
    for (int i = k->instr_count - 1; i >= 0; i--) {
        const KInstr *in = &k->instr[i];
        f.live[i] = f.live[i] || kop_is_effect(in->op);
        if (!f.live[i])
            continue;
        for (int j = 0; j < kop_arity(in->op); j++)
            f.live[in->arg[j]] = true;
        if (in->operand >= 0)
            f.operand_used[in->operand] = true;
        if (in->op == KOP_INDEX)
            f.index_used[in->as.i] = true;
        f.reduces = f.reduces || kop_is_reduction(in->op);
    }
    return f;
}

// Whether dims outer and inner (neighbours once extents of 1 are gone) are walked as one by every
// operand.
static bool dims_merge(const Kernel *k, const Facts *f, int outer, int inner) {
    // A position along a merged dim would need a division to get back.
    if (f->index_used[outer] || f->index_used[inner])
        return false;
    for (int o = 0; o < k->operand_count; o++) {
        const int64_t *stride = k->operand[o].stride;
        int64_t row;
        if (!f->operand_used[o])
            continue;
        // Row-major neighbours: a step of the outer dim is as long as the whole inner one.
        if (!count_mul(stride[inner], k->dim[inner], &row) || row != stride[outer])
            return false;
    }
    return true;
}

// A dim of the finished kernel: walks the old dims begin..end-1 with the strides of `inner`.
typedef struct {
    int64_t extent;
    int inner;
} Merged;

// Chooses the new dims, fastest first; returns how many. new_dim[d] is set for dims that keep their
// INDEX.
static int dims_choose(Kernel *k, const Facts *f, Merged out[KERNEL_DIMS_MAX],
                       int new_dim[KERNEL_DIMS_MAX]) {
    const bool fixed_column = f->reduces || k->axis == KERNEL_COLUMNS;
    const int last = k->rank - 1;
    int count = 0, outermost = -1; // outermost: the slowest old dim in out[count - 1]
    for (int d = last; d >= 0; d--) {
        new_dim[d] = -1;
        // Even with extent 1 a column that is reduced is what the reduction runs along.
        if (k->dim[d] == 1 && !(fixed_column && d == last))
            continue;
        // The column of a kernel that reduces takes no rows in, and so starts a dim and ends it.
        const bool apart = count == 0 || (fixed_column && count == 1);
        int64_t extent;
        if (!apart && dims_merge(k, f, d, outermost) &&
            count_mul(out[count - 1].extent, k->dim[d], &extent)) {
            out[count - 1].extent = extent;
        } else {
            out[count++] = (Merged){.extent = k->dim[d], .inner = d};
        }
        new_dim[d] = count - 1;
        outermost = d;
    }
    // All dims had extent 1: a kernel of one point.
    if (count == 0)
        out[count++] = (Merged){.extent = 1, .inner = last};
    return count;
}

// Copies the live operations, effects last.
static void copy_program(Arena *a, const Kernel *from, const Facts *f, Kernel *to) {
    // moved[i]: the new number of operation i. Values never use effects, so those copied last have
    // all their operands renumbered.
    KRef *moved = arena_array(a, KRef, from->instr_count + 1);
    to->instr = arena_array(a, KInstr, from->instr_count + 1);
    to->instr_count = 0;
    for (int effects = 0; effects < 2; effects++) {
        for (int i = 0; i < from->instr_count; i++) {
            if (!f->live[i] || kop_is_effect(from->instr[i].op) != (effects == 1))
                continue;
            KInstr in = from->instr[i];
            for (int j = 0; j < kop_arity(in.op); j++)
                in.arg[j] = moved[in.arg[j]];
            moved[i] = to->instr_count;
            to->instr[to->instr_count++] = in;
        }
    }
}

Kernel *kernel_finish(KernelBuilder *kb) {
    Kernel *from = kb->kernel;
    const Facts f = facts_find(kb->arena, from);
    Kernel *k = arena_new(kb->arena, Kernel);
    *k = *from;
    copy_program(kb->arena, from, &f, k);

    // The index space. Whatever is not used becomes 0: equal kernels then compare equal.
    Merged merged[KERNEL_DIMS_MAX];
    int new_dim[KERNEL_DIMS_MAX];
    k->rank = dims_choose(from, &f, merged, new_dim);
    memset(k->dim, 0, sizeof k->dim);
    for (int o = 0; o < k->operand_count; o++)
        memset(k->operand[o].stride, 0, sizeof k->operand[o].stride);
    for (int c = 0; c < k->rank; c++) { // merged is fastest first, dims slowest first
        const int d = k->rank - 1 - c;
        k->dim[d] = merged[c].extent;
        for (int o = 0; o < k->operand_count; o++)
            if (f.operand_used[o] && k->dim[d] > 1)
                k->operand[o].stride[d] = from->operand[o].stride[merged[c].inner];
    }
    for (int i = 0; i < k->instr_count; i++) {
        KInstr *in = &k->instr[i];
        // The INDEX operations follow their dims.
        if (in->op != KOP_INDEX)
            continue;
        const int64_t dim = in->as.i;
        if (new_dim[dim] >= 0) {
            in->as.i = k->rank - 1 - new_dim[dim];
        } else { // the dim had extent 1
            in->op = KOP_CONST;
            in->as.i = 0;
        }
    }
    return k;
}

// The templates are taken as they are; kernel_verify says whether they are sound.
Kernel *kernel_product(Arena *a, const ProductKernel *p) {
    Kernel *k = arena_new(a, Kernel);
    k->name = "k";
    k->kind = KERNEL_PRODUCT;
    k->product = *p;
    return k;
}

Kernel *kernel_convolution(Arena *a, const ConvolutionKernel *p) {
    Kernel *k = arena_new(a, Kernel);
    k->name = "k";
    k->kind = KERNEL_CONVOLUTION;
    k->convolution = *p;
    return k;
}

Kernel *kernel_attention(Arena *a, KernelKind kind, const AttentionKernel *p) {
    CHECK(kernel_kind_is_attention(kind));
    Kernel *k = arena_new(a, Kernel);
    k->name = "k";
    k->kind = kind;
    k->attention = *p;
    return k;
}
