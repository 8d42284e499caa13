// Proving a plan safe and faithful, from the plan alone. Nothing here knows how plans are made: it
// shares with the planner the struct, and with plan_sign the hash functions.
//
// Structure
//  1  Every index, kind, count and time is in range; no value is empty.
//  2  A buffer is aligned, inside its space, and holds its shape. Persistent buffers are live
//     always.
//  3  A state has a persistent buffer, an input one of its entry, no other state or input has it,
//     and it holds the value: every slot of it. Inputs are live from position 0. What is no data
//     is one number. No two states, inputs of an entry or names in weight files are called alike.
//  4  Every segment is called, by one entry, in calls that follow each other with slots 0, 1, 2,
//     ...
//  5  A carried buffer is used by a repeated segment of its entry, and belongs to no state or
//  input.
// Instructions
//  6  Operands lie inside their buffer for every slot; the buffer is persistent or of the entry.
//     Only what reads an input moves by slot: by one slot exactly, with as many calls as slots.
//     Only what kernels and products write has rows: two or more, apart, which begin and end it.
//  7  Instructions with one kernel agree in operands, access, sizes and number of immediates; fills
//  and
//     copies have their form; a product has one row, whose matrices fit its operands and whose
//     tiles are its kernel's.
//  8  A kernel that needs workspace has it for every worker.
//  9  Operands of one instruction that share bytes, one of them written, are the same range of the
//     same buffer, and the instruction is a KERNEL or an ALL_REDUCE; or both are a KERNEL's and
//     have rows of one pitch, and no row of the one meets one of the other.
// 10  Live ranges cover every access; those of results reach the end of the entry; what a repeated
//     segment uses and begins before it, or is an input, lives to its end, and carried buffers
//     begin before it.
// Memory
// 11  Two buffers that share a byte are not live at the same position.
// 12  The load of each space is the largest sum of live bytes, each buffer's rounded up to its
//     alignment.
// Execution, of each entry, instruction by instruction in the order of the list
// 13  An event is signalled exactly once a call, and waited for only further down the list. So no
//     stream waits for ever, and the list is one of the orders the streams can run in.
// 14  Accesses to one byte, one of them a write, are ordered: same stream, or through events
//     (vector clocks). So all orders the streams can run in give what the list gives.
// 15  Every byte read has been written, in this call of a repeated segment or before its first
//     one; the signature of what is read, on physical addresses, is the instruction's. See
//     plan_sign.h.
// 16  A carried buffer holds zeros before the first call of a repeated segment, and after each
//     call what instructions of that call made from its content, where that stood or where it
//     was copied, and what was copied back.
// 17  Results and committed states hold the content signed for them when the entry ends.
// 18  States that are not committed still hold their own content then.
//
// GPUs
// 19  A plan for a GPU has launches of every kernel that no library computes, for every
// architecture
//     of its target: by architecture, then kernel, one to four each, of sizes CUDA allows; its
//     products are cuBLASLt's, and it has one worker. No other plan has launches or such products.
//     A kernel that its host computes (rule 20) has none, and is called nowhere else.
// 22  A launch's tensor maps are such that CUDA takes them, up to four, of compute capability 9.0
//     on; each is of an operand that every call of the kernel reads, from a multiple of 16 bytes
//     on, and reaches nothing but it.
//
// Far memory
// 20  No two spaces are of one kind. Inputs, results, workspaces and what kernels, products and
//     fills touch are the device's memory; of a copy one side at least. But a kernel
//     of a GPU's plan may have all of its operands in the host's memory: the host computes it.
//
// Ranks
// 21  A collective moves whole elements of one dtype, as many as its kind makes of the ranks'
//     operands; sums are of numbers, shifts below the number of ranks. All of them stand on one
//     stream. All ranks run this plan, so they meet every collective in the order of its list,
//     with operands of the same sizes.
//
// Products and the kernels behind them
// 23  A joint's instructions stand on one stream, and so does what is between them, which nobody
//     waits for and which leaves the product's operands and result alone. The kernel's operands are
//     those of the epilogue. What the product reads and works in lives until the kernel, which
//     writes elsewhere; nobody reads the product's result later, unless the epilogue leaves it
//     there. So a run may compute both where the kernel stands.
//
// A repeated segment is executed twice, which proves all its calls: the contents a call leaves
// behind, but for the bytes it does not write, depend on nothing but its instructions, so the
// second call begins as every later one; where it reads by slot, the other slots' bytes are checked
// to be untouched after the first call, and every call writes the same addresses (rule 6).
//
// What lies between the rows of an operand counts as written with it everywhere but in rule 9: so a
// range that several fill row between row has to be filled in the order it was signed in, and each
// shows in it by its first row.
//
// That a kernel may work in place (rule 9), writes its rows only, and does what its text says, is
// the compiler's promise; codegen/plan_kernels.c holds rows of plans that anybody wrote against it.
// Cost: n log n in instructions and buffers.
#include "runtime/plan_verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool verify_refuse(Verifier *v, int rule, const char *format, ...) {
    if (v->status != PLIM_OK)
        return false;
    char text[448];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    snprintf(v->error->text, sizeof v->error->text, "unsafe plan: rule %d: %s", rule, text);
    v->status = PLIM_BAD_PLAN;
    return false;
}

bool verify_refuse_instr(Verifier *v, int rule, uint32_t segment, uint32_t instr,
                         const char *format, ...) {
    char text[256];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    const PlanSegment *s = &v->plan->segment[segment];
    const char *name = s->instr[instr].name;
    return verify_refuse(v, rule, "instruction %u of %.60s (%.100s): %s", instr, s->name,
                         name ? name : "", text);
}

bool verify_no_memory(Verifier *v) {
    if (v->status == PLIM_OK) {
        snprintf(v->error->text, sizeof v->error->text, "out of memory while verifying the plan");
        v->status = PLIM_NO_MEMORY;
    }
    return false;
}

bool verify_shape_bytes(PlanDType dtype, uint32_t rank, const int64_t *dim, uint64_t *out) {
    *out = plan_dtype_bytes(dtype);
    for (uint32_t i = 0; i < rank; i++)
        if (dim[i] < 1 || __builtin_mul_overflow(*out, (uint64_t)dim[i], out))
            return false;
    return true;
}

// Rules 1 and 2 for the plan's head and its spaces. Spaces stand one after another in one range.
static bool check_head(Verifier *v) {
    const Plan *p = v->plan;
    if (p->stream_count < 1 || p->stream_count > PLAN_STREAMS_MAX)
        return verify_refuse(v, 1, "%u streams, but there may be 1 to %d", p->stream_count,
                             PLAN_STREAMS_MAX);
    if (p->workers < 1 || p->workers > INT32_MAX)
        return verify_refuse(v, 1, "%u workers, but there may be 1 to %d", p->workers, INT32_MAX);
    if (p->entry_count > PLAN_ENTRIES_MAX)
        return verify_refuse(v, 1, "%u entries, but there may be %d", p->entry_count,
                             PLAN_ENTRIES_MAX);
    if (p->peers > PLAN_PEERS_MAX)
        return verify_refuse(v, 1, "%u peers, but there may be %d", p->peers, PLAN_PEERS_MAX);
    uint64_t base = 0;
    for (uint32_t i = 0; i < p->space_count; i++) {
        if ((uint32_t)p->space[i].kind >= SPACE_COUNT)
            return verify_refuse(v, 1, "space %u has no known kind", i);
        for (uint32_t j = 0; j < i; j++)
            if (p->space[j].kind == p->space[i].kind)
                return verify_refuse(v, 20, "spaces %u and %u are both %s", j, i,
                                     plan_space_name(p->space[i].kind));
        v->space_base[i] = base;
        // Addresses, and sums of them with offsets, stay far from overflow.
        if (p->space[i].bytes > (uint64_t)1 << 56 || base > (uint64_t)1 << 60)
            return verify_refuse(v, 1, "space %u is larger than any machine's", i);
        base += p->space[i].bytes;
    }
    return true;
}

bool verify_is_near(const Verifier *v, uint32_t buffer) {
    return v->plan->space[v->plan->buffer[buffer].space].kind == SPACE_DEVICE;
}

static bool check_buffer(Verifier *v, uint32_t index) {
    const Plan *p = v->plan;
    const PlanBuffer *b = &p->buffer[index];
    const char *name = b->name ? b->name : "";
    uint64_t bytes;
    if (!b->name || (uint32_t)b->kind >= BUFFER_KIND_COUNT || b->space >= p->space_count ||
        (b->entry != UINT32_MAX && b->entry >= p->entry_count) || b->carried > 1 ||
        (uint32_t)b->dtype >= PLAN_DTYPE_COUNT || b->rank > PLAN_RANK_MAX)
        return verify_refuse(v, 1, "buffer %u (%.100s) has a field out of range", index, name);
    if (b->alignment == 0 || (b->alignment & (b->alignment - 1)) || b->offset % b->alignment)
        return verify_refuse(v, 2, "buffer %u (%.100s) at %llu is not aligned to %u", index, name,
                             (unsigned long long)b->offset, b->alignment);
    // Padded to its alignment, as it counts in the load.
    const uint64_t space = p->space[b->space].bytes, mask = (uint64_t)b->alignment - 1;
    const uint64_t padded = b->bytes > space ? b->bytes : (b->bytes + mask) & ~mask;
    if (padded > space || b->offset > space - padded)
        return verify_refuse(v, 2, "buffer %u (%.100s) does not fit space %u", index, name,
                             b->space);
    if (!verify_shape_bytes(b->dtype, b->rank, b->dim, &bytes) || bytes > b->bytes)
        return verify_refuse(v, 2, "buffer %u (%.100s) is smaller than its shape", index, name);
    if (b->entry == UINT32_MAX ? b->first != 0 || b->last != UINT32_MAX : b->first > b->last)
        return verify_refuse(v, 2, "buffer %u (%.100s) has no proper live range", index, name);
    return true;
}

// Takes the buffer for a state or input. The value must fit.
static bool claim_buffer(Verifier *v, uint32_t buffer, uint64_t bytes, const char *what,
                         const char *name) {
    if (v->state_of[buffer] != UINT32_MAX || v->input_of[buffer] != UINT32_MAX)
        return verify_refuse(v, 3, "%s %.100s shares its buffer %u", what, name, buffer);
    if (bytes > v->plan->buffer[buffer].bytes)
        return verify_refuse(v, 3, "%s %.100s does not fit its buffer %u", what, name, buffer);
    return true;
}

static bool check_states(Verifier *v) {
    const Plan *p = v->plan;
    for (uint32_t i = 0; i < p->state_count; i++) {
        const PlanState *s = &p->state[i];
        uint64_t bytes;
        if (!s->name || s->buffer >= p->buffer_count || s->kind > 3 || s->rank > PLAN_RANK_MAX ||
            (uint32_t)s->dtype >= PLAN_DTYPE_COUNT ||
            !verify_shape_bytes(s->dtype, s->rank, s->dim, &bytes))
            return verify_refuse(v, 1, "state %u has a field out of range", i);
        if (p->buffer[s->buffer].entry != UINT32_MAX)
            return verify_refuse(v, 3, "state %.100s is in buffer %u, which is not persistent",
                                 s->name, s->buffer);
        if (!claim_buffer(v, s->buffer, bytes, "state", s->name))
            return false;
        v->state_of[s->buffer] = i;
    }
    return true;
}

// The runtime stores knobs, steps and seeds itself, as one f32 or i32.
// One number; a slot's number has one for each slot.
static bool is_scalar(const PlanInput *in) {
    const bool by_slot = in->source == PLAN_FROM_SLOT;
    return in->rank == 0 && (by_slot || in->slots == 1) &&
           ((!by_slot && in->dtype == PLAN_F32) || in->dtype == PLAN_I32);
}

static bool check_inputs(Verifier *v, uint32_t entry) {
    const Plan *p = v->plan;
    const PlanEntry *e = &p->entry[entry];
    for (uint32_t i = 0; i < e->input_count; i++) {
        const PlanInput *in = &e->input[i];
        uint64_t bytes;
        if (!in->name || in->buffer >= p->buffer_count || in->slots < 1 ||
            in->rank > PLAN_RANK_MAX || (uint32_t)in->source > PLAN_FROM_SLOT ||
            (uint32_t)in->dtype >= PLAN_DTYPE_COUNT || in->bound == INT64_MIN ||
            !verify_shape_bytes(in->dtype, in->rank, in->dim, &bytes) ||
            __builtin_mul_overflow(bytes, in->slots, &bytes))
            return verify_refuse(v, 1, "input %u of %.100s has a field out of range", i, e->name);
        const bool data = in->source == PLAN_FROM_DATA || in->source == PLAN_FROM_CALLER;
        if (!data && !is_scalar(in))
            return verify_refuse(v, 3, "input %.100s is no data, so it must be one number",
                                 in->name);
        const PlanBuffer *b = &p->buffer[in->buffer];
        if (b->entry != entry || b->first != 0)
            return verify_refuse(v, 3,
                                 "input %.100s is in buffer %u, which is not its entry's from the "
                                 "beginning",
                                 in->name, in->buffer);
        if (!verify_is_near(v, in->buffer))
            return verify_refuse(v, 20, "input %.100s is in far memory", in->name);
        if (!claim_buffer(v, in->buffer, bytes, "input", in->name))
            return false;
        v->input_of[in->buffer] = i;
    }
    return true;
}

static bool check_outcome(Verifier *v, const PlanEntry *e, uint32_t entry) {
    const Plan *p = v->plan;
    for (uint32_t i = 0; i < e->result_count; i++) {
        const PlanResult *r = &e->result[i];
        uint64_t bytes;
        if (!r->name || r->buffer >= p->buffer_count || r->rank > PLAN_RANK_MAX ||
            (uint32_t)r->dtype >= PLAN_DTYPE_COUNT ||
            !verify_shape_bytes(r->dtype, r->rank, r->dim, &bytes))
            return verify_refuse(v, 1, "result %u of %.100s has a field out of range", i, e->name);
        const PlanBuffer *b = &p->buffer[r->buffer];
        if (bytes > b->bytes || r->offset > b->bytes - bytes ||
            (b->entry != entry && b->entry != UINT32_MAX))
            return verify_refuse(v, 6, "result %.100s is not inside a buffer of %.100s", r->name,
                                 e->name);
        if (!verify_is_near(v, r->buffer))
            return verify_refuse(v, 20, "result %.100s is in far memory", r->name);
    }
    for (uint32_t i = 0; i < e->commit_count; i++)
        if (e->commit[i].state >= p->state_count)
            return verify_refuse(v, 1, "commit %u of %.100s has no state", i, e->name);
    return true;
}

// Rule 4, and the positions of the entry's linear order.
static bool check_program(Verifier *v, uint32_t entry) {
    const Plan *p = v->plan;
    const PlanEntry *e = &p->entry[entry];
    uint64_t position = 0;
    for (uint32_t i = 0; i < e->call_count; i++) {
        const uint32_t segment = e->call[i].segment;
        if (segment >= p->segment_count)
            return verify_refuse(v, 1, "call %u of %.100s has no segment", i, e->name);
        if (i == 0 || e->call[i - 1].segment != segment) {
            if (v->segment_calls[segment])
                return verify_refuse(v, 4, "the calls of segment %.100s are apart",
                                     p->segment[segment].name);
            v->segment_entry[segment] = entry;
            v->segment_first[segment] = (uint32_t)position;
            position += p->segment[segment].instr_count;
        }
        if (e->call[i].slot != v->segment_calls[segment]++)
            return verify_refuse(v, 4, "call %u of %.100s is out of turn: its slot is %u", i,
                                 e->name, e->call[i].slot);
    }
    if (position >= UINT32_MAX)
        return verify_refuse(v, 1, "%.100s has too many instructions", e->name);
    v->entry_positions[entry] = (uint32_t)position;
    return true;
}

static bool check_carried(Verifier *v) {
    const Plan *p = v->plan;
    uint32_t *repeats = plan_alloc(v->memory, p->entry_count, sizeof *repeats);
    if (!repeats)
        return verify_no_memory(v);
    for (uint32_t i = 0; i < p->segment_count; i++)
        if (v->segment_calls[i] > 1 && ++repeats[v->segment_entry[i]] > PLAN_REPEATS_MAX)
            return verify_refuse(v, 1, "%.100s repeats more than %d segments",
                                 p->entry[v->segment_entry[i]].name, PLAN_REPEATS_MAX);
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        const PlanBuffer *b = &p->buffer[i];
        if (b->carried &&
            (b->entry == UINT32_MAX || !repeats[b->entry] || v->input_of[i] != UINT32_MAX))
            return verify_refuse(v, 5, "buffer %u (%.100s) is carried, but nothing repeats", i,
                                 b->name);
    }
    return true;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Labels of memory are made of names (plan_sign.h): with two alike, one could stand for the other.
static bool names_differ(Verifier *v, const char *what, const char **name, uint32_t count) {
    qsort(name, count, sizeof *name, compare_names);
    for (uint32_t i = 1; i < count; i++)
        if (strcmp(name[i - 1], name[i]) == 0)
            return verify_refuse(v, 3, "two %s are called %.100s", what, name[i]);
    return true;
}

static bool check_state_names(Verifier *v, const char **name) {
    const Plan *p = v->plan;
    for (uint32_t i = 0; i < p->state_count; i++)
        name[i] = p->state[i].name;
    if (!names_differ(v, "states", name, p->state_count))
        return false;
    for (uint32_t i = 0; i < p->state_count; i++) {
        const char *file = plan_state_file(&p->state[i]);
        const char *brace = strpbrk(file, "{}");
        if (brace &&
            (strncmp(brace, "{}", 2) != 0 || strpbrk(brace + 2, "{}") || p->state[i].rank == 0))
            return verify_refuse(v, 3, "state %u: %.100s is no name in weight files", i, file);
    }
    for (uint32_t i = 0; i < p->state_count; i++)
        name[i] = plan_state_file(&p->state[i]);
    return names_differ(v, "states in weight files", name, p->state_count);
}

static bool check_names(Verifier *v) {
    const Plan *p = v->plan;
    uint32_t most = p->state_count;
    for (uint32_t i = 0; i < p->entry_count; i++)
        most = p->entry[i].input_count > most ? p->entry[i].input_count : most;
    const char **name = plan_alloc(v->memory, most, sizeof *name);
    if (!name)
        return verify_no_memory(v);
    if (!check_state_names(v, name))
        return false;
    for (uint32_t i = 0; i < p->entry_count; i++) {
        const PlanEntry *e = &p->entry[i];
        for (uint32_t j = 0; j < e->input_count; j++)
            name[j] = e->input[j].name;
        if (!names_differ(v, "inputs of an entry", name, e->input_count))
            return false;
    }
    return true;
}

static bool names_are_there(Verifier *v) {
    const Plan *p = v->plan;
    for (uint32_t i = 0; i < p->segment_count; i++)
        if (!p->segment[i].name)
            return verify_refuse(v, 1, "segment %u has no name", i);
    for (uint32_t i = 0; i < p->entry_count; i++)
        if (!p->entry[i].name)
            return verify_refuse(v, 1, "entry %u has no name", i);
    for (uint32_t i = 0; i < p->entry_count; i++)
        if (p->entry[i].predicted > PLAN_TIME_MAX)
            return verify_refuse(v, 1, "%.100s is predicted to take for ever", p->entry[i].name);
    for (uint32_t i = 0; i < p->kernel_count; i++)
        if (!p->kernel[i].name || !p->kernel[i].text)
            return verify_refuse(v, 1, "kernel %u has no name or text", i);
    return true;
}

bool verify_structure(Verifier *v) {
    const Plan *p = v->plan;
    if (!check_head(v) || !names_are_there(v))
        return false;
    for (uint32_t i = 0; i < p->buffer_count; i++)
        if (!check_buffer(v, i))
            return false;
    if (!check_states(v))
        return false;
    for (uint32_t i = 0; i < p->entry_count; i++)
        if (!check_inputs(v, i) || !check_outcome(v, &p->entry[i], i) || !check_program(v, i))
            return false;
    for (uint32_t i = 0; i < p->segment_count; i++)
        if (v->segment_calls[i] == 0)
            return verify_refuse(v, 4, "segment %.100s is never called", p->segment[i].name);
    return check_carried(v) && check_names(v);
}

// A table of count words, all UINT32_MAX.
static uint32_t *table_of_none(PlanMemory *pm, size_t count) {
    uint32_t *table = plan_alloc(pm, count, sizeof *table);
    for (size_t i = 0; table && i < count; i++)
        table[i] = UINT32_MAX;
    return table;
}

static bool take_tables(Verifier *v) {
    const Plan *p = v->plan;
    PlanMemory *pm = v->memory;
    v->space_base = plan_alloc(pm, p->space_count, sizeof *v->space_base);
    v->segment_entry = table_of_none(pm, p->segment_count);
    v->segment_first = plan_alloc(pm, p->segment_count, sizeof *v->segment_first);
    v->segment_calls = plan_alloc(pm, p->segment_count, sizeof *v->segment_calls);
    v->entry_positions = plan_alloc(pm, p->entry_count, sizeof *v->entry_positions);
    v->input_of = table_of_none(pm, p->buffer_count);
    v->state_of = table_of_none(pm, p->buffer_count);
    v->product_of = table_of_none(pm, p->kernel_count);
    v->called_in = plan_alloc(pm, p->kernel_count, sizeof *v->called_in);
    v->carried_extent = plan_alloc(pm, p->buffer_count, sizeof *v->carried_extent);
    return v->space_base && v->segment_entry && v->segment_first && v->segment_calls &&
           v->entry_positions && v->input_of && v->state_of && v->product_of && v->called_in &&
           v->carried_extent;
}

PlimStatus plan_verify(const Plan *p, PlimError *error) {
    Verifier v = {.plan = p, .error = error, .memory = plan_memory_new()};
    if (!v.memory || !take_tables(&v))
        verify_no_memory(&v);
    else if (verify_structure(&v) && verify_calls(&v) && verify_launches(&v) && verify_maps(&v) &&
             verify_collectives(&v) && verify_joints(&v) && verify_buffers(&v))
        verify_run(&v);
    plan_memory_release(v.memory);
    return v.status;
}
