// Passes are few: the printers already make explicit vectors and put values where they belong, so
// nothing is gained from the vectorisers, unrollers and inliners of default<O3>, which take most of
// its time.
#include "codegen/llvm_module.h"

#include "codegen/llvm_scalar.h"
#include "codegen/llvm_templates.h"

#include "ir/check.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Error.h>
#include <llvm-c/Transforms/PassBuilder.h>

// Stack slots to registers, repeated work joined, simplified, loop invariants moved out; then what
// that exposed is joined and dropped. Inside functions only.
static const char passes[] = "function(sroa,early-cse,instcombine<no-verify-fixpoint>,simplifycfg,"
                             "loop-mssa(licm),early-cse,dce)";

// Templates make the helper functions they call in the same module. False with b->error set; the
// function is then unfinished and the module good for nothing.
bool llvm_module_add(LlvmBuild *b, const Kernel *k) {
    LLVMValueRef fn = llvm_kernel_begin(b, k->name, LLVMExternalLinkage);
    switch (k->kind) {
    case KERNEL_SCALAR:
        llvm_emit_scalar(b, k);
        break;
    case KERNEL_PRODUCT:
        llvm_emit_product(b, k, fn);
        break;
    case KERNEL_CONVOLUTION:
        llvm_emit_convolution(b, k);
        break;
    case KERNEL_ATTENTION:
    case KERNEL_ATTENTION_GRAD:
    case KERNEL_ATTENTION_GRAD_BIAS:
        llvm_emit_attention(b, k, fn);
        break;
    }
    if (b->error)
        return false;
    llvm_function_end(b);
    return true;
}

// LLVM's errors own their text and must be consumed; the message is copied to b->error.
static bool take_error(LlvmBuild *b, LLVMErrorRef error) {
    if (!error)
        return true;
    char *message = LLVMGetErrorMessage(error);
    llvm_unsupported(b, message);
    LLVMDisposeErrorMessage(message);
    return false;
}

bool llvm_module_optimize(LlvmBuild *b) {
// Broken code is our mistake and would crash in the passes: Debug builds say where.
#ifndef NDEBUG
    char *message = NULL;
    if (LLVMVerifyModule(b->module, LLVMReturnStatusAction, &message)) {
        llvm_unsupported(b, message);
        LLVMDisposeMessage(message);
        return false;
    }
    LLVMDisposeMessage(message);
#endif
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(b->module, passes, b->machine, options);
    LLVMDisposePassBuilderOptions(options);
    return take_error(b, error) && !b->error;
}

// A copy in the arena: LLVM's text is its own to free.
const char *llvm_module_text(LlvmBuild *b) {
    char *text = LLVMPrintModuleToString(b->module);
    const char *copy = arena_text(b->arena, text);
    LLVMDisposeMessage(text);
    return copy;
}

// Assembly or an object; the caller disposes of the buffer. NULL with b->error set.
LLVMMemoryBufferRef llvm_module_object(LlvmBuild *b, LLVMCodeGenFileType type) {
    LLVMMemoryBufferRef out = NULL;
    char *message = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(b->machine, b->module, type, &message, &out)) {
        llvm_unsupported(b, message);
        LLVMDisposeMessage(message);
        return NULL;
    }
    // The code generator may complain through the diagnostic handler and still return a buffer.
    if (b->error) {
        LLVMDisposeMemoryBuffer(out);
        return NULL;
    }
    return out;
}
