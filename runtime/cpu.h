// Which instruction sets this machine has.
#ifndef PLIM_RUNTIME_CPU_H
#define PLIM_RUNTIME_CPU_H

#include "runtime/plim.h"

// isa is a comma-separated list ("avx2,fma,f16c,bmi2"). PLIM_MACHINE, with a sentence that names
// what is missing and what to compile for instead, where the machine (or its operating system)
// lacks one.
PlimStatus cpu_check(const char *isa, const char *target, PlimError *error);

#endif
