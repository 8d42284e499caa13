// The pass table and its driver.
#ifndef PLIM_PASSES_PIPELINE_H
#define PLIM_PASSES_PIPELINE_H

#include "passes/pass.h"

enum {
    IR_GRADIENTS = 1,  // no minimize is left
    IR_EXECUTABLE = 2, // every operator can be lowered and evaluated
    IR_FUSED = 4,      // groups are chosen
    IR_ORDERED = 8,    // node order is the execution order
    IR_PLAN = 16,
    IR_SCHEDULED = 32,
    IR_PLACED = 64,
    IR_LEGAL = 128 // reduces run over leading or trailing axes only
};

typedef struct {
    const char *name;
    PassFn run;
    unsigned needs, gives, breaks;
    const char *help;
} Pass;

int pass_count(void);
const Pass *pass_at(int index);
const Pass *pass_find(const char *name); // NULL where there is none
// The first pass of the table whose needs are not met by those before it, or NULL.
const Pass *pass_first_misplaced(void);

// Runs the named passes (all of them in the table's order when count is 0), verifying after each.
// dump, when not NULL, is called after each pass. False after diagnostics. m may be NULL for passes
// over cx->plan alone.
typedef void (*PassDump)(void *user, const Pass *pass, const Module *m, const PassCtx *cx);
bool pipeline_run(Module *m, PassCtx *cx, const char *const *name, int count, PassDump dump,
                  void *user);

#endif
