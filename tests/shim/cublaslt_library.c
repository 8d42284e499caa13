// NVIDIA's own cuBLASLt takes what product_cublaslt.c tells it: values and sizes of attributes.
// Descriptions of products need no GPU; choosing algorithms and multiplying do, and are not here.
#include "runtime/cublaslt.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static void must(bool holds, const char *what) {
    if (holds)
        return;
    fprintf(stderr, "cublaslt_library: %s\n", what);
    exit(1);
}

static void check_operation(const CublasLibrary *lt) {
    static const uint32_t epilogue[] = {LT_EPILOGUE_BIAS,
                                        LT_EPILOGUE_RELU,
                                        LT_EPILOGUE_RELU | LT_EPILOGUE_BIAS,
                                        LT_EPILOGUE_GELU,
                                        LT_EPILOGUE_GELU | LT_EPILOGUE_BIAS,
                                        LT_EPILOGUE_GELU | LT_EPILOGUE_AUX,
                                        LT_EPILOGUE_GELU | LT_EPILOGUE_AUX | LT_EPILOGUE_BIAS,
                                        LT_EPILOGUE_GELU_GRAD | LT_EPILOGUE_AUX};
    const int transposed = LT_TRANSPOSED;
    const int64_t ld = 64;
    // Nobody reads it.
    const void *const address = (const void *)(uintptr_t)256;
    LtOperation o;
    must(lt->operation_new(&o, LT_COMPUTE_F32, LT_TYPE_F32) == 0, "sums in f32 are refused");
    must(lt->operation_set(o, LT_OPERATION_TRANSPOSE_A, &transposed, sizeof transposed) == 0 &&
             lt->operation_set(o, LT_OPERATION_TRANSPOSE_B, &transposed, sizeof transposed) == 0,
         "transposed matrices are refused");
    for (size_t i = 0; i < sizeof epilogue / sizeof *epilogue; i++)
        must(lt->operation_set(o, LT_OPERATION_EPILOGUE, &epilogue[i], sizeof *epilogue) == 0,
             "an epilogue is refused");
    must(lt->operation_set(o, LT_OPERATION_BIAS, &address, sizeof address) == 0 &&
             lt->operation_set(o, LT_OPERATION_AUX, &address, sizeof address) == 0 &&
             lt->operation_set(o, LT_OPERATION_AUX_LD, &ld, sizeof ld) == 0,
         "an epilogue's addresses are refused");
    // It does look at sizes, and would have told.
    must(lt->operation_set(o, LT_OPERATION_AUX_LD, &ld, sizeof(int32_t)) != 0, "any size will do");
    must(lt->operation_free(o) == 0, "an operation stays");
}

static void check_layout(const CublasLibrary *lt, int type) {
    const int32_t batch = 3;
    const int64_t stride = 4096;
    LtLayout l;
    must(lt->layout_new(&l, type, 64, 32, 64) == 0, "a matrix is refused");
    must(lt->layout_set(l, LT_LAYOUT_BATCH, &batch, sizeof batch) == 0 &&
             lt->layout_set(l, LT_LAYOUT_BATCH_STRIDE, &stride, sizeof stride) == 0,
         "batches are refused");
    must(lt->layout_free(l) == 0, "a matrix stays");
}

static void check_preference(const CublasLibrary *lt) {
    const uint64_t workspace = 32 << 20;
    const uint32_t reductions = LT_REDUCTION_IN_F32 | LT_REDUCTION_IN_PLACE, alignment = 16;
    LtPreference p;
    must(lt->preference_new(&p) == 0, "preferences are refused");
    must(lt->preference_set(p, LT_PREFERENCE_WORKSPACE, &workspace, sizeof workspace) == 0 &&
             lt->preference_set(p, LT_PREFERENCE_REDUCTIONS, &reductions, sizeof reductions) == 0,
         "a workspace or reductions are refused");
    for (int i = 0; i < 4; i++)
        must(lt->preference_set(p, LT_PREFERENCE_ALIGNMENT_A + i, &alignment, sizeof alignment) ==
                 0,
             "an alignment is refused");
    must(lt->preference_free(p) == 0, "preferences stay");
}

int main(void) {
    CublasLibrary lt;
    PlimError error;
    if (cublas_library_open(&lt, &error) != PLIM_OK)
        must(false, error.text);
    must(lt.version() >= 120000, "it is older than CUDA 12");
    check_operation(&lt);
    check_layout(&lt, LT_TYPE_F32);
    check_layout(&lt, LT_TYPE_BF16);
    check_preference(&lt);
    printf("cuBLASLt %zu takes all that it is told\n", lt.version());
    cublas_library_close(&lt);
    return 0;
}
