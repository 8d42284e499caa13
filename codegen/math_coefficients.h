// The numbers of our elementary functions, for every printer: a kernel gives the same bits wherever
// it runs because the same operations meet the same constants. codegen/llvm_math.c says how each is
// used and how it was fitted. Lowest power first; each is rounded to f32 where it is used.
#ifndef PLIM_CODEGEN_MATH_COEFFICIENTS_H
#define PLIM_CODEGEN_MATH_COEFFICIENTS_H

// 1.5 * 2^23: adding it rounds a float below 2^22 to the nearest integer, which then stands in the
// low bits.
#define ROUND_MAGIC 12582912.0

#define LOG2_E 1.44269502162933349609375
#define LN2_HIGH 0.693147182464599609375
#define LN2_LOW (-1.90465421127442357828e-9)

// 2 / pi, and pi / 2 negated in three parts.
#define TWO_OVER_PI 0.63661977236758134
#define HALF_PI_HIGH (-0x1.921fb6p+0)
#define HALF_PI_MIDDLE 0x1.777a5cp-25
#define HALF_PI_LOW 0x1.ee59dap-50

// 2 exp(r).
static const double math_exp[] = {
    2, 2, 1.000000019132, 0.333330365876, 0.0833324085956, 0.01673790929202, 0.00279011814108};
// (exp(r) - 1 - r) / r^2.
static const double math_expm1[] = {0.500000006204, 0.166665426681, 0.0416662812855, 0.008366632195,
                                    0.00139465148453};
// tanh x = x P(x^2) / Q(x^2).
static const double math_tanh_p[] = {
    1, 0.136815220014, 0.00387031543723, 2.80460001411e-05, 3.06714481231e-08, -1.22619337457e-11};
static const double math_tanh_q[] = {1, 0.470148544874, 0.027253180161, 0.000394207992651,
                                     1.28997593062e-06};
// (log(1 + f) - f + f^2 / 2) / f^3.
static const double math_log[] = {0.33333316736,  -0.250008105438, 0.200022851037, -0.166245485889,
                                  0.141812175386, -0.131288328909, 0.128814936133, -0.078592107601};
// Below 1: erf x = x + x P(x^2). From 1 on: log(erfc x).
static const double math_erf_near[] = {0.128379165914,   -0.376126271354,  0.112836001695,
                                       -0.0268544443012, 0.00518953477657, -0.000802083626248,
                                       7.88910276702e-5};
static const double math_erf_far[] = {-0.000332633601912, -1.12712273287,  -0.638093163633,
                                      -0.10314832967,     0.0218564901584, -0.00295192280619,
                                      0.000186781835247};
// (sin r - r) / r^3 and (cos r - 1 + r^2 / 2) / r^4, of r^2.
static const double math_sin[] = {-0.166666666396, 0.0083333291449, -0.000198392569658,
                                  2.71756769614e-6};
static const double math_cos[] = {0.0416666456564, -0.00138873062426, 2.44312302389e-5};

#endif
