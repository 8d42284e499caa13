// What both ways to compute a convolution share: integer arithmetic on positions, of i64 or of 16
// lanes of i32.
#ifndef PLIM_CODEGEN_LLVM_CONVOLVE_H
#define PLIM_CODEGEN_LLVM_CONVOLVE_H

#include "codegen/llvm_build.h"
#include "ir/convolution.h"
#include "ir/template_layout.h"

// x / by and x % by of numbers that are not negative.
LLVMValueRef convolve_divide(LlvmBuild *b, LLVMValueRef x, int64_t by);
LLVMValueRef convolve_rest(LlvmBuild *b, LLVMValueRef x, int64_t by);
// x * factor + term.
LLVMValueRef convolve_line(LlvmBuild *b, LLVMValueRef x, int64_t factor, int64_t term);
// 0 <= x < size.
LLVMValueRef convolve_inside(LlvmBuild *b, LLVMValueRef x, int64_t size);
LLVMValueRef convolve_and(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y);
// i32 to i64.
LLVMValueRef convolve_wide(LlvmBuild *b, LLVMValueRef x);

// The body of a kernel whose groups have one channel each (llvm_planes.c).
void llvm_emit_planes(LlvmBuild *b, const ConvolutionKernel *k, const ConvolutionLayout *layout);

#endif
