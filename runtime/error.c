// One way to say what went wrong.
#include "runtime/error.h"

#include <stdarg.h>
#include <stdio.h>

PlimStatus error_set(PlimError *error, PlimStatus status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return status;
}
