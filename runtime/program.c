// A segment that is called for every micro-batch has its instructions counted once a call.
#include "runtime/program.h"

#include <stdlib.h>
#include <string.h>

bool program_init(Program *p, const Plan *plan, const PlanEntry *entry) {
    *p = (Program){.plan = plan, .entry = entry};
    // One more: calloc of nothing may give NULL.
    p->first = calloc((size_t)entry->call_count + 1, sizeof *p->first);
    if (!p->first)
        return false;
    for (uint32_t i = 0; i < entry->call_count; i++) {
        p->first[i] = p->count;
        p->count += program_segment(p, i)->instr_count;
    }
    return true;
}

void program_free(Program *p) {
    free(p->first);
    *p = (Program){0};
}

uint32_t program_number(const Program *p, const RunMoment *at) {
    return p->first[at->call] + at->index;
}

const PlanInstr *program_instr(const Program *p, uint32_t number, uint32_t *call, uint32_t *index) {
    // The last call that begins at or before the number.
    uint32_t low = 0, high = p->entry->call_count - 1;
    while (low < high) {
        const uint32_t middle = low + (high - low + 1) / 2;
        if (p->first[middle] <= number)
            low = middle;
        else
            high = middle - 1;
    }
    *call = low;
    *index = number - p->first[low];
    return &program_segment(p, low)->instr[*index];
}

const PlanSegment *program_segment(const Program *p, uint32_t call) {
    return &p->plan->segment[p->entry->call[call].segment];
}

// Whether the instruction writes into a wanted buffer.
static bool writes_wanted(const PlanInstr *instr, const bool *wanted) {
    for (uint32_t i = 0; i < instr->operand_count; i++)
        if (instr->operand[i].access != PLAN_READ && wanted[instr->operand[i].buffer])
            return true;
    return false;
}

bool program_mark_unwanted(const Program *p, const bool *known, bool *unwanted) {
    const Plan *plan = p->plan;
    bool *wanted = calloc((size_t)plan->buffer_count + 1, sizeof *wanted);
    if (!wanted)
        return false;
    for (uint32_t i = 0; i < plan->state_count; i++)
        wanted[plan->state[i].buffer] |= !known[i];
    // Backwards: what a wanted instruction reads is wanted of those before it. Only by buffer, so
    // one that is written over again keeps its earlier writers.
    for (uint32_t number = p->count; number-- > 0;) {
        uint32_t call, index;
        const PlanInstr *instr = program_instr(p, number, &call, &index);
        unwanted[number] = !writes_wanted(instr, wanted);
        for (uint32_t i = 0; !unwanted[number] && i < instr->operand_count; i++)
            if (instr->operand[i].access != PLAN_WRITE)
                wanted[instr->operand[i].buffer] = true;
    }
    free(wanted);
    return true;
}
