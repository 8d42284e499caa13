// A GPU as a device: memory, and the ways in and out of it. cuda_execute.c runs entries.
//
// Opening finds the driver, takes the first GPU that CUDA_VISIBLE_DEVICES shows, loads the code,
// takes one allocation for the plan's device space and pinned memory for its host space, and
// joins the plan's ranks where it has collectives, and prepares the library's products: everything
// that a machine may lack is missed here, before any data is read.
//
// Bytes that an entry's inputs get are copied to pinned memory (the inbox) and on from there on
// stream 0, without waiting: what the entry then runs comes after them. States go through channels:
// a stream and pinned memory of their own, so that a thread that saves needs nothing of the one
// that runs. What lives in the host space is the program's own memory too and is read and written
// in place: an entry has ended on all streams when it is said to have ended, and nobody asks for
// bytes that an entry may be changing. Every function may be called on any thread, whose current
// context is the caller's (a library's callers may use CUDA themselves, on another GPU): each makes
// its own one current and gives the caller's back.
#include "runtime/device.h"

#include "runtime/cuda_device.h"
#include "runtime/cuda_tune.h"
#include "runtime/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

// Bytes of pinned memory.
enum { INBOX_BYTES = 1 << 20, CHANNEL_BYTES = 4 << 20, INBOX_STEP = 64 };

PlimStatus cuda_failed(const CudaDevice *d, CuResult result, const char *what, PlimError *error) {
    char text[256];
    cuda_error_text(&d->cu, result, text, sizeof text);
    return error_set(error, PLIM_MACHINE, "the GPU failed at %s: %s", what, text);
}

CuResult cuda_enter(const CudaDevice *d) {
    return d->cu.context_push(d->context);
}

void cuda_leave(const CudaDevice *d) {
    // It can only fail with an error of the GPU's, which was told before or will be.
    CuContext own;
    (void)d->cu.context_pop(&own);
}

CuResult cuda_settle(CudaDevice *d) {
    d->inbox_used = 0;
    return d->cu.stream_synchronize(d->stream[0]);
}

static PlimStatus no_memory(PlimError *error) {
    return error_set(error, PLIM_NO_MEMORY, "out of memory preparing the GPU");
}

// An address as the driver counts it.
static CuAddress number_of(const void *address) {
    return (CuAddress)(uintptr_t)address;
}

static const double gib = 1024.0 * 1024 * 1024;

// How much there is, beside what the plan needs.
static PlimStatus no_room(const CudaDevice *d, uint64_t bytes, PlimError *error) {
    size_t available = 0, total = 0;
    (void)d->cu.memory_info(&available, &total);
    return error_set(error, PLIM_NO_MEMORY,
                     "the program needs %.2f GiB of the GPU's memory, which has %.2f of %.2f GiB "
                     "free: compile it again with a --budget that fits",
                     (double)bytes / gib, (double)available / gib, (double)total / gib);
}

// The driver does not tell why: the machine's memory, a limit of the process, or its container's.
static PlimStatus no_pinned_room(uint64_t bytes, PlimError *error) {
    char limit[64] = "unlimited";
    struct rlimit locked = {.rlim_cur = RLIM_INFINITY};
    const double page = (double)sysconf(_SC_PAGESIZE);
    if (getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_cur != RLIM_INFINITY)
        snprintf(limit, sizeof limit, "%llu KiB", (unsigned long long)locked.rlim_cur / 1024);
    return error_set(error, PLIM_NO_MEMORY,
                     "the program needs %.2f GiB of pinned host memory, which the driver does not "
                     "give: the machine has %.2f GiB in all, ulimit -l is %s, and a container may "
                     "have a limit of its own (memory.max of its cgroup); raise what is too low, "
                     "or compile it again with a smaller --far",
                     (double)bytes / gib, page * (double)sysconf(_SC_PHYS_PAGES) / gib, limit);
}

// The caller's memory serves as the device space.
static PlimStatus lend_arena(CudaDevice *d, uint32_t space, const RunOptions *o, PlimError *error) {
    const uint64_t needed = d->plan->space[space].bytes;
    if (o->arena_bytes < needed)
        return error_set(error, PLIM_BAD_INPUT, "the arena has %llu bytes, the plan needs %llu",
                         (unsigned long long)o->arena_bytes, (unsigned long long)needed);
    if ((uintptr_t)o->arena % PLAN_GPU_ALIGNMENT != 0)
        return error_set(error, PLIM_BAD_INPUT,
                         "the arena does not begin at a multiple of %d bytes", PLAN_GPU_ALIGNMENT);
    d->arena[space] = o->arena;
    d->lent = o->arena;
    return PLIM_OK;
}

static PlimStatus take_space(CudaDevice *d, uint32_t space, const RunOptions *o, PlimError *error) {
    const PlanSpace *s = &d->plan->space[space];
    CuAddress address = 0;
    void *pinned = NULL;
    CuResult result = CU_SUCCESS;
    switch (s->kind) {
    case SPACE_DEVICE:
        if (o->arena)
            return lend_arena(d, space, o, error);
        result = d->cu.memory_new(&address, (size_t)s->bytes);
        d->arena[space] = (char *)(uintptr_t)address;
        if (result == CU_OUT_OF_MEMORY)
            return no_room(d, s->bytes, error);
        break;
    case SPACE_HOST:
        result = d->cu.pinned_new(&pinned, (size_t)s->bytes, CU_PINNED_PORTABLE);
        d->arena[space] = pinned;
        if (result == CU_OUT_OF_MEMORY)
            return no_pinned_room(s->bytes, error);
        break;
    case SPACE_DISK:
    case SPACE_COUNT:
        return error_set(error, PLIM_MACHINE, "a program for GPUs can't keep a space on disk yet");
    }
    if (result == CU_SUCCESS)
        return PLIM_OK;
    d->arena[space] = NULL;
    return cuda_failed(d, result, "taking memory", error);
}

static PlimStatus take_arenas(CudaDevice *d, const RunOptions *o, PlimError *error) {
    d->arena = calloc((size_t)d->plan->space_count + 1, sizeof *d->arena);
    if (!d->arena)
        return no_memory(error);
    PlimStatus status = PLIM_OK;
    for (uint32_t i = 0; i < d->plan->space_count && status == PLIM_OK; i++)
        if (d->plan->space[i].bytes > 0)
            status = take_space(d, i, o, error);
    return status;
}

// Of one segment: all of them use the same events.
static uint32_t most_events(const Plan *p) {
    uint32_t most = 0;
    for (uint32_t i = 0; i < p->segment_count; i++)
        if (p->segment[i].event_count > most)
            most = p->segment[i].event_count;
    return most;
}

static PlimStatus take_streams(CudaDevice *d, PlimError *error) {
    const Plan *p = d->plan;
    d->event_count = most_events(p);
    d->stream = calloc((size_t)p->stream_count + 1, sizeof *d->stream);
    d->event = calloc((size_t)d->event_count + p->stream_count + 1, sizeof *d->event);
    d->graph = calloc((size_t)p->entry_count + 1, sizeof *d->graph);
    if (!d->stream || !d->event || !d->graph)
        return no_memory(error);
    CuResult result = CU_SUCCESS;
    for (uint32_t i = 0; i < p->stream_count && result == CU_SUCCESS; i++)
        result = d->cu.stream_new(&d->stream[i], CU_STREAM_OWN);
    for (uint32_t i = 0; i < d->event_count + p->stream_count && result == CU_SUCCESS; i++)
        result = d->cu.event_new(&d->event[i], CU_EVENT_UNTIMED);
    void *inbox = NULL;
    if (result == CU_SUCCESS)
        result = d->cu.pinned_new(&inbox, INBOX_BYTES, CU_PINNED_PORTABLE);
    d->inbox = inbox;
    return result == CU_SUCCESS ? PLIM_OK : cuda_failed(d, result, "preparing streams", error);
}

// The GPU, with a context of its own that libraries of CUDA's runtime share: entered where PLIM_OK.
static PlimStatus take_device(CudaDevice *d, PlimError *error) {
    CuResult result = d->cu.device_get(&d->device, 0);
    CuContext context = NULL;
    if (result == CU_SUCCESS)
        result = d->cu.context_retain(&context, d->device);
    if (result == CU_SUCCESS) {
        d->context = context;
        result = cuda_enter(d);
    }
    return result == CU_SUCCESS ? PLIM_OK : cuda_failed(d, result, "starting it", error);
}

// As the driver calls it, into d->gpu.
static const char *gpu_name(CudaDevice *d) {
    if (d->cu.device_name(d->gpu, sizeof d->gpu, d->device) != CU_SUCCESS)
        snprintf(d->gpu, sizeof d->gpu, "a GPU without a name");
    d->gpu[sizeof d->gpu - 1] = '\0';
    return d->gpu;
}

// Everything but the library's products.
static PlimStatus prepare(CudaDevice *d, PlimKernelFn *const *kernel, const RunOptions *options,
                          PlimError *error) {
    PlimStatus status = cuda_code_new(d->plan, options->cubin, &d->cu, d->device, &d->code, error);
    if (status == PLIM_OK)
        status = cuda_host_new(d->plan, kernel, &d->host, error);
    if (status == PLIM_OK)
        status = take_arenas(d, options, error);
    if (status == PLIM_OK)
        status = take_streams(d, error);
    return status == PLIM_OK ? communicator_new(d->plan, &d->ranks, error) : status;
}

static PlimStatus cuda_open(const Plan *p, PlimKernelFn *const *kernel, const RunOptions *options,
                            void **out, PlimError *error) {
    CudaDevice *d = calloc(1, sizeof *d);
    if (!d)
        return no_memory(error);
    *out = d;
    d->plan = p;
    PlimStatus status = cuda_driver_open(&d->cu, error);
    if (status != PLIM_OK)
        return status;
    // Loading the library takes as long as starting the GPU: both at once.
    CublasLoading *loading = cublas_load(p);
    status = take_device(d, error);
    const bool entered = status == PLIM_OK;
    if (status == PLIM_OK)
        status = prepare(d, kernel, options, error);
    if (status == PLIM_OK)
        status = cublas_table_new(loading, p, gpu_name(d), options->tune, &d->products, error);
    else
        cublas_forget(loading);
    if (entered)
        cuda_leave(d);
    return status;
}

static void release_streams(CudaDevice *d) {
    const uint32_t streams = d->plan->stream_count;
    for (uint32_t i = 0; d->event && i < d->event_count + streams; i++)
        if (d->event[i])
            (void)d->cu.event_free(d->event[i]);
    for (uint32_t i = 0; d->stream && i < streams; i++)
        if (d->stream[i])
            (void)d->cu.stream_free(d->stream[i]);
    if (d->inbox)
        (void)d->cu.pinned_free(d->inbox);
}

static void release_arenas(CudaDevice *d) {
    for (uint32_t i = 0; d->arena && i < d->plan->space_count; i++) {
        if (!d->arena[i] || d->arena[i] == d->lent)
            continue;
        if (d->plan->space[i].kind == SPACE_DEVICE)
            (void)d->cu.memory_free(number_of(d->arena[i]));
        else
            (void)d->cu.pinned_free(d->arena[i]);
    }
}

// Statuses are of no use here: the process ends, or has its sentence already.
static void cuda_release(void *device) {
    CudaDevice *d = device;
    if (!d)
        return;
    if (d->context) {
        const bool entered = cuda_enter(d) == CU_SUCCESS;
        // After a failure halfway the driver may still call what goes now.
        for (uint32_t i = 0; d->host && d->stream && i < d->plan->stream_count; i++)
            if (d->stream[i])
                (void)d->cu.stream_synchronize(d->stream[i]);
        cuda_release_graphs(d);
        cuda_host_release(d->host);
        communicator_release(d->ranks);
        cublas_table_release(d->products);
        cuda_code_release(d->code);
        release_streams(d);
        release_arenas(d);
        if (entered)
            cuda_leave(d);
        (void)d->cu.context_release(d->device);
    }
    cuda_driver_close(&d->cu);
    free(d->arena);
    free(d->stream);
    free(d->event);
    free(d->graph);
    free(d->shown);
    free(d);
}

// A GPU's blocks are not the pool's workers.
static int cuda_workers(const void *device) {
    (void)device;
    return 0;
}

static uint64_t cuda_arena_bytes(const void *device) {
    const CudaDevice *d = device;
    return plan_space_bytes(d->plan, SPACE_DEVICE);
}

static void *cuda_address(const void *device, uint32_t buffer) {
    const CudaDevice *d = device;
    const PlanBuffer *b = &d->plan->buffer[buffer];
    return d->arena[b->space] + b->offset;
}

char *cuda_operand(const CudaDevice *d, const PlanOperand *o, uint32_t slot) {
    return (char *)cuda_address(d, o->buffer) + o->offset + slot * o->slot_bytes;
}

// Whether it stands in a host space.
static bool is_pinned(const CudaDevice *d, const char *address) {
    for (uint32_t i = 0; i < d->plan->space_count; i++) {
        const CuAddress begin = number_of(d->arena[i]), at = number_of(address);
        if (d->plan->space[i].kind == SPACE_HOST && begin && at >= begin &&
            at - begin < d->plan->space[i].bytes)
            return true;
    }
    return false;
}

// Through the inbox, without waiting.
static CuResult send(CudaDevice *d, char *address, const void *from, uint64_t bytes) {
    CuResult result = CU_SUCCESS;
    for (uint64_t done = 0; done < bytes && result == CU_SUCCESS;) {
        if (d->inbox_used == INBOX_BYTES)
            result = cuda_settle(d);
        const uint64_t room = INBOX_BYTES - d->inbox_used, left = bytes - done;
        const uint64_t take = left < room ? left : room;
        char *at = d->inbox + d->inbox_used;
        if (result != CU_SUCCESS)
            break;
        memcpy(at, (const char *)from + done, (size_t)take);
        result = d->cu.copy(number_of(address + done), number_of(at), (size_t)take, d->stream[0]);
        d->inbox_used += (take + INBOX_STEP - 1) / INBOX_STEP * INBOX_STEP;
        done += take;
    }
    return result;
}

static PlimStatus cuda_write(void *device, char *address, const void *from, uint64_t bytes,
                             PlimError *error) {
    CudaDevice *d = device;
    if (is_pinned(d, address)) {
        memcpy(address, from, (size_t)bytes);
        return PLIM_OK;
    }
    CuResult result = cuda_enter(d);
    if (result == CU_SUCCESS) {
        result = send(d, address, from, bytes);
        cuda_leave(d);
    }
    return result == CU_SUCCESS ? PLIM_OK : cuda_failed(d, result, "taking inputs", error);
}

// Through the inbox, which is empty once everything before has been waited for.
static CuResult receive(CudaDevice *d, void *to, const char *address, uint64_t bytes) {
    CuResult result = d->inbox_used > 0 ? cuda_settle(d) : CU_SUCCESS;
    for (uint64_t done = 0; done < bytes && result == CU_SUCCESS;) {
        const uint64_t left = bytes - done, take = left < INBOX_BYTES ? left : INBOX_BYTES;
        result =
            d->cu.copy(number_of(d->inbox), number_of(address + done), (size_t)take, d->stream[0]);
        if (result == CU_SUCCESS)
            result = cuda_settle(d);
        if (result == CU_SUCCESS)
            memcpy((char *)to + done, d->inbox, (size_t)take);
        done += take;
    }
    return result;
}

static PlimStatus cuda_read(void *device, void *to, const char *address, uint64_t bytes,
                            PlimError *error) {
    CudaDevice *d = device;
    if (is_pinned(d, address)) {
        memcpy(to, address, (size_t)bytes);
        return PLIM_OK;
    }
    CuResult result = cuda_enter(d);
    if (result == CU_SUCCESS) {
        result = receive(d, to, address, bytes);
        cuda_leave(d);
    }
    return result == CU_SUCCESS ? PLIM_OK : cuda_failed(d, result, "giving results", error);
}

static PlimStatus cuda_channel_open(void *device, DeviceChannel *out, PlimError *error) {
    CudaDevice *d = device;
    void *room = NULL;
    CuStream stream = NULL;
    CuResult result = cuda_enter(d);
    if (result == CU_SUCCESS) {
        result = d->cu.stream_new(&stream, CU_STREAM_OWN);
        if (result == CU_SUCCESS)
            result = d->cu.pinned_new(&room, CHANNEL_BYTES, CU_PINNED_PORTABLE);
        cuda_leave(d);
    }
    *out = (DeviceChannel){.room = room, .bytes = CHANNEL_BYTES, .own = stream};
    return result == CU_SUCCESS ? PLIM_OK : cuda_failed(d, result, "preparing copies", error);
}

static void cuda_channel_close(void *device, DeviceChannel *channel) {
    CudaDevice *d = device;
    if (cuda_enter(d) == CU_SUCCESS) {
        if (channel->own)
            (void)d->cu.stream_free(channel->own);
        if (channel->room)
            (void)d->cu.pinned_free(channel->room);
        cuda_leave(d);
    }
    *channel = (DeviceChannel){0};
}

// What the run wrote before is there: the thread that saves begins when an entry has ended.
static PlimStatus copy_and_wait(const CudaDevice *d, const DeviceChannel *c, void *to,
                                const void *from, uint64_t bytes, PlimError *error) {
    if (is_pinned(d, to == c->room ? from : to)) {
        memcpy(to, from, (size_t)bytes);
        return PLIM_OK;
    }
    CuResult result = cuda_enter(d);
    if (result == CU_SUCCESS) {
        result = d->cu.copy(number_of(to), number_of(from), (size_t)bytes, c->own);
        if (result == CU_SUCCESS)
            result = d->cu.stream_synchronize(c->own);
        cuda_leave(d);
    }
    return result == CU_SUCCESS ? PLIM_OK : cuda_failed(d, result, "copying states", error);
}

static PlimStatus cuda_pull(void *device, const DeviceChannel *c, const char *address,
                            uint64_t bytes, PlimError *error) {
    return copy_and_wait(device, c, c->room, address, bytes, error);
}

static PlimStatus cuda_push(void *device, const DeviceChannel *c, char *address, uint64_t bytes,
                            PlimError *error) {
    return copy_and_wait(device, c, address, c->room, bytes, error);
}

const DeviceOps device_cuda = {.open = cuda_open,
                               .release = cuda_release,
                               .workers = cuda_workers,
                               .arena_bytes = cuda_arena_bytes,
                               .address = cuda_address,
                               .run = cuda_run,
                               .tune = cuda_tune,
                               .write = cuda_write,
                               .read = cuda_read,
                               .channel_open = cuda_channel_open,
                               .channel_close = cuda_channel_close,
                               .pull = cuda_pull,
                               .push = cuda_push};
