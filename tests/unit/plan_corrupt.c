// The corrupter: one function a kind, each changing one thing in one place.
#include "plan_corrupter.h"

#include <stdio.h>
#include <string.h>

uint64_t corrupter_next(Corrupter *c) {
    uint64_t z = c->random += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint32_t corrupter_below(Corrupter *c, uint32_t limit) {
    return (uint32_t)(corrupter_next(c) % limit);
}

PlanInstr *corrupter_pick(Corrupter *c, InstrTest test, PlanSegment **segment) {
    uint32_t count = 0;
    for (int round = 0; round < 2; round++) {
        uint32_t at = round ? corrupter_below(c, count) : 0;
        for (uint32_t i = 0; i < c->p->segment_count; i++)
            for (uint32_t j = 0; j < c->p->segment[i].instr_count; j++) {
                PlanInstr *instr = &c->p->segment[i].instr[j];
                if (test && !test(c->p, instr))
                    continue;
                if (round && at-- == 0) {
                    *segment = &c->p->segment[i];
                    return instr;
                }
                count += round == 0;
            }
        if (count == 0)
            return NULL;
    }
    return NULL;
}

static bool has_kernel(const Plan *p, const PlanInstr *i) {
    (void)p;
    return i->kind == INSTR_KERNEL || i->kind == INSTR_PRODUCT;
}
static bool has_wait(const Plan *p, const PlanInstr *i) {
    (void)p;
    return i->wait_count > 0;
}
static bool has_signal(const Plan *p, const PlanInstr *i) {
    (void)p;
    return i->signal != UINT32_MAX;
}
static bool has_imm(const Plan *p, const PlanInstr *i) {
    (void)p;
    return i->imm_count > 0;
}
static bool has_slot(const Plan *p, const PlanInstr *i) {
    (void)p;
    for (uint32_t k = 0; k < i->operand_count; k++)
        if (i->operand[k].slot_bytes)
            return true;
    return false;
}
static bool has_workspace(const Plan *p, const PlanInstr *i) {
    return has_kernel(p, i) && i->workspace != UINT32_MAX && p->kernel[i->kernel].workspace;
}
static bool is_fill(const Plan *p, const PlanInstr *i) {
    (void)p;
    return i->kind == INSTR_FILL;
}
static bool has_two_reads(const Plan *p, const PlanInstr *i) {
    (void)p;
    for (uint32_t k = 1; k < i->operand_count; k++) {
        const PlanOperand *a = &i->operand[k - 1], *b = &i->operand[k];
        if (a->access == PLAN_READ && b->access == PLAN_READ &&
            (a->buffer != b->buffer || a->offset != b->offset || a->bytes != b->bytes))
            return true;
    }
    return false;
}

static bool shift_offset(Corrupter *c) {
    PlanBuffer *b = &c->p->buffer[corrupter_below(c, c->p->buffer_count)];
    const uint64_t room = c->p->space[b->space].bytes - b->bytes;
    const uint64_t to = room ? corrupter_next(c) % (room / b->alignment + 1) * b->alignment : 0;
    if (to == b->offset)
        return false;
    b->offset = to;
    return true;
}

typedef struct {
    uint32_t first, last; // positions
} Span;

static bool uses(const PlanInstr *instr, uint32_t buffer) {
    bool used = instr->workspace == buffer;
    for (uint32_t k = 0; k < instr->operand_count; k++)
        used = used || instr->operand[k].buffer == buffer;
    return used;
}

static bool is_input(const PlanEntry *e, uint32_t buffer) {
    for (uint32_t i = 0; i < e->input_count; i++)
        if (e->input[i].buffer == buffer)
            return true;
    return false;
}

// When a buffer of the entry must be live at the least, as the verifier's rule 10 has it: where
// copies run beside compute, ranges are longer. first > last: never.
static Span needed_span(const Plan *p, const PlanEntry *e, uint32_t buffer) {
    Span out = {UINT32_MAX, 0};
    uint32_t begin = 0;
    for (uint32_t c = 0; c < e->call_count; c++) {
        const PlanSegment *s = &p->segment[e->call[c].segment];
        if (e->call[c].slot > 0)
            continue;
        const bool repeated = c + 1 < e->call_count && e->call[c + 1].slot > 0;
        // Of every call.
        const bool stays = repeated && (p->buffer[buffer].first < begin || is_input(e, buffer));
        for (uint32_t i = 0; i < s->instr_count; i++)
            if (uses(&s->instr[i], buffer)) {
                out.first = out.first < begin + i ? out.first : begin + i;
                out.last = begin + (stays ? s->instr_count - 1 : i);
            }
        begin += s->instr_count;
    }
    for (uint32_t i = 0; i < e->result_count && begin; i++)
        if (e->result[i].buffer == buffer)
            out.last = begin - 1;
    return out;
}

// Cuts the range so that it misses what it is needed for.
static bool shorten_range(Corrupter *c) {
    const uint32_t buffer = corrupter_below(c, c->p->buffer_count);
    PlanBuffer *b = &c->p->buffer[buffer];
    if (b->entry == UINT32_MAX)
        return false;
    const Span needed = needed_span(c->p, &c->p->entry[b->entry], buffer);
    const bool end = corrupter_below(c, 2);
    if (needed.first > needed.last || (end ? needed.last == b->first : needed.first == b->last))
        return false;
    if (end)
        b->last = b->first + corrupter_below(c, needed.last - b->first);
    else
        b->first = needed.first + 1 + corrupter_below(c, b->last - needed.first);
    return true;
}

static bool drop_wait(Corrupter *c) {
    PlanSegment *s;
    PlanInstr *i = corrupter_pick(c, has_wait, &s);
    if (!i)
        return false;
    i->wait[corrupter_below(c, i->wait_count)] = i->wait[i->wait_count - 1];
    i->wait_count--;
    return true;
}

static bool drop_signal(Corrupter *c) {
    PlanSegment *s;
    PlanInstr *i = corrupter_pick(c, has_signal, &s);
    if (i)
        i->signal = UINT32_MAX;
    return i != NULL;
}

static bool swap_operands(Corrupter *c) {
    PlanSegment *s;
    PlanInstr *i = corrupter_pick(c, has_two_reads, &s);
    if (!i)
        return false;
    for (;;) {
        const uint32_t k = 1 + corrupter_below(c, i->operand_count - 1);
        PlanOperand *a = &i->operand[k - 1], *b = &i->operand[k];
        if (a->access != PLAN_READ || b->access != PLAN_READ ||
            (a->buffer == b->buffer && a->offset == b->offset && a->bytes == b->bytes))
            continue;
        const PlanOperand keep = *a;
        *a = *b;
        *b = keep;
        return true;
    }
}

static bool swap_instructions(Corrupter *c) {
    PlanSegment *s;
    if (!corrupter_pick(c, NULL, &s) || s->instr_count < 2)
        return false;
    const uint32_t a = corrupter_below(c, s->instr_count), b = corrupter_below(c, s->instr_count);
    if (a == b)
        return false;
    const PlanInstr keep = s->instr[a];
    s->instr[a] = s->instr[b];
    s->instr[b] = keep;
    return true;
}

static bool wrong_stream(Corrupter *c) {
    PlanSegment *s;
    PlanInstr *i = corrupter_pick(c, NULL, &s);
    if (!i || c->p->stream_count < 2)
        return false;
    i->stream = (i->stream + 1 + corrupter_below(c, c->p->stream_count - 1)) % c->p->stream_count;
    return true;
}

static bool wrong_kernel(Corrupter *c) {
    PlanSegment *s;
    PlanInstr *i = corrupter_pick(c, has_kernel, &s);
    if (!i || c->p->kernel_count < 2)
        return false;
    i->kernel = (i->kernel + 1 + corrupter_below(c, c->p->kernel_count - 1)) % c->p->kernel_count;
    return true;
}

static bool change_immediate(Corrupter *c) {
    PlanSegment *s;
    PlanInstr *i = corrupter_pick(c, has_imm, &s);
    if (i)
        i->imm[corrupter_below(c, i->imm_count)] ^= (int64_t)1 << corrupter_below(c, 8);
    return i != NULL;
}

static bool smaller_space(Corrupter *c) {
    PlanSpace *s = &c->p->space[corrupter_below(c, c->p->space_count)];
    if (s->bytes == 0)
        return false;
    s->bytes -= 1 + corrupter_next(c) % s->bytes;
    return true;
}

// Moves a buffer onto another that is live at the same time.
static bool overlap_buffers(Corrupter *c) {
    Plan *p = c->p;
    PlanBuffer *a = &p->buffer[corrupter_below(c, p->buffer_count)];
    const PlanBuffer *b = &p->buffer[corrupter_below(c, p->buffer_count)];
    const bool meet = a != b && a->space == b->space && a->bytes && b->bytes &&
                      (a->entry == b->entry || a->entry == UINT32_MAX || b->entry == UINT32_MAX) &&
                      a->first <= b->last && b->first <= a->last;
    if (!meet || b->offset % a->alignment)
        return false;
    a->offset = b->offset;
    return true;
}

static PlanOperand *pick_operand(Corrupter *c) {
    PlanSegment *s;
    PlanInstr *i = corrupter_pick(c, NULL, &s);
    return i ? &i->operand[corrupter_below(c, i->operand_count)] : NULL;
}

static bool wrong_access(Corrupter *c) {
    PlanOperand *o = pick_operand(c);
    if (o)
        o->access = (PlanAccess)(((uint32_t)o->access + 1 + corrupter_below(c, 2)) % 3);
    return o != NULL;
}

static bool smaller_operand(Corrupter *c) {
    PlanOperand *o = pick_operand(c);
    if (!o || o->bytes == 0)
        return false;
    o->bytes -= 1 + corrupter_next(c) % o->bytes;
    return true;
}

static bool shift_operand(Corrupter *c) {
    PlanOperand *o = pick_operand(c);
    if (!o)
        return false;
    const uint64_t by = 4 + 4 * (uint64_t)corrupter_below(c, 64);
    o->offset = o->offset >= by && corrupter_below(c, 2) ? o->offset - by : o->offset + by;
    return true;
}

static bool wrong_buffer(Corrupter *c) {
    PlanOperand *o = pick_operand(c);
    if (!o || c->p->buffer_count < 2)
        return false;
    o->buffer = (o->buffer + 1 + corrupter_below(c, c->p->buffer_count - 1)) % c->p->buffer_count;
    return true;
}

static void remove_instr(PlanSegment *s, const PlanInstr *i) {
    const size_t at = (size_t)(i - s->instr);
    memmove(&s->instr[at], &s->instr[at + 1], (s->instr_count - at - 1) * sizeof *i);
    s->instr_count--;
}

static bool drop_instruction(Corrupter *c) {
    PlanSegment *s;
    PlanInstr *i = corrupter_pick(c, NULL, &s);
    if (i)
        remove_instr(s, i);
    return i != NULL;
}

static bool drop_fill(Corrupter *c) {
    PlanSegment *s;
    PlanInstr *i = corrupter_pick(c, is_fill, &s);
    if (i)
        remove_instr(s, i);
    return i != NULL;
}

// In the place of the next one, so that no list has to grow.
static bool duplicate_instruction(Corrupter *c) {
    PlanSegment *s;
    PlanInstr *i = corrupter_pick(c, NULL, &s);
    if (!i || i == &s->instr[s->instr_count - 1])
        return false;
    i[1] = i[0];
    return true;
}

static bool wrong_slot_bytes(Corrupter *c) {
    PlanSegment *s;
    PlanInstr *i = corrupter_pick(c, has_slot, &s);
    PlanOperand *o = i && corrupter_below(c, 4) ? NULL : pick_operand(c);
    for (uint32_t k = 0; i && !o && k < i->operand_count; k++)
        o = i->operand[k].slot_bytes ? &i->operand[k] : NULL;
    if (!o)
        return false;
    o->slot_bytes = o->slot_bytes && corrupter_below(c, 2)
                        ? 0
                        : o->slot_bytes + 4 + 4 * (uint64_t)corrupter_below(c, 16);
    return true;
}

static bool has_rows(const Plan *p, const PlanInstr *i) {
    (void)p;
    for (uint32_t k = 0; k < i->operand_count; k++)
        if (i->operand[k].pitch)
            return true;
    return false;
}

// In the place of another result of the kernel, which takes theirs.
static bool swap_rows(PlanInstr *i, PlanOperand *o) {
    for (uint32_t k = 0; k < i->operand_count; k++) {
        PlanOperand *other = &i->operand[k];
        if (other->buffer != o->buffer || other->pitch != o->pitch || other->offset == o->offset)
            continue;
        const uint64_t keep = o->offset;
        o->offset = other->offset;
        other->offset = keep;
        return true;
    }
    return false;
}

// Longer or shorter, wider or closer, elsewhere, or none.
static bool wrong_rows(Corrupter *c) {
    PlanSegment *s;
    PlanInstr *i = corrupter_pick(c, has_rows, &s);
    PlanOperand *o = i ? &i->operand[corrupter_below(c, i->operand_count)] : NULL;
    if (!o || !o->pitch)
        return false;
    const uint64_t by = 4 + 4 * (uint64_t)corrupter_below(c, (uint32_t)(o->pitch / 4));
    const uint64_t less = 4 + by % (o->row - 4);
    switch (corrupter_below(c, 6)) {
    case 0:
        o->row += by;
        o->bytes += by;
        return true;
    case 1:
        o->row -= less;
        o->bytes -= less;
        return true;
    case 2:
        o->pitch += o->pitch > by && corrupter_below(c, 2) ? -by : by;
        return true;
    case 3:
        o->offset += o->offset >= by && corrupter_below(c, 2) ? -by : by;
        return true;
    case 4:
        return swap_rows(i, o);
    default:
        o->row = o->pitch = 0;
        return true;
    }
}

static bool wrong_carried(Corrupter *c) {
    PlanBuffer *b = &c->p->buffer[corrupter_below(c, c->p->buffer_count)];
    b->carried = !b->carried;
    return true;
}

static PlanEntry *pick_entry(Corrupter *c) {
    return c->p->entry_count ? &c->p->entry[corrupter_below(c, c->p->entry_count)] : NULL;
}

static bool wrong_result(Corrupter *c) {
    PlanEntry *e = pick_entry(c);
    if (!e || e->result_count == 0)
        return false;
    PlanResult *r = &e->result[corrupter_below(c, e->result_count)];
    if (corrupter_below(c, 2))
        r->offset += r->offset >= 4 && corrupter_below(c, 2) ? (uint64_t)-4 : 4;
    else
        r->buffer =
            (r->buffer + 1 + corrupter_below(c, c->p->buffer_count - 1)) % c->p->buffer_count;
    return true;
}

static bool wrong_commit(Corrupter *c) {
    PlanEntry *e = pick_entry(c);
    if (!e || e->commit_count == 0 || c->p->state_count < 2)
        return false;
    PlanCommit *m = &e->commit[corrupter_below(c, e->commit_count)];
    m->state = (m->state + 1 + corrupter_below(c, c->p->state_count - 1)) % c->p->state_count;
    return true;
}

static bool drop_commit(Corrupter *c) {
    PlanEntry *e = pick_entry(c);
    if (!e || e->commit_count == 0)
        return false;
    e->commit[corrupter_below(c, e->commit_count)] = e->commit[e->commit_count - 1];
    e->commit_count--;
    return true;
}

static bool smaller_workspace(Corrupter *c) {
    PlanSegment *s;
    PlanInstr *i = corrupter_pick(c, has_workspace, &s);
    if (!i)
        return false;
    PlanBuffer *b = &c->p->buffer[i->workspace];
    const uint64_t need = c->p->kernel[i->kernel].workspace * c->p->workers;
    b->bytes = corrupter_next(c) % need;
    return true;
}

static bool share_workspace(Corrupter *c) {
    PlanSegment *s;
    PlanInstr *i = corrupter_pick(c, has_workspace, &s);
    if (i)
        i->workspace = corrupter_below(c, 2)
                           ? i->operand[corrupter_below(c, i->operand_count)].buffer
                           : UINT32_MAX;
    return i != NULL;
}

static bool change_load(Corrupter *c) {
    PlanSpace *s = &c->p->space[corrupter_below(c, c->p->space_count)];
    s->load ^= (uint64_t)1 << corrupter_below(c, 20);
    return true;
}

static bool drop_call(Corrupter *c) {
    PlanEntry *e = pick_entry(c);
    if (!e || e->call_count == 0)
        return false;
    const uint32_t at = corrupter_below(c, e->call_count);
    memmove(&e->call[at], &e->call[at + 1], (e->call_count - at - 1) * sizeof *e->call);
    e->call_count--;
    return true;
}

static bool wrong_slot(Corrupter *c) {
    PlanEntry *e = pick_entry(c);
    if (!e || e->call_count == 0)
        return false;
    e->call[corrupter_below(c, e->call_count)].slot ^= 1u << corrupter_below(c, 4);
    return true;
}

static bool change_product(Corrupter *c) {
    if (c->p->product_count == 0)
        return false;
    PlanProduct *r = &c->p->product[corrupter_below(c, c->p->product_count)];
    int64_t *const field[] = {&r->m,           &r->n,           &r->k,           &r->tile_m,
                              &r->tile_n,      &r->batch[0],    &r->batch[1],    &r->a_stride[0],
                              &r->a_stride[2], &r->b_stride[2], &r->b_stride[3], &r->c_stride[2]};
    *field[corrupter_below(c, sizeof field / sizeof *field)] += 1 + corrupter_below(c, 3);
    return true;
}

static bool change_text(Corrupter *c) {
    PlanSegment *s;
    const PlanInstr *i = corrupter_pick(c, has_kernel, &s);
    PlanKernel *k = i ? &c->p->kernel[i->kernel] : NULL;
    if (!k || !k->text[0])
        return false;
    k->text++;
    return true;
}

static bool change_signature(Corrupter *c) {
    PlanSegment *s;
    PlanInstr *i = corrupter_pick(c, NULL, &s);
    if (i)
        i->signature ^= (uint64_t)1 << corrupter_below(c, 64);
    return i != NULL;
}

static bool wrong_input(Corrupter *c) {
    PlanEntry *e = pick_entry(c);
    if (!e || e->input_count == 0)
        return false;
    PlanInput *in = &e->input[corrupter_below(c, e->input_count)];
    in->buffer = (in->buffer + 1 + corrupter_below(c, c->p->buffer_count - 1)) % c->p->buffer_count;
    return true;
}

static bool more_workers(Corrupter *c) {
    PlanSegment *s;
    if (!corrupter_pick(c, has_workspace, &s))
        return false;
    c->p->workers += 1000000 + corrupter_below(c, 100);
    return true;
}

static bool misalign(Corrupter *c) {
    PlanBuffer *b = &c->p->buffer[corrupter_below(c, c->p->buffer_count)];
    if (b->alignment < 2)
        return false;
    b->offset += 1 + corrupter_below(c, b->alignment - 1);
    return true;
}

bool plan_corrupt(Plan *p, PlanCorruption kind, uint64_t seed) {
    static bool (*const corrupt[CORRUPT_COUNT])(Corrupter *) = {
        shift_offset,          shorten_range,     drop_wait,        drop_signal,
        swap_operands,         swap_instructions, wrong_stream,     wrong_kernel,
        change_immediate,      smaller_space,     overlap_buffers,  wrong_access,
        smaller_operand,       shift_operand,     wrong_buffer,     drop_instruction,
        duplicate_instruction, wrong_slot_bytes,  wrong_carried,    drop_fill,
        wrong_result,          wrong_commit,      drop_commit,      smaller_workspace,
        share_workspace,       change_load,       drop_call,        wrong_slot,
        change_product,        change_text,       change_signature, wrong_input,
        more_workers,          misalign,          corrupt_launch,   corrupt_map,
        corrupt_joint,         corrupt_sum,       wrong_rows};
    Corrupter c = {.p = p, .random = seed * 0x2545F4914F6CDD1Du + (uint64_t)kind};
    // A few tries, where the first place has nothing to change. A failed try changes nothing.
    if (p->buffer_count == 0 || p->space_count == 0)
        return false;
    for (int i = 0; i < 200; i++)
        if (corrupt[kind](&c))
            return true;
    return false;
}

const char *plan_corruption_name(PlanCorruption kind) {
    static const char *const name[] = {
#define C(ID, NAME, STRICT, RULE) NAME,
        PLAN_CORRUPTIONS(C)
#undef C
    };
    return name[kind];
}

bool plan_corruption_is_strict(PlanCorruption kind) {
    static const bool strict[] = {
#define C(ID, NAME, STRICT, RULE) STRICT,
        PLAN_CORRUPTIONS(C)
#undef C
    };
    return strict[kind];
}

int plan_corruption_rule(PlanCorruption kind) {
    static const int rule[] = {
#define C(ID, NAME, STRICT, RULE) RULE,
        PLAN_CORRUPTIONS(C)
#undef C
    };
    return rule[kind];
}

bool plan_corruption_is_refused(PlanCorruption kind, const char *text) {
    int rule = 0;
    return sscanf(text, "unsafe plan: rule %d: ", &rule) == 1 &&
           (plan_corruption_rule(kind) == 0 || rule == plan_corruption_rule(kind));
}
