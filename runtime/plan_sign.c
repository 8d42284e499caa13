// Signing a plan: symbolic execution on buffers, as if no two shared a byte.
//
// Each buffer has a sorted list of runs, bytes with one label and consecutive distances.
// Instructions are executed in the order they stand in, each segment once an entry, in the order of
// its first call: what the micro-batches of a segment compute has the same signatures. plan_sign.h
// has the recipe; the verifier follows it on its own, on physical addresses, and shares only the
// hash functions with this file.
#include "runtime/plan_sign.h"

#include <stdlib.h>
#include <string.h>

uint64_t plan_hash_start(void) {
    // FNV-1a's offset basis.
    return 0xcbf29ce484222325u;
}

// Every step is a bijection of h and of word, so that one changed word always changes the result.
uint64_t plan_hash_u64(uint64_t h, uint64_t word) {
    // The multipliers of MurmurHash3's finalizer; odd, hence invertible.
    h = (h ^ word) * 0xff51afd7ed558ccdu;
    h = (h ^ (h >> 32)) * 0xc4ceb9fe1a85ec53u;
    return h ^ (h >> 29);
}

uint64_t plan_hash_bytes(uint64_t h, const void *bytes, size_t size) {
    const unsigned char *at = bytes;
    // The length first, so that zeros at the end count.
    h = plan_hash_u64(h, size);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = 0;
        for (size_t j = i; j < size && j < i + 8; j++)
            word |= (uint64_t)at[j] << (8 * (j - i));
        h = plan_hash_u64(h, word);
    }
    return h;
}

// What keeps states, inputs and carried buffers with one name apart.
static uint64_t label_text(const char *what, const char *first, const char *second) {
    uint64_t h = plan_hash_bytes(plan_hash_start(), what, strlen(what));
    h = plan_hash_bytes(h, first, strlen(first));
    return plan_hash_bytes(h, second, strlen(second));
}

uint64_t plan_label_state(const char *name) {
    return label_text("state", name, "");
}

uint64_t plan_label_input(const char *entry, const char *name) {
    return label_text("input", entry, name);
}

uint64_t plan_label_carried(const char *buffer, uint32_t index) {
    return plan_hash_u64(label_text("carried", buffer, ""), index);
}

// Bytes [low, high) of a buffer; the byte at low has this distance.
typedef struct {
    uint64_t low, high, label, distance;
} Run;

typedef struct {
    Run *run; // sorted, disjoint; bytes in none have no label
    size_t count, capacity;
} Content;

typedef struct {
    Plan *plan;
    Content *content;      // by buffer
    uint64_t *kernel_hash; // by kernel
    PlimStatus status;
} Signer;

// Keeps the first status; gives false.
static bool fail(Signer *s, PlimStatus status) {
    if (s->status == PLIM_OK)
        s->status = status;
    return false;
}

// The first run that ends after byte at.
static size_t content_find(const Content *c, uint64_t at) {
    size_t low = 0, high = c->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (c->run[middle].high <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// Room for count runs. The lists are malloc'ed and freed by plan_sign.
static bool content_reserve(Signer *s, Content *c, size_t count) {
    if (count <= c->capacity)
        return true;
    const size_t capacity = count + count / 2 + 4;
    Run *grown = realloc(c->run, capacity * sizeof *grown);
    if (!grown)
        return fail(s, PLIM_NO_MEMORY);
    c->run = grown;
    c->capacity = capacity;
    return true;
}

// Replaces what [r.low, r.high) held by r.
static bool content_set(Signer *s, Content *c, Run r) {
    if (r.low >= r.high)
        return true;
    // A run in the middle of another makes three of one.
    if (!content_reserve(s, c, c->count + 2))
        return false;
    const size_t first = content_find(c, r.low);
    size_t last = first; // one past the runs that r touches
    // Cost: linear in the runs behind r, which move.
    while (last < c->count && c->run[last].low < r.high)
        last++;
    // What sticks out on either side stays.
    // Left rest, r, right rest: what takes the place of runs first .. last - 1.
    Run keep[3];
    size_t kept = 0;
    if (first < last && c->run[first].low < r.low) {
        keep[kept] = c->run[first];
        keep[kept++].high = r.low;
    }
    keep[kept++] = r;
    if (first < last && c->run[last - 1].high > r.high) {
        const Run *tail = &c->run[last - 1];
        keep[kept++] =
            (Run){r.high, tail->high, tail->label, tail->distance + (r.high - tail->low)};
    }
    if (c->count > last)
        memmove(c->run + first + kept, c->run + last, (c->count - last) * sizeof *c->run);
    memcpy(c->run + first, keep, kept * sizeof *keep);
    c->count = c->count - (last - first) + kept;
    return true;
}

// What a range holds, as copies see it.
typedef struct {
    uint64_t label, distance; // of the first run
    uint64_t hash;            // of all, from plan_hash_start()
    uint32_t runs;
} Found;

// The content of [low, high); fails where a byte has none.
static bool content_find_all(Signer *s, const Content *c, uint64_t low, uint64_t high,
                             Found *found) {
    Found f = {.hash = plan_hash_start()};
    size_t i = content_find(c, low);
    // Bytes below low are hashed; run i is the one that must hold byte low.
    while (low < high) {
        // A gap: nothing wrote this byte.
        if (i == c->count || c->run[i].low > low)
            return fail(s, PLIM_BAD_PLAN);
        const uint64_t label = c->run[i].label;
        const uint64_t distance = c->run[i].distance + (low - c->run[i].low);
        uint64_t end = c->run[i++].high;
        // Neighbours that continue the run belong to it.
        while (i < c->count && end < high && c->run[i].low == end && c->run[i].label == label &&
               c->run[i].distance == distance + (end - low))
            end = c->run[i++].high;
        if (end > high)
            end = high;
        f.hash = plan_hash_u64(plan_hash_u64(plan_hash_u64(f.hash, end - low), label), distance);
        if (f.runs++ == 0) {
            f.label = label;
            f.distance = distance;
        }
        low = end;
    }
    *found = f;
    return true;
}

static uint64_t hash_numbers(uint64_t h, const int64_t *number, size_t count) {
    for (size_t i = 0; i < count; i++)
        h = plan_hash_u64(h, (uint64_t)number[i]);
    return h;
}

// The order of plan_sign.h, to the letter: the verifier has the same on its own.
static uint64_t hash_product(uint64_t h, const PlanProduct *p) {
    h = plan_hash_u64(h, p->library);
    h = plan_hash_u64(h, (uint64_t)p->a);
    h = plan_hash_u64(h, (uint64_t)p->b);
    h = plan_hash_u64(h, (uint64_t)p->c);
    h = hash_numbers(h, p->batch, 2);
    const int64_t size[3] = {p->m, p->n, p->k};
    h = hash_numbers(h, size, 3);
    h = hash_numbers(h, p->a_stride, 4);
    h = hash_numbers(h, p->b_stride, 4);
    h = hash_numbers(h, p->c_stride, 4);
    h = plan_hash_u64(h, p->accumulate);
    const int64_t tile[2] = {p->tile_m, p->tile_n};
    return hash_numbers(h, tile, 2);
}

// kernel(k) of plan_sign.h for every kernel.
static bool hash_kernels(Signer *s) {
    const Plan *p = s->plan;
    for (uint32_t i = 0; i < p->kernel_count; i++) {
        const PlanKernel *k = &p->kernel[i];
        uint64_t h = plan_hash_bytes(plan_hash_start(), k->text, strlen(k->text));
        h = plan_hash_u64(h, k->tiles);
        s->kernel_hash[i] = plan_hash_u64(h, k->workspace);
    }
    // A kernel that is a product goes on with its row.
    for (uint32_t i = 0; i < p->product_count; i++) {
        const uint32_t kernel = p->product[i].kernel;
        if (kernel >= p->kernel_count)
            return fail(s, PLIM_BAD_PLAN);
        s->kernel_hash[kernel] = hash_product(s->kernel_hash[kernel], &p->product[i]);
    }
    return true;
}

// Without a sum that could overflow.
static bool operand_fits(const Plan *p, const PlanOperand *o) {
    return o->buffer < p->buffer_count && o->offset <= p->buffer[o->buffer].bytes &&
           o->bytes <= p->buffer[o->buffer].bytes - o->offset;
}

// Gives the operand's bytes their label; copied is what a copy found in the operand it read.
static bool write_operand(Signer *s, const PlanInstr *instr, uint32_t index, const Found *copied) {
    const PlanOperand *o = &instr->operand[index];
    Run r = {.low = o->offset, .high = o->offset + o->bytes};
    if (instr->kind != INSTR_COPY) {
        r.label = plan_hash_u64(plan_hash_u64(plan_hash_start(), instr->signature), index);
    } else if (copied->runs == 1) {
        r.label = copied->label;
        r.distance = copied->distance;
    } else {
        r.label = copied->hash;
    }
    return content_set(s, &s->content[o->buffer], r);
}

uint32_t plan_next_in_rows(const PlanInstr *instr, uint32_t last) {
    const PlanOperand *o = instr->operand;
    uint32_t next = UINT32_MAX;
    for (uint32_t i = 0; i < instr->operand_count; i++) {
        const bool behind = last == UINT32_MAX || o[i].offset > o[last].offset ||
                            (o[i].offset == o[last].offset && i > last);
        if (o[i].pitch && behind && (next == UINT32_MAX || o[i].offset < o[next].offset))
            next = i;
    }
    return next;
}

static bool write_operands(Signer *s, const PlanInstr *instr, const Found *copied) {
    for (uint32_t i = 0; i < instr->operand_count; i++) {
        const PlanOperand *o = &instr->operand[i];
        if (o->access != PLAN_READ && !o->pitch && !write_operand(s, instr, i, copied))
            return false;
    }
    for (uint32_t i = plan_next_in_rows(instr, UINT32_MAX); i != UINT32_MAX;
         i = plan_next_in_rows(instr, i))
        if (!write_operand(s, instr, i, copied))
            return false;
    return true;
}

static bool has_kernel(const PlanInstr *instr) {
    return instr->kind == INSTR_KERNEL || instr->kind == INSTR_PRODUCT;
}

// signature(i) of plan_sign.h, and the labels of what it writes.
static bool sign_instr(Signer *s, PlanInstr *instr) {
    // Copies and collectives write operand 0 and read operand 1, a fill writes operand 0.
    if (has_kernel(instr) ? instr->kernel >= s->plan->kernel_count
                          : instr->operand_count != (instr->kind == INSTR_FILL ? 1u : 2u))
        return fail(s, PLIM_BAD_PLAN);
    Found found = {0};
    uint64_t h = plan_hash_u64(plan_hash_start(), (uint64_t)instr->kind);
    if (has_kernel(instr))
        h = plan_hash_u64(h, s->kernel_hash[instr->kernel]);
    h = plan_hash_u64(h, instr->imm_count);
    h = hash_numbers(h, instr->imm, instr->imm_count);
    h = plan_hash_u64(h, instr->operand_count);
    for (uint32_t i = 0; i < instr->operand_count; i++) {
        const PlanOperand *o = &instr->operand[i];
        if (!operand_fits(s->plan, o))
            return fail(s, PLIM_BAD_PLAN);
        h = plan_hash_u64(h, (uint64_t)o->access);
        h = plan_hash_u64(h, o->bytes);
        h = plan_hash_u64(h, o->slot_bytes);
        if (o->pitch)
            h = plan_hash_u64(plan_hash_u64(h, o->row), o->pitch);
        // What it held before does not matter.
        if (o->access == PLAN_WRITE)
            continue;
        if (!content_find_all(s, &s->content[o->buffer], o->offset, o->offset + o->bytes, &found))
            return false;
        h = plan_hash_u64(h, found.hash);
    }
    // All is read before anything is written: operands may share bytes in place.
    instr->signature = h;
    return write_operands(s, instr, &found);
}

// The whole buffer holds one label, from distance 0 on.
static bool label_buffer(Signer *s, uint32_t buffer, uint64_t label) {
    if (buffer >= s->plan->buffer_count)
        return fail(s, PLIM_BAD_PLAN);
    s->content[buffer].count = 0;
    return content_set(s, &s->content[buffer], (Run){0, s->plan->buffer[buffer].bytes, label, 0});
}

// Nothing outlives an entry but states: everything else has no label again.
static bool entry_begin(Signer *s, const PlanEntry *e) {
    const Plan *p = s->plan;
    for (uint32_t i = 0; i < p->buffer_count; i++)
        s->content[i].count = 0;
    for (uint32_t i = 0; i < p->state_count; i++)
        if (!label_buffer(s, p->state[i].buffer, plan_label_state(p->state[i].name)))
            return false;
    for (uint32_t i = 0; i < e->input_count; i++)
        if (!label_buffer(s, e->input[i].buffer, plan_label_input(e->name, e->input[i].name)))
            return false;
    return true;
}

static uint64_t shape_bytes(PlanDType dtype, uint32_t rank, const int64_t *dim) {
    uint64_t bytes = plan_dtype_bytes(dtype);
    for (uint32_t i = 0; i < rank; i++)
        bytes *= (uint64_t)dim[i];
    return bytes;
}

// Results and commits, from what the buffers hold after the last call.
static bool sign_outcome(Signer *s, PlanEntry *e) {
    const Plan *p = s->plan;
    Found found;
    for (uint32_t i = 0; i < e->result_count; i++) {
        PlanResult *r = &e->result[i];
        const uint64_t bytes = shape_bytes(r->dtype, r->rank, r->dim);
        if (!operand_fits(p,
                          &(PlanOperand){.buffer = r->buffer, .offset = r->offset, .bytes = bytes}))
            return fail(s, PLIM_BAD_PLAN);
        if (!content_find_all(s, &s->content[r->buffer], r->offset, r->offset + bytes, &found))
            return false;
        r->signature = found.hash;
    }
    for (uint32_t i = 0; i < e->commit_count; i++) {
        PlanCommit *c = &e->commit[i];
        if (c->state >= p->state_count)
            return fail(s, PLIM_BAD_PLAN);
        const PlanState *state = &p->state[c->state];
        const uint64_t bytes = shape_bytes(state->dtype, state->rank, state->dim);
        if (!content_find_all(s, &s->content[state->buffer], 0, bytes, &found))
            return false;
        c->signature = found.hash;
    }
    return true;
}

// The first call of a segment in the entry, and whether there are others.
static bool is_first_call(const PlanEntry *e, uint32_t call, bool *repeated) {
    *repeated = false;
    for (uint32_t i = 0; i < e->call_count; i++) {
        if (e->call[i].segment != e->call[call].segment)
            continue;
        if (i < call)
            return false;
        *repeated = *repeated || i > call;
    }
    return true;
}

// Each segment once, at its first call: later ones have the same signatures.
static bool sign_entry(Signer *s, uint32_t index) {
    const Plan *p = s->plan;
    PlanEntry *e = &s->plan->entry[index];
    if (!entry_begin(s, e))
        return false;
    for (uint32_t i = 0; i < e->call_count; i++) {
        bool repeated;
        if (e->call[i].segment >= p->segment_count)
            return fail(s, PLIM_BAD_PLAN);
        // The first test is the common case and keeps long programs linear.
        if ((i && e->call[i - 1].segment == e->call[i].segment) || !is_first_call(e, i, &repeated))
            continue;
        // As every micro-batch begins, the first one, too.
        for (uint32_t b = 0; repeated && b < p->buffer_count; b++)
            if (p->buffer[b].carried && p->buffer[b].entry == index &&
                !label_buffer(s, b, plan_label_carried(p->buffer[b].name, b)))
                return false;
        PlanSegment *segment = &s->plan->segment[e->call[i].segment];
        for (uint32_t j = 0; j < segment->instr_count; j++)
            if (!sign_instr(s, &segment->instr[j]))
                return false;
    }
    return sign_outcome(s, e);
}

PlimStatus plan_sign(Plan *p) {
    Signer s = {.plan = p};
    s.content = calloc((size_t)p->buffer_count + 1, sizeof *s.content);
    s.kernel_hash = calloc((size_t)p->kernel_count + 1, sizeof *s.kernel_hash);
    if (!s.content || !s.kernel_hash)
        fail(&s, PLIM_NO_MEMORY);
    else if (hash_kernels(&s))
        for (uint32_t i = 0; i < p->entry_count && sign_entry(&s, i); i++)
            continue;
    for (uint32_t i = 0; s.content && i < p->buffer_count; i++)
        free(s.content[i].run);
    free(s.content);
    free(s.kernel_hash);
    return s.status;
}
