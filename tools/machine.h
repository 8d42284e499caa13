// The machine that times are predicted for, as the command line says it and as people read it.
#ifndef PLIM_TOOLS_MACHINE_H
#define PLIM_TOOLS_MACHINE_H

#include "passes/predict.h"

// The figures assumed for the plan's target.
void machine_of_plan(const Plan *p, Rates *out);
// Makes curves flat: "f32=1.2T,memory=40G" (f32, bf16: FLOP/s of the whole device, by the type of
// what is multiplied; memory: bytes/s of its memory; link: bytes/s between it and other memory;
// start: us until an instruction begins; K, M, G, T count thousands). False after setting the
// error.
bool machine_change(Rates *m, const char *text, PlimError *error);
// One line for people: "8 cores with AVX2: 720 GFLOP/s f32, 120 GB/s of memory, ...".
void machine_print(const Rates *m, FILE *out);

#endif
