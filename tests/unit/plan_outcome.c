// Executing a plan on bytes: what plan_verify promises, tried out. A kernel is a hash of its text,
// its immediates and every byte it reads; each byte it writes is one of the hash's. Streams take
// turns by seed, as far as events let them; memory that nothing wrote is filled by seed. So are
// joints computed in one, where the kernel stands, or apart.
#include "plan_corrupt.h"
#include "runtime/plan_sign.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const Plan *p;
    uint8_t **arena; // by space
    uint64_t random;
} Machine;

static uint64_t draw(Machine *m) {
    return m->random = plan_hash_u64(m->random, 1);
}

static void noise(Machine *m, uint8_t *at, uint64_t bytes) {
    for (uint64_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)draw(m);
}

// Bytes that a label stands for.
static void expand(uint64_t label, uint8_t *at, uint64_t bytes) {
    for (uint64_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(plan_hash_u64(label, i) >> 7);
}

static uint8_t *address(const Machine *m, uint32_t buffer) {
    return m->arena[m->p->buffer[buffer].space] + m->p->buffer[buffer].offset;
}

static uint64_t kernel_word(const Plan *p, uint32_t kernel) {
    const PlanKernel *k = &p->kernel[kernel];
    uint64_t h = plan_hash_bytes(k->tiles, k->text, strlen(k->text));
    for (uint32_t i = 0; i < p->product_count; i++) {
        const PlanProduct *r = &p->product[i];
        if (r->kernel == kernel) {
            h = plan_hash_bytes(h, r->batch, sizeof r->batch);
            h = plan_hash_bytes(h, r->a_stride, sizeof r->a_stride);
            h = plan_hash_bytes(h, r->b_stride, sizeof r->b_stride);
            h = plan_hash_bytes(h, r->c_stride, sizeof r->c_stride);
            h = plan_hash_u64(plan_hash_u64(plan_hash_u64(h, (uint64_t)r->m), (uint64_t)r->n),
                              (uint64_t)r->k);
        }
    }
    return h;
}

// What lies between rows stays.
static void write(const PlanOperand *o, uint64_t label, uint8_t *at) {
    const uint64_t row = o->pitch ? o->row : o->bytes, pitch = o->pitch ? o->pitch : o->bytes;
    for (uint64_t from = 0; from < o->bytes; from += pitch)
        expand(plan_hash_u64(label, from), at + from, row);
}

static void execute(Machine *m, const PlanInstr *i, uint32_t slot) {
    uint8_t *at[64];
    for (uint32_t k = 0; k < i->operand_count; k++)
        at[k] = address(m, i->operand[k].buffer) + i->operand[k].offset +
                slot * i->operand[k].slot_bytes;
    if (i->kind == INSTR_FILL) {
        memset(at[0], (int)i->imm[0], i->operand[0].bytes);
        return;
    }
    // Of one rank, a collective is a copy.
    if (i->kind == INSTR_COPY || plan_is_collective(i->kind)) {
        memmove(at[0], at[1], i->operand[0].bytes);
        return;
    }
    uint64_t h =
        plan_hash_bytes(kernel_word(m->p, i->kernel), i->imm, i->imm_count * sizeof *i->imm);
    for (uint32_t k = 0; k < i->operand_count; k++)
        h = i->operand[k].access == PLAN_WRITE ? plan_hash_u64(h, i->operand[k].bytes)
                                               : plan_hash_bytes(h, at[k], i->operand[k].bytes);
    if (i->workspace != UINT32_MAX)
        noise(m, address(m, i->workspace), m->p->kernel[i->kernel].workspace * m->p->workers);
    for (uint32_t k = 0; k < i->operand_count; k++)
        if (i->operand[k].access != PLAN_READ)
            write(&i->operand[k], plan_hash_u64(h, k), at[k]);
}

// Both where the kernel stands. The product's result is nowhere then, unless the epilogue leaves
// it.
static void execute_in_one(Machine *m, const PlanSegment *s, const PlanJoint *g, uint32_t slot) {
    const PlanInstr *kernel = &s->instr[g->kernel];
    const PlanOperand *c = &s->instr[g->product].operand[2];
    bool stays = g->aux == g->from;
    execute(m, &s->instr[g->product], slot);
    execute(m, kernel, slot);
    for (uint32_t k = 0; k < kernel->operand_count; k++)
        stays = stays ||
                (kernel->operand[k].access != PLAN_READ && kernel->operand[k].buffer == c->buffer);
    if (!stays)
        noise(m, address(m, c->buffer) + c->offset, c->bytes);
}

static void execute_either_way(Machine *m, const PlanSegment *s, uint32_t index, uint32_t slot,
                               bool in_one) {
    const uint32_t segment = (uint32_t)(s - m->p->segment);
    const PlanJoint *g = in_one ? plan_joint_at(m->p, segment, index) : NULL;
    if (!g)
        execute(m, &s->instr[index], slot);
    else if (g->kernel == index)
        execute_in_one(m, s, g, slot);
}

static bool may_run(const PlanInstr *i, const uint8_t *signalled) {
    for (uint32_t w = 0; w < i->wait_count; w++)
        if (!signalled[i->wait[w]])
            return false;
    return true;
}

// One call: streams in random turns. False when every stream waits.
static bool run_call(Machine *m, const PlanSegment *s, uint32_t slot) {
    uint32_t at[PLAN_STREAMS_MAX] = {0};
    uint8_t *signalled = calloc((size_t)s->event_count + 1, 1);
    uint32_t done = 0, idle = 0;
    const bool in_one = draw(m) >> 11 & 1;
    while (signalled && done < s->instr_count && idle < 64 * PLAN_STREAMS_MAX) {
        const uint32_t stream = (uint32_t)(draw(m) >> 11) % m->p->stream_count;
        uint32_t *i = &at[stream];
        while (*i < s->instr_count && s->instr[*i].stream != stream)
            (*i)++;
        idle++;
        if (*i == s->instr_count || !may_run(&s->instr[*i], signalled))
            continue;
        execute_either_way(m, s, *i, slot, in_one);
        if (s->instr[*i].signal != UINT32_MAX)
            signalled[s->instr[*i].signal] = 1;
        (*i)++;
        done++;
        idle = 0;
    }
    free(signalled);
    return done == s->instr_count;
}

static uint64_t shape_bytes(PlanDType dtype, uint32_t rank, const int64_t *dim) {
    uint64_t bytes = plan_dtype_bytes(dtype);
    for (uint32_t i = 0; i < rank; i++)
        bytes *= (uint64_t)dim[i];
    return bytes;
}

static bool run_entry(Machine *m, const PlanEntry *e, uint64_t *out) {
    const Plan *p = m->p;
    for (uint32_t i = 0; i < p->space_count; i++)
        noise(m, m->arena[i], p->space[i].bytes);
    for (uint32_t i = 0; i < p->state_count; i++) {
        const PlanState *s = &p->state[i];
        expand(plan_label_state(s->name), address(m, s->buffer),
               shape_bytes(s->dtype, s->rank, s->dim));
    }
    for (uint32_t i = 0; i < e->input_count; i++) {
        const PlanInput *in = &e->input[i];
        expand(plan_label_input(e->name, in->name), address(m, in->buffer),
               shape_bytes(in->dtype, in->rank, in->dim) * in->slots);
    }
    for (uint32_t i = 0; i < e->call_count; i++)
        if (!run_call(m, &p->segment[e->call[i].segment], e->call[i].slot))
            return false;
    for (uint32_t i = 0; i < e->result_count; i++) {
        const PlanResult *r = &e->result[i];
        *out = plan_hash_bytes(*out, address(m, r->buffer) + r->offset,
                               shape_bytes(r->dtype, r->rank, r->dim));
    }
    for (uint32_t i = 0; i < p->state_count; i++) {
        const PlanState *s = &p->state[i];
        *out = plan_hash_bytes(*out, address(m, s->buffer), shape_bytes(s->dtype, s->rank, s->dim));
    }
    return true;
}

bool plan_outcome(const Plan *p, uint64_t seed, uint64_t *out) {
    Machine m = {.p = p, .random = plan_hash_u64(plan_hash_start(), seed)};
    m.arena = calloc((size_t)p->space_count + 1, sizeof *m.arena);
    bool good = m.arena != NULL;
    for (uint32_t i = 0; good && i < p->space_count; i++)
        good = (m.arena[i] = malloc(p->space[i].bytes + 1)) != NULL;
    *out = plan_hash_start();
    for (uint32_t i = 0; good && i < p->entry_count; i++)
        good = run_entry(&m, &p->entry[i], out);
    for (uint32_t i = 0; m.arena && i < p->space_count; i++)
        free(m.arena[i]);
    free(m.arena);
    return good;
}
