// Converting elements. Pairs that weights are made of have loops that the compiler vectorises;
// every other pair goes through a double, which holds each value of up to 53 bits exactly: enough,
// since the only integer results are I32 and BOOL, and larger numbers fit neither.
//
// The file and the machine (x86-64) are both little-endian. Buffers need no alignment.
#include "runtime/element.h"

#include <string.h>

static const struct {
    const char *name;
    uint32_t bytes;
} element_table[ELEMENT_COUNT] = {
    [ELEMENT_BOOL] = {"BOOL", 1},       [ELEMENT_U8] = {"U8", 1},
    [ELEMENT_I8] = {"I8", 1},           [ELEMENT_F8_E4M3] = {"F8_E4M3", 1},
    [ELEMENT_F8_E5M2] = {"F8_E5M2", 1}, [ELEMENT_I16] = {"I16", 2},
    [ELEMENT_U16] = {"U16", 2},         [ELEMENT_F16] = {"F16", 2},
    [ELEMENT_BF16] = {"BF16", 2},       [ELEMENT_I32] = {"I32", 4},
    [ELEMENT_U32] = {"U32", 4},         [ELEMENT_F32] = {"F32", 4},
    [ELEMENT_F64] = {"F64", 8},         [ELEMENT_I64] = {"I64", 8},
    [ELEMENT_U64] = {"U64", 8}};

uint32_t element_bytes(ElementType t) {
    return element_table[t].bytes;
}

const char *element_name(ElementType t) {
    return element_table[t].name;
}

bool element_find(const char *name, ElementType *out) {
    for (int i = 0; i < ELEMENT_COUNT; i++)
        if (strcmp(element_table[i].name, name) == 0) {
            *out = (ElementType)i;
            return true;
        }
    return false;
}

ElementType element_of_plan(PlanDType t) {
    static const ElementType type[PLAN_DTYPE_COUNT] = {
        [PLAN_F32] = ELEMENT_F32,
        [PLAN_BF16] = ELEMENT_BF16,
        [PLAN_I32] = ELEMENT_I32,
        [PLAN_BOOL] = ELEMENT_BOOL,
    };
    return type[t];
}

typedef enum { FAMILY_FLOAT, FAMILY_WHOLE, FAMILY_NONE } Family;

static Family family(ElementType t) {
    switch (t) {
    case ELEMENT_F16:
    case ELEMENT_BF16:
    case ELEMENT_F32:
    case ELEMENT_F64:
        return FAMILY_FLOAT;
    case ELEMENT_F8_E4M3:
    case ELEMENT_F8_E5M2:
    case ELEMENT_COUNT:
        return FAMILY_NONE;
    case ELEMENT_BOOL:
    case ELEMENT_U8:
    case ELEMENT_I8:
    case ELEMENT_I16:
    case ELEMENT_U16:
    case ELEMENT_I32:
    case ELEMENT_U32:
    case ELEMENT_I64:
    case ELEMENT_U64:
        return FAMILY_WHOLE;
    }
    return FAMILY_NONE;
}

bool element_converts(ElementType from, ElementType to) {
    return family(from) != FAMILY_NONE && family(from) == family(to);
}

static float float_of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of_float(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

// IEEE binary16 to binary32, exact.
static float float_of_half(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff;
    // Infinity or NaN: all exponent bits set in both formats.
    if (rest >= 0x7c00)
        return float_of_bits(sign | 0x7f800000 | rest << 13);
    // The exponent's bias is 15 there and 127 here, the fraction has 10 bits of 23: the bits read
    // as a float are the value times 2^-112, subnormal or not, and that product is exact.
    return float_of_bits(sign | bits_of_float(float_of_bits(rest << 13) * 0x1p112F));
}

// Rounds to nearest, ties to even; overflow is infinity.
static uint16_t half_of_float(float x) {
    const uint32_t bits = bits_of_float(x), rest = bits & 0x7fffffff;
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    if (rest > 0x7f800000) // NaN: quiet, whatever its payload
        return (uint16_t)(sign | 0x7e00);
    // 65520 is halfway between the largest half and the next power of two.
    if (rest >= 0x477ff000)
        return (uint16_t)(sign | 0x7c00);
    // Below 2^-14 halves are subnormal: adding 0.5 leaves multiples of 2^-24, rounded by the sum.
    if (rest < 0x38800000)
        return (uint16_t)(sign | (bits_of_float(float_of_bits(rest) + 0.5F) - 0x3f000000));
    const uint32_t odd = rest >> 13 & 1;
    return (uint16_t)(sign | ((rest - 0x38000000 + 0xfff + odd) >> 13));
}

// bf16 is the upper half of an f32. Rounds to nearest, ties to even.
static uint16_t bf16_of_float(float x) {
    const uint32_t bits = bits_of_float(x);
    if ((bits & 0x7fffffff) > 0x7f800000) // NaN stays one, quiet
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

double element_number(ElementType t, const void *at) {
    uint64_t word = 0;
    const uint32_t bytes = element_bytes(t);
    memcpy(&word, at, bytes);
    double real;
    switch (t) {
    case ELEMENT_F16:
        return (double)float_of_half((uint16_t)word);
    case ELEMENT_BF16:
        return (double)float_of_bits((uint32_t)word << 16);
    case ELEMENT_F32:
        return (double)float_of_bits((uint32_t)word);
    case ELEMENT_F64:
        memcpy(&real, &word, sizeof real);
        return real;
    case ELEMENT_I8:
        return (int8_t)word;
    case ELEMENT_I16:
        return (int16_t)word;
    case ELEMENT_I32:
        return (int32_t)word;
    case ELEMENT_I64:
        return (double)(int64_t)word;
    default: // Unsigned, BOOL, and what family() lets nobody convert.
        return (double)word;
    }
}

// False where x does not fit: integers only.
static bool store(ElementType to, double x, char *out, size_t i) {
    const float narrow = (float)x;
    uint16_t half;
    int32_t whole;
    switch (to) {
    case ELEMENT_F32:
        memcpy(out + 4 * i, &narrow, 4);
        return true;
    case ELEMENT_BF16:
        half = bf16_of_float(narrow);
        memcpy(out + 2 * i, &half, 2);
        return true;
    case ELEMENT_F16:
        half = half_of_float(narrow);
        memcpy(out + 2 * i, &half, 2);
        return true;
    case ELEMENT_I32:
        if (!(x >= -2147483648.0 && x <= 2147483647.0))
            return false;
        whole = (int32_t)x;
        memcpy(out + 4 * i, &whole, 4);
        return true;
    case ELEMENT_BOOL:
        out[i] = x != 0;
        return x == 0 || x == 1; // 2 is no truth value
    default:
        return false;
    }
}

// The common pairs. False where there is no loop for the pair.
static bool convert_fast(ElementType from, const char *in, ElementType to, char *out,
                         size_t count) {
    uint16_t half;
    float x;
    if (from == to) {
        memcpy(out, in, count * element_bytes(from));
    } else if (from == ELEMENT_BF16 && to == ELEMENT_F32) {
        for (size_t i = 0; i < count; i++) {
            memcpy(&half, in + 2 * i, 2);
            x = float_of_bits((uint32_t)half << 16);
            memcpy(out + 4 * i, &x, 4);
        }
    } else if (from == ELEMENT_F16 && to == ELEMENT_F32) {
        for (size_t i = 0; i < count; i++) {
            memcpy(&half, in + 2 * i, 2);
            x = float_of_half(half);
            memcpy(out + 4 * i, &x, 4);
        }
    } else if (from == ELEMENT_F32 && to == ELEMENT_BF16) {
        for (size_t i = 0; i < count; i++) {
            memcpy(&x, in + 4 * i, 4);
            half = bf16_of_float(x);
            memcpy(out + 2 * i, &half, 2);
        }
    } else {
        return false;
    }
    return true;
}

size_t element_convert(ElementType from, const void *in, ElementType to, void *out, size_t count) {
    // BOOL is checked even where the types are equal: kernels rely on 0 and 1.
    if (to != ELEMENT_BOOL && convert_fast(from, in, to, out, count))
        return count;
    const uint32_t size = element_bytes(from);
    for (size_t i = 0; i < count; i++)
        if (!store(to, element_number(from, (const char *)in + i * size), out, i))
            return i;
    return count;
}
