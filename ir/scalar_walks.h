// What a scalar kernel computes when: the walks over its data that its reductions ask for. For
// whoever counts what a walk holds (launches) or prints it.
#ifndef PLIM_IR_SCALAR_WALKS_H
#define PLIM_IR_SCALAR_WALKS_H

#include "ir/kernel.h"

// Walk w, 0 .. stages - 1, makes the reductions of depth w + 1; walk number `stages` makes the
// effects.
typedef struct {
    const Kernel *k;
    uint32_t *varies;    // by operation: bit d is set where it differs along dim d
    int *depth;          // by operation: reductions on the longest path to it, itself included
    int stages;          // greatest depth
    int reductions;      // how many there are
    int *slot;           // by operation: number of a reduction among them
    uint32_t column_bit; // of the column dim
} ScalarWalks;

ScalarWalks scalar_walks(Arena *a, const Kernel *k);
// Whether operation i differs along the column (a lane's own value).
bool scalar_along(const ScalarWalks *w, KRef i);
// need[i]: walk number `walk` computes or loads operation i, which differs along `local` (bits of
// dims). Reductions and effects themselves are not marked, nor are values of reductions.
void scalar_walk_needs(const ScalarWalks *w, int walk, uint32_t local, bool *need);
// Adds what the marked operations need, as far as it differs along `local`; `have` (may be NULL) is
// there already.
void scalar_needs_close(const ScalarWalks *w, uint32_t local, const bool *have, bool *need);
// The index that moves operation i's address, or -1.
KRef scalar_moving_index(const Kernel *k, KRef i);
// Functions that are worth keeping rather than computing again.
bool scalar_is_dear(KOp op);
// Along the column: how many walks need operation i.
int scalar_walks_needing(Arena *a, const ScalarWalks *w, KRef i);

#endif
