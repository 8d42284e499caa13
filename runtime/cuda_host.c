// The CPU of a GPU's host, on what far states are in: pinned memory is the program's own, so the
// functions are given its addresses as they are. The driver calls us on a thread of its own when
// the stream comes to it, which then works beside the pool's threads. It may call nothing of
// CUDA's. All such kernels stand on one stream, so that only one runs at a time: a pool has one
// caller. Nothing here can fail at run time.
//
// A call is remembered by its instruction and first address: a graph needs it as long as it may be
// launched, and other ways of running give the same one again.
#include "runtime/cuda_host.h"

#include "runtime/error.h"
#include "runtime/pool.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

typedef struct HostCall HostCall;
struct HostCall {
    CudaHost *host;
    const PlanInstr *instr;
    PlimKernelFn *function;
    int64_t tiles;
    HostCall *next;
    void *operand[]; // the instruction's
};

struct CudaHost {
    const Plan *plan;
    PlimKernelFn *const *kernel;
    PlimPool *pool;
    HostCall *calls;
};

enum { THREADS_MAX = 64 }; // a CPU's memory keeps no more busy

static bool in_host(const Plan *p, const PlanInstr *instr) {
    return instr->kind == INSTR_KERNEL && instr->operand_count > 0 &&
           p->space[p->buffer[instr->operand[0].buffer].space].kind == SPACE_HOST;
}

// The first one; NULL: there is none.
static const PlanInstr *find_call(const Plan *p, PlimKernelFn *const *kernel, bool missing) {
    for (uint32_t s = 0; s < p->segment_count; s++)
        for (uint32_t i = 0; i < p->segment[s].instr_count; i++) {
            const PlanInstr *instr = &p->segment[s].instr[i];
            if (in_host(p, instr) && (!missing || !kernel || !kernel[instr->kernel]))
                return instr;
        }
    return NULL;
}

// One is left for the thread that hands entries over and for saving.
static int useful_threads(void) {
    cpu_set_t set;
    const int usable = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    const int most = usable > 2 ? usable - 1 : usable;
    return most < THREADS_MAX ? most : THREADS_MAX;
}

PlimStatus cuda_host_new(const Plan *p, PlimKernelFn *const *kernel, CudaHost **out,
                         PlimError *error) {
    *out = NULL;
    if (!find_call(p, kernel, false))
        return PLIM_OK;
    const PlanInstr *without = find_call(p, kernel, true);
    if (without)
        return error_set(error, PLIM_BAD_INPUT, "the program has no code for %s on the CPU",
                         without->name);
    CudaHost *h = calloc(1, sizeof *h);
    if (!h)
        return error_set(error, PLIM_NO_MEMORY, "out of memory preparing the CPU's part");
    *out = h;
    h->plan = p;
    h->kernel = kernel;
    h->pool = pool_new(useful_threads());
    return h->pool ? PLIM_OK
                   : error_set(error, PLIM_NO_MEMORY, "no threads for the CPU's part of the work");
}

void cuda_host_release(CudaHost *h) {
    if (!h)
        return;
    pool_release(h->pool);
    for (HostCall *c = h->calls, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(h);
}

bool cuda_host_has(const CudaHost *h, uint32_t kernel) {
    return h && h->kernel[kernel];
}

static void run_tiles(void *context, int64_t begin, int64_t end, int worker) {
    const HostCall *c = context;
    (void)worker; // such kernels have no workspace
    c->function(c->operand, c->instr->imm, begin, end, NULL);
}

static void run_call(void *argument) {
    HostCall *c = argument;
    pool_run(c->host->pool, run_tiles, c, c->tiles);
}

CuResult cuda_host_start(CudaHost *h, const CudaDriver *cu, const PlanInstr *instr,
                         void *const *operand, CuStream stream) {
    HostCall *c = h->calls;
    while (c && (c->instr != instr || c->operand[0] != operand[0]))
        c = c->next;
    if (!c) {
        const size_t bytes = instr->operand_count * sizeof *operand;
        c = malloc(sizeof *c + bytes);
        if (!c)
            return CU_OUT_OF_MEMORY;
        *c = (HostCall){.host = h,
                        .instr = instr,
                        .function = h->kernel[instr->kernel],
                        .tiles = (int64_t)h->plan->kernel[instr->kernel].tiles,
                        .next = h->calls};
        memcpy(c->operand, operand, bytes);
        h->calls = c;
    }
    return cu->host_call(stream, run_call, c);
}
