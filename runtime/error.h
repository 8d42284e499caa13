// Filling in a PlimError.
#ifndef PLIM_RUNTIME_ERROR_H
#define PLIM_RUNTIME_ERROR_H

#include "runtime/plim.h"

// printf into error, cut where it does not fit. Returns status, so that a check can end with it.
PlimStatus error_set(PlimError *error, PlimStatus status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
