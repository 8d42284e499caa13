// What both ways to compute a convolution share: which taps reach which pixels, and integer
// arithmetic on positions, of i64 or of 16 lanes of i32.
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

// Which taps along an axis reach pixels of a phase, and what they add to where those look. Of a
// convolution without phases all values are constants.
typedef struct {
    LLVMValueRef first, count, shift;
    int64_t step, shift_step; // from one of these taps to the next
} ConvolveTaps;

// Pixels start + i stride of the result, all of them where `whole`.
typedef struct {
    bool whole;
    LLVMValueRef start[2], size[2];
    ConvolveTaps axis[2];
} ConvolvePhase;

// dx with strides has as many phases as there are rests by the stride; all else is one.
int64_t convolve_phases(const ConvolutionKernel *k);
// Of a kernel that makes y or dx; number: i64.
ConvolvePhase convolve_phase(LlvmBuild *b, const ConvolutionKernel *k, LLVMValueRef number);

// The body of a kernel whose groups have one channel each (llvm_planes.c).
void llvm_emit_planes(LlvmBuild *b, const ConvolutionKernel *k, const ConvolutionLayout *layout);

#endif
