// NVIDIA's NCCL, opened when a plan has collectives for it and never linked. Our own declarations.
#ifndef PLIM_RUNTIME_NCCL_H
#define PLIM_RUNTIME_NCCL_H

#include "runtime/cuda_driver.h"

typedef struct ncclComm *NcclComm;
// By which the processes of one communicator find each other.
typedef struct {
    char byte[128];
} NcclId;

// Values of nccl.h.
enum {
    NCCL_SUM = 0,
    NCCL_MAXIMUM = 2,
    NCCL_UINT8 = 1,
    NCCL_INT32 = 2,
    NCCL_F32 = 7,
    NCCL_BF16 = 9
};

typedef struct {
    void *library;
    const char *(*error_text)(int result);
#define C(field, symbol, parameters) int(*field) parameters;
#include "runtime/nccl.def"
#undef C
} NcclLibrary;

// PLIM_MACHINE with a sentence where it is missing or too old. What was opened is closed by
// nccl_library_close, also after a failure. No GPU is touched.
PlimStatus nccl_library_open(NcclLibrary *out, PlimError *error);
void nccl_library_close(NcclLibrary *l); // of one that is all zero: nothing

#endif
