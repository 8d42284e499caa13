// What the two printers of scalar kernels share: which values exist when, addresses, and code for
// one block of columns. llvm_rows.c and llvm_columns.c make the loops around it.
#ifndef PLIM_CODEGEN_LLVM_SCALAR_H
#define PLIM_CODEGEN_LLVM_SCALAR_H

#include "codegen/llvm_build.h"
#include "ir/kernel.h"

enum { SCALAR_VECTORS_MAX = 4, SCALAR_REDUCTIONS_MAX = LLVM_CARRY_MAX / SCALAR_VECTORS_MAX };

// A block of neighbouring columns: vectors x KERNEL_LANES of them.
typedef struct {
    int vectors;         // 1 .. SCALAR_VECTORS_MAX
    int tail;            // columns in the last vector
    LLVMValueRef column; // i64, the first
} ScalarBlock;

// A scalar kernel being printed. An operation's value lives in uniform[i] where it doesn't vary
// along the column, else in lanes[v][i], one vector each of the current block.
typedef struct {
    LlvmBuild *b;
    const Kernel *k;
    uint32_t *varies;    // by operation: bit d is set where it differs along dim d
    int *depth;          // by operation: reductions on the longest path to and including it
    int stages;          // greatest depth: passes over the data before the last
    uint32_t column_bit; // of the column dim
    int walk;            // number of the walk along a row that is being printed
    LLVMValueRef *uniform;
    LLVMValueRef *lanes[SCALAR_VECTORS_MAX];
    LLVMValueRef base[KERNEL_OPERANDS_MAX]; // operands, from the table
    LLVMValueRef
        row_base[KERNEL_OPERANDS_MAX];   // moved to the current row (base outside the row loop)
    LLVMValueRef index[KERNEL_DIMS_MAX]; // i64, of the current row; NULL outside
    bool *todo;                          // scratch: what the current phase computes
    LLVMValueRef *row;                   // by operation: where a row of its values is kept, or NULL
    bool *kept; // by operation: a walk of the current row has filled row[i]
    LLVMValueRef
        stream_fits; // i1: operands with `stream` begin at whole lines; NULL: there are none
    bool streaming;  // what is printed now runs where stream_fits only
} ScalarEmit;

// The reductions of one depth, made in one walk; each has SCALAR_VECTORS_MAX accumulators.
typedef struct {
    KRef ref[SCALAR_REDUCTIONS_MAX];
    int count;
} ScalarReductions;

// Prints the kernel's code into b->fn, all but the return.
void llvm_emit_scalar(LlvmBuild *b, const Kernel *k);
void llvm_emit_rows(ScalarEmit *se);
void llvm_emit_columns(ScalarEmit *se);
// A pick of the current row: the walks for it. uniform[i] is its value then.
void llvm_emit_pick(ScalarEmit *se, KRef i);

// Whether sum i adds what stands in one column, chosen by a number a row, and zeros; and its value
// without a walk.
bool llvm_sum_is_one(const ScalarEmit *se, KRef i);
void llvm_emit_one(ScalarEmit *se, KRef i);

// One walk along the current row: block is printed once for the loop's body, once for what is left,
// and makes `count` carried values out of those before. What it computes stands in todo.
typedef struct {
    void (*block)(ScalarEmit *se, const ScalarBlock *block, const void *user,
                  LLVMValueRef *carried);
    const void *user;
    int vectors; // of a block
    int count;   // at most LLVM_CARRY_MAX
} RowWalk;
void scalar_walk_row(ScalarEmit *se, const RowWalk *w, LLVMValueRef *carried);

// Rows: the product of all dims but the last.
int64_t scalar_rows(const Kernel *k);
bool scalar_is_vector(const ScalarEmit *se, KRef i);
// Vector v of an operation's value in the current block, splat where it is uniform.
LLVMValueRef scalar_lanes(const ScalarEmit *se, KRef i, int v);
// The constant mask of vector v, NULL where all lanes count.
LLVMValueRef scalar_mask(const ScalarEmit *se, const ScalarBlock *block, int v);
// The reductions whose operands wait for `stage` others. False, with a complaint, where they are
// too many.
bool scalar_reductions(ScalarEmit *se, int stage, ScalarReductions *out);
// What a reduction starts from, of the given type, and one step of it.
LLVMValueRef scalar_reduction_start(const ScalarEmit *se, KRef i, LLVMTypeRef type);
LLVMValueRef scalar_reduction_join(const ScalarEmit *se, KRef i, LLVMValueRef sum, LLVMValueRef x);
// The smaller of x (i64) and a constant.
LLVMValueRef scalar_at_most(LlvmBuild *b, LLVMValueRef x, int64_t most);
// Sets index and row_base for row number row (i64), and back to none.
void scalar_enter_row(ScalarEmit *se, LLVMValueRef row);
void scalar_leave_row(ScalarEmit *se);
// Computes every operation with todo[i], in order.
void scalar_compute(ScalarEmit *se, const ScalarBlock *block);
// Vectors of a block over which a function's chain of steps is computed side by side: more of them
// would not stay in registers.
int scalar_joined(const ScalarEmit *se);
// Adds to todo what the chosen operations need and that is local: local bits are those varied along
// in the current loop; anything else has been computed before it.
void scalar_close_todo(ScalarEmit *se, uint32_t local);
// Stores of one operation; those that don't vary along a dim are made once, at its index 0.
void scalar_effect(ScalarEmit *se, const ScalarBlock *block, KRef i);

#endif
