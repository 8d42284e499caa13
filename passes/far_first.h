// What is stored to a far state from the device's memory.
#ifndef PLIM_PASSES_FAR_FIRST_H
#define PLIM_PASSES_FAR_FIRST_H

#include "ir/build.h"

// v in far memory, offloaded where v is made. First values (constants and random numbers) are made
// anew for it, in slices of so many bytes.
Value *first_offload(Graph *g, Value *v, size_t slice, Arena *scratch);

#endif
