// Plan in, machine code out: the kernels of a plan through LLVM, then an object or an executable.
#ifndef PLIM_CODEGEN_CODEGEN_H
#define PLIM_CODEGEN_CODEGEN_H

#include "ir/diag.h"
#include "runtime/plan.h"

// A CPU as LLVM names it, and the instruction sets its programs need (checked at start by the
// runtime).
typedef struct {
    const char *cpu;      // what may be used: "x86-64-v3", "x86-64-v4"
    const char *tune;     // whose timings to schedule for: "znver5", "generic"
    const char *features; // beyond cpu, LLVM's list: "+avx512bf16,+avx512vnni"; "" for none
    const char *isa;      // all of it, the runtime's list: "avx2,fma,f16c,bmi,bmi2,lzcnt,movbe"
    bool avx512, bf16;    // 512-bit vectors; vdpbf16ps
} CpuTarget;

// "cpu", "cpu:x86-64-v4", "cpu:znver4", "cpu:native". False after a diagnostic for an unknown name.
bool cpu_target(Arena *a, Diag *d, const char *target, CpuTarget *out);
// What code for a plan may use: no more than its isa, which its program checks at start. The timings
// follow from its target. False after a diagnostic where that is too little.
bool cpu_target_of_plan(Arena *a, Diag *d, const Plan *p, CpuTarget *out);

// LLVM and ASM are a CPU's, CUDA, PTX and CUBIN a GPU's (cuda_emit.h).
typedef enum { EMIT_LLVM, EMIT_ASM, EMIT_OBJECT, EMIT_CUDA, EMIT_PTX, EMIT_CUBIN } EmitKind;

// All kernels of the plan (which has passed plan_verify) and the symbols the runtime looks for (image.h). The text or object bytes are put
// into *bytes (malloc'ed). threads: LLVM contexts run in parallel; the result does not depend on
// it.
bool codegen_emit(Arena *a, Diag *d, const Plan *p, const CpuTarget *target, EmitKind kind,
                  int threads, char **bytes, size_t *size);
// Links an object (as from codegen_emit) with the runtime library into out, atomically (a temporary
// beside it, renamed). runtime_library is the path of the static library.
bool codegen_link(Arena *a, Diag *d, const char *object, size_t size, const char *runtime_library,
                  const char *out);

// Makes a static library of the object: out is FOLDER/libNAME.a, beside which FOLDER/NAME.h is
// written (see library_header.h). Both are whole or as they were.
bool codegen_library(Arena *a, Diag *d, const char *object, size_t size, const Plan *p,
                     const char *runtime_library, const char *out);

// For tests: compiles kernels in this process. kernel text as in Plan.kernel[i].text; the functions
// live as long as the Jit.
typedef struct Jit Jit;
typedef void (*KernelFn)(void *const *operand, const int64_t *imm, int64_t begin, int64_t end,
                         void *workspace);
// NULL after a diagnostic; jit_release otherwise.
Jit *jit_create(Diag *d, const CpuTarget *target, const char *const *kernel_text, int count);
KernelFn jit_function(Jit *jit, int index);
void jit_release(Jit *jit);

#endif
