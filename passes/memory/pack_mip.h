// Packing as an integer program, after MODeL (arXiv 2210.12924).
#ifndef PLIM_PASSES_MEMORY_PACK_MIP_H
#define PLIM_PASSES_MEMORY_PACK_MIP_H

#include "passes/memory/pack.h"
#include "passes/mip/mip_solve.h"

typedef struct {
    const PackItem *item;
    int count;
    const char *name; // of the program: letters, digits, _ and .
    bool packed;      // the items' offsets are a packing to begin with
    MipLimits limits; // a program that would have more entries is not even built
} PackMipProblem;

typedef struct {
    const uint64_t *offset; // by item; NULL where none was found
    uint64_t height;        // of the offsets
    uint64_t bound;         // no packing is lower; at least the load
    bool optimal;           // height == bound
    int64_t nodes;          // of the search; 0 where the program was too large or solved before it
    const char *degraded;   // what the solver did wrong, or NULL: see MipAnswer
} PackMipAnswer;

// At most `children` at a time (0: one a processor); answers don't depend on their number, and live
// in a.
void pack_mip_solve(const PackMipProblem *problem, int count, int children, Arena *a,
                    PackMipAnswer *answer);

// The program alone; NULL where it has more entries than the limits allow.
Mip *pack_mip_program(const PackMipProblem *problem, Arena *a);

#endif
