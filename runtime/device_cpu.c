// The CPU as a device: the interpreter of plans.
//
// It decides nothing: addresses, order, streams and events are the plan's. Opening takes one
// mapping per space from the system, or the caller's memory, and resolves every buffer to an
// address; a step then only calls kernels. Tiles of one instruction are shared by the worker pool;
// instructions of one stream follow each other; several streams share the pool, one instruction at
// a time.
//
// A space on disk is far memory (far_memory.h): its addresses only name places, and what stands
// there is copied, by instructions between it and the arena, and by windows. Such a copy waits for
// the disk on its stream's thread, without the pool.
#include "runtime/device.h"

#include "runtime/error.h"
#include "runtime/far_memory.h"
#include "runtime/pool.h"
#include "runtime/product.h"
#include "runtime/stream.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// The verifier lets no kernel have more (rule 7).
enum { OPERANDS_MAX = 64 };
// Of a window onto far memory; and what addresses in it are multiples of.
enum { ROOM_BYTES = 4 << 20, PAGE_BYTES = 4096 };

// What observers are shown of far memory, by stream.
typedef struct {
    char *bytes;
    uint64_t room;
} Shown;

typedef struct {
    const Plan *plan;
    PlimKernelFn *const *kernel; // by kernel index; the executable's own code
    char **arena;                // by space
    const char *lent;            // the caller's among them, or NULL
    FarMemory *far;              // the spaces on disk, or NULL: there are none
    Shown *shown;                // by stream
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
    atomic_flag disk_failed; // in this run
    PlimError disk_failure;  // what failed first, by the stream that set the flag
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

// Spaces on disk, one behind the other; each begins at a multiple of what disks want.
static PlimStatus take_far(CpuDevice *r, const char *folder, PlimError *error) {
    const Plan *p = r->plan;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < p->space_count; i++)
        if (p->space[i].kind == SPACE_DISK)
            bytes += (p->space[i].bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    if (bytes == 0)
        return PLIM_OK;
    r->shown = calloc((size_t)p->stream_count + 1, sizeof *r->shown);
    if (!r->shown)
        return no_memory(error, "the stream table", p->stream_count);
    const PlimStatus status = far_memory_new(folder, bytes, &r->far, error);
    if (status != PLIM_OK)
        return status;
    char *at = far_memory_base(r->far);
    for (uint32_t i = 0; i < p->space_count; i++)
        if (p->space[i].kind == SPACE_DISK) {
            r->arena[i] = at;
            at += (p->space[i].bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
        }
    return PLIM_OK;
}

// Pages come zeroed and only when touched; NORESERVE: none are set aside before.
static PlimStatus map_arenas(CpuDevice *r, const RunOptions *o, PlimError *error) {
    const Plan *p = r->plan;
    r->arena = calloc((size_t)p->space_count + 1, sizeof *r->arena);
    if (!r->arena)
        return no_memory(error, "the space table", p->space_count);
    for (uint32_t i = 0; i < p->space_count; i++) {
        if (p->space[i].bytes == 0 || p->space[i].kind == SPACE_DISK)
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
    return take_far(r, o->far_folder, error);
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
        if (r->arena[i] && r->arena[i] != r->lent && r->plan->space[i].kind != SPACE_DISK)
            munmap(r->arena[i], (size_t)r->plan->space[i].bytes);
    far_memory_release(r->far);
    for (uint32_t i = 0; r->shown && i < r->plan->stream_count; i++)
        free(r->shown[i].bytes);
    free(r->shown);
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
    return plan_space_bytes(r->plan, SPACE_DEVICE);
}

static bool cpu_shows(const void *device, uint32_t buffer) {
    const CpuDevice *r = device;
    return r->plan->space[r->plan->buffer[buffer].space].kind != SPACE_DISK;
}

static const char *cpu_far_folder(const void *device, const char **caveat) {
    const CpuDevice *r = device;
    if (!r->far)
        return NULL;
    *caveat = far_memory_caveat(r->far);
    return far_memory_folder(r->far);
}

// Between any two places.
static PlimStatus copy_bytes(const CpuDevice *r, void *to, const void *from, uint64_t bytes,
                             PlimError *error) {
    if (far_memory_has(r->far, to) || far_memory_has(r->far, from))
        return far_memory_copy(r->far, to, from, bytes, error) ? PLIM_OK : PLIM_IO;
    memcpy(to, from, (size_t)bytes);
    return PLIM_OK;
}

static PlimStatus cpu_write(void *device, char *address, const void *from, uint64_t bytes,
                            PlimError *error) {
    return copy_bytes(device, address, from, bytes, error);
}

static PlimStatus cpu_read(void *device, void *to, const char *address, uint64_t bytes,
                           PlimError *error) {
    return copy_bytes(device, to, address, bytes, error);
}

// Only far memory needs a room.
static PlimStatus cpu_channel_open(void *device, DeviceChannel *out, PlimError *error) {
    const CpuDevice *r = device;
    *out = (DeviceChannel){0};
    if (!r->far)
        return PLIM_OK;
    void *room = aligned_alloc(PAGE_BYTES, ROOM_BYTES);
    if (!room)
        return no_memory(error, "a window", ROOM_BYTES);
    *out = (DeviceChannel){.room = room, .bytes = ROOM_BYTES};
    return PLIM_OK;
}

static void cpu_channel_close(void *device, DeviceChannel *channel) {
    (void)device;
    free(channel->room);
    *channel = (DeviceChannel){0};
}

static PlimStatus cpu_pull(void *device, const DeviceChannel *c, const char *address,
                           uint64_t bytes, PlimError *error) {
    return copy_bytes(device, c->room, address, bytes, error);
}

static PlimStatus cpu_push(void *device, const DeviceChannel *c, char *address, uint64_t bytes,
                           PlimError *error) {
    return copy_bytes(device, address, c->room, bytes, error);
}

// What observers see of an operand. Each stream has one observer at a time, and one room.
static const void *show_operand(const RunMoment *at, uint32_t operand, PlimError *error) {
    const CpuDevice *r = at->device;
    const uint64_t bytes = at->instr->operand[operand].bytes;
    Shown *shown = &r->shown[at->instr->stream];
    if (!far_memory_has(r->far, at->operand[operand]))
        return at->operand[operand];
    if (bytes > shown->room) {
        char *grown = realloc(shown->bytes, (size_t)bytes);
        if (!grown) {
            no_memory(error, "looking at a result", bytes);
            return NULL;
        }
        *shown = (Shown){.bytes = grown, .room = bytes};
    }
    return copy_bytes(r, shown->bytes, at->operand[operand], bytes, error) == PLIM_OK ? shown->bytes
                                                                                      : NULL;
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

static bool run_copy(CpuDevice *r, const CallInFlight *c) {
    PlimError error;
    const RunMoment *at = &c->moment;
    const PlanInstr *instr = at->instr;
    if (copy_bytes(r, c->operand[0], c->operand[1], instr->operand[0].bytes, &error) == PLIM_OK)
        return true;
    // Read after the streams have ended, which orders it.
    if (!atomic_flag_test_and_set(&r->disk_failed))
        error_set(&r->disk_failure, PLIM_IO, "%s%s%s (%s, instruction %u): %.300s",
                  instr->name[0] ? instr->name : "a copy", instr->where[0] ? " at " : "",
                  instr->where, at->segment->name, at->index, error.text);
    return false;
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
        return run_copy(r, c);
    // Of one rank: run_new takes no plan of more.
    case INSTR_ALL_REDUCE:
    case INSTR_ALL_GATHER:
    case INSTR_REDUCE_SCATTER:
    case INSTR_EXCHANGE:
        memmove(c->operand[0], c->operand[1], (size_t)instr->operand[0].bytes);
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
                           .operand = c.operand,
                           .show = r->far ? show_operand : NULL,
                           .device = r};
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
    if (atomic_flag_test_and_set(&r->disk_failed)) {
        *error = r->disk_failure;
        return PLIM_IO;
    }
    return error_set(error, PLIM_MACHINE, "a product failed in %s, segment %s", r->entry->name,
                     r->segment->name);
}

static PlimStatus cpu_run(void *device, const DeviceCall *call, PlimError *error) {
    CpuDevice *r = device;
    const PlanEntry *entry = call->entry;
    uint32_t number = 0; // of the call's first instruction
    r->entry = entry;
    r->observers = call->observers;
    atomic_flag_clear(&r->disk_failed);
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
                              .shows = cpu_shows,
                              .far_folder = cpu_far_folder,
                              .run = cpu_run,
                              .write = cpu_write,
                              .read = cpu_read,
                              .channel_open = cpu_channel_open,
                              .channel_close = cpu_channel_close,
                              .pull = cpu_pull,
                              .push = cpu_push};
