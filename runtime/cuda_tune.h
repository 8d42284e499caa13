// Measuring a GPU plan's products.
#ifndef PLIM_RUNTIME_CUDA_TUNE_H
#define PLIM_RUNTIME_CUDA_TUNE_H

#include "runtime/cuda_device.h"

// DeviceOps.tune.
PlimStatus cuda_tune(void *device, FILE *out, PlimError *error);

#endif
