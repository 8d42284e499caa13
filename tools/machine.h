// The machine that times are predicted for: a handful of rates, stated with every prediction.
#ifndef PLIM_TOOLS_MACHINE_H
#define PLIM_TOOLS_MACHINE_H

#include "runtime/plan.h"

typedef struct {
    char name[64];    // "8 cores with AVX2", "H100"
    double f32, bf16; // FLOP/s of the whole device, by the type of what is multiplied
    double memory;    // bytes/s of its memory
    double link;      // bytes/s between it and other memory
    double start;     // seconds until an instruction begins
} Machine;

// The figures assumed for the plan's target.
void machine_of_plan(const Plan *p, Machine *out);
// Replaces figures: "f32=1.2T,memory=40G" (names as in Machine, start in us; K, M, G, T count
// thousands). False after setting the error.
bool machine_change(Machine *m, const char *text, PlimError *error);
// One line for people: "8 cores with AVX2: 720 GFLOP/s f32, 120 GB/s of memory, ...".
void machine_print(const Machine *m, FILE *out);

#endif
