// Reading one element of memory as a kernel sees it: for tests that compare memory with the
// evaluator's numbers.
#ifndef PLIM_TESTS_UNIT_ELEMENT_READ_H
#define PLIM_TESTS_UNIT_ELEMENT_READ_H

#include "ir/type.h"

#include <string.h>

// Element i of an array of the element type, exactly (bf16 widens).
static inline double element_read(DType dtype, const void *at, int64_t i) {
    if (dtype == DT_F32)
        return (double)((const float *)at)[i];
    if (dtype == DT_I32)
        return ((const int32_t *)at)[i];
    if (dtype == DT_BOOL)
        return ((const uint8_t *)at)[i];
    const uint32_t bits = (uint32_t)((const uint16_t *)at)[i] << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

#endif
