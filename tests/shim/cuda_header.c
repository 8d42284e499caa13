// Our declarations of CUDA's driver and of cuBLASLt beside NVIDIA's own headers, where those are
// installed: values, sizes, and the names that the headers' macros make of the functions.
#include "runtime/cublaslt.h"

#include <cublasLt.h>
#include <cuda.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define SAME_SIZE(ours, theirs) _Static_assert(sizeof(ours) == sizeof(theirs), #ours)
#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #ours)

SAME_SIZE(CuResult, CUresult);
SAME_SIZE(CuDevice, CUdevice);
SAME_SIZE(CuAddress, CUdeviceptr);
SAME_SIZE(CuTensorMap, CUtensorMap);
_Static_assert(_Alignof(CuTensorMap) >= _Alignof(CUtensorMap), "CuTensorMap");
SAME_SIZE(LtAlgorithm, cublasLtMatmulAlgo_t);
SAME_SIZE(LtChoice, cublasLtMatmulHeuristicResult_t);
_Static_assert(offsetof(LtChoice, workspace) ==
                   offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize),
               "workspace");
_Static_assert(offsetof(LtChoice, status) == offsetof(cublasLtMatmulHeuristicResult_t, state),
               "status");
SAME(CU_SUCCESS, CUDA_SUCCESS);
SAME(CU_INVALID_VALUE, CUDA_ERROR_INVALID_VALUE);
SAME(CU_OUT_OF_MEMORY, CUDA_ERROR_OUT_OF_MEMORY);
SAME(CU_STUB_LIBRARY, CUDA_ERROR_STUB_LIBRARY);
SAME(CU_NO_DEVICE, CUDA_ERROR_NO_DEVICE);
SAME(CU_NOT_FOUND, CUDA_ERROR_NOT_FOUND);
SAME(CU_CAPABILITY_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
SAME(CU_CAPABILITY_MINOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
SAME(CU_FUNCTION_SHARED_MAX, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
SAME(CU_PINNED_PORTABLE, CU_MEMHOSTALLOC_PORTABLE);
SAME(CU_STREAM_OWN, CU_STREAM_NON_BLOCKING);
SAME(CU_EVENT_TIMED, CU_EVENT_DEFAULT);
SAME(CU_EVENT_UNTIMED, CU_EVENT_DISABLE_TIMING);
SAME(CU_CAPTURE_RELAXED, CU_STREAM_CAPTURE_MODE_RELAXED);
SAME(CU_MAP_BF16, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16);
SAME(CU_MAP_NOT_INTERLEAVED, CU_TENSOR_MAP_INTERLEAVE_NONE);
SAME(CU_MAP_SWIZZLE_128, CU_TENSOR_MAP_SWIZZLE_128B);
SAME(CU_MAP_PROMOTE_128, CU_TENSOR_MAP_L2_PROMOTION_L2_128B);
SAME(CU_MAP_FILL_ZERO, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
SAME(LT_COMPUTE_F32, CUBLAS_COMPUTE_32F);
SAME(LT_TYPE_F32, CUDA_R_32F);
SAME(LT_TYPE_BF16, CUDA_R_16BF);
SAME(LT_OPERATION_TRANSPOSE_A, CUBLASLT_MATMUL_DESC_TRANSA);
SAME(LT_OPERATION_TRANSPOSE_B, CUBLASLT_MATMUL_DESC_TRANSB);
SAME(LT_OPERATION_EPILOGUE, CUBLASLT_MATMUL_DESC_EPILOGUE);
SAME(LT_OPERATION_BIAS, CUBLASLT_MATMUL_DESC_BIAS_POINTER);
SAME(LT_OPERATION_AUX, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER);
SAME(LT_OPERATION_AUX_LD, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD);
SAME(LT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_BIAS);
SAME(LT_EPILOGUE_RELU, CUBLASLT_EPILOGUE_RELU);
SAME(LT_EPILOGUE_RELU | LT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_RELU_BIAS);
SAME(LT_EPILOGUE_GELU, CUBLASLT_EPILOGUE_GELU);
SAME(LT_EPILOGUE_GELU | LT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_GELU_BIAS);
SAME(LT_EPILOGUE_GELU | LT_EPILOGUE_AUX, CUBLASLT_EPILOGUE_GELU_AUX);
SAME(LT_EPILOGUE_GELU | LT_EPILOGUE_AUX | LT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_GELU_AUX_BIAS);
SAME(LT_EPILOGUE_GELU_GRAD | LT_EPILOGUE_AUX, CUBLASLT_EPILOGUE_DGELU);
SAME(LT_PLAIN, CUBLAS_OP_N);
SAME(LT_TRANSPOSED, CUBLAS_OP_T);
SAME(LT_LAYOUT_BATCH, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT);
SAME(LT_LAYOUT_BATCH_STRIDE, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
SAME(LT_PREFERENCE_WORKSPACE, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
SAME(LT_PREFERENCE_REDUCTIONS, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
SAME(LT_PREFERENCE_ALIGNMENT_A, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
SAME(LT_PREFERENCE_ALIGNMENT_A + 3, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
SAME(LT_REDUCTION_IN_PLACE, CUBLASLT_REDUCTION_SCHEME_INPLACE);
SAME(LT_REDUCTION_IN_F32, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

// As the header's macros have them.
static const char *const theirs[] = {
    TEXT(cuInit), TEXT(cuDriverGetVersion), TEXT(cuGetErrorName), TEXT(cuGetErrorString),
    TEXT(cuDeviceGetCount), TEXT(cuDeviceGet), TEXT(cuDeviceGetName), TEXT(cuDeviceGetAttribute),
    TEXT(cuDevicePrimaryCtxRetain), TEXT(cuDevicePrimaryCtxRelease), TEXT(cuCtxPushCurrent),
    TEXT(cuCtxPopCurrent), TEXT(cuMemGetInfo), TEXT(cuMemAlloc), TEXT(cuMemFree),
    TEXT(cuMemHostAlloc), TEXT(cuMemFreeHost), TEXT(cuMemcpyAsync), TEXT(cuMemsetD8Async),
    TEXT(cuStreamCreate), TEXT(cuStreamDestroy), TEXT(cuStreamSynchronize), TEXT(cuStreamWaitEvent),
    TEXT(cuStreamBeginCapture), TEXT(cuStreamEndCapture), TEXT(cuEventCreate), TEXT(cuEventDestroy),
    TEXT(cuEventRecord), TEXT(cuEventSynchronize), TEXT(cuGraphDestroy), TEXT(cuGraphInstantiate),
    TEXT(cuGraphExecDestroy), TEXT(cuGraphLaunch), TEXT(cuModuleLoadData), TEXT(cuModuleUnload),
    TEXT(cuModuleGetFunction), TEXT(cuFuncSetAttribute), TEXT(cuLaunchKernel),
    TEXT(cuLaunchHostFunc), TEXT(cuTensorMapEncodeTiled),
    // CUDA 13's header means a second version, which drivers of CUDA 12 lack; the first is in both.
    "cuEventElapsedTime"};

static const char *const ours[] = {
#define C(field, symbol, parameters) symbol,
#include "runtime/cuda_driver.def"
#undef C
};

int main(void) {
    int wrong = 0;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        bool found = false;
        for (size_t k = 0; k < sizeof theirs / sizeof *theirs; k++)
            found = found || strcmp(ours[i], theirs[k]) == 0;
        if (!found)
            printf("%s is none of the header's names\n", ours[i]);
        wrong += !found;
    }
    return wrong > 0;
}
