// A module of kernels: printing them into it, optimising it, and turning it into text or an object.
#ifndef PLIM_CODEGEN_LLVM_MODULE_H
#define PLIM_CODEGEN_LLVM_MODULE_H

#include "codegen/llvm_build.h"
#include "ir/kernel.h"

// Adds the kernel's function under its name. False, with b->error set, where it can't be printed.
bool llvm_module_add(LlvmBuild *b, const Kernel *k);
// Runs the optimisation passes. False with b->error set.
bool llvm_module_optimize(LlvmBuild *b);
// The module's IR as text, in b->arena.
const char *llvm_module_text(LlvmBuild *b);
// Machine code: an object, or assembly text. NULL with b->error set; else the caller disposes of
// it.
LLVMMemoryBufferRef llvm_module_object(LlvmBuild *b, LLVMCodeGenFileType type);

#endif
