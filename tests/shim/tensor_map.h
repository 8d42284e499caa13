// Tensor maps as the fakes have them: what cuTensorMapEncodeTiled is told, kept in the map's 128
// bytes, and refused where CUDA's documentation says so. The copies of tests/shim/hopper.h read it.
// Of C and of C++. Only maps as attention has them: bf16, four dims, 128-byte swizzle.
#ifndef PLIM_TESTS_SHIM_TENSOR_MAP_H
#define PLIM_TESTS_SHIM_TENSOR_MAP_H

#include <stdint.h>
#include <string.h>

#define SHIM_MAP_MARK 0x70614d726f736e54u // "TnsorMap"

typedef struct {
    uint64_t mark;
    uint64_t address;
    uint64_t dim[4];    // elements, the first side by side
    uint64_t stride[4]; // bytes; of the first 2
    uint32_t box[4];
} ShimTensorMap;

// The last byte that a map reaches, from its address on, and one.
static inline uint64_t shim_map_span(const ShimTensorMap *m) {
    uint64_t last = 0;
    for (int i = 0; i < 4; i++)
        last += (m->dim[i] - 1) * m->stride[i];
    return last + 2;
}

// 0, or 1: CUDA_ERROR_INVALID_VALUE.
static inline int shim_map_encode(void *out, int type, unsigned rank, const void *address,
                                  const uint64_t *dim, const uint64_t *stride, const uint32_t *box,
                                  const uint32_t *step, int interleave, int swizzle, int promotion,
                                  int fill) {
    ShimTensorMap m = {SHIM_MAP_MARK, (uint64_t)(uintptr_t)address, {0}, {2}, {0}};
    if ((uintptr_t)out % 64 != 0 || type != 9 || rank != 4 || m.address % 16 != 0 ||
        interleave != 0 || swizzle != 3 || promotion < 0 || promotion > 3 || fill != 0)
        return 1;
    for (int i = 0; i < 4; i++) {
        m.dim[i] = dim[i];
        m.box[i] = box[i];
        if (i > 0)
            m.stride[i] = stride[i - 1];
        if (dim[i] == 0 || dim[i] > (uint64_t)1 << 32 || box[i] == 0 || box[i] > 256 ||
            step[i] != 1 || (i > 0 && (m.stride[i] % 16 != 0 || m.stride[i] >= (uint64_t)1 << 40)))
            return 1;
    }
    // The box's rows: whole chunks, and no longer than the swizzle.
    if (box[0] * 2 % 16 != 0 || box[0] * 2 > 128)
        return 1;
    memset(out, 0, 128);
    memcpy(out, &m, sizeof m);
    return 0;
}

#endif
