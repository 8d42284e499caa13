// A sum along a row of which one column counts: sum(select(index == c, x, 0)) with c the same along
// the row, as cross entropy asks for the target's logit. x is computed there alone; the rest are
// zeros, so the sum is x + 0 where c is a column, else 0: the bits of the walk.
#include "codegen/llvm_scalar.h"

// The operation whose value is the column's number, or -1 where the sum is another one.
static KRef chosen_column(const ScalarEmit *se, KRef i) {
    const KInstr *instr = se->k->instr, *chosen = &instr[instr[i].arg[0]];
    if (instr[i].op != KOP_SUM || chosen->op != KOP_SELECT)
        return -1;
    const KInstr *test = &instr[chosen->arg[0]], *other = &instr[chosen->arg[2]];
    if (test->op != KOP_EQ || other->op != KOP_CONST || other->as.f != 0)
        return -1;
    for (int side = 0; side < 2; side++) {
        const KInstr *index = &instr[test->arg[side]];
        const bool column = index->op == KOP_INDEX && index->as.i == se->k->rank - 1;
        if (column && !scalar_is_vector(se, test->arg[1 - side]))
            return test->arg[1 - side];
    }
    return -1;
}

bool llvm_sum_is_one(const ScalarEmit *se, KRef i) {
    return chosen_column(se, i) >= 0;
}

// Of x at the column, as lane 0 of a block that has this lane only.
static LLVMValueRef value_at(ScalarEmit *se, KRef x, LLVMValueRef column) {
    Arena *a = se->b->arena;
    const ScalarBlock block = {.vectors = 1, .tail = 1, .column = column};
    for (KRef i = 0; i < se->k->instr_count; i++)
        se->todo[i] = i == x && scalar_is_vector(se, x);
    // Rows are kept by whole walks: neither filled nor read here.
    LLVMValueRef *row = se->row;
    bool *kept = se->kept;
    se->row = arena_array(a, LLVMValueRef, se->k->instr_count);
    se->kept = arena_array(a, bool, se->k->instr_count);
    scalar_close_todo(se, se->column_bit);
    scalar_compute(se, &block);
    se->row = row;
    se->kept = kept;
    return llvm_lane(se->b, scalar_lanes(se, x, 0), 0);
}

void llvm_emit_one(ScalarEmit *se, KRef i) {
    LlvmBuild *b = se->b;
    const KInstr *chosen = &se->k->instr[se->k->instr[i].arg[0]];
    const int64_t columns = se->k->dim[se->k->rank - 1];
    LLVMValueRef at = se->uniform[chosen_column(se, i)];
    at = LLVMBuildSExt(b->builder, at, b->i64, "");
    LLVMValueRef inside = llvm_icmp(b, LLVMIntULT, at, llvm_i64(b, columns));
    LLVMValueRef x = value_at(se, chosen->arg[1], llvm_clamp(b, at, columns));
    // Adding it to the others' zeros makes -0 a 0.
    LLVMValueRef zero = llvm_f32(b, 0);
    se->uniform[i] = llvm_select(b, inside, llvm_fadd(b, x, zero), zero);
}
