// The index of a plan that everything which shows one reads: the instruction at each position of an
// entry, who uses each buffer, and the bytes live at each position.
//
// The plan may be one that nobody verified, as long as plan_decode or plan_parse gave it: what
// makes no sense (a live range past the end, a segment of two entries) is cut to what there is.
#ifndef PLIM_RUNTIME_PLAN_USES_H
#define PLIM_RUNTIME_PLAN_USES_H

#include "runtime/plan.h"

// The instruction at a position of an entry's linear order (docs/plan.md).
typedef struct {
    const PlanInstr *instr;
    uint32_t segment; // of the plan
    uint32_t index;   // in the segment
    uint32_t calls;   // of the segment in one step: micro-batches
} PlanStep;

// PlanUse.operand where the buffer is the instruction's workspace.
#define PLAN_USE_WORKSPACE UINT32_MAX

// One access of an instruction to a buffer.
typedef struct {
    uint32_t entry, position;
    uint32_t operand; // index among the instruction's operands, or PLAN_USE_WORKSPACE
} PlanUse;

// Live bytes of one kind of space over an entry's positions.
typedef struct {
    uint64_t
        *load; // by position, each buffer's bytes padded to its alignment, persistent ones included
    uint32_t peak; // the first position with the largest load
} PlanCurve;

typedef struct {
    uint32_t step_count;
    PlanStep *step;               // by position
    PlanCurve curve[SPACE_COUNT]; // by kind of space; one value at least, also without instructions
} PlanEntryUses;

typedef struct {
    const Plan *plan;
    PlanEntryUses *entry;        // by entry
    uint32_t *use_begin;         // by buffer, and one more: uses of b are use[use_begin[b]] ..
    PlanUse *use;                // by buffer, then as entries and positions rise
    uint64_t state[SPACE_COUNT]; // by kind of space: padded bytes of persistent buffers
    uint32_t peak_entry; // whose step has the largest load of the device; UINT32_MAX: no entries
} PlanUses;

// Everything lies in pm, and points into the plan. NULL when there is no memory. Linear in the
// plan.
PlanUses *plan_uses_new(const Plan *p, PlanMemory *pm);

// Bytes as they count in an arena: padded to the alignment.
uint64_t plan_buffer_padded(const PlanBuffer *b);
// Whether the buffer's bytes count at a position of an entry. first and last are of the same entry.
bool plan_buffer_lives(const PlanBuffer *b, uint32_t entry, uint32_t position);

// The count largest buffers of the device that live at a position, largest first, of equal ones the
// first. Returns how many were stored.
uint32_t plan_uses_largest(const PlanUses *u, uint32_t entry, uint32_t position, uint32_t *buffer,
                           uint32_t count);

// Parts of an instruction's name, "add+layernorm h.0.ln_1": the scope ("" where there is none) and
// the bytes before it.
const char *plan_instr_scope(const PlanInstr *instr);
size_t plan_instr_operators(const PlanInstr *instr);
// "k12", or "fill" and "copy" for what needs no kernel.
const char *plan_instr_kernel(const Plan *p, const PlanInstr *instr);
// Which instructions wrote what an operand reads: their positions, the nearest first, until one
// covered all of the operand's bytes; at most count are stored. 0: the bytes are as they were when
// the entry (or the call of a repeated segment) began.
uint32_t plan_uses_writers(const PlanUses *u, uint32_t entry, uint32_t position, uint32_t operand,
                           uint32_t *writer, uint32_t count);

#endif
