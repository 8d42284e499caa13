// Kernels compiled into this process, for tests: the same module, passes and machine code as in an
// executable, loaded by LLVM's ORC instead of the system's linker.
#include "codegen/codegen.h"

#include "codegen/llvm_module.h"

#include <llvm-c/Error.h>
#include <llvm-c/LLJIT.h>
#include <stdint.h>
#include <string.h>

enum { P_KERNEL = 855 };

struct Jit {
    Arena *arena; // Holds the Jit itself
    // NULL until the kernels are loaded.
    LLVMOrcLLJITRef engine;
    KernelFn *function;
    int count;
};

// Consumes the error. Always false.
static bool jit_failed(Diag *d, LLVMErrorRef error) {
    char *message = LLVMGetErrorMessage(error);
    diag_error(d, (Loc){0}, P_KERNEL, "kernels can't be loaded: %s", message);
    LLVMDisposeErrorMessage(message);
    return false;
}

// All kernels as one object; NULL after a diagnostic.
static LLVMMemoryBufferRef compile(Jit *jit, Diag *d, const CpuTarget *target,
                                   Kernel *const *kernel) {
    LlvmBuild b;
    LLVMMemoryBufferRef object = NULL;
    // Tests may come here many times; that is harmless.
    llvm_build_start();
    llvm_build_init(&b, jit->arena, target, "jit");
    bool good = !b.error;
    for (int i = 0; good && i < jit->count; i++)
        good = llvm_module_add(&b, kernel[i]);
    if (good && llvm_module_optimize(&b))
        object = llvm_module_object(&b, LLVMObjectFile);
    if (!object)
        diag_error(d, (Loc){0}, P_KERNEL, "kernels can't be compiled: %s", b.error);
    llvm_build_release(&b);
    return object;
}

// Takes the object, whether it succeeds or not. The engine is released by jit_release.
static bool load(Jit *jit, Diag *d, LLVMMemoryBufferRef object, Kernel *const *kernel) {
    LLVMErrorRef error = LLVMOrcCreateLLJIT(&jit->engine, NULL);
    if (error) {
        LLVMDisposeMemoryBuffer(object);
        return jit_failed(d, error);
    }
    LLVMOrcJITDylibRef library = LLVMOrcLLJITGetMainJITDylib(jit->engine);
    error = LLVMOrcLLJITAddObjectFile(jit->engine, library, object); // Takes the buffer
    if (error)
        return jit_failed(d, error);
    for (int i = 0; i < jit->count; i++) {
        LLVMOrcExecutorAddress address = 0;
        error = LLVMOrcLLJITLookup(jit->engine, &address, kernel[i]->name);
        if (error)
            return jit_failed(d, error);
        const uintptr_t bits = (uintptr_t)address;
        // ISO C has no cast from a number to a function pointer.
        memcpy(&jit->function[i], &bits, sizeof bits);
    }
    return true;
}

Jit *jit_create(Diag *d, const CpuTarget *target, const char *const *kernel_text, int count) {
    Arena *a = arena_create();
    Jit *jit = arena_new(a, Jit);
    *jit = (Jit){.arena = a, .count = count, .function = arena_array(a, KernelFn, count)};
    Kernel **kernel = arena_array(a, Kernel *, count);
    for (int i = 0; i < count; i++) {
        size_t at = 0;
        kernel[i] = kernel_parse(a, d, "kernel", kernel_text[i], strlen(kernel_text[i]), &at);
        if (!kernel[i]) {
            jit_release(jit);
            return NULL;
        }
        // Texts may use one name twice.
        kernel[i]->name = arena_format(a, "k%d", i);
    }
    LLVMMemoryBufferRef object = compile(jit, d, target, kernel);
    if (!object || !load(jit, d, object, kernel)) {
        jit_release(jit);
        return NULL;
    }
    return jit;
}

KernelFn jit_function(Jit *jit, int index) {
    return jit->function[index];
}

void jit_release(Jit *jit) {
    if (!jit)
        return;
    if (jit->engine) {
        // Nothing can be done about a failure here, but LLVM wants errors looked at.
        LLVMErrorRef error = LLVMOrcDisposeLLJIT(jit->engine);
        if (error)
            LLVMConsumeError(error);
    }
    arena_release(jit->arena);
}
