// Scalar kernels, the part common to both axes.
//
// Values are computed where they can be: those that vary along no dim at the function's entry,
// those that don't vary along the column once a row (ROWS) or once a tile of columns (COLUMNS:
// those that don't vary along the rows), the rest in vectors of KERNEL_LANES columns. A kernel with
// reductions makes one pass over its data for each depth of them and one more for the stores; each
// pass loads and computes again what it needs, which is cheaper than keeping a row, but for dear
// functions (llvm_rows.c). All stores stand in the last pass, after every load of their block: so a
// result may lie where its operand lies, element for element.
#include "codegen/llvm_scalar.h"

#include "codegen/llvm_math.h"
#include "codegen/llvm_ops.h"
#include "ir/check.h"

#include <math.h>

int64_t scalar_rows(const Kernel *k) {
    int64_t rows = 1;
    for (int d = 0; d + 1 < k->rank; d++)
        rows *= k->dim[d];
    return rows;
}

bool scalar_is_vector(const ScalarEmit *se, KRef i) {
    return (se->varies[i] & se->column_bit) != 0;
}

LLVMValueRef scalar_lanes(const ScalarEmit *se, KRef i, int v) {
    if (scalar_is_vector(se, i))
        return se->lanes[v][i];
    return llvm_splat(se->b, se->uniform[i], KERNEL_LANES);
}

// Only the last vector of a block can be narrow.
LLVMValueRef scalar_mask(const ScalarEmit *se, const ScalarBlock *block, int v) {
    if (v + 1 < block->vectors || block->tail == KERNEL_LANES)
        return NULL;
    return llvm_mask_first(se->b, KERNEL_LANES, block->tail);
}

bool scalar_reductions(ScalarEmit *se, int stage, ScalarReductions *out) {
    out->count = 0;
    for (KRef i = 0; i < se->k->instr_count; i++) {
        if (!kop_is_reduction(se->k->instr[i].op) || se->depth[i] != stage + 1)
            continue;
        // Each needs SCALAR_VECTORS_MAX values carried around one loop, which has LLVM_CARRY_MAX.
        if (out->count == SCALAR_REDUCTIONS_MAX) {
            llvm_unsupported(se->b, "more than 32 reductions in one walk");
            return false;
        }
        out->ref[out->count++] = i;
    }
    return true;
}

LLVMValueRef scalar_reduction_start(const ScalarEmit *se, KRef i, LLVMTypeRef type) {
    return llvm_float_like(type, se->k->instr[i].op == KOP_SUM ? 0.0 : -HUGE_VAL);
}

LLVMValueRef scalar_reduction_join(const ScalarEmit *se, KRef i, LLVMValueRef sum, LLVMValueRef x) {
    return se->k->instr[i].op == KOP_SUM ? llvm_fadd(se->b, sum, x) : llvm_fmax(se->b, x, sum);
}

LLVMValueRef scalar_at_most(LlvmBuild *b, LLVMValueRef x, int64_t most) {
    LLVMValueRef limit = llvm_i64(b, most);
    return llvm_select(b, llvm_icmp(b, LLVMIntSLT, x, limit), x, limit);
}

void scalar_enter_row(ScalarEmit *se, LLVMValueRef row) {
    LlvmBuild *b = se->b;
    const Kernel *k = se->k;
    // The row number taken apart, the fastest dim first.
    for (int d = k->rank - 2; d >= 0; d--) {
        // The slowest dim needs no remainder: row is below the product of all.
        se->index[d] = d == 0 ? row : llvm_urem(b, row, k->dim[d]);
        row = d == 0 ? row : llvm_udiv(b, row, k->dim[d]);
    }
    // Each operand's address at this row, column 0: what follows adds the column alone.
    for (int o = 0; o < k->operand_count; o++) {
        LLVMValueRef offset = llvm_i64(b, 0);
        for (int d = 0; d + 1 < k->rank; d++)
            offset = llvm_add(b, offset,
                              llvm_mul(b, se->index[d], llvm_i64(b, k->operand[o].stride[d])));
        se->row_base[o] = llvm_at(b, llvm_memory_type(b, k->operand[o].dtype), se->base[o], offset);
    }
}

// Indices of no row are NULL, so that a use outside the loop shows.
void scalar_leave_row(ScalarEmit *se) {
    for (int d = 0; d < KERNEL_DIMS_MAX; d++)
        se->index[d] = NULL;
    for (int o = 0; o < se->k->operand_count; o++)
        se->row_base[o] = se->base[o];
}

// How operation i reaches memory in vector v of the block: one address for a scalar or for
// neighbouring lanes, or a base and an index for each lane.
typedef struct {
    DType dtype;          // in memory
    LLVMValueRef address; // of the first lane
    LLVMValueRef index;   // elements from address for each lane, or NULL: neighbours
} Place;

// clamp(index) * step in 64 bits.
// Clamped first: an index from data can't leave the operand, whatever it is.
static LLVMValueRef moved_by(LlvmBuild *b, const KInstr *in, LLVMValueRef index) {
    LLVMValueRef clamped = llvm_clamp(b, index, in->limit);
    LLVMTypeRef wide = llvm_vector(b->i64, llvm_width(LLVMTypeOf(index)));
    LLVMValueRef distance = LLVMBuildSExt(b->builder, clamped, wide, "");
    return llvm_mul(b, distance, llvm_int_like(wide, in->step));
}

// The operation whose value is the index, or -1 where the address is the kernel's index alone.
static KRef moving_index(const KInstr *in) {
    if (in->op == KOP_LOAD_AT)
        return in->arg[0];
    return in->op == KOP_STORE_AT || in->op == KOP_ADD_AT ? in->arg[1] : -1;
}

// Offsets of the lanes along the column.
// stride, like all here, in elements.
static LLVMValueRef lane_offsets(LlvmBuild *b, int64_t stride) {
    LLVMTypeRef wide = llvm_vector(b->i64, KERNEL_LANES);
    LLVMValueRef iota = LLVMBuildZExt(b->builder, llvm_iota(b, KERNEL_LANES), wide, "");
    return llvm_mul(b, iota, llvm_int_like(wide, stride));
}

static Place place_of(const ScalarEmit *se, const ScalarBlock *block, KRef i, int v) {
    LlvmBuild *b = se->b;
    const KInstr *in = &se->k->instr[i];
    const KOperand *operand = &se->k->operand[in->operand];
    // A dim of extent 1 is never walked: its stride says nothing.
    const int64_t stride = se->k->dim[se->k->rank - 1] > 1 ? operand->stride[se->k->rank - 1] : 0;
    Place place = {.dtype = operand->dtype, .address = se->row_base[in->operand]};
    LLVMTypeRef element = llvm_memory_type(b, place.dtype);
    const KRef moving = moving_index(in);

    // One index for all lanes moves the address, else each lane has its own.
    if (moving >= 0 && !scalar_is_vector(se, moving))
        place.address = llvm_at(b, element, place.address, moved_by(b, in, se->uniform[moving]));
    // A scalar: the address of its one element.
    if (!scalar_is_vector(se, i))
        return place;
    if (stride != 0) {
        LLVMValueRef column = llvm_add(b, block->column, llvm_i64(b, (int64_t)v * KERNEL_LANES));
        place.address =
            llvm_at(b, element, place.address, llvm_mul(b, column, llvm_i64(b, stride)));
    }
    // Stride 0 too: the lanes of a vector that share an element.
    if (stride != 1)
        place.index = lane_offsets(b, stride);
    if (moving >= 0 && scalar_is_vector(se, moving)) {
        // Neighbours had no index so far; a moved lane needs its own place too.
        LLVMValueRef lanes = stride == 1 ? lane_offsets(b, 1) : place.index;
        place.index = llvm_add(b, lanes, moved_by(b, in, se->lanes[v][moving]));
    }
    return place;
}

static LLVMValueRef load_lanes(const ScalarEmit *se, const ScalarBlock *block, KRef i, int v) {
    LlvmBuild *b = se->b;
    const Place place = place_of(se, block, i, v);
    LLVMValueRef mask = scalar_mask(se, block, v);
    // Neighbours are one load, of any alignment.
    if (!place.index)
        return llvm_load_typed(b, place.dtype, KERNEL_LANES, place.address, mask);
    LLVMTypeRef type = llvm_vector(llvm_memory_type(b, place.dtype), KERNEL_LANES);
    LLVMValueRef value = llvm_gather(b, type, place.address, place.index, mask);
    return llvm_widen_typed(b, place.dtype, value);
}

// Position along a dim, as i32.
static LLVMValueRef index_value(const ScalarEmit *se, const ScalarBlock *block, KRef i, int v) {
    LlvmBuild *b = se->b;
    if (scalar_is_vector(se, i)) {
        LLVMValueRef first = llvm_add(b, block->column, llvm_i64(b, (int64_t)v * KERNEL_LANES));
        first = LLVMBuildTrunc(b->builder, first, b->i32, "");
        return llvm_add(b, llvm_splat(b, first, KERNEL_LANES), llvm_iota(b, KERNEL_LANES));
    }
    const int64_t dim = se->k->instr[i].as.i;
    // The loops keep no index for it.
    if (se->k->dim[dim] == 1)
        return llvm_i32(b, 0);
    return LLVMBuildTrunc(b->builder, se->index[dim], b->i32, "");
}

// Whether it is a row's value less the row's largest: never above 0.
static bool is_below_maximum(const ScalarEmit *se, KRef i) {
    const KInstr *in = &se->k->instr[i], *most = &se->k->instr[in->arg[1]];
    return in->op == KOP_SUB && most->op == KOP_MAXIMUM && most->arg[0] == in->arg[0];
}

// The value of a pure operation from those of its operands.
static LLVMValueRef operate(const ScalarEmit *se, KRef i, LLVMValueRef const *arg) {
    const KInstr *in = &se->k->instr[i];
    if (in->op == KOP_EXP && is_below_maximum(se, in->arg[0]))
        return llvm_math_exp_falling(se->b, arg[0]);
    const DType from = kop_arity(in->op) > 0 ? se->k->instr[in->arg[0]].dtype : in->dtype;
    return llvm_op(se->b, in, from, arg);
}

// The value of one operation, scalar or vector v.
static LLVMValueRef compute_one(const ScalarEmit *se, const ScalarBlock *block, KRef i, int v) {
    const KInstr *in = &se->k->instr[i];
    const bool vector = scalar_is_vector(se, i);
    if (in->op == KOP_INDEX)
        return index_value(se, block, i, v);
    if (in->op == KOP_LOAD || in->op == KOP_LOAD_AT) {
        if (vector)
            return load_lanes(se, block, i, v);
        const Place place = place_of(se, block, i, v);
        return llvm_load_typed(se->b, place.dtype, 1, place.address, NULL);
    }
    // Uniform operands of a vector operation are splat on the way.
    LLVMValueRef arg[4] = {0};
    const int arity = kop_arity(in->op);
    for (int j = 0; j < arity; j++)
        arg[j] = vector ? scalar_lanes(se, in->arg[j], v) : se->uniform[in->arg[j]];
    return operate(se, i, arg);
}

// What four registers hold.
int scalar_joined(const ScalarEmit *se) {
    return se->b->target->avx512 ? 4 : 2;
}

// The value of operation i in vectors [first, first + count) of the block, computed as one wide
// vector: each step of a function waits for the last, and those of other lanes fill the time.
static void compute_joined(ScalarEmit *se, KRef i, int first, int count) {
    LlvmBuild *b = se->b;
    const KInstr *in = &se->k->instr[i];
    LLVMValueRef arg[4] = {0};
    for (int j = 0; j < kop_arity(in->op); j++) {
        LLVMValueRef part[SCALAR_VECTORS_MAX];
        for (int v = 0; v < count; v++)
            part[v] = scalar_lanes(se, in->arg[j], first + v);
        arg[j] = llvm_join(b, part, count);
    }
    LLVMValueRef all = operate(se, i, arg);
    for (int v = 0; v < count; v++)
        se->lanes[first + v][i] = llvm_part(b, all, v * KERNEL_LANES, KERNEL_LANES);
}

// Where vector v of what is kept of operation i lies.
static LLVMValueRef kept_place(const ScalarEmit *se, const ScalarBlock *block, KRef i, int v) {
    LlvmBuild *b = se->b;
    LLVMValueRef column = llvm_add(b, block->column, llvm_i64(b, (int64_t)v * KERNEL_LANES));
    return llvm_at(b, b->f32, se->row[i], column);
}

// The vectors of one operation. What later walks of the row need again is computed and kept by the
// first, loaded by the others; the row has room for whole vectors.
static void compute_vectors(ScalarEmit *se, const ScalarBlock *block, KRef i) {
    LlvmBuild *b = se->b;
    LLVMTypeRef lanes = llvm_vector(b->f32, KERNEL_LANES);
    if (se->kept[i]) {
        for (int v = 0; v < block->vectors; v++)
            se->lanes[v][i] = llvm_load(b, lanes, kept_place(se, block, i, v), KERNEL_LANES * 4);
        return;
    }
    int v = 0;
    for (int count = scalar_joined(se); count > 1; count /= 2)
        for (; llvm_op_is_chain(se->k->instr[i].op) && v + count <= block->vectors; v += count)
            compute_joined(se, i, v, count);
    for (; v < block->vectors; v++)
        se->lanes[v][i] = compute_one(se, block, i, v);
    for (v = 0; se->row[i] && v < block->vectors; v++)
        llvm_store(b, se->lanes[v][i], kept_place(se, block, i, v), KERNEL_LANES * 4);
}

// block may be NULL where no chosen operation is a vector. Operands come before users in k->instr.
void scalar_compute(ScalarEmit *se, const ScalarBlock *block) {
    for (KRef i = 0; i < se->k->instr_count; i++) {
        if (!se->todo[i])
            continue;
        if (scalar_is_vector(se, i))
            compute_vectors(se, block, i);
        else
            se->uniform[i] = compute_one(se, block, i, 0);
    }
}

void scalar_close_todo(ScalarEmit *se, uint32_t local) {
    // Backwards, so that what an operand needs is seen after the operand was chosen.
    for (KRef i = se->k->instr_count - 1; i >= 0; i--) {
        const KInstr *in = &se->k->instr[i];
        // What is kept needs nothing again.
        if (!se->todo[i] || se->kept[i])
            continue;
        for (int j = 0; j < kop_arity(in->op); j++) {
            const KRef arg = in->arg[j];
            if ((se->varies[arg] & local) && !kop_is_reduction(se->k->instr[arg].op))
                se->todo[arg] = true;
        }
        // Effects and reductions only asked for their operands.
        if (kop_is_effect(in->op) || kop_is_reduction(in->op))
            se->todo[i] = false;
    }
}

// value goes to where it was, added to what is there.
// Additions to one place are made by one worker, in order: they need not be atomic.
static void add_scalar_at(LlvmBuild *b, const Place *place, LLVMValueRef address,
                          LLVMValueRef value, bool real) {
    LLVMValueRef old = llvm_load_typed(b, place->dtype, 1, address, NULL);
    value = real ? llvm_fadd(b, old, value) : llvm_add(b, old, value);
    llvm_store_typed(b, place->dtype, value, address, NULL);
}

// A negative index means that nothing is added; other indices are clamped.
static LLVMValueRef is_not_negative(LlvmBuild *b, LLVMValueRef index) {
    return llvm_icmp(b, LLVMIntSGE, index, llvm_zero(LLVMTypeOf(index)));
}

// add_at in vector v: neighbouring lanes at once, others one after another, since two may meet.
static void add_lanes(const ScalarEmit *se, const ScalarBlock *block, KRef i, int v) {
    LlvmBuild *b = se->b;
    const KInstr *in = &se->k->instr[i];
    const bool real = in->dtype == DT_F32, split = scalar_is_vector(se, in->arg[1]);
    LLVMValueRef mask = scalar_mask(se, block, v), value = scalar_lanes(se, in->arg[0], v);
    LlvmIf counted;
    if (!split)
        counted = llvm_if_begin(b, is_not_negative(b, se->uniform[in->arg[1]]));
    const Place place = place_of(se, block, i, v);
    if (!place.index) {
        LLVMValueRef old = llvm_load_typed(b, place.dtype, KERNEL_LANES, place.address, mask);
        value = real ? llvm_fadd(b, old, value) : llvm_add(b, old, value);
        llvm_store_typed(b, place.dtype, value, place.address, mask);
    }
    for (int lane = 0; place.index && lane < (mask ? block->tail : KERNEL_LANES); lane++) {
        LlvmIf valid;
        if (split)
            valid =
                llvm_if_begin(b, is_not_negative(b, llvm_lane(b, se->lanes[v][in->arg[1]], lane)));
        LLVMValueRef address = llvm_at(b, llvm_memory_type(b, place.dtype), place.address,
                                       llvm_lane(b, place.index, lane));
        add_scalar_at(b, &place, address, llvm_lane(b, value, lane), real);
        if (split)
            llvm_if_end(b, valid);
    }
    if (!split)
        llvm_if_end(b, counted);
}

// Lanes out of the mask are left as they are in memory.
static void store_lanes(const ScalarEmit *se, const ScalarBlock *block, KRef i, int v) {
    LlvmBuild *b = se->b;
    const Place place = place_of(se, block, i, v);
    LLVMValueRef mask = scalar_mask(se, block, v);
    LLVMValueRef value = scalar_lanes(se, se->k->instr[i].arg[0], v);
    if (se->streaming && se->k->operand[se->k->instr[i].operand].stream && !mask)
        llvm_store_stream(b, place.dtype, value, place.address);
    else if (place.index)
        llvm_scatter(b, llvm_narrow_typed(b, place.dtype, value), place.address, place.index, mask);
    else
        llvm_store_typed(b, place.dtype, value, place.address, mask);
}

// The effect of a row or tile: one element.
static void scalar_store(const ScalarEmit *se, const ScalarBlock *block, KRef i) {
    LlvmBuild *b = se->b;
    const KInstr *in = &se->k->instr[i];
    LLVMValueRef value = se->uniform[in->arg[0]];
    if (in->op != KOP_ADD_AT) {
        const Place place = place_of(se, block, i, 0);
        llvm_store_typed(b, place.dtype, value, place.address, NULL);
        return;
    }
    const LlvmIf counted = llvm_if_begin(b, is_not_negative(b, se->uniform[in->arg[1]]));
    const Place place = place_of(se, block, i, 0);
    add_scalar_at(b, &place, place.address, value, in->dtype == DT_F32);
    llvm_if_end(b, counted);
}

void scalar_effect(ScalarEmit *se, const ScalarBlock *block, KRef i) {
    LlvmBuild *b = se->b;
    const Kernel *k = se->k;
    // Where the effect doesn't vary along a dim, only its first index makes it.
    LLVMValueRef once = NULL;
    for (int d = 0; d < k->rank; d++) {
        LLVMValueRef at = d == k->rank - 1 ? block->column : se->index[d];
        // Where there is no index yet, the loop over that dim stands elsewhere.
        if ((se->varies[i] & 1u << d) || k->dim[d] == 1 || !at)
            continue;
        LLVMValueRef first = llvm_icmp(b, LLVMIntEQ, at, llvm_i64(b, 0));
        once = once ? LLVMBuildAnd(b->builder, once, first, "") : first;
    }
    LlvmIf branch;
    if (once)
        branch = llvm_if_begin(b, once);
    if (!scalar_is_vector(se, i))
        scalar_store(se, block, i);
    for (int v = 0; scalar_is_vector(se, i) && v < block->vectors; v++) {
        if (k->instr[i].op == KOP_ADD_AT)
            add_lanes(se, block, i, v);
        else
            store_lanes(se, block, i, v);
    }
    if (once)
        llvm_if_end(b, branch);
}

// Operands stand before their users, so one walk is enough.
static void find_depths(ScalarEmit *se) {
    for (KRef i = 0; i < se->k->instr_count; i++) {
        const KInstr *in = &se->k->instr[i];
        for (int j = 0; j < kop_arity(in->op); j++)
            if (se->depth[in->arg[j]] > se->depth[i])
                se->depth[i] = se->depth[in->arg[j]];
        se->depth[i] += kop_is_reduction(in->op);
        if (se->depth[i] > se->stages)
            se->stages = se->depth[i];
    }
}

// Analysis, then the values of the entry block, then the loops of one axis.
void llvm_emit_scalar(LlvmBuild *b, const Kernel *k) {
    Arena *a = b->arena;
    ScalarEmit se = {.b = b, .k = k, .column_bit = 1u << (k->rank - 1)};
    se.varies = arena_array(a, uint32_t, k->instr_count);
    se.depth = arena_array(a, int, k->instr_count);
    se.uniform = arena_array(a, LLVMValueRef, k->instr_count);
    se.todo = arena_array(a, bool, k->instr_count);
    se.row = arena_array(a, LLVMValueRef, k->instr_count);
    se.kept = arena_array(a, bool, k->instr_count);
    for (int v = 0; v < SCALAR_VECTORS_MAX; v++)
        se.lanes[v] = arena_array(a, LLVMValueRef, k->instr_count);
    kernel_variation(k, se.varies);
    find_depths(&se);

    for (int o = 0; o < k->operand_count; o++)
        se.base[o] = llvm_operand(b, o);
    scalar_leave_row(&se);
    // What is the same everywhere.
    for (KRef i = 0; i < k->instr_count; i++) {
        const KOp op = k->instr[i].op;
        se.todo[i] = se.varies[i] == 0 && se.depth[i] == 0 && !kop_is_effect(op);
    }
    // Nothing chosen here is a vector: the block only fills the place.
    const ScalarBlock none = {.vectors = 1, .tail = KERNEL_LANES, .column = llvm_i64(b, 0)};
    scalar_compute(&se, &none);
    if (k->axis == KERNEL_ROWS)
        llvm_emit_rows(&se);
    else
        llvm_emit_columns(&se);
}
