// Products of a few rows (ProductLayout.thin): no packing of b, which is read once, at the speed of
// memory.
#ifndef PLIM_CODEGEN_LLVM_THIN_H
#define PLIM_CODEGEN_LLVM_THIN_H

#include "codegen/llvm_gemm.h"

// The code of one tile, at its place.
void llvm_emit_thin_tile(LlvmBuild *b, const ProductCode *t);

#endif
