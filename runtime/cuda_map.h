// Tensor maps: what the copies of a kernel (TMA) are told of an operand.
#ifndef PLIM_RUNTIME_CUDA_MAP_H
#define PLIM_RUNTIME_CUDA_MAP_H

#include "runtime/cuda_driver.h"
#include "runtime/plan.h"

// The map of an operand that stands at an address.
CuResult cuda_map_encode(const CudaDriver *cu, const PlanMap *map, void *address, CuTensorMap *out);

#endif
