// Element conversion: every half goes to f32 and back, roundings are to the nearest with ties to
// even, and integers that do not fit are found.
#include "runtime/element.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static uint16_t narrow(ElementType to, float x) {
    uint16_t out = 0;
    cr_assert_eq(element_convert(ELEMENT_F32, &x, to, &out, 1), 1);
    return out;
}

Test(element, every_half_goes_to_f32_and_back) {
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        const uint16_t half = (uint16_t)bits;
        float x;
        element_convert(ELEMENT_F16, &half, ELEMENT_F32, &x, 1);
        if ((half & 0x7fff) > 0x7c00) {
            cr_assert(isnan(x));
            continue;
        }
        // The format's definition: sign, exponent of bias 15, fraction of 10 bits.
        const int exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
        const double size = exponent == 0x1f ? (double)INFINITY
                            : exponent       ? ldexp(1024 + fraction, exponent - 25)
                                             : ldexp(fraction, -24);
        cr_assert_eq((double)x, half & 0x8000 ? -size : size, "%04x", half);
        cr_assert_eq(narrow(ELEMENT_F16, x), half, "%04x", half);
    }
}

Test(element, floats_round_to_the_nearest_even) {
    cr_assert_eq(narrow(ELEMENT_F16, 2049), 0x6800);  // 2048 and 2050 are as near
    cr_assert_eq(narrow(ELEMENT_F16, 2051), 0x6802);  // 2050 and 2052 are
    cr_assert_eq(narrow(ELEMENT_F16, 65519), 0x7bff); // The largest half
    cr_assert_eq(narrow(ELEMENT_F16, 65520), 0x7c00); // Halfway to the next: infinity
    cr_assert_eq(narrow(ELEMENT_F16, 0x1p-25F), 0);   // Half the smallest: to even, zero
    cr_assert_eq(narrow(ELEMENT_F16, 0x1.8p-25F), 1);
    cr_assert_eq(narrow(ELEMENT_F16, -0x1.8p-24F), 0x8002);
    cr_assert_eq(narrow(ELEMENT_F16, 0x1.ffep-15F), 0x400); // Up to the smallest normal one
    cr_assert_eq(narrow(ELEMENT_F16, NAN) & 0x7e00, 0x7e00);
    cr_assert_eq(narrow(ELEMENT_BF16, 0x1.01p0F), 0x3f80);
    cr_assert_eq(narrow(ELEMENT_BF16, 0x1.03p0F), 0x3f82);
    cr_assert_eq(narrow(ELEMENT_BF16, 0x1.fffffep127F), 0x7f80);
    cr_assert_eq(narrow(ELEMENT_BF16, NAN) & 0x7fc0, 0x7fc0);
}

Test(element, integers_that_do_not_fit_are_found) {
    const int64_t x[4] = {-2147483648LL, 2147483647LL, 2147483648LL, 0};
    const uint64_t u[2] = {7, 1ULL << 63};
    const uint8_t truth[3] = {1, 0, 2};
    int32_t out[4];
    uint8_t bools[3];
    cr_assert_eq(element_convert(ELEMENT_I64, x, ELEMENT_I32, out, 4), 2);
    cr_assert_eq(out[0], INT32_MIN);
    cr_assert_eq(element_convert(ELEMENT_U64, u, ELEMENT_I32, out, 2), 1);
    cr_assert_eq(element_convert(ELEMENT_BOOL, truth, ELEMENT_BOOL, bools, 3), 2);
    cr_assert_not(element_converts(ELEMENT_F32, ELEMENT_I32));
    cr_assert_not(element_converts(ELEMENT_I64, ELEMENT_F32));
    cr_assert_not(element_converts(ELEMENT_F8_E4M3, ELEMENT_F32));
    cr_assert(element_converts(ELEMENT_BOOL, ELEMENT_I32));
}
