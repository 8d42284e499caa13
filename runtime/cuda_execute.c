// Running an entry on a GPU, in one of three ways.
//
// Replayed: on its first run the whole entry, all calls and slots, is captured as a CUDA graph;
// from then on one launch runs it. Addresses and sizes are the plan's and never change; what varies
// by step stands in buffers. Timed (--trace, --profile): the instructions are handed over one after
// another, with an event before and after each, and observers are told the times at the end.
// Singly (--digest, --check-finite): the host waits for each instruction before the next.
//
// Streams and events are the plan's. Its list is one of the orders the streams can run in (rule 13
// of plan_verify.c), so every event is recorded before a wait for it is asked for. A call begins on
// all streams when the one before has ended on all: stream 0 forks at its beginning and joins at
// its end, which makes the whole entry one piece of work on stream 0.
//
// An error inside a replay has no place: the entry is then run again singly, to find the
// instruction. Where the GPU takes no more commands after the error, the sentence says how to find
// it instead.
#include "runtime/cuda_device.h"

#include "runtime/error.h"
#include "runtime/progress.h"

#include <stdlib.h>
#include <string.h>

// The verifier lets no kernel have more operands (rule 7); parameters are counted where they are
// used.
enum { OPERANDS_MAX = 64 };

typedef enum { MODE_CAPTURED, MODE_QUEUED, MODE_TIMED, MODE_SINGLY } Mode;

// The events of one timed run: two an instruction, after the base's.
typedef struct {
    CuEvent *event;
    uint32_t count; // of events made
    double base;    // clock_seconds at event 0
} Timing;

// An entry on its way to the GPU.
typedef struct {
    CudaDevice *d;
    const DeviceCall *call;
    Mode mode;
    Timing timing;
    // Of the instruction at hand.
    RunMoment moment; // its operands are the array below
    uint32_t slot;
    uint32_t number; // in the program
    void *operand[OPERANDS_MAX];
    CuResult result; // of the call that failed
    bool refused;    // by an observer
} Execution;

static bool worked(Execution *x, CuResult result) {
    x->result = result;
    return result == CU_SUCCESS;
}

// Operand contents for observers: the instruction has ended, and nothing else runs.
static const void *show_operand(const RunMoment *at, uint32_t operand, PlimError *error) {
    CudaDevice *d = at->device;
    const uint64_t bytes = at->instr->operand[operand].bytes;
    if (bytes > d->shown_bytes) {
        char *grown = realloc(d->shown, (size_t)bytes);
        if (!grown) {
            error_set(error, PLIM_NO_MEMORY, "out of memory looking at a result of %llu bytes",
                      (unsigned long long)bytes);
            return NULL;
        }
        d->shown = grown;
        d->shown_bytes = bytes;
    }
    const PlimStatus status = device_cuda.read(d, d->shown, at->operand[operand], bytes, error);
    return status == PLIM_OK ? d->shown : NULL;
}

// The kernel's parameters, each by its address: operands, immediates, the workspace.
CuResult cuda_launch(const CudaDevice *d, const PlanInstr *instr, void *const *operand,
                     CuStream stream) {
    void *parameter[CUDA_PARAMETERS_MAX], *address[CUDA_PARAMETERS_MAX];
    uint32_t count = 0;
    void *workspace = NULL;
    if (instr->operand_count + instr->imm_count + 1 > CUDA_PARAMETERS_MAX)
        return CU_INVALID_VALUE;
    for (uint32_t i = 0; i < instr->operand_count; i++) {
        address[i] = operand[i];
        parameter[count++] = &address[i];
    }
    for (uint32_t i = 0; i < instr->imm_count; i++)
        parameter[count++] = &instr->imm[i];
    if (instr->workspace != UINT32_MAX)
        workspace = device_cuda.address(d, instr->workspace);
    // One too many where the kernel has none: the driver reads as many as the function has.
    parameter[count++] = &workspace;
    return cuda_code_launch(d->code, instr->kernel, stream, parameter, count);
}

static bool start_product(Execution *x, CuStream stream) {
    const PlanInstr *instr = x->moment.instr;
    void *workspace =
        instr->workspace == UINT32_MAX ? NULL : device_cuda.address(x->d, instr->workspace);
    return worked(x,
                  cublas_table_run(x->d->products, instr->kernel, x->operand, workspace, stream));
}

static bool start_instruction(Execution *x, CuStream stream) {
    const CudaDriver *cu = &x->d->cu;
    const PlanInstr *instr = x->moment.instr;
    const size_t bytes = instr->operand_count ? (size_t)instr->operand[0].bytes : 0;
    const CuAddress to = (CuAddress)(uintptr_t)x->operand[0];
    switch (instr->kind) {
    case INSTR_KERNEL:
        if (cuda_host_has(x->d->host, instr->kernel))
            return worked(x, cuda_host_start(x->d->host, cu, instr, x->operand, stream));
        return worked(x, cuda_launch(x->d, instr, x->operand, stream));
    case INSTR_PRODUCT:
        return start_product(x, stream);
    case INSTR_FILL:
        return worked(x, cu->fill(to, (unsigned char)instr->imm[0], bytes, stream));
    case INSTR_COPY:
        return worked(x, cu->copy(to, (CuAddress)(uintptr_t)x->operand[1], bytes, stream));
    case INSTR_ALL_REDUCE:
    case INSTR_ALL_GATHER:
    case INSTR_REDUCE_SCATTER:
    case INSTR_EXCHANGE:
        return worked(x, communicator_start(x->d->ranks, instr, x->operand, stream));
    }
    return false;
}

// Whether a call computes any products together with their kernels. Observers that see every
// operand would find nothing where the product stands; and where some instructions are left out,
// only one of the two may be wanted.
static bool allows_joints(const DeviceCall *call, Mode mode) {
    return mode != MODE_SINGLY && !call->apart && !call->unwanted;
}

// The joint that the instruction at hand is in, where it is computed in one.
static const PlanJoint *joined(const Execution *x) {
    const CudaDevice *d = x->d;
    const uint32_t segment = (uint32_t)(x->moment.segment - d->plan->segment);
    const PlanJoint *g =
        allows_joints(x->call, x->mode) ? plan_joint_at(d->plan, segment, x->moment.index) : NULL;
    return g && cublas_table_joins(d->products, g) ? g : NULL;
}

static bool has_joined(const CudaDevice *d, const DeviceCall *call) {
    bool any = false;
    for (uint32_t i = 0; i < d->plan->joint_count && allows_joints(call, MODE_QUEUED); i++)
        for (uint32_t c = 0; c < call->entry->call_count; c++)
            any = any || (call->entry->call[c].segment == d->plan->joint[i].segment &&
                          cublas_table_joins(d->products, &d->plan->joint[i]));
    return any;
}

// Both where the kernel stands: until then its memory may be somebody else's.
static bool start_joint(Execution *x, const PlanJoint *g, CuStream stream) {
    const PlanInstr *product = &x->moment.segment->instr[g->product];
    void *operand[3];
    if (x->moment.index == g->product)
        return true;
    for (int i = 0; i < 3; i++)
        operand[i] = cuda_operand(x->d, &product->operand[i], x->slot);
    void *workspace =
        product->workspace == UINT32_MAX ? NULL : device_cuda.address(x->d, product->workspace);
    return worked(
        x, cublas_table_run_joint(x->d->products, g, operand, x->operand, workspace, stream));
}

// An event of its own for every mark; they are made as the first timed run comes to them.
static bool mark_time(Execution *x, uint32_t which, CuStream stream) {
    Timing *t = &x->timing;
    if (which >= t->count) {
        if (!worked(x, x->d->cu.event_new(&t->event[which], CU_EVENT_TIMED)))
            return false;
        t->count = which + 1;
    }
    return worked(x, x->d->cu.event_record(t->event[which], stream));
}

// Waits, starts, records: asynchronous but in MODE_SINGLY.
static bool hand_over(Execution *x) {
    CudaDevice *d = x->d;
    const PlanInstr *instr = x->moment.instr;
    const CuStream stream = d->stream[x->mode == MODE_SINGLY ? 0 : instr->stream];
    const bool wanted = !x->call->unwanted || !x->call->unwanted[x->number];
    const PlanJoint *joint = joined(x);
    for (uint32_t i = 0; i < instr->wait_count && x->mode != MODE_SINGLY; i++)
        if (!worked(x, d->cu.stream_wait(stream, d->event[instr->wait[i]], 0)))
            return false;
    if (x->mode == MODE_TIMED && !mark_time(x, 1 + 2 * x->number, stream))
        return false;
    if (wanted && !(joint ? start_joint(x, joint, stream) : start_instruction(x, stream)))
        return false;
    if (x->mode == MODE_TIMED && !mark_time(x, 2 + 2 * x->number, stream))
        return false;
    if (x->mode == MODE_SINGLY)
        return worked(x, cuda_settle(d));
    // Events of an instruction that is left out are recorded all the same.
    return instr->signal == UINT32_MAX ||
           worked(x, d->cu.event_record(d->event[instr->signal], stream));
}

static bool tell(Execution *x, RunStage stage) {
    x->refused = x->mode == MODE_SINGLY && !observers_tell(x->call->observers, &x->moment, stage);
    return !x->refused;
}

// Fills in the moment of instruction index of call number `call`.
static void come_to(Execution *x, uint32_t call, uint32_t index) {
    const PlanCall *c = &x->call->entry->call[call];
    const PlanSegment *segment = &x->d->plan->segment[c->segment];
    x->slot = c->slot;
    x->moment = (RunMoment){.entry = x->call->entry,
                            .call = call,
                            .segment = segment,
                            .index = index,
                            .instr = &segment->instr[index],
                            .operand = x->operand,
                            .show = show_operand,
                            .device = x->d};
    for (uint32_t i = 0; i < x->moment.instr->operand_count; i++)
        x->operand[i] = cuda_operand(x->d, &x->moment.instr->operand[i], c->slot);
}

// From here on the other streams come after what stream 0 was asked for, or stream 0 after them.
static bool fork_streams(Execution *x) {
    const CudaDevice *d = x->d;
    bool good = d->plan->stream_count <= 1 ||
                worked(x, d->cu.event_record(d->event[d->event_count], d->stream[0]));
    for (uint32_t i = 1; i < d->plan->stream_count && good; i++)
        good = worked(x, d->cu.stream_wait(d->stream[i], d->event[d->event_count], 0));
    return good;
}

static bool join_streams(Execution *x) {
    const CudaDevice *d = x->d;
    bool good = true;
    for (uint32_t i = 1; i < d->plan->stream_count && good; i++)
        good = worked(x, d->cu.event_record(d->event[d->event_count + i], d->stream[i])) &&
               worked(x, d->cu.stream_wait(d->stream[0], d->event[d->event_count + i], 0));
    return good;
}

static bool hand_over_segment(Execution *x, uint32_t call) {
    const PlanSegment *segment = &x->d->plan->segment[x->call->entry->call[call].segment];
    for (uint32_t i = 0; i < segment->instr_count; i++, x->number++) {
        come_to(x, call, i);
        if (!tell(x, RUN_WAITS) || !tell(x, RUN_BEGINS) || !hand_over(x) || !tell(x, RUN_ENDS))
            return false;
    }
    return true;
}

// False with x->result or x->refused, and x->moment where it happened.
static bool hand_over_entry(Execution *x) {
    x->number = 0;
    for (uint32_t i = 0; i < x->call->entry->call_count; i++) {
        const bool apart = x->mode != MODE_SINGLY;
        if ((apart && !fork_streams(x)) || !hand_over_segment(x, i) || (apart && !join_streams(x)))
            return false;
    }
    return true;
}

// A status of whoever was called.
static void status_text(const CudaDevice *d, CuResult result, char *out, size_t size) {
    if (result >= NCCL_ERROR)
        snprintf(out, size, "NCCL: %s", communicator_error_text(d->ranks, result));
    else if (result >= CUBLAS_ERROR)
        snprintf(out, size, "cuBLASLt status %d", result - CUBLAS_ERROR);
    else
        cuda_error_text(&d->cu, result, out, size);
}

// Waits for an entry; what collectives report of themselves counts as its error.
static CuResult settle_entry(CudaDevice *d) {
    const CuResult result = cuda_settle(d);
    return result == CU_SUCCESS ? communicator_state(d->ranks) : result;
}

// The sentence of a failure at x->moment.
static PlimStatus failed_at(const Execution *x, PlimError *error) {
    char text[256];
    const PlanInstr *instr = x->moment.instr;
    if (x->refused && observers_refused(x->call->observers, error))
        return PLIM_BAD_INPUT;
    if (!instr)
        return cuda_failed(x->d, x->result, x->call->entry->name, error);
    status_text(x->d, x->result, text, sizeof text);
    return error_set(error, PLIM_MACHINE, "the GPU failed at %s%s%s (%s, instruction %u): %s",
                     instr->name[0] ? instr->name : "an instruction", instr->where[0] ? " at " : "",
                     instr->where, x->moment.segment->name, x->moment.index, text);
}

static PlimStatus run_singly(CudaDevice *d, const DeviceCall *call, PlimError *error) {
    Execution x = {.d = d, .call = call, .mode = MODE_SINGLY};
    return hand_over_entry(&x) ? PLIM_OK : failed_at(&x, error);
}

// After an error that no instruction has been named for yet.
static PlimStatus find_culprit(CudaDevice *d, const DeviceCall *call, CuResult result,
                               PlimError *error) {
    char text[256];
    status_text(d, result, text, sizeof text);
    // Ranks come to collectives together or not at all.
    if (result >= NCCL_ERROR)
        return error_set(error, PLIM_MACHINE, "the GPU failed in entry %s: %s", call->entry->name,
                         text);
    // A context that an instruction has broken gives its error to every call.
    const bool alive = cuda_settle(d) == CU_SUCCESS;
    Observers none = {.count = 0};
    observers_begin(&none);
    const DeviceCall again = {.entry = call->entry, .unwanted = call->unwanted, .observers = &none};
    if (alive && run_singly(d, &again, error) != PLIM_OK)
        return PLIM_MACHINE;
    // Neither way computes joints.
    return error_set(error, PLIM_MACHINE, "the GPU failed in entry %s: %s; %s%s", call->entry->name,
                     text,
                     alive ? "each instruction on its own succeeds"
                           : "a program of the model with --check-finite names the instruction",
                     has_joined(d, call) ? "; some products were computed with their kernels: "
                                           "try without the .tune file"
                                         : "");
}

static PlimStatus run_queued(CudaDevice *d, const DeviceCall *call, PlimError *error) {
    Execution x = {.d = d, .call = call, .mode = MODE_QUEUED};
    if (!hand_over_entry(&x))
        return failed_at(&x, error);
    const CuResult result = settle_entry(d);
    return result == CU_SUCCESS ? PLIM_OK : find_culprit(d, call, result, error);
}

// The entry's graph, ready to launch, into *out. A capture that was begun is always ended.
static PlimStatus capture(CudaDevice *d, const DeviceCall *call, CuGraphExec *out,
                          PlimError *error) {
    Execution x = {.d = d, .call = call, .mode = MODE_CAPTURED};
    CuGraph graph = NULL;
    // Relaxed: functions are loaded as they are first launched, the library's too, and a stricter
    // capture would count that as a mistake. Threads that save go on allocating meanwhile.
    CuResult result = d->cu.capture_begin(d->stream[0], CU_CAPTURE_RELAXED);
    if (result != CU_SUCCESS)
        return cuda_failed(d, result, "recording the entry", error);
    const bool good = hand_over_entry(&x);
    result = d->cu.capture_end(d->stream[0], &graph);
    PlimStatus status = PLIM_OK;
    if (!good)
        status = failed_at(&x, error);
    else if (result != CU_SUCCESS || !graph)
        status = cuda_failed(d, result, "recording the entry", error);
    else if ((result = d->cu.graph_instantiate(out, graph, 0)) != CU_SUCCESS) {
        *out = NULL;
        status = cuda_failed(d, result, "preparing the entry", error);
    }
    if (graph)
        (void)d->cu.graph_free(graph);
    return status;
}

static PlimStatus run_replayed(CudaDevice *d, const DeviceCall *call, PlimError *error) {
    CuGraphExec *graph = &d->graph[call->entry - d->plan->entry];
    if (!*graph) {
        const PlimStatus status = capture(d, call, graph, error);
        if (status != PLIM_OK)
            return status;
    }
    CuResult result = d->cu.graph_launch(*graph, d->stream[0]);
    if (result == CU_SUCCESS)
        result = settle_entry(d);
    return result == CU_SUCCESS ? PLIM_OK : find_culprit(d, call, result, error);
}

// Seconds of clock_seconds at an event; those of the base where the driver does not say.
static double event_time(const Execution *x, uint32_t which) {
    float milliseconds = 0;
    const Timing *t = &x->timing;
    if (x->d->cu.event_elapsed(&milliseconds, t->event[0], t->event[which]) != CU_SUCCESS)
        return t->base;
    return t->base + 1e-3 * (double)milliseconds;
}

// An instruction waits from the end of the one before it on its stream.
static void tell_times(Execution *x) {
    const PlanEntry *entry = x->call->entry;
    double end[PLAN_STREAMS_MAX], latest = x->timing.base;
    x->number = 0;
    for (uint32_t call = 0; call < entry->call_count; call++) {
        const PlanSegment *segment = &x->d->plan->segment[entry->call[call].segment];
        for (int i = 0; i < PLAN_STREAMS_MAX; i++)
            end[i] = latest;
        for (uint32_t i = 0; i < segment->instr_count; i++, x->number++) {
            come_to(x, call, i);
            double *before = &end[segment->instr[i].stream % PLAN_STREAMS_MAX];
            const RunTimes times = {.waits = *before,
                                    .begins = event_time(x, 1 + 2 * x->number),
                                    .ends = event_time(x, 2 + 2 * x->number)};
            *before = times.ends;
            latest = times.ends > latest ? times.ends : latest;
            observers_tell_times(x->call->observers, &x->moment, &times);
        }
    }
}

static uint32_t count_instructions(const Plan *p, const PlanEntry *entry) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < entry->call_count; i++)
        count += p->segment[entry->call[i].segment].instr_count;
    return count;
}

// The base is an event that has happened, at a time the host knows.
static bool begin_timing(Execution *x) {
    if (!worked(x, cuda_settle(x->d)) || !mark_time(x, 0, x->d->stream[0]) ||
        !worked(x, x->d->cu.event_synchronize(x->timing.event[0])))
        return false;
    x->timing.base = clock_seconds();
    return true;
}

static PlimStatus run_timed(CudaDevice *d, const DeviceCall *call, PlimError *error) {
    Execution x = {.d = d, .call = call, .mode = MODE_TIMED};
    const size_t events = 2 * (size_t)count_instructions(d->plan, call->entry) + 1;
    x.timing.event = calloc(events, sizeof *x.timing.event);
    if (!x.timing.event)
        return error_set(error, PLIM_NO_MEMORY, "out of memory timing the entry");
    PlimStatus status = PLIM_OK;
    if (!begin_timing(&x) || !hand_over_entry(&x))
        status = failed_at(&x, error);
    else {
        const CuResult result = settle_entry(d);
        if (result == CU_SUCCESS)
            tell_times(&x);
        else
            status = find_culprit(d, call, result, error);
    }
    for (uint32_t i = 0; i < x.timing.count; i++)
        (void)d->cu.event_free(x.timing.event[i]);
    free(x.timing.event);
    return status;
}

static PlimStatus run_in_context(CudaDevice *d, const DeviceCall *call, PlimError *error) {
    if (!observers_tell_entry(call->observers, call->entry)) {
        observers_refused(call->observers, error);
        return PLIM_BAD_INPUT;
    }
    if (observers_want_stages(call->observers))
        return run_singly(d, call, error);
    if (observers_want_times(call->observers))
        return run_timed(d, call, error);
    // A replay is of the whole entry.
    return call->unwanted || call->apart ? run_queued(d, call, error)
                                         : run_replayed(d, call, error);
}

PlimStatus cuda_run(void *device, const DeviceCall *call, PlimError *error) {
    CudaDevice *d = device;
    const CuResult result = cuda_enter(d);
    if (result != CU_SUCCESS)
        return cuda_failed(d, result, "being called", error);
    const PlimStatus status = run_in_context(d, call, error);
    cuda_leave(d);
    return status;
}

void cuda_release_graphs(CudaDevice *d) {
    for (uint32_t i = 0; d->graph && i < d->plan->entry_count; i++)
        if (d->graph[i])
            (void)d->cu.graph_exec_free(d->graph[i]);
}
