// An entry's program counted through: each instruction of each call has a number.
#ifndef PLIM_RUNTIME_PROGRAM_H
#define PLIM_RUNTIME_PROGRAM_H

#include "runtime/run.h"

typedef struct {
    const Plan *plan;
    const PlanEntry *entry;
    uint32_t *first; // by call: the number of its first instruction
    uint32_t count;  // of all
} Program;

// False when there is no memory; the plan outlives p, which program_free empties.
bool program_init(Program *p, const Plan *plan, const PlanEntry *entry);
void program_free(Program *p);

// The instruction's number; it is one of p->entry.
uint32_t program_number(const Program *p, const RunMoment *at);
// The other way: the call, the index in its segment, and the instruction.
const PlanInstr *program_instr(const Program *p, uint32_t number, uint32_t *call, uint32_t *index);
const PlanSegment *program_segment(const Program *p, uint32_t call);
// Marks, by number, the instructions that the states which are not known have nothing from. known
// is by state. False when there is no memory.
bool program_mark_unwanted(const Program *p, const bool *known, bool *unwanted);

#endif
