// Elementary functions: operation for operation those of codegen/llvm_math.c, so that kernels give
// the same bits on both. plim_poly_* and the constants are printed before this text.
PLIM_DEVICE float plim_exp(float x) {
    const float inside = plim_min(89.4f, plim_max(-87.4f, x));
    const float t = plim_fma(inside, PLIM_LOG2_E, PLIM_ROUND_EXP), n = t - PLIM_ROUND_EXP;
    float r = plim_fma(n, -PLIM_LN2_HIGH, inside);
    r = plim_fma(n, -PLIM_LN2_LOW, r);
    return plim_poly_exp(r) * plim_float(plim_bits(t) << 23);
}
PLIM_DEVICE float plim_expm1(float x) {
    const float inside = x < -40.0f ? -40.0f : x;
    const float t = plim_fma(inside, PLIM_LOG2_E, PLIM_ROUND), n = t - PLIM_ROUND;
    float r = plim_fma(n, -PLIM_LN2_HIGH, inside);
    r = plim_fma(n, -PLIM_LN2_LOW, r);
    const float q = plim_fma(r * r, plim_poly_expm1(r), r);
    const float half = plim_float((plim_bits(t) << 23) + (126u << 23));
    float y = plim_fma(q, half, half - 0.5f);
    y = y + y;
    y = x > 88.722839355468750f ? plim_float(0x7f800000u) : y;
    return plim_abs(x) < 1e-30f ? x : y;
}
PLIM_DEVICE float plim_tanh(float x) {
    const float inside = plim_min(9.02f, plim_max(-9.02f, x)), square = inside * inside;
    const float above = inside * plim_poly_tanh_p(square);
    return plim_min(1.0f, plim_max(-1.0f, plim_div(above, plim_poly_tanh_q(square))));
}
PLIM_DEVICE float plim_log(float x) {
    const bool small = x < 1.17549435082228751e-38f;
    const unsigned bits = plim_bits(small ? x * 8388608.0f : x);
    const int e = (int)(bits - 0x3f3504f3u) >> 23;
    const float f = plim_float(bits - ((unsigned)e << 23)) - 1.0f;
    const float count = (float)e - (small ? 23.0f : 0.0f), square = f * f;
    float y = (square * f) * plim_poly_log(f);
    y = plim_fma(count, PLIM_LN2_LOW, y);
    y = plim_fma(square, -0.5f, y);
    y = f + y;
    y = plim_fma(count, PLIM_LN2_HIGH, y);
    y = x == plim_float(0x7f800000u) ? x : y;
    y = x == 0.0f ? plim_float(0xff800000u) : y;
    y = x < 0.0f ? plim_float(0x7fc00000u) : y;
    return x != x ? x : y;
}
PLIM_DEVICE float plim_erf(float x) {
    const float a = plim_abs(x), near = plim_fma(x, plim_poly_erf_near(x * x), x);
    const float far = 1.0f - plim_exp(plim_poly_erf_far(a > 4.0f ? 4.0f : a));
    return a < 1.0f ? near : plim_float(plim_bits(far) | (plim_bits(x) & 0x80000000u));
}
// quarter: 0 for the sine, 1 for the cosine.
PLIM_DEVICE float plim_sine(float x, unsigned quarter) {
    const float t = plim_fma(x, PLIM_TWO_OVER_PI, PLIM_ROUND), n = t - PLIM_ROUND;
    float r = plim_fma(n, PLIM_HALF_PI_HIGH, x);
    r = plim_fma(n, PLIM_HALF_PI_MIDDLE, r);
    r = plim_fma(n, PLIM_HALF_PI_LOW, r);
    const float z = r * r, s = plim_fma(z * r, plim_poly_sin(z), r);
    const float c = plim_fma(z * z, plim_poly_cos(z), plim_fma(z, -0.5f, 1.0f));
    const unsigned bits = plim_bits(t) + quarter;
    return plim_float(plim_bits((bits & 1u) != 0 ? c : s) ^ (bits & 2u) << 30);
}
PLIM_DEVICE float plim_sin(float x) { return plim_sine(x, 0); }
PLIM_DEVICE float plim_cos(float x) { return plim_sine(x, 1); }
