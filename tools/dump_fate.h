// What becomes of a buffer's contents between the forward pass and the backward one, for --why.
#ifndef PLIM_TOOLS_DUMP_FATE_H
#define PLIM_TOOLS_DUMP_FATE_H

#include "tools/dump.h"

// Lines that tell whether it is kept, computed again or moved, where, and in which other buffers.
void dump_fate(const Dump *d, uint32_t buffer, FILE *out);

#endif
