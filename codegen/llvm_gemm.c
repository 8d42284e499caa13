// Products compiled here, without a library.
#include "codegen/llvm_templates.h"

void llvm_emit_product(LlvmBuild *b, const Kernel *k, LLVMValueRef fn) {
    (void)k, (void)fn;
    llvm_unsupported(b, "products without a library are not supported yet");
}
