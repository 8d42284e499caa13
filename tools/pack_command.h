// plim-opt --csv: packs the buffers of a CSV file.
#ifndef PLIM_TOOLS_PACK_COMMAND_H
#define PLIM_TOOLS_PACK_COMMAND_H

#include <stdint.h>

// Reads file, packs until the height is at most capacity (0: as low as can be found), writes the
// rows with their offsets to out (NULL: nowhere) and one JSON line to standard output. Returns the
// exit status; 1 after a sentence, also where the capacity was not met, and then nothing is written
// to out.
int pack_command(const char *file, const char *out, uint64_t capacity);

#endif
