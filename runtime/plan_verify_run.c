// The verifier's rules 13 to 18: executing each entry on symbols, at physical addresses.
//
// Time is counted in steps, one an instruction executed. clock[s] of a stream holds, for every
// stream, the last step of it that is known to be over: by the stream's own order, by events waited
// for, and by the end of the call before (floor: every step up to it is over for all).
#include "runtime/plan_verify.h"

#include "runtime/plan_memory_map.h"
#include "runtime/plan_sign.h"

#include <string.h>

typedef struct {
    Verifier *v;
    MemoryMap map;
    uint64_t *kernel_hash; // by kernel
    uint32_t *clock;       // [stream][stream]
    uint32_t *event;       // [event][stream], of the segment being executed
    uint8_t *event_seen;   // by event: signalled in this call
    uint32_t event_room;   // events of the segment that has most
    uint32_t step, floor;
    uint32_t segment, index, slot; // being executed
    const PlanInstr *instr;
} Run;

// What a range holds.
typedef struct {
    uint64_t label, distance; // of the first run
    uint64_t hash;            // of all, from plan_hash_start()
    uint32_t runs;            // neighbours that continue each other are one
    bool zero;                // all of them
    uint32_t carried;         // all of them one buffer's sum, in this call, see MapContent
    bool accumulated;         // all of them, in this call
} Found;

// For the instruction being executed.
static bool refuse(const Run *r, int rule, const char *what) {
    return verify_refuse_instr(r->v, rule, r->segment, r->index, "%s", what);
}

static uint64_t buffer_address(const Verifier *v, uint32_t buffer) {
    const PlanBuffer *b = &v->plan->buffer[buffer];
    return v->space_base[b->space] + b->offset;
}

static uint64_t operand_address(const Run *r, const PlanOperand *o) {
    return buffer_address(r->v, o->buffer) + o->offset + o->slot_bytes * r->slot;
}

// Whether step is over when the current instruction begins.
static bool is_over(const Run *r, uint32_t step, uint32_t stream) {
    // Step 0 is before the entry: states and inputs are there for every stream.
    return step <= r->floor ||
           step <= r->clock[(size_t)r->instr->stream * r->v->plan->stream_count + stream];
}

// Rule 14 for a run about to be read or written.
static bool check_order(Run *r, uint32_t run, PlanAccess access) {
    const MapContent *c = &r->map.content[run];
    // One stream is in order by itself, and the map keeps no readers then.
    if (r->map.streams == 1)
        return true;
    // What the instruction wrote itself are other rows, between those of this operand (rule 9).
    if (c->writer != r->step && !is_over(r, c->writer, c->stream))
        return refuse(r, 14, "does not wait for a write to its bytes");
    uint32_t *reader = map_readers(&r->map, run);
    if (access == PLAN_READ) {
        reader[r->instr->stream] = r->step;
        return true;
    }
    for (uint32_t s = 0; s < r->map.streams; s++)
        // The instruction's own read does not count: it may work in place (rule 9).
        if (reader[s] != r->step && !is_over(r, reader[s], s))
            return refuse(r, 14, "overwrites bytes that another stream may still read");
    return true;
}

// A carried sum of the call being executed: what stood there as it began, or what it wrote.
static bool is_of_call(const Run *r, const MapContent *c) {
    return c->writer == 0 || c->writer > r->floor;
}

// The content of [low, high), where runs begin and end; false where a byte has none. skip is taken
// off the distances.
static bool find_content(const Run *r, uint64_t low, uint64_t high, uint64_t skip, Found *f) {
    const MemoryMap *m = &r->map;
    *f = (Found){.hash = plan_hash_start(), .zero = true, .accumulated = true};
    // The run being gathered; length 0: none yet. Neighbours that continue it are joined, so that
    // how the map happens to be cut does not show in the hash.
    uint64_t length = 0, label = 0, distance = 0;
    const uint32_t first = map_edge(m, low), end = map_edge(m, high);
    for (uint32_t i = first; i < end; i = map_next(m, i)) {
        const MapContent *c = &m->content[i];
        if (!c->known)
            return false;
        const bool joins = length && c->label == label && c->distance - skip == distance + length;
        if (!joins) {
            if (length)
                f->hash =
                    plan_hash_u64(plan_hash_u64(plan_hash_u64(f->hash, length), label), distance);
            length = 0;
            label = c->label;
            distance = c->distance - skip;
            if (f->runs++ == 0) {
                f->label = label;
                f->distance = distance;
            }
        }
        length += m->edge[map_next(m, i)] - m->edge[i];
        const uint32_t carried = is_of_call(r, c) ? c->carried : 0;
        f->carried = i == first || f->carried == carried ? carried : 0;
        f->zero = f->zero && c->zero;
        f->accumulated = f->accumulated && c->accumulated && c->writer > r->floor;
    }
    if (length)
        f->hash = plan_hash_u64(plan_hash_u64(plan_hash_u64(f->hash, length), label), distance);
    return true;
}

// Makes runs begin and end with the range, and gives their first and the edge past their last.
// Both addresses are edges: prepare has added those of everything that is ever touched.
static void cut_range(Run *r, uint64_t low, uint64_t high, uint32_t *first, uint32_t *end) {
    *first = map_edge(&r->map, low);
    *end = map_edge(&r->map, high);
    map_cut(&r->map, *first, *end);
}

// Rules 14 and 15 for one operand that is read.
static bool read_operand(Run *r, const PlanOperand *o, Found *found) {
    *found = (Found){.hash = plan_hash_start()};
    if (o->bytes == 0)
        return true;
    const uint64_t at = operand_address(r, o);
    uint32_t first, end;
    cut_range(r, at, at + o->bytes, &first, &end);
    for (uint32_t i = first; i < end; i = map_next(&r->map, i)) {
        const MapContent *c = &r->map.content[i];
        if (!c->known)
            return refuse(r, 15, "reads bytes that nothing wrote");
        // Only fresh writes count inside a repeated segment, or what was written before its first
        // call: see rule 15. Carried buffers have writer 0 by then (begin_carried).
        if (c->writer && c->writer <= r->floor && c->segment == r->segment)
            return refuse(r, 15, "reads what an earlier call of its segment wrote");
        if (!check_order(r, i, PLAN_READ))
            return false;
    }
    return find_content(r, at, at + o->bytes, o->slot_bytes * r->slot, found);
}

static uint64_t hash_i64s(uint64_t h, const int64_t *number, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        h = plan_hash_u64(h, (uint64_t)number[i]);
    return h;
}

// kernel(k) of plan_sign.h for every kernel.
static bool hash_kernels(Run *r) {
    const Plan *p = r->v->plan;
    r->kernel_hash = plan_alloc(r->v->memory, p->kernel_count, sizeof *r->kernel_hash);
    if (!r->kernel_hash)
        return verify_no_memory(r->v);
    for (uint32_t i = 0; i < p->kernel_count; i++) {
        const PlanKernel *k = &p->kernel[i];
        uint64_t h = plan_hash_bytes(plan_hash_start(), k->text, strlen(k->text));
        h = plan_hash_u64(plan_hash_u64(h, k->tiles), k->workspace);
        if (r->v->product_of[i] != UINT32_MAX) {
            const PlanProduct *row = &p->product[r->v->product_of[i]];
            // The order of plan_sign.h.
            const int64_t head[9] = {row->library,    (int64_t)row->a, (int64_t)row->b,
                                     (int64_t)row->c, row->batch[0],   row->batch[1],
                                     row->m,          row->n,          row->k};
            h = hash_i64s(h, head, 9);
            h = hash_i64s(h, row->a_stride, 4);
            h = hash_i64s(h, row->b_stride, 4);
            h = hash_i64s(h, row->c_stride, 4);
            const int64_t tail[3] = {row->accumulate, row->tile_m, row->tile_n};
            h = hash_i64s(h, tail, 3);
        }
        r->kernel_hash[i] = h;
    }
    return true;
}

// Signature of what the current instruction finds.
static bool read_operands(Run *r, uint64_t *h, Found *found) {
    const PlanInstr *instr = r->instr;
    *h = plan_hash_u64(plan_hash_start(), (uint64_t)instr->kind);
    if (instr->kind == INSTR_KERNEL || instr->kind == INSTR_PRODUCT)
        *h = plan_hash_u64(*h, r->kernel_hash[instr->kernel]);
    *h = plan_hash_u64(*h, instr->imm_count);
    *h = hash_i64s(*h, instr->imm, instr->imm_count);
    *h = plan_hash_u64(*h, instr->operand_count);
    for (uint32_t i = 0; i < instr->operand_count; i++) {
        const PlanOperand *o = &instr->operand[i];
        *h = plan_hash_u64(plan_hash_u64(plan_hash_u64(*h, (uint64_t)o->access), o->bytes),
                           o->slot_bytes);
        if (o->pitch)
            *h = plan_hash_u64(plan_hash_u64(*h, o->row), o->pitch);
        if (o->access == PLAN_WRITE)
            continue;
        if (!read_operand(r, o, found))
            return false;
        *h = plan_hash_u64(*h, found->hash);
    }
    return true;
}

// Rule 14 for every byte that is about to be written.
static bool check_writable(Run *r, uint64_t low, uint64_t high) {
    uint32_t first, end;
    cut_range(r, low, high, &first, &end);
    for (uint32_t i = first; i < end; i = map_next(&r->map, i))
        if (!check_order(r, i, PLAN_WRITE))
            return false;
    return true;
}

// Whether the instruction also reads what operand index writes.
static bool reads_too(const PlanInstr *instr, uint32_t index) {
    const PlanOperand *o = &instr->operand[index];
    for (uint32_t i = 0; i < instr->operand_count; i++) {
        const PlanOperand *other = &instr->operand[i];
        if (other->access != PLAN_WRITE && other->buffer == o->buffer &&
            other->offset == o->offset && other->bytes == o->bytes)
            return true;
    }
    return false;
}

static bool write_operand(Run *r, uint32_t index, uint64_t signature, const Found *found) {
    const PlanInstr *instr = r->instr;
    const PlanOperand *o = &instr->operand[index];
    if (o->bytes == 0)
        return true;
    const uint64_t at = operand_address(r, o);
    if (!check_writable(r, at, at + o->bytes))
        return false;
    Found base = {0};
    // Rule 16: what is made from a sum, there, goes on with it. read_operand found it known.
    if (reads_too(instr, index) && !find_content(r, at, at + o->bytes, 0, &base))
        return refuse(r, 15, "reads bytes that nothing wrote");
    MapContent c = {.known = true,
                    .zero = instr->kind == INSTR_FILL && instr->imm[0] == 0,
                    .carried = base.carried,
                    .accumulated = base.carried != 0,
                    .stream = instr->stream,
                    .writer = r->step,
                    .segment = r->segment,
                    .label = plan_hash_u64(plan_hash_u64(plan_hash_start(), signature), index)};
    // A copy moves content: found is of its only operand that is read.
    if (instr->kind == INSTR_COPY) {
        c.zero = found->zero;
        c.carried = found->carried;
        c.accumulated = found->accumulated;
        c.label = found->runs == 1 ? found->label : found->hash;
        c.distance = found->runs == 1 ? found->distance : 0;
    }
    map_set(&r->map, map_edge(&r->map, at), map_edge(&r->map, at + o->bytes), &c);
    return true;
}

// Those with rows last, from the first on: see plan_sign.h.
static bool write_operands(Run *r, uint64_t signature, const Found *found) {
    const PlanInstr *instr = r->instr;
    for (uint32_t i = 0; i < instr->operand_count; i++) {
        const PlanOperand *o = &instr->operand[i];
        if (o->access != PLAN_READ && !o->pitch && !write_operand(r, i, signature, found))
            return false;
    }
    for (uint32_t i = plan_next_in_rows(instr, UINT32_MAX); i != UINT32_MAX;
         i = plan_next_in_rows(instr, i))
        if (!write_operand(r, i, signature, found))
            return false;
    return true;
}

// Workspace is written and means nothing afterwards.
static bool write_workspace(Run *r) {
    const uint32_t buffer = r->instr->workspace;
    if (buffer == UINT32_MAX || r->v->plan->buffer[buffer].bytes == 0)
        return true;
    const uint64_t at = buffer_address(r->v, buffer);
    const uint64_t end = at + r->v->plan->buffer[buffer].bytes;
    if (!check_writable(r, at, end))
        return false;
    // Not known: reading it would be an error, but its writer still orders others.
    const MapContent c = {.stream = r->instr->stream, .writer = r->step, .segment = r->segment};
    map_set(&r->map, map_edge(&r->map, at), map_edge(&r->map, end), &c);
    return true;
}

// Rule 13, and what the events say about other streams.
static bool wait_for_events(Run *r) {
    const uint32_t streams = r->v->plan->stream_count;
    const uint32_t events = r->v->plan->segment[r->segment].event_count;
    // What this stream knows to be over; waiting only adds to it.
    uint32_t *clock = r->clock + (size_t)r->instr->stream * streams;
    for (uint32_t i = 0; i < r->instr->wait_count; i++) {
        const uint32_t event = r->instr->wait[i];
        if (event >= events || !r->event_seen[event])
            return refuse(r, 13, "waits for an event that nothing before it signals");
        for (uint32_t s = 0; s < streams; s++) {
            const uint32_t over = r->event[(size_t)event * streams + s];
            clock[s] = over > clock[s] ? over : clock[s];
        }
    }
    return true;
}

static bool signal_event(Run *r) {
    const uint32_t streams = r->v->plan->stream_count, event = r->instr->signal;
    uint32_t *clock = r->clock + (size_t)r->instr->stream * streams;
    // Later instructions of the stream begin when this one is over.
    clock[r->instr->stream] = r->step;
    if (event == UINT32_MAX)
        return true;
    if (event >= r->v->plan->segment[r->segment].event_count || r->event_seen[event])
        return refuse(r, 13, "signals an event that is not its own");
    // A waiter knows all that the signalling stream knew here.
    r->event_seen[event] = 1;
    memcpy(r->event + (size_t)event * streams, clock, streams * sizeof *clock);
    return true;
}

// Waits, reads, compares, writes, signals: the order an instruction really has.
static bool execute(Run *r) {
    uint64_t signature;
    Found found = {0};
    r->step++;
    if (!wait_for_events(r) || !read_operands(r, &signature, &found))
        return false;
    if (signature != r->instr->signature)
        return refuse(r, 15, "does not find the operands it was made for");
    return write_operands(r, signature, &found) && write_workspace(r) && signal_event(r);
}

// Known content from no writer, from distance 0 on; carried as in MapContent.
static void set_buffer(Run *r, uint32_t buffer, uint64_t bytes, uint64_t label, uint32_t carried) {
    if (bytes == 0)
        return;
    const uint64_t at = buffer_address(r->v, buffer);
    const MapContent c = {.known = true, .label = label, .carried = carried};
    map_set(&r->map, map_edge(&r->map, at), map_edge(&r->map, at + bytes), &c);
}

typedef bool (*ContentTest)(const Run *r, uint32_t buffer, const MapContent *c);

// Whether every run of the first bytes of a buffer passes the test.
static bool all_content(Run *r, uint32_t buffer, uint64_t bytes, ContentTest test) {
    if (bytes == 0)
        return true;
    const uint64_t at = buffer_address(r->v, buffer);
    uint32_t first, end;
    cut_range(r, at, at + bytes, &first, &end);
    for (uint32_t i = first; i < end; i = map_next(&r->map, i))
        if (!test(r, buffer, &r->map.content[i]))
            return false;
    return true;
}

static bool is_zero(const Run *r, uint32_t buffer, const MapContent *c) {
    (void)r, (void)buffer;
    return c->known && c->zero;
}

static bool is_accumulated(const Run *r, uint32_t buffer, const MapContent *c) {
    // Written in this call, from what the call found there.
    return c->known && c->accumulated && c->carried == buffer + 1 && c->writer > r->floor;
}

// Rule 16 around a call of a repeated segment: zeros before the first, the carried label before
// each, something made from it after each.
static bool begin_carried(Run *r, uint32_t entry) {
    const Plan *p = r->v->plan;
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        const PlanBuffer *b = &p->buffer[i];
        if (!b->carried || b->entry != entry)
            continue;
        // Only before the first: what a call leaves is no zero.
        if (r->slot == 0 && !all_content(r, i, r->v->carried_extent[i], is_zero))
            return verify_refuse(r->v, 16, "buffer %u (%.100s) is not zero before the first call",
                                 i, b->name);
        set_buffer(r, i, b->bytes, plan_label_carried(b->name, i), i + 1);
    }
    return true;
}

static bool end_carried(Run *r, uint32_t entry) {
    const Plan *p = r->v->plan;
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        const PlanBuffer *b = &p->buffer[i];
        if (b->carried && b->entry == entry &&
            !all_content(r, i, r->v->carried_extent[i], is_accumulated))
            return verify_refuse(r->v, 16, "a call does not add to buffer %u (%.100s)", i, b->name);
    }
    return true;
}

// Whether the buffer holds nothing but what it held when the entry began.
static bool holds_own(Run *r, uint32_t buffer, uint64_t bytes, uint64_t label) {
    if (bytes == 0)
        return true;
    const uint64_t at = buffer_address(r->v, buffer);
    uint32_t first, end;
    cut_range(r, at, at + bytes, &first, &end);
    Found f;
    return find_content(r, at, at + bytes, 0, &f) && f.runs == 1 && f.label == label &&
           f.distance == 0;
}

// Inputs of several slots are whole before the second call: see plan_verify.c.
static bool check_slots(Run *r, const PlanEntry *e) {
    for (uint32_t i = 0; i < e->input_count; i++) {
        const PlanInput *in = &e->input[i];
        uint64_t bytes;
        if (in->slots == 1 || in->slots != r->v->segment_calls[r->segment] ||
            !verify_shape_bytes(in->dtype, in->rank, in->dim, &bytes))
            continue;
        if (!holds_own(r, in->buffer, bytes * in->slots, plan_label_input(e->name, in->name)))
            return verify_refuse(
                r->v, 15, "input %.100s is overwritten before its last slot is read", in->name);
    }
    return true;
}

static bool execute_call(Run *r, uint32_t entry, const PlanCall *call) {
    const PlanSegment *segment = &r->v->plan->segment[call->segment];
    const bool repeated = r->v->segment_calls[call->segment] > 1;
    r->segment = call->segment;
    r->slot = call->slot;
    // Calls follow each other: all that came before is over for every stream.
    r->floor = r->step;
    memset(r->event_seen, 0, r->event_room);
    // Before the second call: the slots that it and later ones read must be untouched.
    if (repeated &&
        ((r->slot && !check_slots(r, &r->v->plan->entry[entry])) || !begin_carried(r, entry)))
        return false;
    for (r->index = 0; r->index < segment->instr_count; r->index++) {
        r->instr = &segment->instr[r->index];
        if (!execute(r))
            return false;
    }
    for (uint32_t i = 0; i < segment->event_count; i++)
        if (!r->event_seen[i])
            return verify_refuse(r->v, 13, "nothing signals event %u of %.100s", i, segment->name);
    return !repeated || end_carried(r, entry);
}

// Rule 17 for bytes at an address.
static bool holds_signed(Run *r, uint64_t at, uint64_t bytes, uint64_t signature) {
    Found f = {.hash = plan_hash_start()};
    if (bytes) {
        uint32_t first, end;
        cut_range(r, at, at + bytes, &first, &end);
        if (!find_content(r, at, at + bytes, 0, &f))
            return false;
    }
    return f.hash == signature;
}

// Rule 17 for results.
static bool check_results(Run *r, const PlanEntry *e) {
    for (uint32_t i = 0; i < e->result_count; i++) {
        const PlanResult *res = &e->result[i];
        uint64_t bytes;
        if (!verify_shape_bytes(res->dtype, res->rank, res->dim, &bytes) ||
            !holds_signed(r, buffer_address(r->v, res->buffer) + res->offset, bytes,
                          res->signature))
            return verify_refuse(r->v, 17, "result %.100s does not hold what %.100s computes",
                                 res->name, e->name);
    }
    return true;
}

// Rules 17 and 18 for states.
static bool check_states(Run *r, const PlanEntry *e) {
    const Plan *p = r->v->plan;
    uint8_t *committed = plan_alloc(r->v->memory, p->state_count, 1);
    if (!committed)
        return verify_no_memory(r->v);
    for (uint32_t i = 0; i < e->commit_count; i++) {
        const PlanCommit *c = &e->commit[i];
        const PlanState *s = &p->state[c->state];
        uint64_t bytes;
        // Of two commits one would be lost.
        if (committed[c->state]++)
            return verify_refuse(r->v, 17, "state %.100s is committed twice", s->name);
        if (!verify_shape_bytes(s->dtype, s->rank, s->dim, &bytes) ||
            !holds_signed(r, buffer_address(r->v, s->buffer), bytes, c->signature))
            return verify_refuse(r->v, 17, "state %.100s does not hold what %.100s computes",
                                 s->name, e->name);
    }
    for (uint32_t i = 0; i < p->state_count; i++) {
        const PlanState *s = &p->state[i];
        uint64_t bytes;
        if (committed[i] || !verify_shape_bytes(s->dtype, s->rank, s->dim, &bytes))
            continue;
        if (!holds_own(r, s->buffer, bytes, plan_label_state(s->name)))
            return verify_refuse(r->v, 18, "%.100s overwrites state %.100s", e->name, s->name);
    }
    return true;
}

static bool execute_entry(Run *r, uint32_t entry) {
    const Plan *p = r->v->plan;
    const PlanEntry *e = &p->entry[entry];
    map_clear(&r->map);
    r->step = r->floor = 0;
    memset(r->clock, 0, (size_t)p->stream_count * p->stream_count * sizeof *r->clock);
    for (uint32_t i = 0; i < p->state_count; i++)
        // The whole buffer, its padding too, as plan_sign labels it.
        set_buffer(r, p->state[i].buffer, p->buffer[p->state[i].buffer].bytes,
                   plan_label_state(p->state[i].name), 0);
    for (uint32_t i = 0; i < e->input_count; i++)
        set_buffer(r, e->input[i].buffer, p->buffer[e->input[i].buffer].bytes,
                   plan_label_input(e->name, e->input[i].name), 0);
    for (uint32_t i = 0; i < e->call_count; i++)
        // Two calls of a repeated segment prove the rest: see plan_verify.c.
        if (e->call[i].slot < 2 && !execute_call(r, entry, &e->call[i]))
            return false;
    return check_results(r, e) && check_states(r, e);
}

static void add_edges(Run *r, uint64_t at, uint64_t bytes) {
    map_add_edge(&r->map, at);
    map_add_edge(&r->map, at + bytes);
}

// Edges of everything that has a content of its own, but for operands.
static void add_known_edges(Run *r) {
    const Plan *p = r->v->plan;
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        add_edges(r, buffer_address(r->v, i), p->buffer[i].bytes);
        add_edges(r, buffer_address(r->v, i), r->v->carried_extent[i]);
    }
    for (uint32_t i = 0; i < p->state_count; i++) {
        uint64_t bytes = 0;
        if (verify_shape_bytes(p->state[i].dtype, p->state[i].rank, p->state[i].dim, &bytes))
            add_edges(r, buffer_address(r->v, p->state[i].buffer), bytes);
    }
    for (uint32_t i = 0; i < p->entry_count; i++) {
        const PlanEntry *e = &p->entry[i];
        for (uint32_t j = 0; j < e->result_count; j++) {
            const PlanResult *res = &e->result[j];
            uint64_t bytes = 0;
            if (verify_shape_bytes(res->dtype, res->rank, res->dim, &bytes))
                add_edges(r, buffer_address(r->v, res->buffer) + res->offset, bytes);
        }
        for (uint32_t j = 0; j < e->input_count; j++) {
            const PlanInput *in = &e->input[j];
            uint64_t bytes = 0;
            if (verify_shape_bytes(in->dtype, in->rank, in->dim, &bytes))
                add_edges(r, buffer_address(r->v, in->buffer), bytes * in->slots);
        }
    }
}

// Operands that are not their whole buffer, in the calls that are executed.
// Counts their edges, and with add adds them: once for the map's room, once for its content.
static size_t each_operand_edge(Run *r, bool add) {
    const Plan *p = r->v->plan;
    size_t count = 0;
    for (uint32_t i = 0; i < p->segment_count; i++)
        for (uint32_t j = 0; j < p->segment[i].instr_count; j++)
            for (uint32_t k = 0; k < p->segment[i].instr[j].operand_count; k++) {
                const PlanOperand *o = &p->segment[i].instr[j].operand[k];
                if (o->offset == 0 && o->bytes == p->buffer[o->buffer].bytes)
                    continue;
                const uint64_t at = buffer_address(r->v, o->buffer) + o->offset;
                // Slots 0 and 1 are executed, each at its own place.
                const bool twice = o->slot_bytes && r->v->segment_calls[i] > 1;
                count += twice ? 4 : 2;
                if (add)
                    add_edges(r, at, o->bytes);
                if (add && twice)
                    add_edges(r, at + o->slot_bytes, o->bytes);
            }
    return count;
}

static bool prepare(Run *r) {
    const Plan *p = r->v->plan;
    PlanMemory *pm = r->v->memory;
    // Whole buffers and carried extents, states, partial operands; below results and inputs.
    size_t edges =
        4 * (size_t)p->buffer_count + 2 * (size_t)p->state_count + each_operand_edge(r, false);
    uint32_t events = 0;
    for (uint32_t i = 0; i < p->entry_count; i++)
        edges += 2 * ((size_t)p->entry[i].result_count + p->entry[i].input_count);
    for (uint32_t i = 0; i < p->segment_count; i++) {
        // Each event has an instruction that signals it, so more can't be right.
        const PlanSegment *s = &p->segment[i];
        if (s->event_count > s->instr_count)
            return verify_refuse(r->v, 13, "%.100s has more events than instructions", s->name);
        events = s->event_count > events ? s->event_count : events;
    }
    const size_t streams = p->stream_count;
    r->event_room = events;
    r->clock = plan_alloc(pm, streams * streams, sizeof *r->clock);
    r->event = plan_alloc(pm, events, streams * sizeof *r->event);
    r->event_seen = plan_alloc(pm, events, 1);
    if (!r->clock || !r->event || !r->event_seen || !map_init(&r->map, edges, p->stream_count, pm))
        return verify_no_memory(r->v);
    // At most the edges counted above: the map has room for no more.
    add_known_edges(r);
    each_operand_edge(r, true);
    return map_ready(&r->map, pm) || verify_no_memory(r->v);
}

bool verify_run(Verifier *v) {
    Run r = {.v = v};
    if (!prepare(&r) || !hash_kernels(&r))
        return false;
    for (uint32_t i = 0; i < v->plan->entry_count; i++)
        if (!execute_entry(&r, i))
            return false;
    return true;
}
