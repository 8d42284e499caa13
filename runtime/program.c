// A segment that is called for every micro-batch has its instructions counted once a call.
#include "runtime/program.h"

#include <stdlib.h>

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
