// KOP_PICK: the first column with the largest y among those that are kept, where kept are the
// columns above which, by d, e sums to less than mass.
//
// Nothing is sorted. The best y of all columns is found; if the mass above its d is below what is
// wanted, it is kept, and so it is the best of the kept ones. If not, nothing from its d down is
// kept: the next round looks above it only. Where y is d and noise that makes a draw of it, the
// column found is kept with just the probability that the kept ones have, so that rounds are few;
// each ends with a greater bound, so that their number is bounded by that of different d.
//
// Cost: two walks a round, d and y in the first, d and e in the second. The sum has the fixed shape
// of all sums along a row; which column is first does not depend on the walk's width.
#include "codegen/llvm_ops.h"
#include "codegen/llvm_scalar.h"

#include <math.h>

// Carried by the first walk, by lane.
enum { BEST, LEVEL, NUMBER, CARRIED }; // y, d and column of the best so far

typedef struct {
    const KInstr *pick;
    LLVMValueRef bound; // f32: columns from here down are out
} Round;

static LLVMTypeRef lanes_f32(const ScalarEmit *se) {
    return llvm_vector(se->b->f32, KERNEL_LANES);
}

// The two values of the pick that a walk reads, and what they need.
static void choose_values(ScalarEmit *se, KRef x, KRef y) {
    for (KRef i = 0; i < se->k->instr_count; i++)
        se->todo[i] = (i == x || i == y) && scalar_is_vector(se, i);
    scalar_close_todo(se, se->column_bit);
    // A reduction among them has its value already.
    for (KRef i = 0; i < se->k->instr_count; i++)
        se->todo[i] = se->todo[i] && scalar_is_vector(se, i);
}

static void best_block(ScalarEmit *se, const ScalarBlock *block, const void *user,
                       LLVMValueRef *carried) {
    LlvmBuild *b = se->b;
    const Round *r = user;
    LLVMValueRef bound = llvm_splat(b, r->bound, KERNEL_LANES);
    scalar_compute(se, block);
    for (int v = 0; v < block->vectors; v++) {
        LLVMValueRef d = scalar_lanes(se, r->pick->arg[0], v);
        LLVMValueRef y = scalar_lanes(se, r->pick->arg[2], v);
        LLVMValueRef better = llvm_fcmp(b, LLVMRealOGT, y, carried[BEST]);
        better = LLVMBuildAnd(b->builder, better, llvm_fcmp(b, LLVMRealOGT, d, bound), "");
        LLVMValueRef mask = scalar_mask(se, block, v);
        if (mask)
            better = LLVMBuildAnd(b->builder, better, mask, "");
        LLVMValueRef first = llvm_add(b, block->column, llvm_i64(b, (int64_t)v * KERNEL_LANES));
        first = llvm_splat(b, LLVMBuildTrunc(b->builder, first, b->i32, ""), KERNEL_LANES);
        LLVMValueRef number = llvm_add(b, first, llvm_iota(b, KERNEL_LANES));
        carried[BEST] = llvm_select(b, better, y, carried[BEST]);
        carried[LEVEL] = llvm_select(b, better, d, carried[LEVEL]);
        carried[NUMBER] = llvm_select(b, better, number, carried[NUMBER]);
    }
}

// The first column with the best y above the bound, and its d: 0 and -inf where there is none.
static LLVMValueRef find_best(ScalarEmit *se, const Round *r, LLVMValueRef *level) {
    LlvmBuild *b = se->b;
    LLVMValueRef never = llvm_float_like(lanes_f32(se), -HUGE_VAL);
    LLVMTypeRef whole = llvm_vector(b->i32, KERNEL_LANES);
    LLVMValueRef carried[CARRIED] = {never, never, llvm_zero(whole)};
    // One vector: its lanes are compared in the order of the columns, and y is often long.
    const RowWalk walk = {best_block, r, 1, CARRIED};
    choose_values(se, r->pick->arg[0], r->pick->arg[2]);
    scalar_walk_row(se, &walk, carried);

    LLVMValueRef most = llvm_splat(b, llvm_lanes_max(b, carried[BEST]), KERNEL_LANES);
    LLVMValueRef hit = llvm_fcmp(b, LLVMRealOEQ, carried[BEST], most);
    LLVMValueRef number = llvm_select(b, hit, carried[NUMBER], llvm_int_like(whole, INT32_MAX));
    LLVMValueRef least = llvm_intrinsic(b, "llvm.vector.reduce.smin", &whole, 1, &number, 1);
    hit = llvm_icmp(b, LLVMIntEQ, number, llvm_splat(b, least, KERNEL_LANES));
    *level = llvm_lanes_max(b, llvm_select(b, hit, carried[LEVEL], never));
    return least;
}

typedef struct {
    const KInstr *pick;
    LLVMValueRef level; // f32
} Above;

static void above_block(ScalarEmit *se, const ScalarBlock *block, const void *user,
                        LLVMValueRef *sum) {
    LlvmBuild *b = se->b;
    const Above *a = user;
    LLVMValueRef level = llvm_splat(b, a->level, KERNEL_LANES), zero = llvm_zero(lanes_f32(se));
    scalar_compute(se, block);
    for (int v = 0; v < block->vectors; v++) {
        LLVMValueRef counts =
            llvm_fcmp(b, LLVMRealOGT, scalar_lanes(se, a->pick->arg[0], v), level);
        LLVMValueRef mask = scalar_mask(se, block, v);
        if (mask)
            counts = LLVMBuildAnd(b->builder, counts, mask, "");
        LLVMValueRef e = scalar_lanes(se, a->pick->arg[1], v);
        sum[v] = llvm_fadd(b, sum[v], llvm_select(b, counts, e, zero));
    }
}

// The sum of e where d is above the level.
static LLVMValueRef mass_above(ScalarEmit *se, const KInstr *pick, LLVMValueRef level) {
    LlvmBuild *b = se->b;
    LLVMValueRef sum[SCALAR_VECTORS_MAX];
    for (int v = 0; v < SCALAR_VECTORS_MAX; v++)
        sum[v] = llvm_zero(lanes_f32(se));
    const Above above = {pick, level};
    const RowWalk walk = {above_block, &above, SCALAR_VECTORS_MAX, SCALAR_VECTORS_MAX};
    choose_values(se, pick->arg[0], pick->arg[1]);
    scalar_walk_row(se, &walk, sum);
    LLVMValueRef low = llvm_fadd(b, sum[0], sum[1]), high = llvm_fadd(b, sum[2], sum[3]);
    return llvm_lanes_sum(b, llvm_fadd(b, low, high));
}

void llvm_emit_pick(ScalarEmit *se, KRef i) {
    LlvmBuild *b = se->b;
    const KInstr *pick = &se->k->instr[i];
    LLVMValueRef level, zero = llvm_f32(b, 0);
    LlvmLoop rounds;
    llvm_loop_begin(b, &rounds, llvm_i64(b, 0), llvm_i64(b, 1), 1);
    LLVMValueRef bound = llvm_loop_carry(b, &rounds, llvm_f32(b, -HUGE_VAL));
    llvm_loop_carry(b, &rounds, llvm_i32(b, 0));
    const Round round = {pick, bound};
    LLVMValueRef best = find_best(se, &round, &level);
    LLVMValueRef above = mass_above(se, pick, level);
    llvm_loop_next(&rounds, 0, level);
    llvm_loop_next(&rounds, 1, best);
    // Comparisons are false on NaN: a row without numbers takes one round.
    LLVMValueRef again = llvm_fcmp(b, LLVMRealOGE, above, se->uniform[pick->arg[3]]);
    again = LLVMBuildAnd(b->builder, again, llvm_fcmp(b, LLVMRealOGT, above, zero), "");
    again = LLVMBuildAnd(b->builder, again, llvm_fcmp(b, LLVMRealOGT, level, bound), "");
    llvm_loop_again(b, &rounds, again);
    llvm_loop_end(b, &rounds);
    se->uniform[i] = rounds.result[1];
}
