// Element types of tensors in files, and their conversion.
#ifndef PLIM_RUNTIME_ELEMENT_H
#define PLIM_RUNTIME_ELEMENT_H

#include "runtime/plan.h"

// Little-endian. The types of the safetensors format that can be listed; the F8 ones can't be
// converted.
typedef enum {
    ELEMENT_BOOL,
    ELEMENT_U8,
    ELEMENT_I8,
    ELEMENT_F8_E4M3,
    ELEMENT_F8_E5M2,
    ELEMENT_I16,
    ELEMENT_U16,
    ELEMENT_F16,
    ELEMENT_BF16,
    ELEMENT_I32,
    ELEMENT_U32,
    ELEMENT_F32,
    ELEMENT_F64,
    ELEMENT_I64,
    ELEMENT_U64,
    ELEMENT_COUNT
} ElementType;

uint32_t element_bytes(ElementType t);
const char *element_name(ElementType t); // as safetensors files have it: "F32"
bool element_find(const char *name, ElementType *out);
ElementType element_of_plan(PlanDType t);

// Whether values of one type may become the other: floats among floats, integers and BOOL among
// themselves.
bool element_converts(ElementType from, ElementType to);
// Converts count elements; to is F32, BF16, F16, I32 or BOOL, and element_converts. Floats round to
// the nearest, ties to even. Gives count, or the index of the first integer that does not fit.
size_t element_convert(ElementType from, const void *in, ElementType to, void *out, size_t count);
// One element as a number, for messages.
double element_number(ElementType t, const void *at);

#endif
