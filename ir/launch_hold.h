// Which loads of a row kernel stay in shared memory between its walks: what kernel_launches asks
// shared memory for and the printer prints.
#ifndef PLIM_IR_LAUNCH_HOLD_H
#define PLIM_IR_LAUNCH_HOLD_H

#include "ir/launch.h"
#include "ir/launch_scalar.h"

// A load's part: the first columns of the row, as they are stored, one behind the other.
typedef struct {
    int64_t columns; // whole vectors; 0: nothing of it is held
    int64_t at;      // bytes from where the row's begin
} HeldLoad;

typedef struct {
    HeldLoad *load; // by operation
    int64_t row;    // bytes of a row, a multiple of 16; 0: nothing is held
    int64_t shared; // bytes of a block: those of all its rows
    int groups;     // of copies that are under way: one for each batch of a thread's vectors
} ScalarHold;

// Threads of the blocks that share a multiprocessor and its memory.
enum { HOLD_THREADS = 1024 };

// Of a kernel of shape SCALAR_TEAM whose rows don't stay in registers; of others nothing.
ScalarHold scalar_hold(Arena *a, const ScalarWalks *w, const ScalarLaunch *s, GpuArch arch);
// Bytes of one copy of load i: 4, 8 or 16; 0 where it can't be copied so.
int scalar_copy_bytes(const ScalarWalks *w, const ScalarLaunch *s, KRef i);

#endif
