// A GPU plan's kernels, printed and compiled.
#ifndef PLIM_CODEGEN_CUDA_EMIT_H
#define PLIM_CODEGEN_CUDA_EMIT_H

#include "codegen/codegen.h"

// What codegen_emit does, for a plan whose target is cuda:...: EMIT_OBJECT has the cubins of all
// its architectures; EMIT_CUDA, EMIT_PTX and EMIT_CUBIN have all kernels of a plan with one. The
// result does not depend on threads. NVRTC must be there for all but EMIT_CUDA.
bool cuda_emit(Arena *a, Diag *d, const Plan *p, EmitKind kind, int threads, char **bytes,
               size_t *size);

#endif
