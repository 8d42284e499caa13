// A plan's tensor map as the driver encodes it: 128 bytes that only the GPU understands. Encoding
// is arithmetic on the host and asks nothing of the GPU. A map is a parameter of the kernel, copied
// when it is launched, so it is made there; a captured entry has those of its capture, and the
// plan's memory never moves.
#include "runtime/cuda_map.h"

CuResult cuda_map_encode(const CudaDriver *cu, const PlanMap *map, void *address,
                         CuTensorMap *out) {
    uint64_t dim[PLAN_MAP_DIMS], stride[PLAN_MAP_DIMS - 1];
    for (int i = 0; i < PLAN_MAP_DIMS; i++)
        dim[i] = (uint64_t)map->dim[i];
    for (int i = 0; i < PLAN_MAP_DIMS - 1; i++)
        stride[i] = (uint64_t)map->stride[i] * sizeof(uint16_t);
    const uint32_t box[PLAN_MAP_DIMS] = {PLAN_MAP_COLUMNS, map->rows, 1, 1};
    const uint32_t step[PLAN_MAP_DIMS] = {1, 1, 1, 1};
    return cu->map_tiled(out, CU_MAP_BF16, PLAN_MAP_DIMS, address, dim, stride, box, step,
                         CU_MAP_NOT_INTERLEAVED, CU_MAP_SWIZZLE_128, CU_MAP_PROMOTE_128,
                         CU_MAP_FILL_ZERO);
}
