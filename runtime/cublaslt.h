// NVIDIA's cuBLASLt, opened when a plan has products for it and never linked. Our own declarations.
#ifndef PLIM_RUNTIME_CUBLASLT_H
#define PLIM_RUNTIME_CUBLASLT_H

#include "runtime/cuda_driver.h"

typedef struct cublasLtContext *LtHandle;
typedef struct LtOperationOpaque *LtOperation;
typedef struct LtLayoutOpaque *LtLayout;
typedef struct LtPreferenceOpaque *LtPreference;

// How a product is computed; may be kept and used again with the same version of the library.
typedef struct {
    uint64_t word[8];
} LtAlgorithm;

typedef struct {
    LtAlgorithm algorithm;
    size_t workspace; // bytes
    int status;       // 0: the rest is valid
    float waves;
    int reserved[4];
} LtChoice;

// Values of cublasLt.h, cublas_api.h and library_types.h.
enum {
    LT_COMPUTE_F32 = 68,
    LT_TYPE_F32 = 0,
    LT_TYPE_BF16 = 14,
    LT_OPERATION_TRANSPOSE_A = 3,
    LT_OPERATION_TRANSPOSE_B = 4,
    LT_OPERATION_EPILOGUE = 7,
    LT_OPERATION_BIAS = 8, // its address, whose alignment the choice of an algorithm depends on
    LT_OPERATION_AUX = 11, // the address of what the epilogue's function is given; likewise
    LT_OPERATION_AUX_LD = 12,
    // Parts of an epilogue, added up.
    LT_EPILOGUE_RELU = 2,
    LT_EPILOGUE_BIAS = 4,
    LT_EPILOGUE_GELU = 32,
    LT_EPILOGUE_GELU_GRAD = 64, // with AUX always
    LT_EPILOGUE_AUX = 128,
    LT_PLAIN = 0,
    LT_TRANSPOSED = 1,
    LT_LAYOUT_BATCH = 5,
    LT_LAYOUT_BATCH_STRIDE = 6,
    LT_PREFERENCE_WORKSPACE = 1,
    LT_PREFERENCE_REDUCTIONS = 3,
    LT_PREFERENCE_ALIGNMENT_A = 5, // of b, c and d: the next ones
    LT_REDUCTION_IN_PLACE = 1,
    LT_REDUCTION_IN_F32 = 2
};

typedef struct {
    void *library;
    size_t (*version)(void);
#define C(field, symbol, parameters) int(*field) parameters;
#include "runtime/cublaslt.def"
#undef C
} CublasLibrary;

// PLIM_MACHINE with a sentence where it is missing or too old. What was opened is closed by
// cublas_library_close, also after a failure. Any thread; no GPU is touched.
PlimStatus cublas_library_open(CublasLibrary *out, PlimError *error);
void cublas_library_close(CublasLibrary *l); // of one that is all zero: nothing

#endif
