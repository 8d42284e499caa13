// Keyed random draws: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC'11).
//
// A draw is a function of (seed, step, key, element index) and of nothing else, so it does not
// depend on how work is divided. The low 32 bits of each count: the counter is (index, step, key,
// 0), the key is (seed, 0), and the first of the four words is the draw.
//
// Uniform and normal are written in f32 with the operations a kernel has (fma, mul, log, sqrt,
// select), in the order in which a kernel does them. Both start from k = floor(bits / 256), bits as
// a signed number:
//     unit  = k 2^-24 + 1/2            exact; 0 <= unit < 1
//     gauss = sqrt(2) erfinv((2 k + 1) 2^-24)
// (2 k + 1) 2^-24 is exact, symmetric around 0 and never 0 or +-1, so a draw is finite: at most 5.4
// in size. erfinv is M. Giles' single precision polynomial pair ("Approximating the erfinv
// function", GPU Computing Gems 2, 2011), error about 3e-7 of the value.
#include "ir/evaluate.h"

#include "ir/random_gauss.h"

#include <math.h>

typedef struct {
    uint32_t high, low;
} Wide;

static Wide multiply_wide(uint32_t a, uint32_t b) {
    const uint64_t product = (uint64_t)a * b;
    return (Wide){.high = (uint32_t)(product >> 32), .low = (uint32_t)product};
}

uint32_t random_bits(int64_t seed, int64_t step, int64_t key, int64_t index) {
    uint32_t c[4] = {(uint32_t)index, (uint32_t)step, (uint32_t)key, 0};
    uint32_t k[2] = {(uint32_t)seed, 0};
    for (int round = 0; round < 10; round++) {
        const Wide a = multiply_wide(0xd2511f53, c[0]);
        const Wide b = multiply_wide(0xcd9e8d57, c[2]);
        const uint32_t first = b.high ^ c[1] ^ k[0];
        const uint32_t third = a.high ^ c[3] ^ k[1];
        c[0] = first;
        c[1] = b.low;
        c[2] = third;
        c[3] = a.low;
        // The key moves on by the golden ratio and the square root of 3, in 0.32 bits.
        k[0] += 0x9e3779b9;
        k[1] += 0xbb67ae85;
    }
    return c[0];
}

// floor(bits / 256) of the signed number: -2^23 .. 2^23 - 1.
static int32_t top_bits(uint32_t bits) {
    const int32_t biased = (int32_t)(bits >> 8);
    return biased < (1 << 23) ? biased : biased - (1 << 24);
}

float random_unit(uint32_t bits) {
    return fmaf((float)top_bits(bits), 0x1p-24f, 0.5f);
}

// A polynomial by Horner's rule, the highest power's coefficient first.
static float horner(const float coefficient[GAUSS_TERMS], float x) {
    float sum = coefficient[0];
    for (int i = 1; i < GAUSS_TERMS; i++)
        sum = fmaf(sum, x, coefficient[i]);
    return sum;
}

float random_gauss(uint32_t bits) {
    const float x = fmaf((float)top_bits(bits), 0x1p-23f, 0x1p-24f);
    const float w = -logf((1.0f - x) * (1.0f + x));
    const float p = w < 5.0f ? horner(gauss_middle, w - 2.5f) : horner(gauss_tail, sqrtf(w) - 3.0f);
    return p * x * 1.41421356237309505f;
}
