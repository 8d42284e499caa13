// One tile of a product being printed: what its two ways of computing share.
#ifndef PLIM_CODEGEN_LLVM_GEMM_H
#define PLIM_CODEGEN_LLVM_GEMM_H

#include "codegen/llvm_build.h"
#include "ir/template_layout.h"

typedef struct {
    const ProductKernel *p;
    ProductLayout layout;
    LLVMValueRef a, b, c;                 // addresses of the tile's first elements
    LLVMValueRef packed_a, packed_b, sum; // parts of the workspace
    LLVMValueRef rows, columns;           // this tile's, i64
} ProductCode;

// The address of base + the sum of index[i] * stride[i] elements.
LLVMValueRef product_element(LlvmBuild *b, DType dtype, LLVMValueRef base,
                             const LLVMValueRef *index, const int64_t *stride, int count);

// Between c and the f32 sums of the tile, [rows, layout.sum_stride] in the workspace.
typedef enum { SUM_FROM_C, SUM_TO_C } SumMove;
void product_move_sum(LlvmBuild *b, const ProductCode *t, SumMove way);

#endif
