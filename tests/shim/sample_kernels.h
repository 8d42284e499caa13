// The kernels of sample.plan as the CPU calls them, by number.
#ifndef PLIM_TESTS_SAMPLE_KERNELS_H
#define PLIM_TESTS_SAMPLE_KERNELS_H

#include "runtime/run.h"

extern PlimKernelFn *const sample_kernel_table[];

#endif
