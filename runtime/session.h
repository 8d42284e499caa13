// A loaded program: the plan decoded and verified, the machine checked, the arenas taken, inputs
// and states by name.
#ifndef PLIM_RUNTIME_SESSION_H
#define PLIM_RUNTIME_SESSION_H

#include "runtime/run.h"
#include "runtime/stop.h"

typedef struct {
    PlanMemory *memory;
    Plan *plan;
    PlimRun *run;
    PlimStop *stop; // NULL: signals end the process at once
} PlimSession;

// The parts of an executable that code generation adds.
typedef struct {
    const uint8_t *plan;
    size_t plan_size;
    PlimKernelFn *const *kernel; // by plan kernel; NULL for those that have no code for the CPU
    const PlimCubin *cubin;      // several an architecture, each with some of the plan's launches
} PlimImage;

// Decodes the plan and checks that this machine can run it. Allocates no arena yet: enough for
// `info`.
PlimStatus session_open(const PlimImage *image, PlimSession *out, PlimError *error);
// Verifies the plan and takes the arenas; threads 0: all processors this process may use.
PlimStatus session_start(PlimSession *s, const PlimImage *image, RunOptions options,
                         PlimError *error);
// Gives everything back; *s is empty afterwards, so closing twice is harmless.
void session_close(PlimSession *s);

// Scalars of an entry that are no data: knobs, step, steps, seed.
typedef struct {
    int64_t step, steps, seed;
} StepScalars;
// Stores them, and the knobs' values, into the entry's inputs. PLIM_MACHINE where the device fails.
PlimStatus session_set_scalars(PlimSession *s, const PlanEntry *entry, const StepScalars *scalars,
                               PlimError *error);
// name=value for a knob of the entry; the error names the knobs there are.
PlimStatus session_set_knob(PlimSession *s, const PlanEntry *entry, const char *assignment,
                            PlimError *error);
// The values of the entry's knobs as a number, for comparing two runs: 32 bits, which every reader
// of JSON keeps.
uint32_t session_knob_digest(const PlanEntry *entry);

// Fills states from their initialisers (entry "init"): all of them, or where known is not NULL
// those that it does not mark, by state. Those may be overwritten or not: their values come
// afterwards.
PlimStatus session_init_states(PlimSession *s, int64_t seed, const bool *known, PlimError *error);

// The first element of a result (the loss), by index, as a double. PLIM_MACHINE where the device
// fails.
PlimStatus session_result(const PlimSession *s, const PlanEntry *entry, uint32_t index, double *out,
                          PlimError *error);

#endif
