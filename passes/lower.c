// Graphs become a plan: kernels, buffers, segments, entries.
//
// On entry the node order is final (pass_order). Storage is chosen for each entry
// (passes/storage.h); every step of it becomes one instruction; every storage that anything touches
// becomes a buffer with its live range in the entry's linear positions, which are the step numbers:
// prologue, body, update. States are persistent buffers shared by all entries. Offsets come later,
// from pass_layout.
#include "passes/lower.h"

#include "ir/check.h"
#include "ir/far.h"
#include "passes/lower_product.h"
#include "passes/storage_work.h"
#include "runtime/plan_sign.h"

#include <string.h>

enum { P_FAR = 620 };

uint32_t lower_workers(const PassOptions *options) {
    if (options->gpu.count > 0)
        return 1;
    return options->workers > 0 ? (uint32_t)options->workers : WORKERS;
}

size_t lower_workspace(const PassOptions *options, const Kernel *k) {
    return options->gpu.count > 0 ? gpu_workspace(k, &options->gpu) : kernel_workspace(k);
}

uint32_t lower_alignment(const PassOptions *options) {
    enum { GPU_ALIGNMENT = 256 };
    return options->gpu.count > 0 ? GPU_ALIGNMENT : STORAGE_ALIGNMENT;
}

// On a disk, no two buffers share a block: one would have to be read before the other is written.
static uint32_t alignment_in(const PassOptions *options, bool far) {
    return far && options->gpu.count == 0 ? PLAN_DISK_ALIGNMENT : lower_alignment(options);
}

// Buffers grow by doubling: their number is known only when the last workspace is.
uint32_t lower_add_buffer(Lower *lw, PlanBuffer b) {
    Plan *p = lw->plan;
    if ((int)p->buffer_count == lw->buffer_capacity) {
        const int capacity = lw->buffer_capacity ? 2 * lw->buffer_capacity : 256;
        p->buffer = arena_grow(lw->cx->arena, p->buffer, p->buffer_count, (size_t)capacity,
                               sizeof *p->buffer);
        lw->buffer_capacity = capacity;
    }
    p->buffer[p->buffer_count] = b;
    return p->buffer_count++;
}

static PlanDType plan_dtype(DType t) {
    switch (t) {
    case DT_F32:
        return PLAN_F32;
    case DT_BF16:
        return PLAN_BF16;
    case DT_I32:
        return PLAN_I32;
    case DT_BOOL:
        return PLAN_BOOL;
    case DT_COUNT:
        break;
    }
    UNREACHABLE();
}

// Shapes as the plan has them.
static void copy_dims(const Type *t, uint32_t *rank, int64_t dim[PLAN_RANK_MAX]) {
    // Dims past the rank stay as the caller has them: 0.
    *rank = (uint32_t)t->rank;
    for (int i = 0; i < t->rank; i++)
        dim[i] = t->dim[i];
}

// Everything kept from step to step: first in the plan, in the module's order.
static void lower_states(Lower *lw) {
    const Module *m = lw->m;
    Plan *p = lw->plan;
    p->state_count = (uint32_t)m->state_count;
    p->state = arena_array(lw->cx->arena, PlanState, m->state_count + 1);
    for (int i = 0; i < m->state_count; i++) {
        const State *s = m->state[i];
        PlanBuffer b = {.name = s->name,
                        .kind = s->kind == STATE_PARAM       ? BUFFER_WEIGHTS
                                : s->kind == STATE_OPTIMIZER ? BUFFER_OPTIMIZER
                                                             : BUFFER_STATE,
                        .space = s->far ? LOWER_FAR : LOWER_DEVICE,
                        .bytes = type_bytes(&s->type),
                        .alignment = alignment_in(lw->cx->options, s->far),
                        // Of no entry, live at all times.
                        .entry = UINT32_MAX,
                        .last = UINT32_MAX,
                        .scope = "",
                        .where = loc_text(lw->cx->arena, s->loc),
                        .dtype = plan_dtype(s->type.dtype)};
        copy_dims(&s->type, &b.rank, b.dim);
        PlanState *out = &p->state[i];
        *out = (PlanState){.name = s->name,
                           .file = s->file ? s->file : s->name,
                           .kind = (uint32_t)s->kind,
                           .dtype = b.dtype,
                           .rank = b.rank};
        memcpy(out->dim, b.dim, sizeof out->dim);
        out->buffer = lower_add_buffer(lw, b);
    }
}

// What people see. Signatures know accumulators by name, so the value's number tells those apart
// that have no name of their own, in any order.
static const char *storage_name(const Lower *lw, const Storage *s) {
    const char *name = remark_value(lw->cx->arena, s->owner);
    return s->carried && !s->owner->name ? arena_format(lw->cx->arena, "%s.%u", name, s->owner->id)
                                         : name;
}

// Storages become buffers: states are there already, and what nothing touches is left out.
static void lower_buffers(Lower *lw) {
    const StoragePlan *sp = lw->sp;
    lw->buffer_of = arena_array(lw->cx->arena, uint32_t, sp->storage_count + 1);
    for (int i = 0; i < sp->storage_count; i++) {
        const Storage *s = &sp->storage[i];
        lw->buffer_of[i] = UINT32_MAX;
        if (s->state) {
            lw->buffer_of[i] = s->state->id; // states are the first buffers
            continue;
        }
        // Never touched: no instruction may ask for its buffer.
        if (s->first > s->last)
            continue;
        PlanBuffer b = {.name = storage_name(lw, s),
                        .kind = s->kind,
                        .space = s->far ? LOWER_FAR : LOWER_DEVICE,
                        .bytes = s->bytes,
                        .alignment = alignment_in(lw->cx->options, s->far),
                        .entry = lw->entry,
                        .first = (uint32_t)s->first,
                        .last = (uint32_t)s->last,
                        .carried = s->carried,
                        .scope = s->owner->def->scope ? s->owner->def->scope : "",
                        .where = loc_text(lw->cx->arena, s->owner->def->loc),
                        .dtype = plan_dtype(s->dtype)};
        copy_dims(&s->owner->type, &b.rank, b.dim);
        lw->buffer_of[i] = lower_add_buffer(lw, b);
    }
}

// The same list twice: runtime/ knows nothing of ir/.
static PlanSource plan_source(InputSource s) {
    switch (s) {
    case FROM_DATA:
        return PLAN_FROM_DATA;
    case FROM_KNOB:
        return PLAN_FROM_KNOB;
    case FROM_STEP:
        return PLAN_FROM_STEP;
    case FROM_STEPS:
        return PLAN_FROM_STEPS;
    case FROM_SEED:
        return PLAN_FROM_SEED;
    case FROM_CALLER:
        return PLAN_FROM_CALLER;
    case FROM_SLOT:
        return PLAN_FROM_SLOT;
    }
    UNREACHABLE();
}

// Inputs keep their order: the runtime fills them by position.
static void lower_inputs(Lower *lw, PlanEntry *e) {
    const Graph *g = lw->g;
    Arena *a = lw->cx->arena;
    e->input_count = (uint32_t)g->input_count;
    e->input = arena_array(a, PlanInput, g->input_count + 1);
    for (int i = 0; i < g->input_count; i++) {
        const Input *in = &g->input[i];
        // Inputs without a name of the user's get one by their number.
        PlanInput *out = &e->input[i];
        *out =
            (PlanInput){.name = in->value->name ? in->value->name : arena_format(a, "input%d", i),
                        .source = plan_source(in->source),
                        .loader = in->loader ? in->loader : "",
                        .fallback = in->fallback,
                        .bound = in->bound,
                        .buffer = lw->buffer_of[lw->sp->input_storage[i]],
                        // Data has a slot for each micro-batch; most else is the same for all
                        // of them.
                        .slots = source_by_slot(in->source) ? (uint32_t)g->repeat : 1,
                        .dtype = plan_dtype(in->value->type.dtype)};
        copy_dims(&in->value->type, &out->rank, out->dim);
    }
}

// Results are dense by now (storage.c); commits have nothing to say but which state changes.
static void lower_results(Lower *lw, PlanEntry *e) {
    const Graph *g = lw->g;
    Arena *a = lw->cx->arena;
    // A result is a byte range of a buffer that lives to the entry's end.
    e->result_count = (uint32_t)g->result_count;
    e->result = arena_array(a, PlanResult, g->result_count + 1);
    for (int i = 0; i < g->result_count; i++) {
        const Value *v = g->result[i].value;
        const Place *p = &lw->sp->result[i];
        PlanResult *out = &e->result[i];
        *out = (PlanResult){.name = g->result[i].name ? g->result[i].name
                                                      : arena_format(a, "result%d", i),
                            .buffer = lw->buffer_of[p->storage],
                            .offset = (uint64_t)p->offset * dtype_bytes(v->type.dtype),
                            .dtype = plan_dtype(v->type.dtype)};
        copy_dims(&v->type, &out->rank, out->dim);
    }
    // Which states are new after the step; where they are does not change.
    e->commit_count = (uint32_t)g->commit_count;
    e->commit = arena_array(a, PlanCommit, g->commit_count + 1);
    for (int i = 0; i < g->commit_count; i++)
        e->commit[i].state = g->commit[i].state->id;
}

// One segment's instructions. Returns its index.
static uint32_t lower_segment(Lower *lw, StepSegment segment) {
    static const char *const name[STEP_SEGMENT_COUNT] = {"prologue", "body", "update"};
    // The segment's steps, which keep their numbers as linear positions.
    const int begin = segment ? lw->sp->segment_end[segment - 1] : 0;
    const int end = lw->sp->segment_end[segment];
    Plan *p = lw->plan;
    PlanSegment *s = &p->segment[p->segment_count];
    s->name = arena_format(lw->cx->arena, "%s.%s", lw->g->name, name[segment]);
    s->instr = arena_array(lw->cx->arena, PlanInstr, end - begin + 1);
    for (int i = begin; i < end; i++)
        s->instr[s->instr_count++] = lower_step(lw, i);
    return p->segment_count++;
}

// The program of the entry: see docs/plan.md for what each segment is.
static void lower_calls(Lower *lw, PlanEntry *e) {
    const uint32_t repeat = (uint32_t)lw->g->repeat;
    // The prologue, each repetition of the body, the update: at most.
    e->call = arena_array(lw->cx->arena, PlanCall, repeat + 2);
    if (lw->sp->segment_end[STEP_PROLOGUE] > 0)
        e->call[e->call_count++].segment = lower_segment(lw, STEP_PROLOGUE);
    const uint32_t body = lower_segment(lw, STEP_BODY);
    // The same instructions each time, on the data of micro-batch r.
    for (uint32_t r = 0; r < repeat; r++)
        e->call[e->call_count++] = (PlanCall){.segment = body, .slot = r};
    if (lw->sp->segment_end[STEP_UPDATE] > lw->sp->segment_end[STEP_BODY])
        e->call[e->call_count++].segment = lower_segment(lw, STEP_UPDATE);
}

// Notable values that lie in a buffer of another's name, so that who asks for one finds it.
static void remark_shared(const Lower *lw) {
    enum { SAY_MIN = 64 << 10 };
    const StoragePlan *sp = lw->sp;
    Arena *a = lw->cx->arena;
    for (int i = 0; i < lw->g->node_count; i++) {
        const Node *n = lw->g->node[i];
        for (int r = 0; r < n->result_count && n->phase == PHASE_FORWARD; r++) {
            const Value *v = &n->result[r];
            if (node_is_view(n) || !storage_is_stored(sp, v) || type_bytes(&v->type) < SAY_MIN)
                continue;
            const Storage *s = &sp->storage[sp->place[v->id].storage];
            const char *name = remark_value(a, v), *buffer = s->owner ? storage_name(lw, s) : name;
            if (!s->state && strcmp(name, buffer) != 0)
                remark_add(lw->cx, "lower", name, "in %s %lld bytes of %s take the buffer of %s",
                           lw->g->name, (long long)type_bytes(&v->type), name, buffer);
        }
    }
}

// Scratch holds the storage plan: only what the plan points to is kept.
static void lower_entry(Lower *lw, const Graph *g) {
    const Tasks *tasks = tasks_create(g, lw->cx->scratch);
    lw->g = g;
    lw->sp = storage_plan(lw->m, g, tasks, lw->cx->scratch);
    lw->entry = lw->plan->entry_count;
    PlanEntry *e = &lw->plan->entry[lw->plan->entry_count++];
    e->name = g->name;
    lower_buffers(lw);
    lower_inputs(lw, e);
    lower_results(lw, e);
    lower_calls(lw, e);
    remark_shared(lw);
    // Groups, views and constants make the operators more than the instructions.
    remark_add(lw->cx, "lower", g->name, "%d operators became %d instructions, %d buffers",
               g->node_count, lw->sp->step_count, lw->sp->storage_count);
}

static uint32_t plan_library(ProductLibrary library) {
    switch (library) {
    case PRODUCT_OWN:
        break;
    case PRODUCT_ONEDNN:
        return PLAN_ONEDNN;
    case PRODUCT_OPENBLAS:
        return PLAN_OPENBLAS;
    case PRODUCT_CUBLASLT:
        return PLAN_CUBLASLT;
    }
    UNREACHABLE();
}

static PlanMap *lower_maps(Arena *a, const KernelLaunch *l) {
    PlanMap *out = l->map_count ? arena_array(a, PlanMap, l->map_count) : NULL;
    for (int i = 0; i < l->map_count; i++) {
        const KernelMap *m = &l->map[i];
        out[i] = (PlanMap){.operand = (uint32_t)m->operand, .rows = (uint32_t)m->rows};
        memcpy(out[i].dim, m->dim, sizeof m->dim);
        memcpy(out[i].stride, m->stride, sizeof m->stride);
    }
    return out;
}

// How a GPU is to start each kernel, for each architecture: products of a library have no launch.
static void lower_launches(Lower *lw) {
    Plan *p = lw->plan;
    Arena *a = lw->cx->arena;
    const GpuArchs *gpu = &lw->cx->options->gpu;
    const int most = gpu->count * lw->kernels.count * KERNEL_LAUNCHES_MAX;
    p->launch = arena_array(a, PlanLaunch, most + 1);
    for (int i = 0; i < gpu->count; i++)
        for (int k = 0; k < lw->kernels.count; k++) {
            const Kernel *kernel = lw->kernels.kernel[k];
            KernelLaunches launches;
            kernel_launches(kernel, gpu->arch[i], &launches);
            for (int l = 0; l < launches.count; l++) {
                const KernelLaunch *from = &launches.launch[l];
                p->launch[p->launch_count++] =
                    (PlanLaunch){.kernel = (uint32_t)k,
                                 .arch = gpu_arch_name(a, gpu->arch[i]),
                                 .name = arena_format(a, "%s%s", kernel->name, from->suffix),
                                 .grid = {from->grid[0], from->grid[1], from->grid[2]},
                                 .block = (uint32_t)from->block,
                                 .shared = (uint64_t)from->shared,
                                 .map_count = (uint32_t)from->map_count,
                                 .map = lower_maps(a, from)};
            }
        }
}

static const char *or_empty(const char *text) {
    return text ? text : "";
}

// Once all entries are lowered: kernels are shared between them.
static void lower_kernels(Lower *lw) {
    Plan *p = lw->plan;
    Arena *a = lw->cx->arena;
    const KernelTable *t = &lw->kernels;
    const PassOptions *options = lw->cx->options;
    const bool gpu = options->gpu.count > 0;
    p->kernel = arena_array(a, PlanKernel, t->count + 1);
    p->product = arena_array(a, PlanProduct, t->count + 1);
    for (int i = 0; i < t->count; i++) {
        const Kernel *k = t->kernel[i];
        p->kernel[p->kernel_count++] =
            (PlanKernel){.name = k->name,
                         .text = kernel_text(k, a),
                         .tiles = gpu && !k->host ? 1 : (uint64_t)kernel_tiles(k),
                         .workspace = lower_workspace(options, k)};
        if (k->host)
            p->isa = or_empty(options->host_isa);
        // Products of a library have their shape in the plan too: the runtime calls it by numbers.
        const ProductKernel *from = &k->product;
        if (k->kind != KERNEL_PRODUCT || from->library == PRODUCT_OWN)
            continue;
        PlanProduct *out = &p->product[p->product_count++];
        *out = (PlanProduct){.kernel = (uint32_t)i,
                             .library = plan_library(from->library),
                             .a = plan_dtype(from->a),
                             .b = plan_dtype(from->b),
                             .c = plan_dtype(from->c),
                             .batch = {from->batch[0], from->batch[1]},
                             .m = from->m,
                             .n = from->n,
                             .k = from->k,
                             .accumulate = from->bias ? 2 : from->accumulate,
                             .tile_m = from->tile_m,
                             .tile_n = from->tile_n};
        memcpy(out->a_stride, from->a_stride, sizeof out->a_stride);
        memcpy(out->b_stride, from->b_stride, sizeof out->b_stride);
        memcpy(out->c_stride, from->c_stride, sizeof out->c_stride);
    }
}

static bool uses_far(const Module *m) {
    for (int i = 0; i < m->state_count; i++)
        if (m->state[i]->far)
            return true;
    for (int i = 0; i < m->entry_count; i++)
        for (int k = 0; k < m->entry[i]->node_count; k++)
            if (m->entry[i]->node[k]->op == OP_OFFLOAD || node_sums_far(m->entry[i]->node[k]))
                return true;
    return false;
}

// isa is left to the driver, who knows the target's instruction sets.
static Plan *plan_begin(const Module *m, PassCtx *cx) {
    Plan *p = arena_new(cx->arena, Plan);
    const PassOptions *o = cx->options;
    p->version = PLAN_VERSION;
    p->model = or_empty(m->name);
    p->target = o->target ? o->target : "cpu";
    p->isa = or_empty(o->isa);
    p->rates = ""; // pass_predict's to say
    p->tool = or_empty(o->tool);
    p->flags = or_empty(o->flags);
    p->tokenizer = m->tokenizer ? m->tokenizer : "bytes";
    p->workers = lower_workers(o);
    // Far memory is there where something is in it. Streams are pass_schedule's.
    p->stream_count = 1;
    p->space_count = uses_far(m) ? 2 : 1;
    p->space = arena_array(cx->arena, PlanSpace, 2);
    p->space[LOWER_DEVICE].kind = SPACE_DEVICE;
    p->space[LOWER_FAR].kind = o->gpu.count > 0 ? SPACE_HOST : SPACE_DISK;
    // As many as there can be; entries may lack a prologue or an update.
    p->segment = arena_array(cx->arena, PlanSegment, m->entry_count * STEP_SEGMENT_COUNT + 1);
    p->entry = arena_array(cx->arena, PlanEntry, m->entry_count + 1);
    return p;
}

// A file computes nothing.
static bool check_works_far(const Module *m, const Graph *g, const PassCtx *cx) {
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        if (!node_works_far(n) || !value_is_far(m, &n->result[0]))
            continue;
        diag_error(cx->diag, n->loc, P_FAR, "%s can't run in far memory: that is a file",
                   op_info(n->op)->name);
        diag_help(cx->diag, "fetch what it reads, or compile for a GPU");
        return false;
    }
    return true;
}

PassResult pass_lower(Module *m, PassCtx *cx) {
    for (int i = 0; i < m->entry_count && cx->options->gpu.count == 0; i++)
        if (!check_works_far(m, m->entry[i], cx))
            return PASS_FAILED;
    Lower lw = {.cx = cx, .m = m, .plan = plan_begin(m, cx), .kernels = {.a = cx->arena}};
    // States first: their buffers' numbers are their ids.
    lower_states(&lw);
    for (int i = 0; i < m->entry_count; i++)
        lower_entry(&lw, m->entry[i]);
    lower_kernels(&lw);
    lower_launches(&lw);
    // Signatures of the dataflow, from what the plan says now: the verifier compares later.
    CHECK(plan_sign(lw.plan) == PLIM_OK);
    cx->plan = lw.plan;
    remark_add(cx, "lower", or_empty(m->name), "%u kernels, %u of them products by a library",
               lw.plan->kernel_count, lw.plan->product_count);
    return PASS_CHANGED;
}
