// States that live in far memory: what of the module they are, and how every entry gets at them.
#ifndef PLIM_PASSES_FAR_STATES_H
#define PLIM_PASSES_FAR_STATES_H

#include "passes/pass.h"

// The rungs of the ladder, from most device memory to least.
typedef enum {
    FAR_STATES_NONE,
    FAR_STATES_SCATTERED, // none, but gradients of looked-up tables are made slice by slice
    FAR_STATES_OPTIMIZER, // what only updates read
    FAR_STATES_ALL,       // weights, too
    FAR_STATES_GRADIENTS, // and gradients that wait for their update, or sums of them
    FAR_STATES_TILED      // large weights and their gradients are met in tiles, never whole
} FarStates;

typedef struct {
    FarStates which;
    int sixteenths; // of the bytes of the kind of states that the rung adds, about; 0: all
    size_t least;   // bytes of a state below which it stays near; 0: 64 KiB
    size_t slice; // bytes of one state that an update has in device memory; 0: by the module's size
    size_t tiled; // bytes of a weight from which on it is read in tiles; 0: TILED_BYTES
} FarStatesOptions;

// Bytes of the optimizer's states that would be far: each goes out once a step.
size_t far_states_bytes(const Module *m, const FarStatesOptions *options, Arena *scratch);

// Marks states of m as far and rewrites every entry: readers get fetches, what is committed is
// offloaded, updates run slice by slice. m's states and graphs are its own (states are changed).
// PASS_SAME where that comes to the rung before: nothing large enough is added.
PassResult far_states_apply(Module *m, const FarStatesOptions *options, PassCtx *cx);

#endif
