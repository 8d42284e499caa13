// Elementary functions in IR. Each reduces its argument to a small interval (Cody and Waite: the
// constant split in parts, subtracted by fused multiply-adds), evaluates a polynomial fitted to the
// least largest error (Remez's criterion, by iteratively weighted least squares in 40 digits, then
// rounded to f32), and undoes the reduction. No branches: special cases are selects at the end.
// Coefficients are in math_coefficients.h, lowest power first.
#include "codegen/llvm_math.h"

#include "codegen/math_coefficients.h"

#include <math.h>

static LLVMValueRef constant(LLVMValueRef like, double value) {
    return llvm_float_like(LLVMTypeOf(like), value);
}

// c[0] + c[1] x + ... by Horner's rule.
static LLVMValueRef polynomial(LlvmBuild *b, LLVMValueRef x, const double *c, int count) {
    LLVMValueRef sum = constant(x, c[count - 1]);
    for (int i = count - 2; i >= 0; i--)
        sum = llvm_fma(b, sum, x, constant(x, c[i]));
    return sum;
}

// |x| with x's NaNs kept, and x's sign given back to a value that is not negative.
static LLVMValueRef with_sign_of(LlvmBuild *b, LLVMValueRef value, LLVMValueRef x) {
    LLVMTypeRef bits = llvm_vector(b->i32, llvm_width(LLVMTypeOf(x)));
    LLVMValueRef sign = LLVMBuildAnd(b->builder, llvm_cast_bits(b, x, b->i32),
                                     llvm_int_like(bits, (int64_t)0x80000000), "");
    LLVMValueRef joined = LLVMBuildOr(b->builder, llvm_cast_bits(b, value, b->i32), sign, "");
    return llvm_cast_bits(b, joined, b->f32);
}

// x = n ln 2 + r with |r| <= ln 2 / 2; exponent: n in the exponent's place of an i32.
typedef struct {
    LLVMValueRef r;        // the remainder
    LLVMValueRef exponent; // n << 23
} ExpParts;

static ExpParts reduce_exp(LlvmBuild *b, LLVMValueRef x) {
    LLVMValueRef magic = constant(x, ROUND_MAGIC);
    LLVMValueRef t = llvm_fma(b, x, constant(x, LOG2_E), magic);
    LLVMValueRef n = llvm_fsub(b, t, magic);
    LLVMValueRef r = llvm_fma(b, n, constant(x, -LN2_HIGH), x);
    LLVMValueRef bits = llvm_cast_bits(b, t, b->i32);
    return (ExpParts){
        .r = llvm_fma(b, n, constant(x, -LN2_LOW), r),
        .exponent = LLVMBuildShl(b->builder, bits, llvm_int_like(LLVMTypeOf(bits), 23), ""),
    };
}

// low or high where x is beyond it; a NaN stays.
static LLVMValueRef clamped(LlvmBuild *b, LLVMValueRef x, double low, double high) {
    return llvm_fmin(b, constant(x, high), llvm_fmax(b, constant(x, low), x));
}

// 2^(n - 1) times 2 exp(r), so that the scale is a float for n up to 129, and infinity there: what
// is clamped to 89.4 comes out as infinity, what is clamped to -87.4 (n = -126) as 0, and a NaN as
// itself. Rounding to an integer adds 126 to n, which makes its low bits the scale's exponent.
// 2 exp(r): error 3.2e-9 before rounding.
static LLVMValueRef exp_inside(LlvmBuild *b, LLVMValueRef x) {
    LLVMValueRef magic = constant(x, ROUND_MAGIC + 126);
    LLVMValueRef t = llvm_fma(b, x, constant(x, LOG2_E), magic);
    LLVMValueRef n = llvm_fsub(b, t, magic);
    LLVMValueRef r = llvm_fma(b, n, constant(x, -LN2_HIGH), x);
    r = llvm_fma(b, n, constant(x, -LN2_LOW), r);
    LLVMValueRef bits = llvm_cast_bits(b, t, b->i32);
    bits = LLVMBuildShl(b->builder, bits, llvm_int_like(LLVMTypeOf(bits), 23), "");
    return llvm_fmul(b, polynomial(b, r, math_exp, 7), llvm_cast_bits(b, bits, b->f32));
}

LLVMValueRef llvm_math_exp(LlvmBuild *b, LLVMValueRef x) {
    return exp_inside(b, clamped(b, x, -87.4, 89.4));
}

LLVMValueRef llvm_math_exp_falling(LlvmBuild *b, LLVMValueRef x) {
    return exp_inside(b, llvm_fmax(b, constant(x, -87.4), x));
}

// exp(x) - 1 for -87 < x < 88: 2^n (exp(r) - 1) + (2^n - 1), with 2^(n - 1) in place of 2^n so that
// n = 128 fits.
static LLVMValueRef expm1_inside(LlvmBuild *b, LLVMValueRef x) {
    const ExpParts parts = reduce_exp(b, x);
    LLVMValueRef r = parts.r;
    LLVMValueRef q = llvm_fma(b, llvm_fmul(b, r, r), polynomial(b, r, math_expm1, 5), r);
    LLVMValueRef bias = llvm_int_like(LLVMTypeOf(parts.exponent), (int64_t)126 << 23);
    LLVMValueRef half = llvm_cast_bits(b, llvm_add(b, parts.exponent, bias), b->f32);
    LLVMValueRef y = llvm_fma(b, q, half, llvm_fsub(b, half, constant(x, 0.5)));
    return llvm_fadd(b, y, y);
}

LLVMValueRef llvm_math_expm1(LlvmBuild *b, LLVMValueRef x) {
    LLVMValueRef high = constant(x, 88.722839355468750), low = constant(x, -40);
    // Below -40 the result is -1 in f32. A NaN passes both selects.
    LLVMValueRef inside = llvm_select(b, llvm_fcmp(b, LLVMRealOLT, x, low), low, x);
    LLVMValueRef y = expm1_inside(b, inside);
    y = llvm_select(b, llvm_fcmp(b, LLVMRealOGT, x, high), constant(x, HUGE_VAL), y);
    // A zero's sign and subnormal arguments.
    LLVMValueRef tiny = constant(x, 1e-30);
    return llvm_select(b, llvm_fcmp(b, LLVMRealOLT, llvm_fabs(b, x), tiny), x, y);
}

// x P(x^2) / Q(x^2), a rational function of least relative error (1.4e-9 before rounding) up
// to 9.02; from there on the result is 1 in f32. P and Q begin with 1, so that tiny numbers stay
// themselves, and rounding up past 1 is undone.
LLVMValueRef llvm_math_tanh(LlvmBuild *b, LLVMValueRef x) {
    LLVMValueRef inside = clamped(b, x, -9.02, 9.02), square = llvm_fmul(b, inside, inside);
    LLVMValueRef above = llvm_fmul(b, inside, polynomial(b, square, math_tanh_p, 6));
    return clamped(b, llvm_fdiv(b, above, polynomial(b, square, math_tanh_q, 5)), -1, 1);
}

// x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)): log x = e ln 2 + f - f^2/2 + f^3 P(f).
LLVMValueRef llvm_math_log(LlvmBuild *b, LLVMValueRef x) {
    LLVMTypeRef wide = llvm_vector(b->i32, llvm_width(LLVMTypeOf(x)));
    // Subnormal numbers are brought into range first.
    LLVMValueRef small = llvm_fcmp(b, LLVMRealOLT, x, constant(x, 1.17549435082228751e-38));
    LLVMValueRef scaled = llvm_select(b, small, llvm_fmul(b, x, constant(x, 8388608)), x);
    LLVMValueRef bits = llvm_cast_bits(b, scaled, b->i32);
    // Subtracting sqrt(1/2)'s bits leaves e in the exponent's place, rounded down.
    LLVMValueRef shifted = llvm_sub(b, bits, llvm_int_like(wide, 0x3f3504f3));
    LLVMValueRef e = LLVMBuildAShr(b->builder, shifted, llvm_int_like(wide, 23), "");
    LLVMValueRef place = LLVMBuildShl(b->builder, e, llvm_int_like(wide, 23), "");
    LLVMValueRef m = llvm_cast_bits(b, llvm_sub(b, bits, place), b->f32);
    LLVMValueRef f = llvm_fsub(b, m, constant(x, 1));
    LLVMValueRef count = LLVMBuildSIToFP(b->builder, e, LLVMTypeOf(x), "");
    count = llvm_fsub(b, count, llvm_select(b, small, constant(x, 23), constant(x, 0)));

    LLVMValueRef square = llvm_fmul(b, f, f);
    LLVMValueRef y = llvm_fmul(b, llvm_fmul(b, square, f), polynomial(b, f, math_log, 8));
    y = llvm_fma(b, count, constant(x, LN2_LOW), y);
    y = llvm_fma(b, square, constant(x, -0.5), y);
    y = llvm_fadd(b, f, y);
    y = llvm_fma(b, count, constant(x, LN2_HIGH), y);

    LLVMValueRef zero = constant(x, 0), infinity = constant(x, HUGE_VAL);
    y = llvm_select(b, llvm_fcmp(b, LLVMRealOEQ, x, infinity), infinity, y);
    y = llvm_select(b, llvm_fcmp(b, LLVMRealOEQ, x, zero), constant(x, -HUGE_VAL), y);
    y = llvm_select(b, llvm_fcmp(b, LLVMRealOLT, x, zero), constant(x, (double)NAN), y);
    return llvm_select(b, llvm_fcmp(b, LLVMRealUNO, x, x), x, y);
}

// Below 1: x + x P(x^2). From 1 on: 1 - exp(Q(|x|)), Q fitted to log(erfc), weighted by erfc; from
// 4 on the result is 1 in f32.
LLVMValueRef llvm_math_erf(LlvmBuild *b, LLVMValueRef x) {
    LLVMValueRef a = llvm_fabs(b, x), one = constant(x, 1), four = constant(x, 4);
    LLVMValueRef near = llvm_fma(b, x, polynomial(b, llvm_fmul(b, x, x), math_erf_near, 7), x);
    LLVMValueRef t = llvm_select(b, llvm_fcmp(b, LLVMRealOGT, a, four), four, a);
    LLVMValueRef far = llvm_fsub(b, one, llvm_math_exp(b, polynomial(b, t, math_erf_far, 7)));
    LLVMValueRef is_near = llvm_fcmp(b, LLVMRealOLT, a, one);
    return llvm_select(b, is_near, near, with_sign_of(b, far, x));
}

// x = n pi/2 + r, |r| <= pi/4: sin r or cos r by n's lowest bit, negated by the next. quarter: 1
// for cos.
static LLVMValueRef sine(LlvmBuild *b, LLVMValueRef x, int quarter) {
    LLVMValueRef magic = constant(x, ROUND_MAGIC);
    LLVMValueRef t = llvm_fma(b, x, constant(x, TWO_OVER_PI), magic);
    LLVMValueRef n = llvm_fsub(b, t, magic);
    LLVMValueRef r = llvm_fma(b, n, constant(x, HALF_PI_HIGH), x);
    r = llvm_fma(b, n, constant(x, HALF_PI_MIDDLE), r);
    r = llvm_fma(b, n, constant(x, HALF_PI_LOW), r);

    LLVMValueRef z = llvm_fmul(b, r, r);
    LLVMValueRef s = llvm_fma(b, llvm_fmul(b, z, r), polynomial(b, z, math_sin, 4), r);
    LLVMValueRef c = llvm_fma(b, z, constant(x, -0.5), constant(x, 1));
    c = llvm_fma(b, llvm_fmul(b, z, z), polynomial(b, z, math_cos, 3), c);

    LLVMValueRef bits = llvm_cast_bits(b, t, b->i32);
    LLVMTypeRef wide = LLVMTypeOf(bits);
    bits = llvm_add(b, bits, llvm_int_like(wide, quarter));
    LLVMValueRef odd = LLVMBuildAnd(b->builder, bits, llvm_int_like(wide, 1), "");
    LLVMValueRef y = llvm_select(b, llvm_icmp(b, LLVMIntNE, odd, llvm_zero(wide)), c, s);
    LLVMValueRef sign = LLVMBuildAnd(b->builder, bits, llvm_int_like(wide, 2), "");
    sign = LLVMBuildShl(b->builder, sign, llvm_int_like(wide, 30), "");
    y = LLVMBuildXor(b->builder, llvm_cast_bits(b, y, b->i32), sign, "");
    return llvm_cast_bits(b, y, b->f32);
}

LLVMValueRef llvm_math_sin(LlvmBuild *b, LLVMValueRef x) {
    return sine(b, x, 0);
}

LLVMValueRef llvm_math_cos(LlvmBuild *b, LLVMValueRef x) {
    return sine(b, x, 1);
}

// Lanes in pairs as i64: an even one's product from the low words, its neighbour's from the high
// ones moved down. x86 multiplies just the low words of 64-bit lanes, so nothing is spread out or
// gathered.
static void multiply_pairs(LlvmBuild *b, LLVMValueRef x, int64_t factor, LLVMValueRef *low,
                           LLVMValueRef *high) {
    LLVMTypeRef narrow = LLVMTypeOf(x), pairs = llvm_vector(b->i64, llvm_width(narrow) / 2);
    LLVMValueRef words = llvm_int_like(pairs, 32), mask = llvm_int_like(pairs, 0xffffffff);
    LLVMValueRef by = llvm_int_like(pairs, factor);
    LLVMValueRef both = LLVMBuildBitCast(b->builder, x, pairs, "");
    LLVMValueRef even = llvm_mul(b, LLVMBuildAnd(b->builder, both, mask, ""), by);
    LLVMValueRef odd = llvm_mul(b, LLVMBuildLShr(b->builder, both, words, ""), by);
    LLVMValueRef lower = LLVMBuildAnd(b->builder, even, mask, "");
    lower = LLVMBuildOr(b->builder, lower, LLVMBuildShl(b->builder, odd, words, ""), "");
    LLVMValueRef upper = LLVMBuildAnd(b->builder, odd, LLVMBuildNot(b->builder, mask, ""), "");
    upper = LLVMBuildOr(b->builder, upper, LLVMBuildLShr(b->builder, even, words, ""), "");
    *low = LLVMBuildBitCast(b->builder, lower, narrow, "");
    *high = LLVMBuildBitCast(b->builder, upper, narrow, "");
}

// The 64-bit product's low and high words.
static void multiply_wide(LlvmBuild *b, LLVMValueRef x, int64_t factor, LLVMValueRef *low,
                          LLVMValueRef *high) {
    LLVMTypeRef narrow = LLVMTypeOf(x);
    if (llvm_width(narrow) % 2 == 0) {
        multiply_pairs(b, x, factor, low, high);
        return;
    }
    LLVMTypeRef wide = llvm_vector(b->i64, llvm_width(narrow));
    LLVMValueRef y =
        llvm_mul(b, LLVMBuildZExt(b->builder, x, wide, ""), llvm_int_like(wide, factor));
    *low = LLVMBuildTrunc(b->builder, y, narrow, "");
    y = LLVMBuildLShr(b->builder, y, llvm_int_like(wide, 32), "");
    *high = LLVMBuildTrunc(b->builder, y, narrow, "");
}

void llvm_math_philox(LlvmBuild *b, LLVMValueRef const counter[4], LLVMValueRef const key[2],
                      LLVMValueRef out[4]) {
    LLVMValueRef c[4] = {counter[0], counter[1], counter[2], counter[3]};
    LLVMValueRef k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        LLVMValueRef low0, high0, low1, high1;
        multiply_wide(b, c[0], 0xd2511f53, &low0, &high0);
        multiply_wide(b, c[2], 0xcd9e8d57, &low1, &high1);
        c[0] = LLVMBuildXor(b->builder, LLVMBuildXor(b->builder, high1, c[1], ""), k0, "");
        c[2] = LLVMBuildXor(b->builder, LLVMBuildXor(b->builder, high0, c[3], ""), k1, "");
        c[1] = low1;
        c[3] = low0;
        // The key moves on by the golden ratio and the square root of 3, in 0.32 bits.
        k0 = llvm_add(b, k0, llvm_int_like(LLVMTypeOf(k0), (int64_t)0x9e3779b9));
        k1 = llvm_add(b, k1, llvm_int_like(LLVMTypeOf(k1), (int64_t)0xbb67ae85));
    }
    for (int i = 0; i < 4; i++)
        out[i] = c[i];
}
