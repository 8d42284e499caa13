// The kernels that are not scalar programs: products and flash attention.
#ifndef PLIM_CODEGEN_LLVM_TEMPLATES_H
#define PLIM_CODEGEN_LLVM_TEMPLATES_H

#include "codegen/llvm_build.h"
#include "ir/kernel.h"

// Each fills fn (= b->fn, begun by llvm_kernel_begin, code goes to its entry block) up to but not
// including the return: the caller calls llvm_function_end. What can't be printed is told to
// llvm_unsupported.
void llvm_emit_product(LlvmBuild *b, const Kernel *k, LLVMValueRef fn);
void llvm_emit_convolution(LlvmBuild *b, const Kernel *k);
// The kinds of attention.
void llvm_emit_attention(LlvmBuild *b, const Kernel *k, LLVMValueRef fn);

#endif
