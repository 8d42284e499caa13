// A GPU with a plan on it: what the parts of device_cuda share.
#ifndef PLIM_RUNTIME_CUDA_DEVICE_H
#define PLIM_RUNTIME_CUDA_DEVICE_H

#include "runtime/communicator.h"
#include "runtime/cuda_code.h"
#include "runtime/cuda_host.h"
#include "runtime/device.h"
#include "runtime/product_cublaslt.h"

typedef struct {
    const Plan *plan;
    CudaDriver cu;
    CuDevice device;
    char gpu[96];
    CuContext context; // NULL until retained
    char **arena;      // by space: addresses that the GPU knows
    const char *lent;  // the caller's among them, or NULL
    CudaCode *code;
    CudaHost *host;        // the CPU's part; NULL where the plan has none
    CublasTable *products; // NULL where the plan has none
    Communicator *ranks;   // likewise: where it has no collectives
    CuStream *stream;      // the plan's; what is written and read between entries goes through 0
    CuEvent *event;        // of one segment; then one a stream, for where segments begin and end
    uint32_t event_count;  // of the former
    CuGraphExec *graph;    // by entry; NULL until its first run
    // Pinned memory that what is written passes through; the first inbox_used bytes are under way.
    char *inbox;
    uint64_t inbox_used;
    // What run_operand gives, and its bytes.
    char *shown;
    uint64_t shown_bytes;
} CudaDevice;

// Makes the GPU's context the thread's current one; CU_SUCCESS wants cuda_leave afterwards, which
// gives the thread back the context it had. All that calls the driver is between the two.
CuResult cuda_enter(const CudaDevice *d);
void cuda_leave(const CudaDevice *d);
// The sentence for a call that failed: what was done ("the copy of inputs"), then CUDA's name for
// it.
PlimStatus cuda_failed(const CudaDevice *d, CuResult result, const char *what, PlimError *error);
// Waits for everything that was asked of stream 0, and frees the inbox.
CuResult cuda_settle(CudaDevice *d);
// Where an operand of the call's instruction stands.
char *cuda_operand(const CudaDevice *d, const PlanOperand *o, uint32_t slot);
// Asks the stream for a kernel of the GPU: the instruction's, with these operands. cuda_execute.c.
CuResult cuda_launch(const CudaDevice *d, const PlanInstr *instr, void *const *operand,
                     CuStream stream);
// DeviceOps.run: cuda_execute.c.
PlimStatus cuda_run(void *device, const DeviceCall *call, PlimError *error);
// Before the device is released.
void cuda_release_graphs(CudaDevice *d);

#endif
