// The polynomials of random_gauss (ir/random.c says whose), for the evaluator and for kernels: both
// must draw the same numbers.
#ifndef PLIM_IR_RANDOM_GAUSS_H
#define PLIM_IR_RANDOM_GAUSS_H

// Coefficients, the highest power's first: of w - 2.5 where w < 5, else of sqrt(w) - 3.
enum { GAUSS_TERMS = 9 };
static const float gauss_middle[GAUSS_TERMS] = {2.81022636e-08f,  3.43273939e-07f, -3.5233877e-06f,
                                                -4.39150654e-06f, 0.00021858087f,  -0.00125372503f,
                                                -0.00417768164f,  0.246640727f,    1.50140941f};
static const float gauss_tail[GAUSS_TERMS] = {-0.000200214257f, 0.000100950558f, 0.00134934322f,
                                              -0.00367342844f,  0.00573950773f,  -0.0076224613f,
                                              0.00943887047f,   1.00167406f,     2.83297682f};

#endif
