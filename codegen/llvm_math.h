// Elementary functions as LLVM IR, on float or <N x float> of any N: branch-free, own polynomials
// with explicit fused multiply-adds, so that every CPU gives the same bits. Errors are measured in
// tests/unit/codegen_math.c.
#ifndef PLIM_CODEGEN_LLVM_MATH_H
#define PLIM_CODEGEN_LLVM_MATH_H

#include "codegen/llvm_build.h"

// At most 2 units in the last place; results below 1.7e-38 are 0.
LLVMValueRef llvm_math_exp(LlvmBuild *b, LLVMValueRef x);
// The same bits for x <= 0 and NaN, with less work; anything for other x.
LLVMValueRef llvm_math_exp_falling(LlvmBuild *b, LLVMValueRef x);
// Relative error at most 1e-6, near 0 too.
LLVMValueRef llvm_math_expm1(LlvmBuild *b, LLVMValueRef x);
// At most 2 units in the last place; -inf at 0, NaN below.
LLVMValueRef llvm_math_log(LlvmBuild *b, LLVMValueRef x);
LLVMValueRef llvm_math_tanh(LlvmBuild *b, LLVMValueRef x);
LLVMValueRef llvm_math_erf(LlvmBuild *b, LLVMValueRef x);
// |x| up to about 1e5; beyond 4e6 the reduction runs out of bits.
LLVMValueRef llvm_math_sin(LlvmBuild *b, LLVMValueRef x);
LLVMValueRef llvm_math_cos(LlvmBuild *b, LLVMValueRef x);

// Philox4x32-10 (Salmon et al., SC 2011): i32 or <N x i32> counter and key to four words.
void llvm_math_philox(LlvmBuild *b, LLVMValueRef const counter[4], LLVMValueRef const key[2],
                      LLVMValueRef out[4]);

#endif
