// Operations of the kernel IR as LLVM IR: everything but loads, stores, indices and reductions.
#ifndef PLIM_CODEGEN_LLVM_OPS_H
#define PLIM_CODEGEN_LLVM_OPS_H

#include "codegen/llvm_build.h"
#include "ir/kernel.h"

// The value of a pure operation from those of its operands, all scalars or all vectors of one
// width. from: the type of its first operand. CONST takes no operand and gives a scalar.
LLVMValueRef llvm_op(LlvmBuild *b, const KInstr *in, DType from, LLVMValueRef const *arg);
// Whether it is a long chain of operations that wait for each other.
bool llvm_op_is_chain(KOp op);
// A rough count of machine instructions, for choosing how far to unroll.
int llvm_op_weight(KOp op);

#endif
