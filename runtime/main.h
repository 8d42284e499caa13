// The main of every executable that plimc writes.
#ifndef PLIM_RUNTIME_MAIN_H
#define PLIM_RUNTIME_MAIN_H

#include "runtime/session.h"

// Exit status as docs/ says: 0 done, 1 input or machine at fault, 2 usage.
int plim_main(int argc, char **argv, const PlimImage *image);

#endif
