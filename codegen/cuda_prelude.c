// What precedes the kernels of every CUDA translation unit, put together of texts that travel
// inside the compiler: instructions (cuda_device.cuh), memory, operations and reductions
// (cuda_base.cuh), the constants and polynomials of our elementary functions, printed from the one
// table that the CPU has too, those functions (cuda_math.cuh), products and convolutions
// (cuda_product.cuh).
//
// A float is printed with 9 digits, which read back to the same bits.
#include "codegen/cuda.h"

#include "codegen/cuda_attention.h"
#include "codegen/cuda_attention_text.h"
#include "codegen/cuda_text.h"
#include "codegen/math_coefficients.h"

// float NAME(float x) by Horner's rule, as llvm_math.c has it.
static char *polynomial(Arena *a, const char *name, const double *c, int count) {
    char *text =
        arena_format(a, "PLIM_DEVICE float plim_poly_%s(float x) {\n    float y = %.9ef;\n", name,
                     (double)(float)c[count - 1]);
    for (int i = count - 2; i >= 0; i--)
        text = arena_format(a, "%s    y = plim_fma(y, x, %.9ef);\n", text, (double)(float)c[i]);
    return arena_format(a, "%s    return y;\n}\n", text);
}

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

static char *polynomials(Arena *a) {
    const struct {
        const char *name;
        const double *c;
        int count;
    } table[] = {
        {"exp", math_exp, COUNT(math_exp)},
        {"expm1", math_expm1, COUNT(math_expm1)},
        {"tanh_p", math_tanh_p, COUNT(math_tanh_p)},
        {"tanh_q", math_tanh_q, COUNT(math_tanh_q)},
        {"log", math_log, COUNT(math_log)},
        {"erf_near", math_erf_near, COUNT(math_erf_near)},
        {"erf_far", math_erf_far, COUNT(math_erf_far)},
        {"sin", math_sin, COUNT(math_sin)},
        {"cos", math_cos, COUNT(math_cos)},
    };
    char *text = arena_text(a, "");
    for (int i = 0; i < COUNT(table); i++)
        text =
            arena_format(a, "%s%s", text, polynomial(a, table[i].name, table[i].c, table[i].count));
    return text;
}

static char *constants(Arena *a) {
    const struct {
        const char *name;
        double value;
    } table[] = {
        {"ROUND", ROUND_MAGIC},
        {"ROUND_EXP", ROUND_MAGIC + 126},
        {"LOG2_E", LOG2_E},
        {"LN2_HIGH", LN2_HIGH},
        {"LN2_LOW", LN2_LOW},
        {"TWO_OVER_PI", TWO_OVER_PI},
        {"HALF_PI_HIGH", HALF_PI_HIGH},
        {"HALF_PI_MIDDLE", HALF_PI_MIDDLE},
        {"HALF_PI_LOW", HALF_PI_LOW},
    };
    char *text = arena_text(a, "");
    for (int i = 0; i < COUNT(table); i++)
        text = arena_format(a, "%s#define PLIM_%s (%.9ef)\n", text, table[i].name,
                            (double)(float)table[i].value);
    return text;
}

CudaParts cuda_parts(const Kernel *k, GpuArch arch) {
    if (kernel_kind_is_attention(k->kind))
        return cuda_attention_parts(k, arch);
    KernelLaunches launches;
    kernel_launches(k, arch, &launches);
    // Rows that shared memory holds come there by cp.async.
    return launches.launch[0].shared > 0 ? CUDA_MMA : 0;
}

const char *cuda_prelude(Arena *a, CudaParts parts, GpuArch arch) {
    (void)arch; // what is said by parts
    return arena_format(
        a, "%s%s%s%s%s%s%s%s%s", (const char *)cuda_device_text, (const char *)cuda_base_text,
        constants(a), polynomials(a), (const char *)cuda_math_text, (const char *)cuda_product_text,
        (const char *)cuda_scatter_text, parts ? (const char *)cuda_tensor_text : "",
        parts & CUDA_ATTENTION ? cuda_attention_prelude(a, parts) : "");
}
