// Which of a job's processes this one is, as its launcher says.
#ifndef PLIM_RUNTIME_RANKS_H
#define PLIM_RUNTIME_RANKS_H

#include "runtime/plim.h"

typedef struct {
    uint32_t rank, count; // 0 of 1 where nobody says otherwise
    uint32_t local;       // among those on this machine
    const char *said_by;  // the variable that gave count, or NULL
} Ranks;

// From the environment: torchrun's RANK, WORLD_SIZE and LOCAL_RANK, Open MPI's, and Slurm's in a
// job step. One that says half of it is none. PLIM_BAD_INPUT with a sentence where one says what
// can't be, or something else than another does.
PlimStatus ranks_read(Ranks *out, PlimError *error);
// The same, and that there are as many as a plan with so many peers is for.
PlimStatus ranks_expect(uint32_t peers, Ranks *out, PlimError *error);

#endif
