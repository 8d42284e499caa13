// Everything is an array counted first and filled after: segments give each entry its steps, steps
// give each buffer its uses, and buffers give each entry its load.
//
// A buffer adds its bytes at its first position and takes them back after its last: one array of
// changes an entry and kind of space, summed up once, gives the load at every position in linear
// time.
#include "runtime/plan_uses.h"

#include <stdlib.h>
#include <string.h>

// The call that a segment's instructions have their positions from.
typedef struct {
    uint32_t entry, call; // entry UINT32_MAX: of nobody yet
} Claim;

// The instructions of the segments an entry calls. A segment is the first entry's that calls it: no
// plan can make more steps than it has instructions.
static bool find_steps(PlanUses *u, uint32_t entry, Claim *claim, PlanMemory *pm) {
    const Plan *p = u->plan;
    const PlanEntry *e = &p->entry[entry];
    PlanEntryUses *out = &u->entry[entry];
    size_t count = 1;
    for (uint32_t i = 0; i < e->call_count; i++) {
        Claim *c = &claim[e->call[i].segment];
        if (c->entry != UINT32_MAX)
            continue;
        *c = (Claim){entry, i};
        count += p->segment[e->call[i].segment].instr_count;
    }
    out->step = plan_alloc(pm, count, sizeof *out->step);
    for (uint32_t i = 0; out->step && i < e->call_count; i++) {
        const uint32_t segment = e->call[i].segment;
        // Later calls of it, for other micro-batches, are at the same positions.
        if (claim[segment].entry != entry || claim[segment].call != i)
            continue;
        for (uint32_t k = 0; k < p->segment[segment].instr_count; k++)
            out->step[out->step_count++] =
                (PlanStep){.instr = &p->segment[segment].instr[k], .segment = segment, .index = k};
    }
    return out->step != NULL;
}

static bool count_calls(PlanUses *u, PlanMemory *pm) {
    const Plan *p = u->plan;
    uint32_t *calls = plan_alloc(pm, (size_t)p->segment_count + 1, sizeof *calls);
    for (uint32_t i = 0; calls && i < p->entry_count; i++) {
        for (uint32_t k = 0; k < p->entry[i].call_count; k++)
            calls[p->entry[i].call[k].segment] = 0;
        for (uint32_t k = 0; k < p->entry[i].call_count; k++)
            calls[p->entry[i].call[k].segment]++;
        for (uint32_t k = 0; k < u->entry[i].step_count; k++)
            u->entry[i].step[k].calls = calls[u->entry[i].step[k].segment];
    }
    return calls != NULL;
}

// Steps in order make the uses of a buffer rise.
static void visit_uses(PlanUses *u, uint32_t *filled) {
    for (uint32_t e = 0; e < u->plan->entry_count; e++)
        for (uint32_t i = 0; i < u->entry[e].step_count; i++) {
            const PlanInstr *instr = u->entry[e].step[i].instr;
            for (uint32_t k = 0; k <= instr->operand_count; k++) {
                const bool last = k == instr->operand_count;
                const uint32_t b = last ? instr->workspace : instr->operand[k].buffer;
                if (b == UINT32_MAX)
                    continue;
                if (u->use)
                    u->use[u->use_begin[b] + filled[b]++] =
                        (PlanUse){e, i, last ? PLAN_USE_WORKSPACE : k};
                else
                    u->use_begin[b + 1]++;
            }
        }
}

static bool find_uses(PlanUses *u, PlanMemory *pm) {
    const uint32_t count = u->plan->buffer_count;
    uint32_t *filled = plan_alloc(pm, (size_t)count + 1, sizeof *filled);
    u->use_begin = plan_alloc(pm, (size_t)count + 2, sizeof *u->use_begin);
    if (!filled || !u->use_begin)
        return false;
    visit_uses(u, NULL);
    for (uint32_t i = 0; i < count; i++)
        u->use_begin[i + 1] += u->use_begin[i];
    u->use = plan_alloc(pm, (size_t)u->use_begin[count] + 1, sizeof *u->use);
    if (!u->use)
        return false;
    visit_uses(u, filled);
    return true;
}

static uint32_t positions(const PlanEntryUses *e) {
    return e->step_count ? e->step_count : 1;
}

// Unsigned, so that the figures of a plan that makes no sense wrap instead of overflowing.
static bool find_loads(PlanUses *u, PlanMemory *pm) {
    const Plan *p = u->plan;
    for (uint32_t e = 0; e < p->entry_count; e++)
        for (int s = 0; s < SPACE_COUNT; s++) {
            PlanCurve *c = &u->entry[e].curve[s];
            c->load = plan_alloc(pm, (size_t)positions(&u->entry[e]) + 1, sizeof *c->load);
            if (!c->load)
                return false;
        }
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        const PlanBuffer *b = &p->buffer[i];
        const PlanSpaceKind kind = p->space[b->space].kind;
        if (b->entry == UINT32_MAX) {
            u->state[kind] += plan_buffer_padded(b);
            continue;
        }
        // Changes for now: the array has one place past the last position.
        PlanEntryUses *e = &u->entry[b->entry];
        const uint32_t end = positions(e);
        if (b->first >= end || b->first > b->last)
            continue;
        e->curve[kind].load[b->first] += plan_buffer_padded(b);
        e->curve[kind].load[(b->last < end ? b->last : end - 1) + 1] -= plan_buffer_padded(b);
    }
    for (uint32_t e = 0; e < p->entry_count; e++)
        for (int s = 0; s < SPACE_COUNT; s++) {
            PlanCurve *c = &u->entry[e].curve[s];
            uint64_t live = u->state[s];
            for (uint32_t i = 0; i < positions(&u->entry[e]); i++) {
                c->load[i] = live += c->load[i];
                c->peak = live > c->load[c->peak] ? i : c->peak;
            }
        }
    return true;
}

PlanUses *plan_uses_new(const Plan *p, PlanMemory *pm) {
    PlanUses *u = plan_alloc(pm, 1, sizeof *u);
    Claim *claim = plan_alloc(pm, (size_t)p->segment_count + 1, sizeof *claim);
    if (!u || !claim)
        return NULL;
    *u = (PlanUses){.plan = p, .peak_entry = UINT32_MAX};
    for (uint32_t i = 0; i < p->segment_count; i++)
        claim[i].entry = UINT32_MAX;
    u->entry = plan_alloc(pm, (size_t)p->entry_count + 1, sizeof *u->entry);
    for (uint32_t i = 0; u->entry && i < p->entry_count; i++)
        if (!find_steps(u, i, claim, pm))
            return NULL;
    if (!u->entry || !count_calls(u, pm) || !find_uses(u, pm) || !find_loads(u, pm))
        return NULL;
    uint64_t largest = 0;
    for (uint32_t i = 0; i < p->entry_count; i++) {
        const PlanCurve *c = &u->entry[i].curve[SPACE_DEVICE];
        if (u->peak_entry == UINT32_MAX || c->load[c->peak] > largest) {
            u->peak_entry = i;
            largest = c->load[c->peak];
        }
    }
    return u;
}

uint64_t plan_buffer_padded(const PlanBuffer *b) {
    const uint64_t unit = b->alignment ? b->alignment : 1;
    // A size near the end of what 64 bits hold is left as it is.
    return b->bytes > UINT64_MAX - unit ? b->bytes : (b->bytes + unit - 1) / unit * unit;
}

bool plan_buffer_lives(const PlanBuffer *b, uint32_t entry, uint32_t position) {
    return b->entry == UINT32_MAX ||
           (b->entry == entry && b->first <= position && position <= b->last);
}

// Insertion into a short sorted list.
uint32_t plan_uses_largest(const PlanUses *u, uint32_t entry, uint32_t position, uint32_t *buffer,
                           uint32_t count) {
    const Plan *p = u->plan;
    uint32_t stored = 0;
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        const PlanBuffer *b = &p->buffer[i];
        if (p->space[b->space].kind != SPACE_DEVICE || !plan_buffer_lives(b, entry, position))
            continue;
        uint32_t at = stored;
        while (at > 0 && p->buffer[buffer[at - 1]].bytes < b->bytes)
            at--;
        // Smaller than all of a full list.
        if (at == count)
            continue;
        if (stored < count)
            stored++;
        // In a full list the last one falls off.
        memmove(buffer + at + 1, buffer + at, (stored - 1 - at) * sizeof *buffer);
        buffer[at] = i;
    }
    return stored;
}

// Operators' names have no spaces, but a long list of them ends in "+17 more".
size_t plan_instr_operators(const PlanInstr *instr) {
    const size_t first = strcspn(instr->name, " ");
    const char *more = instr->name + first;
    const bool cut = first > 0 && more[-1] >= '0' && more[-1] <= '9' &&
                     strncmp(more, " more", 5) == 0 && (more[5] == ' ' || more[5] == '\0');
    return cut ? first + 5 : first;
}

const char *plan_instr_scope(const PlanInstr *instr) {
    const char *end = instr->name + plan_instr_operators(instr);
    return *end ? end + 1 : end;
}

const char *plan_instr_kernel(const Plan *p, const PlanInstr *instr) {
    switch (instr->kind) {
    case INSTR_KERNEL:
    case INSTR_PRODUCT:
        return p->kernel[instr->kernel].name;
    case INSTR_FILL:
    case INSTR_COPY:
    case INSTR_ALL_REDUCE:
    case INSTR_ALL_GATHER:
    case INSTR_REDUCE_SCATTER:
    case INSTR_EXCHANGE:
        break;
    }
    return plan_instr_kind_name(instr->kind);
}

uint32_t plan_uses_writers(const PlanUses *u, uint32_t entry, uint32_t position, uint32_t operand,
                           uint32_t *writer, uint32_t count) {
    // A state that thousands read and nobody writes is not walked through for each of them.
    enum { LOOKED_BACK = 2048 };
    const PlanOperand *read = &u->entry[entry].step[position].instr->operand[operand];
    const PlanUse *begin = u->use + u->use_begin[read->buffer];
    const PlanUse *at = u->use + u->use_begin[read->buffer + 1];
    // The first use at or after the position, by halves: uses rise.
    const PlanUse *low = begin;
    while (low < at) {
        const PlanUse *middle = low + (at - low) / 2;
        if (middle->entry < entry || (middle->entry == entry && middle->position < position))
            low = middle + 1;
        else
            at = middle;
    }
    uint32_t stored = 0;
    for (int looked = 0; at > begin && looked < LOOKED_BACK && stored < count; looked++) {
        at--;
        if (at->entry != entry)
            break;
        if (at->operand == PLAN_USE_WORKSPACE)
            continue;
        const PlanOperand *o = &u->entry[entry].step[at->position].instr->operand[at->operand];
        if (o->access == PLAN_READ || o->offset + o->bytes <= read->offset ||
            read->offset + read->bytes <= o->offset)
            continue;
        // Two operands of one instruction may be the same bytes.
        if (stored == 0 || writer[stored - 1] != at->position)
            writer[stored++] = at->position;
        if (o->offset <= read->offset && read->offset + read->bytes <= o->offset + o->bytes)
            break;
    }
    return stored;
}
