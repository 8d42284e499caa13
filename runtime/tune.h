// The command tune, and the files it leaves for the others.
#ifndef PLIM_RUNTIME_TUNE_H
#define PLIM_RUNTIME_TUNE_H

#include "runtime/options.h"

// Measures and writes: on a CPU rates into -o's file or PROGRAM.rates; on a GPU algorithms of
// products into -o's file or PROGRAM.tune, then rates into that with .rates behind its name, or
// PROGRAM.rates.
PlimStatus tune_run(PlimSession *s, const PlimOptions *o, PlimError *error);

enum { TUNE_PATH_MAX = 4096 };
// The file for a run with these options: --tune's, or PROGRAM.tune beside the program where there
// is one; NULL: none. In room.
const char *tune_path(const PlimOptions *o, char room[TUNE_PATH_MAX]);

#endif
