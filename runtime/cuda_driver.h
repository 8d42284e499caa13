// CUDA's driver, opened when a program for a GPU starts and never linked: a missing driver is a
// sentence. These are our own declarations, so that everything builds where no CUDA is installed.
#ifndef PLIM_RUNTIME_CUDA_DRIVER_H
#define PLIM_RUNTIME_CUDA_DRIVER_H

#include "runtime/plim.h"

#include <stdint.h>

typedef int CuResult; // 0: success
typedef int CuDevice;
typedef unsigned long long CuAddress;
typedef struct CUctx_st *CuContext;
typedef struct CUstream_st *CuStream;
typedef struct CUevent_st *CuEvent;
typedef struct CUmod_st *CuModule;
typedef struct CUfunc_st *CuFunction;
typedef struct CUgraph_st *CuGraph;
typedef struct CUgraphExec_st *CuGraphExec;

// Values of cuda.h.
enum {
    CU_SUCCESS = 0,
    CU_INVALID_VALUE = 1,
    CU_OUT_OF_MEMORY = 2,
    CU_STUB_LIBRARY = 34,
    CU_NO_DEVICE = 100,
    CU_NOT_FOUND = 500,
    CU_CAPABILITY_MAJOR = 75,
    CU_CAPABILITY_MINOR = 76,
    CU_FUNCTION_SHARED_MAX = 8,
    CU_PINNED_PORTABLE = 1,
    CU_STREAM_OWN = 1, // waits for no stream but those it is told to
    CU_EVENT_TIMED = 0,
    CU_EVENT_UNTIMED = 2,
    CU_CAPTURE_RELAXED = 2,
    CU_MAP_BF16 = 9,
    CU_MAP_NOT_INTERLEAVED = 0,
    CU_MAP_SWIZZLE_128 = 3, // chunks of 16 bytes in rows of 128
    CU_MAP_PROMOTE_128 = 2, // bytes that the L2 cache fetches at once
    CU_MAP_FILL_ZERO = 0
};

typedef struct {
    _Alignas(128) uint64_t opaque[16];
} CuTensorMap;

typedef struct {
    void *library;
#define C(field, symbol, parameters) CuResult(*field) parameters;
#include "runtime/cuda_driver.def"
#undef C
} CudaDriver;

// PLIM_MACHINE with a sentence where there is no driver, no GPU or too old a driver. What was
// opened is closed by cuda_driver_close, also after a failure.
PlimStatus cuda_driver_open(CudaDriver *out, PlimError *error);
void cuda_driver_close(CudaDriver *cu); // of one that is all zero: nothing
// "CUDA_ERROR_ILLEGAL_ADDRESS (an illegal memory access was encountered)" into out.
void cuda_error_text(const CudaDriver *cu, CuResult result, char *out, size_t size);

#endif
