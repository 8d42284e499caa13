// Our declarations of NCCL beside NVIDIA's own header, where that is installed: it compiles where
// values, sizes and parameters are the same.
#include "runtime/nccl.h"

#include <nccl.h>

#include <stdio.h>
#include <string.h>

#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #ours)
// The header's function takes these, and so does ours but for the names of types.
#define TAKES(function, ...)                                                                       \
    _Static_assert(_Generic(&(function), ncclResult_t(*)(__VA_ARGS__): 1, default: 0), #function)

_Static_assert(sizeof(NcclId) == sizeof(ncclUniqueId), "id");
_Static_assert(sizeof(ncclResult_t) == sizeof(int) && sizeof(ncclDataType_t) == sizeof(int) &&
                   sizeof(ncclRedOp_t) == sizeof(int),
               "enums are passed as int");
SAME(NCCL_SUM, ncclSum);
SAME(NCCL_MAXIMUM, ncclMax);
SAME(NCCL_UINT8, ncclUint8);
SAME(NCCL_INT32, ncclInt32);
SAME(NCCL_F32, ncclFloat32);
SAME(NCCL_BF16, ncclBfloat16);
TAKES(ncclGetVersion, int *);
TAKES(ncclGetUniqueId, ncclUniqueId *);
TAKES(ncclCommInitRank, ncclComm_t *, int, ncclUniqueId, int);
TAKES(ncclCommDestroy, ncclComm_t);
TAKES(ncclCommAbort, ncclComm_t);
TAKES(ncclCommGetAsyncError, ncclComm_t, ncclResult_t *);
TAKES(ncclGroupStart, void);
TAKES(ncclGroupEnd, void);
TAKES(ncclAllReduce, const void *, void *, size_t, ncclDataType_t, ncclRedOp_t, ncclComm_t,
      cudaStream_t);
TAKES(ncclAllGather, const void *, void *, size_t, ncclDataType_t, ncclComm_t, cudaStream_t);
TAKES(ncclReduceScatter, const void *, void *, size_t, ncclDataType_t, ncclRedOp_t, ncclComm_t,
      cudaStream_t);
TAKES(ncclSend, const void *, size_t, ncclDataType_t, int, ncclComm_t, cudaStream_t);
TAKES(ncclRecv, void *, size_t, ncclDataType_t, int, ncclComm_t, cudaStream_t);

static const char *const compared[] = {
    "ncclGetVersion", "ncclGetUniqueId",       "ncclCommInitRank",  "ncclCommDestroy",
    "ncclCommAbort",  "ncclCommGetAsyncError", "ncclGroupStart",    "ncclGroupEnd",
    "ncclAllReduce",  "ncclAllGather",         "ncclReduceScatter", "ncclSend",
    "ncclRecv"};

static const char *const ours[] = {
#define C(field, symbol, parameters) symbol,
#include "runtime/nccl.def"
#undef C
};

// None of ours is left out above.
int main(void) {
    const size_t count = sizeof ours / sizeof *ours;
    if (count != sizeof compared / sizeof *compared)
        return 1;
    for (size_t i = 0; i < count; i++)
        if (strcmp(ours[i], compared[i]) != 0) {
            printf("%s is not compared\n", ours[i]);
            return 1;
        }
    return 0;
}
