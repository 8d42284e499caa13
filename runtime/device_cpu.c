// The CPU as a device: the interpreter of plans.
//
// It decides nothing: addresses, order, streams and events are the plan's. Opening takes one
// mapping per space from the system, or the caller's memory, and resolves every buffer to an
// address; a step then only calls kernels. Tiles of one instruction are shared by the worker pool;
// instructions of one stream follow each other; several streams share the pool, one instruction at
// a time.
#include "runtime/device.h"

#include "runtime/error.h"
#include "runtime/pool.h"
#include "runtime/product.h"
#include "runtime/stream.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// The verifier lets no kernel have more (rule 7).
enum { OPERANDS_MAX = 64 };

typedef struct {
    const Plan *plan;
    PlimKernelFn *const *kernel; // by kernel index; the executable's own code
    char **arena;                // by space
    const char *lent;            // the caller's among them, or NULL
    ProductTable *products;
    PlimPool *pool;
    pthread_mutex_t pool_lock; // several streams, one pool
    PlimStreams *streams;      // NULL where the plan has one stream
    // What the streams are executing.
    const PlanEntry *entry;
    const PlanSegment *segment;
    uint32_t call; // index in the entry's program
    uint32_t slot;
    const bool *unwanted; // by instruction of the segment, or NULL: all are executed
    Observers *observers;
} CpuDevice;

// One call in flight: what pool tasks see.
typedef struct {
    const CpuDevice *run;
    RunMoment moment; // its operands are the array below
    void *operand[OPERANDS_MAX];
    char *workspace;         // of worker 0; the others follow
    uint64_t workspace_step; // bytes a worker
    bool failed;
} CallInFlight;

static PlimStatus no_memory(PlimError *error, const char *what, uint64_t bytes) {
    return error_set(error, PLIM_NO_MEMORY, "out of memory: %s needs %llu bytes", what,
                     (unsigned long long)bytes);
}

// The caller's memory serves as the device space.
static PlimStatus lend_arena(CpuDevice *r, uint32_t space, const RunOptions *o, PlimError *error) {
    const uint64_t needed = r->plan->space[space].bytes;
    if (o->arena_bytes < needed)
        return error_set(error, PLIM_BAD_INPUT, "the arena has %llu bytes, the plan needs %llu",
                         (unsigned long long)o->arena_bytes, (unsigned long long)needed);
    if ((uintptr_t)o->arena % PLAN_ARENA_ALIGNMENT != 0)
        return error_set(error, PLIM_BAD_INPUT,
                         "the arena does not begin at a multiple of %d bytes",
                         PLAN_ARENA_ALIGNMENT);
    r->arena[space] = o->arena;
    r->lent = o->arena;
    return PLIM_OK;
}

// Pages come zeroed and only when touched; NORESERVE: none are set aside before.
static PlimStatus map_arenas(CpuDevice *r, const RunOptions *o, PlimError *error) {
    const Plan *p = r->plan;
    r->arena = calloc((size_t)p->space_count + 1, sizeof *r->arena);
    if (!r->arena)
        return no_memory(error, "the space table", p->space_count);
    for (uint32_t i = 0; i < p->space_count; i++) {
        if (p->space[i].bytes == 0)
            continue;
        if (o->arena && p->space[i].kind == SPACE_DEVICE) {
            const PlimStatus status = lend_arena(r, i, o, error);
            if (status != PLIM_OK)
                return status;
            continue;
        }
        void *at = mmap(NULL, (size_t)p->space[i].bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED)
            return no_memory(error, "the arena", p->space[i].bytes);
        // Fewer, larger pages where the system has them: an arena is walked from end to end every
        // step.
        (void)madvise(at, (size_t)p->space[i].bytes, MADV_HUGEPAGE);
        r->arena[i] = at;
    }
    return PLIM_OK;
}

static bool stream_body(void *context, int stream);

// Of one segment: the streams' table is shared by all of them.
static uint32_t most_events(const Plan *p) {
    uint32_t most = 0;
    for (uint32_t i = 0; i < p->segment_count; i++)
        if (p->segment[i].event_count > most)
            most = p->segment[i].event_count;
    return most;
}

static void cpu_release(void *device) {
    CpuDevice *r = device;
    if (!r)
        return;
    // Threads end before what they work on.
    streams_release(r->streams);
    pool_release(r->pool);
    product_table_release(r->products);
    for (uint32_t i = 0; r->arena && i < r->plan->space_count; i++)
        if (r->arena[i] && r->arena[i] != r->lent)
            munmap(r->arena[i], (size_t)r->plan->space[i].bytes);
    free(r->arena);
    pthread_mutex_destroy(&r->pool_lock);
    free(r);
}

static PlimStatus cpu_open(const Plan *p, PlimKernelFn *const *kernel, const RunOptions *options,
                           void **out, PlimError *error) {
    CpuDevice *r = calloc(1, sizeof *r);
    if (!r)
        return no_memory(error, "the run", sizeof *r);
    *out = r;
    r->plan = p;
    r->kernel = kernel;
    pthread_mutex_init(&r->pool_lock, NULL);
    PlimStatus status = map_arenas(r, options, error);
    if (status == PLIM_OK)
        status = product_table_new(p, &r->products, error);
    if (status == PLIM_OK) {
        r->pool = pool_new(options->threads);
        if (!r->pool) {
            status =
                error_set(error, PLIM_MACHINE, "can't start %d worker threads", options->threads);
        }
    }
    if (status == PLIM_OK && p->stream_count > 1) {
        r->streams = streams_new((int)p->stream_count, (int)most_events(p), stream_body, r);
        if (!r->streams)
            status = error_set(error, PLIM_MACHINE, "can't start %u streams", p->stream_count);
    }
    return status;
}

static void *cpu_address(const void *device, uint32_t buffer) {
    const CpuDevice *r = device;
    const PlanBuffer *b = &r->plan->buffer[buffer];
    return r->arena[b->space] + b->offset;
}

static uint64_t cpu_arena_bytes(const void *device) {
    const CpuDevice *r = device;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < r->plan->space_count; i++)
        if (r->plan->space[i].kind == SPACE_DEVICE && r->arena[i])
            sum += r->plan->space[i].bytes;
    return sum;
}

static int cpu_workers(const void *device) {
    const CpuDevice *r = device;
    return pool_workers(r->pool);
}

static void compute_tiles(CallInFlight *c, int64_t begin, int64_t end, int worker) {
    char *workspace = c->workspace ? c->workspace + (uint64_t)worker * c->workspace_step : NULL;
    if (c->moment.instr->kind == INSTR_KERNEL) {
        c->run->kernel[c->moment.instr->kernel](c->operand, c->moment.instr->imm, begin, end,
                                                workspace);
        return;
    }
    const uint32_t row = product_of_kernel(c->run->products, c->moment.instr->kernel);
    if (!product_run(c->run->products, row, c->operand, begin, end, workspace))
        // Any worker may fail; pool_run's end orders the store before call_kernel reads it.
        __atomic_store_n(&c->failed, true, __ATOMIC_RELAXED);
}

// Tiles begin .. end - 1 of the call, on one worker, in that worker's part of the workspace.
static void run_tiles(void *context, int64_t begin, int64_t end, int worker) {
    CallInFlight *c = context;
    observers_tell_tiles(c->run->observers, &c->moment, worker, true);
    compute_tiles(c, begin, end, worker);
    observers_tell_tiles(c->run->observers, &c->moment, worker, false);
}

// False where a library's product failed; generated kernels can't.
static bool call_kernel(CpuDevice *r, CallInFlight *c) {
    const PlanKernel *k = &r->plan->kernel[c->moment.instr->kernel];
    if (c->moment.instr->workspace != UINT32_MAX) {
        c->workspace = cpu_address(r, c->moment.instr->workspace);
        c->workspace_step = k->workspace;
    }
    if (r->streams)
        pthread_mutex_lock(&r->pool_lock);
    pool_run(r->pool, run_tiles, c, (int64_t)k->tiles);
    if (r->streams)
        pthread_mutex_unlock(&r->pool_lock);
    return !c->failed;
}

// The call's work, everything waited for.
static bool execute(CpuDevice *r, CallInFlight *c) {
    const PlanInstr *instr = c->moment.instr;
    switch (instr->kind) {
    case INSTR_KERNEL:
    case INSTR_PRODUCT:
        return call_kernel(r, c);
    // On the stream's own thread, without the pool.
    case INSTR_FILL:
        memset(c->operand[0], (int)instr->imm[0], (size_t)instr->operand[0].bytes);
        return true;
    case INSTR_COPY:
        memcpy(c->operand[0], c->operand[1], (size_t)instr->operand[0].bytes);
        return true;
    }
    return false;
}

// Waits for the instruction's events, executes it, tells observers and then other streams.
static bool step_instruction(CpuDevice *r, uint32_t index) {
    const PlanInstr *instr = &r->segment->instr[index];
    CallInFlight c = {.run = r};
    c.moment = (RunMoment){.entry = r->entry,
                           .call = r->call,
                           .segment = r->segment,
                           .index = index,
                           .instr = instr,
                           .operand = c.operand};
    for (uint32_t i = 0; i < instr->operand_count; i++) {
        const PlanOperand *o = &instr->operand[i];
        // The same address for every call, but for inputs, which move by slot.
        c.operand[i] = (char *)cpu_address(r, o->buffer) + o->offset + r->slot * o->slot_bytes;
    }
    if (!observers_tell(r->observers, &c.moment, RUN_WAITS))
        return false;
    for (uint32_t w = 0; w < instr->wait_count; w++)
        if (r->streams && !stream_wait(r->streams, instr->wait[w]))
            return false;
    // Events of an instruction that is left out are signalled all the same.
    const bool wanted = !r->unwanted || !r->unwanted[index];
    if (!observers_tell(r->observers, &c.moment, RUN_BEGINS) || (wanted && !execute(r, &c)) ||
        !observers_tell(r->observers, &c.moment, RUN_ENDS))
        return false;
    if (r->streams && instr->signal != UINT32_MAX)
        stream_signal(r->streams, instr->signal);
    return true;
}

// Everything the current segment gives one stream.
static bool stream_body(void *context, int stream) {
    CpuDevice *r = context;
    // The list holds all streams' instructions; each stream keeps its order in it.
    for (uint32_t i = 0; i < r->segment->instr_count; i++)
        if (r->segment->instr[i].stream == (uint32_t)stream && !step_instruction(r, i))
            return false;
    return true;
}

static PlimStatus failed_run(CpuDevice *r, PlimError *error) {
    if (observers_refused(r->observers, error))
        return PLIM_BAD_INPUT;
    return error_set(error, PLIM_MACHINE, "a product failed in %s, segment %s", r->entry->name,
                     r->segment->name);
}

static PlimStatus cpu_run(void *device, const DeviceCall *call, PlimError *error) {
    CpuDevice *r = device;
    const PlanEntry *entry = call->entry;
    uint32_t number = 0; // of the call's first instruction
    r->entry = entry;
    r->observers = call->observers;
    for (uint32_t i = 0; i < entry->call_count; i++) {
        // Written before the streams start, which their lock makes visible.
        r->segment = &r->plan->segment[entry->call[i].segment];
        r->call = i;
        r->slot = entry->call[i].slot;
        r->unwanted = call->unwanted ? call->unwanted + number : NULL;
        number += r->segment->instr_count;
        if (r->streams ? !streams_run(r->streams) : !stream_body(r, 0))
            return failed_run(r, error);
    }
    return PLIM_OK;
}

const DeviceOps device_cpu = {.open = cpu_open,
                              .release = cpu_release,
                              .workers = cpu_workers,
                              .arena_bytes = cpu_arena_bytes,
                              .address = cpu_address,
                              .run = cpu_run};
