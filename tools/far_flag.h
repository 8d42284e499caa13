// --far KIND[=SIZE]: what may move out of the device's memory, and to where.
#ifndef PLIM_TOOLS_FAR_FLAG_H
#define PLIM_TOOLS_FAR_FLAG_H

#include "passes/pass.h"

// "disk", "host=8GiB". False where the value is neither. That the target has this kind of far
// memory is checked by the pass retain. Texts live in a.
bool far_flag_read(Arena *a, const char *value, PassOptions *options);

#endif
