// What one operator or one instruction takes, by a machine's rates.
#ifndef PLIM_PASSES_COST_H
#define PLIM_PASSES_COST_H

#include "runtime/plan_rates.h"

typedef struct Node Node; // of ir/graph.h: those who only show plans need not know it

// What an instruction's time is made of: the largest of the first three, and its start.
typedef enum { LIMIT_COMPUTE, LIMIT_MEMORY, LIMIT_COPY, LIMIT_START, LIMIT_COUNT } Limit;
const char *limit_name(Limit limit);

// Picoseconds of one run of the operator by itself, before anything is fused: an upper estimate of
// what a pointwise one adds to the kernel it ends in. 0 for what does not run (arguments, state,
// views).
uint64_t cost_node(const Rates *r, const Node *n);
// What the operator is; false for what does not run.
bool cost_family(const Node *n, RateFamily *out);
// Picoseconds to move so many bytes between the device and far memory: RATE_OUT or RATE_IN.
uint64_t cost_move(const Rates *r, RateFamily direction, int64_t bytes);

typedef struct {
    uint64_t start, work; // picoseconds
    Limit limit;          // of the work
} InstrCost;
// Of a plan that plan_decode or plan_parse gave, or a pass made; it may be unsound otherwise.
InstrCost cost_instr(const Rates *r, const Plan *p, const PlanInstr *instr);

#endif
