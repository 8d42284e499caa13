// What a run measured: its --trace or its --log, read back and held against the plan.
#ifndef PLIM_TOOLS_MEASURED_H
#define PLIM_TOOLS_MEASURED_H

#include "tools/dump.h"

// An event of the run's trace, as it stood there.
typedef struct {
    char phase;              // 'X' a slice, 'M' the name or place of a track
    int64_t track;           // its number in the run's file
    double begin, length;    // us from the beginning of the step shown
    const char *name, *args; // JSON: a string, an object or ""; not NUL-terminated
    size_t name_size, args_size;
} MeasuredEvent;

typedef struct {
    uint64_t steps; // that were measured
    double step_us; // their median, without the first where there are more
    // Of a trace; 0 and NULL for a log.
    uint32_t event_count;
    MeasuredEvent *event; // of the last step
    double *instr_us;     // by position of the entry: the mean of all its runs; below 0: none
} Measured;

// Reads the file of --measured. DUMP_DONE, or DUMP_FAILED or DUMP_TOLD: it can't be read, it is
// neither a trace nor a log, or its instructions are not those of the entry. Everything lies in
// d->memory.
int measured_read(Dump *d, uint32_t entry, Measured *out);

// Beside a prediction: how long steps took, and the instructions that are furthest from what was
// predicted for them. predicted: picoseconds by position, and of the step.
void measured_print(const Dump *d, uint32_t entry, const Measured *m, const uint64_t *predicted,
                    uint64_t total, FILE *out);

#endif
