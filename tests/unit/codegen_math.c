// The elementary functions that kernels use, compiled for this machine, against libm in double
// precision over their range. Bounds are those codegen/llvm_math.h states.
#include "codegen/codegen.h"
#include "ir/kernel.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS = 40000 };

typedef struct {
    KOp op;
    double (*exact)(double);
    double low, high;
    double relative; // largest error / max(|exact|, floor)
    double floor;    // below it errors count absolutely
} Case;

// 2 ulp is at most 2 x 2^-23.
static const Case cases[] = {
    {KOP_EXP, exp, -86.98, 88.72, 1.2e-7, FLT_MIN},
    {KOP_EXP, exp, -120, -86.98, 1, 1.7e-38},
    {KOP_EXP, exp, -1, 1, 1.2e-7, FLT_MIN},
    {KOP_EXPM1, expm1, -1, 1, 2.4e-7, FLT_MIN},
    {KOP_EXPM1, expm1, -90, 88.7, 2.4e-7, FLT_MIN},
    {KOP_EXPM1, expm1, -1e-4, 1e-4, 2.4e-7, FLT_MIN},
    {KOP_LOG, log, 0.5, 2, 2.4e-7, 1e-7},
    {KOP_LOG, log, 1e-38, 1e-30, 2.4e-7, 1e-7},
    {KOP_LOG, log, 1e-41, 1e-38, 2.4e-7, 1e-7},
    {KOP_LOG, log, 1e-3, 1e6, 2.4e-7, 1e-7},
    {KOP_TANH, tanh, -10, 10, 5e-7, FLT_MIN},
    {KOP_TANH, tanh, -1e-3, 1e-3, 5e-7, FLT_MIN},
    {KOP_ERF, erf, -5, 5, 5e-7, FLT_MIN},
    {KOP_ERF, erf, -1e-3, 1e-3, 5e-7, FLT_MIN},
    {KOP_SIN, sin, -10, 10, 5e-7, 1e-3},
    {KOP_COS, cos, -10, 10, 5e-7, 1e-3},
    {KOP_SIN, sin, -1e4, 1e4, 1e-6, 1e-2},
    {KOP_COS, cos, -1e4, 1e4, 1e-6, 1e-2},
};

// y = op(x) over count points.
static char *unary_text(Arena *a, KOp op, int64_t count) {
    const int64_t one = 1;
    KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, 1, &count);
    const int x = kernel_add_operand(kb, DT_F32, ACCESS_READ, &one);
    const int y = kernel_add_operand(kb, DT_F32, ACCESS_WRITE, &one);
    kb_store(kb, y, kb_op1(kb, op, kb_load(kb, x)));
    return kernel_text(kernel_finish(kb), a);
}

// Runs op on count points, on the named target.
static void run_unary(const char *target, KOp op, float *x, float *y, int64_t count) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    CpuTarget cpu;
    cr_assert(cpu_target(a, d, target, &cpu));
    const char *text = unary_text(a, op, count);
    Jit *jit = jit_create(d, &cpu, &text, 1);
    diag_print(d, stderr, false);
    cr_assert_not_null(jit);
    void *const operand[] = {x, y};
    jit_function(jit, 0)(operand, NULL, 0, (count + 16383) / 16384, NULL);
    jit_release(jit);
    arena_release(a);
}

Test(codegen_math, errors_are_bounded) {
    static float x[POINTS], y[POINTS];
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const Case *at = &cases[c];
        for (int i = 0; i < POINTS; i++)
            x[i] = (float)(at->low + (at->high - at->low) * i / (POINTS - 1));
        run_unary("cpu", at->op, x, y, POINTS);
        double worst = 0, where = 0;
        for (int i = 0; i < POINTS; i++) {
            const double exact = at->exact((double)x[i]);
            const double error = fabs((double)y[i] - exact) / fmax(fabs(exact), at->floor);
            if (!(error <= worst)) {
                worst = error;
                where = (double)x[i];
            }
        }
        cr_log_info("%s on [%g, %g]: %.3g at %.9g", kop_name(at->op), at->low, at->high, worst,
                    where);
        cr_assert(worst <= at->relative, "%s on [%g, %g]: error %.3g at %.9g", kop_name(at->op),
                  at->low, at->high, worst, where);
    }
}

Test(codegen_math, limits) {
    static const float limit[] = {0.0f,      -0.0f,    INFINITY, -INFINITY, NAN,     FLT_MIN,
                                  1e-40f,    -1e-40f,  89.0f,    -104.0f,   1000.0f, -1000.0f,
                                  88.72283f, -87.336f, FLT_MAX,  -FLT_MAX};
    enum { COUNT = sizeof limit / sizeof limit[0] };
    static const struct {
        KOp op;
        double (*exact)(double);
    } functions[] = {
        {KOP_EXP, exp}, {KOP_EXPM1, expm1}, {KOP_LOG, log}, {KOP_TANH, tanh}, {KOP_ERF, erf}};
    for (size_t f = 0; f < sizeof functions / sizeof functions[0]; f++) {
        float x[COUNT], y[COUNT];
        memcpy(x, limit, sizeof x);
        run_unary("cpu", functions[f].op, x, y, COUNT);
        for (int i = 0; i < COUNT; i++) {
            const float exact = (float)functions[f].exact((double)x[i]);
            const char *name = kop_name(functions[f].op);
            if (isnan(exact))
                cr_assert(isnan(y[i]), "%s(%g) is %g", name, (double)x[i], (double)y[i]);
            else if (isinf(exact))
                cr_assert(y[i] == exact, "%s(%g) is %g", name, (double)x[i], (double)y[i]);
            else
                cr_assert(fabsf(y[i] - exact) <= 3e-7f * fabsf(exact) + 1.7e-38f,
                          "%s(%g) is %g, not %g", name, (double)x[i], (double)y[i], (double)exact);
        }
    }
}

// Sine and cosine of what is no angle are no number.
Test(codegen_math, sine_of_infinity) {
    float x[] = {INFINITY, -INFINITY, NAN}, y[3];
    run_unary("cpu", KOP_SIN, x, y, 3);
    for (int i = 0; i < 3; i++)
        cr_assert(isnan(y[i]));
}
