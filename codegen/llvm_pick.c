// KOP_PICK: the first column with the largest y among those that are kept, where kept are the
// columns above which, by d, e sums to less than mass.
//
// Nothing is sorted. The best y of all columns is found; if the mass above its d is below what is
// wanted, it is kept, and so it is the best of the kept ones. If not, nothing from its d down is
// kept: the next round looks above it only. Where y is d and noise that makes a draw of it, the
// column found is kept with just the probability that the kept ones have, so that rounds are few;
// each ends with a greater bound, so that their number is bounded by that of different d.
//
// y is dear, so it is computed only in vectors that have a column above the bound, and before the
// first round a few fixed levels are tried as bounds: in a draw from logits, nearly all columns
// fall to them.
//
// Cost: one walk for the levels, then two a round, d and y in the first, d and e in the second.
// Sums have the fixed shape of all sums along a row; which column is first does not depend on the
// walk's width.
#include "codegen/llvm_ops.h"
#include "codegen/llvm_scalar.h"

#include <math.h>
#include <string.h>

// Carried by the first walk, by lane.
enum { BEST, LEVEL, NUMBER, CARRIED }; // y, d and column of the best so far

enum { LEVELS_MAX = 4 };

typedef struct {
    const KInstr *pick;
    LLVMValueRef bound;  // f32: columns from here down are out
    const bool *all;     // what d needs: computed for every vector
    const bool *between; // what y needs besides: where a column is above the bound
} Round;

static LLVMTypeRef lanes_f32(const ScalarEmit *se) {
    return llvm_vector(se->b->f32, KERNEL_LANES);
}

// What values x and y of a walk need, in todo.
static void choose_values(ScalarEmit *se, KRef x, KRef y) {
    for (KRef i = 0; i < se->k->instr_count; i++)
        se->todo[i] = (i == x || i == y) && scalar_is_vector(se, i);
    scalar_close_todo(se, se->column_bit);
    // A reduction among them has its value already.
    for (KRef i = 0; i < se->k->instr_count; i++)
        se->todo[i] = se->todo[i] && scalar_is_vector(se, i);
}

// The columns of a block of one vector that are above the bound and inside the row.
static LLVMValueRef open_columns(ScalarEmit *se, const ScalarBlock *block, const Round *r) {
    LlvmBuild *b = se->b;
    LLVMValueRef bound = llvm_splat(b, r->bound, KERNEL_LANES);
    LLVMValueRef open = llvm_fcmp(b, LLVMRealOGT, scalar_lanes(se, r->pick->arg[0], 0), bound);
    LLVMValueRef mask = scalar_mask(se, block, 0);
    return mask ? LLVMBuildAnd(b->builder, open, mask, "") : open;
}

// Of one vector. What it computes is chosen here.
static void best_block(ScalarEmit *se, const ScalarBlock *block, const void *user,
                       LLVMValueRef *carried) {
    LlvmBuild *b = se->b;
    const Round *r = user;
    const size_t count = (size_t)se->k->instr_count * sizeof *se->todo;
    memcpy(se->todo, r->all, count);
    scalar_compute(se, block);
    LLVMValueRef open = open_columns(se, block, r);
    LLVMTypeRef lanes = LLVMTypeOf(open);
    LLVMValueRef any = llvm_intrinsic(b, "llvm.vector.reduce.or", &lanes, 1, &open, 1);
    // A loop of one trip or none.
    LlvmLoop once;
    llvm_loop_begin(b, &once, llvm_i64(b, 0), LLVMBuildZExt(b->builder, any, b->i64, ""), 1);
    LLVMValueRef old[CARRIED];
    for (int i = 0; i < CARRIED; i++)
        old[i] = llvm_loop_carry(b, &once, carried[i]);
    memcpy(se->todo, r->between, count);
    scalar_compute(se, block);
    LLVMValueRef d = scalar_lanes(se, r->pick->arg[0], 0);
    LLVMValueRef y = scalar_lanes(se, r->pick->arg[2], 0);
    LLVMValueRef better = llvm_fcmp(b, LLVMRealOGT, y, old[BEST]);
    better = LLVMBuildAnd(b->builder, better, open, "");
    LLVMValueRef first = LLVMBuildTrunc(b->builder, block->column, b->i32, "");
    LLVMValueRef number =
        llvm_add(b, llvm_splat(b, first, KERNEL_LANES), llvm_iota(b, KERNEL_LANES));
    llvm_loop_next(&once, BEST, llvm_select(b, better, y, old[BEST]));
    llvm_loop_next(&once, LEVEL, llvm_select(b, better, d, old[LEVEL]));
    llvm_loop_next(&once, NUMBER, llvm_select(b, better, number, old[NUMBER]));
    llvm_loop_end(b, &once);
    for (int i = 0; i < CARRIED; i++)
        carried[i] = once.result[i];
}

// The first column with the best y above the bound, and its d: 0 and -inf where there is none.
static LLVMValueRef find_best(ScalarEmit *se, const Round *r, LLVMValueRef *level) {
    LlvmBuild *b = se->b;
    LLVMValueRef never = llvm_float_like(lanes_f32(se), -HUGE_VAL);
    LLVMTypeRef whole = llvm_vector(b->i32, KERNEL_LANES);
    LLVMValueRef carried[CARRIED] = {never, never, llvm_zero(whole)};
    const RowWalk walk = {best_block, r, 1, CARRIED};
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
    int count;
    LLVMValueRef level[LEVELS_MAX]; // f32
} Above;

static void above_block(ScalarEmit *se, const ScalarBlock *block, const void *user,
                        LLVMValueRef *sum) {
    LlvmBuild *b = se->b;
    const Above *a = user;
    LLVMValueRef zero = llvm_zero(lanes_f32(se));
    scalar_compute(se, block);
    for (int v = 0; v < block->vectors; v++) {
        LLVMValueRef d = scalar_lanes(se, a->pick->arg[0], v), mask = scalar_mask(se, block, v);
        LLVMValueRef e = scalar_lanes(se, a->pick->arg[1], v);
        for (int l = 0; l < a->count; l++) {
            LLVMValueRef level = llvm_splat(b, a->level[l], KERNEL_LANES);
            LLVMValueRef counts = llvm_fcmp(b, LLVMRealOGT, d, level);
            if (mask)
                counts = LLVMBuildAnd(b->builder, counts, mask, "");
            LLVMValueRef *at = &sum[l * SCALAR_VECTORS_MAX + v];
            *at = llvm_fadd(b, *at, llvm_select(b, counts, e, zero));
        }
    }
}

// out[l], i1: whether e sums to the wanted mass above level l already, so that nothing from there
// down is kept. Comparisons are false on NaN.
static void is_enough_above(ScalarEmit *se, const Above *above, LLVMValueRef *out) {
    LlvmBuild *b = se->b;
    LLVMValueRef sum[LEVELS_MAX * SCALAR_VECTORS_MAX];
    const int count = above->count * SCALAR_VECTORS_MAX;
    for (int i = 0; i < count; i++)
        sum[i] = llvm_zero(lanes_f32(se));
    const RowWalk walk = {above_block, above, SCALAR_VECTORS_MAX, count};
    choose_values(se, above->pick->arg[0], above->pick->arg[1]);
    scalar_walk_row(se, &walk, sum);
    for (int l = 0; l < above->count; l++) {
        LLVMValueRef *s = &sum[l * SCALAR_VECTORS_MAX];
        LLVMValueRef all = llvm_fadd(b, llvm_fadd(b, s[0], s[1]), llvm_fadd(b, s[2], s[3]));
        all = llvm_lanes_sum(b, all);
        LLVMValueRef some = llvm_fcmp(b, LLVMRealOGT, all, llvm_f32(b, 0));
        LLVMValueRef mass = se->uniform[above->pick->arg[3]];
        out[l] = LLVMBuildAnd(b->builder, some, llvm_fcmp(b, LLVMRealOGE, all, mass), "");
    }
}

// The highest of the levels that rules out what is below it, or -inf.
static LLVMValueRef first_bound(ScalarEmit *se, const KInstr *pick) {
    static const double level[LEVELS_MAX] = {-8, -4, -2, -1};
    LlvmBuild *b = se->b;
    Above above = {.pick = pick, .count = LEVELS_MAX};
    LLVMValueRef enough[LEVELS_MAX], bound = llvm_f32(b, -HUGE_VAL);
    for (int l = 0; l < LEVELS_MAX; l++)
        above.level[l] = llvm_f32(b, level[l]);
    is_enough_above(se, &above, enough);
    for (int l = 0; l < LEVELS_MAX; l++)
        bound = llvm_select(b, enough[l], above.level[l], bound);
    return bound;
}

// Of the first walk of a round: what d needs, and what y needs that d does not.
static void choose_round(ScalarEmit *se, const KInstr *pick, bool *all, bool *between) {
    const KRef count = se->k->instr_count;
    choose_values(se, pick->arg[0], pick->arg[0]);
    memcpy(all, se->todo, (size_t)count * sizeof *all);
    choose_values(se, pick->arg[2], pick->arg[2]);
    for (KRef i = 0; i < count; i++)
        between[i] = se->todo[i] && !all[i];
}

void llvm_emit_pick(ScalarEmit *se, KRef i) {
    LlvmBuild *b = se->b;
    const KInstr *pick = &se->k->instr[i];
    bool *all = arena_array(b->arena, bool, se->k->instr_count);
    bool *between = arena_array(b->arena, bool, se->k->instr_count);
    choose_round(se, pick, all, between);
    LlvmLoop rounds;
    LLVMValueRef from = first_bound(se, pick);
    llvm_loop_begin(b, &rounds, llvm_i64(b, 0), llvm_i64(b, 1), 1);
    LLVMValueRef bound = llvm_loop_carry(b, &rounds, from);
    llvm_loop_carry(b, &rounds, llvm_i32(b, 0));
    const Round round = {pick, bound, all, between};
    Above above = {.pick = pick, .count = 1};
    LLVMValueRef best = find_best(se, &round, &above.level[0]), again;
    is_enough_above(se, &above, &again);
    llvm_loop_next(&rounds, 0, above.level[0]);
    llvm_loop_next(&rounds, 1, best);
    // A row without numbers takes one round.
    LLVMValueRef higher = llvm_fcmp(b, LLVMRealOGT, above.level[0], bound);
    llvm_loop_again(b, &rounds, LLVMBuildAnd(b->builder, again, higher, ""));
    llvm_loop_end(b, &rounds);
    se->uniform[i] = rounds.result[1];
}
