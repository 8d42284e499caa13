// Corruptions of sums over micro-batches that live in far memory (rule 16's copies). The plan is
// signed anew after each, so that no signature gives it away: what is left is the rule itself.
#include "plan_corrupter.h"
#include "runtime/plan_sign.h"

static bool is_repeated(const Plan *p, const PlanInstr *instr) {
    for (uint32_t e = 0; e < p->entry_count; e++)
        for (uint32_t i = 0; i < p->entry[e].call_count; i++) {
            const PlanCall *call = &p->entry[e].call[i];
            const PlanSegment *s = &p->segment[call->segment];
            if (call->slot == 1 && instr >= s->instr && instr < s->instr + s->instr_count)
                return true;
        }
    return false;
}

static bool is_sum(const Plan *p, const PlanOperand *o) {
    const PlanBuffer *b = &p->buffer[o->buffer];
    return b->carried && p->space[b->space].kind != SPACE_DEVICE;
}

// The zeros before the first micro-batch.
static bool is_first_store(const Plan *p, const PlanInstr *i) {
    return i->kind == INSTR_COPY && is_sum(p, &i->operand[0]) && !is_repeated(p, i);
}

static bool is_store(const Plan *p, const PlanInstr *i) {
    return i->kind == INSTR_COPY && is_sum(p, &i->operand[0]) && is_repeated(p, i);
}

static bool is_fetch(const Plan *p, const PlanInstr *i) {
    return i->kind == INSTR_COPY && is_sum(p, &i->operand[1]) && is_repeated(p, i);
}

// Fewer bytes go there.
static bool shorten_copy(Corrupter *c, InstrTest test) {
    PlanSegment *s;
    PlanInstr *i = corrupter_pick(c, test, &s);
    if (!i || i->operand[0].bytes <= 4)
        return false;
    const uint64_t words = i->operand[0].bytes / 4;
    i->operand[0].bytes = 4 * (1 + corrupter_next(c) % (words - 1));
    i->operand[1].bytes = i->operand[0].bytes;
    return true;
}

// What is added to is zeros, not the sum so far.
static bool forget_sum(Corrupter *c) {
    static int64_t zero[1] = {0};
    PlanSegment *s;
    PlanInstr *i = corrupter_pick(c, is_fetch, &s);
    if (!i)
        return false;
    i->kind = INSTR_FILL;
    i->operand_count = 1;
    i->imm_count = 1;
    i->imm = zero;
    return true;
}

// What is stored before the first micro-batch is no zeros.
static bool begin_elsewhere(Corrupter *c) {
    PlanSegment *s;
    const PlanInstr *store = corrupter_pick(c, is_first_store, &s);
    for (uint32_t i = 0; store && i < s->instr_count; i++)
        if (s->instr[i].kind == INSTR_FILL &&
            s->instr[i].operand[0].buffer == store->operand[1].buffer) {
            s->instr[i].imm[0] = 1 + corrupter_below(c, 255);
            return true;
        }
    return false;
}

// One sum goes on with another one, which a later copy brings.
static bool take_other(Corrupter *c) {
    PlanSegment *s;
    PlanInstr *i = corrupter_pick(c, is_fetch, &s);
    for (PlanInstr *later = i; i && later < s->instr + s->instr_count; later++)
        if (is_fetch(c->p, later) && later->operand[1].buffer != i->operand[1].buffer &&
            later->operand[1].bytes == i->operand[1].bytes) {
            i->operand[1] = later->operand[1];
            return true;
        }
    return false;
}

bool corrupt_sum(Corrupter *c) {
    bool changed = false;
    switch (corrupter_below(c, 5)) {
    case 0:
        changed = shorten_copy(c, is_store);
        break;
    case 1:
        changed = shorten_copy(c, is_first_store);
        break;
    case 2:
        changed = forget_sum(c);
        break;
    case 3:
        changed = begin_elsewhere(c);
        break;
    default:
        changed = take_other(c);
    }
    return changed && plan_sign(c->p) == PLIM_OK;
}
