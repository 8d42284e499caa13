// Plimsoll's runtime, as a program that embeds it sees it.
#ifndef PLIM_H
#define PLIM_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
    PLIM_OK,
    PLIM_BAD_INPUT,  // a file or argument is wrong
    PLIM_BAD_PLAN,   // the plan is damaged or unsafe
    PLIM_NO_MEMORY,
    PLIM_IO,         // a file could not be read or written
    PLIM_MACHINE     // this machine lacks an instruction set, a library or a driver
} PlimStatus;

// One sentence for people, without a final period or newline.
typedef struct {
    char text[512];
} PlimError;

#endif
