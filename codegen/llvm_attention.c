// Flash attention, forward and backward.
#include "codegen/llvm_templates.h"

void llvm_emit_attention(LlvmBuild *b, const Kernel *k, LLVMValueRef fn) {
    (void)k, (void)fn;
    llvm_unsupported(b, "attention kernels are not supported yet");
}
