// The kernels of sample.plan, for the CPU and for the fake GPU: one text, so that both give the
// same bits. The second form takes its operands and immediates as CUDA's launches pass them.
#include "sample_kernels.h"

#include <string.h>

enum { LENGTH = 16, SIDE = 4, OPERANDS_MAX = 4 };

// h [2, 16] = w * x + bias by row.
static void affine(void *const *operand, const int64_t *imm) {
    const float *x = operand[0], *w = operand[1];
    float *h = operand[2];
    for (int i = 0; i < 2 * LENGTH; i++)
        h[i] = w[i % LENGTH] * x[i % LENGTH] + (float)imm[1] * (float)(i / LENGTH);
}

static void scale(void *const *operand, const int64_t *imm) {
    const float *x = operand[0];
    float *out = operand[1];
    (void)imm;
    for (int i = 0; i < LENGTH; i++)
        out[i] = 0.25F * x[i];
}

// [4, 4] x [4, 4]: what cuBLASLt computes on the GPU.
static void product(void *const *operand, const int64_t *imm) {
    const float *a = operand[0], *b = operand[1];
    float *c = operand[2];
    (void)imm;
    for (int i = 0; i < SIDE * SIDE; i++) {
        double sum = 0;
        for (int k = 0; k < SIDE; k++)
            sum += (double)a[i / SIDE * SIDE + k] * (double)b[k * SIDE + i % SIDE];
        c[i] = (float)sum;
    }
}

static void relu_of_sum(void *const *operand, const int64_t *imm) {
    const float *p = operand[0], *a = operand[1];
    float *out = operand[2];
    (void)imm;
    for (int i = 0; i < LENGTH; i++)
        out[i] = p[i] + a[i] > 0 ? p[i] + a[i] : 0;
}

static void blend(void *const *operand, const int64_t *imm) {
    const float *a = operand[0], *b = operand[1];
    float *out = operand[2];
    (void)imm;
    for (int i = 0; i < LENGTH; i++)
        out[i] = 0.25F * a[i] + 0.375F * b[i];
}

static void add_part(void *const *operand, int begin, int end) {
    const float *a = operand[0], *b = operand[1], *c = operand[2];
    float *out = operand[3];
    for (int i = begin; i < end; i++)
        out[i] += 0.25F * a[i] + 0.375F * b[i] + 0.5F * c[i];
}

static void add_into(void *const *operand, const int64_t *imm) {
    (void)imm;
    add_part(operand, 0, LENGTH);
}

// On the GPU in two launches.
static void add_first_half(void *const *operand, const int64_t *imm) {
    (void)imm;
    add_part(operand, 0, LENGTH / 2);
}

static void add_second_half(void *const *operand, const int64_t *imm) {
    (void)imm;
    add_part(operand, LENGTH / 2, LENGTH);
}

static void sum_into(void *const *operand, const int64_t *imm) {
    const float *in = operand[0];
    float *sum = operand[1];
    (void)imm;
    for (int i = 0; i < LENGTH; i++)
        *sum += in[i];
}

static void descend(void *const *operand, const int64_t *imm) {
    const float *step = operand[0], *rate = operand[1];
    float *w = operand[2];
    (void)imm;
    for (int i = 0; i < LENGTH; i++)
        w[i] -= *rate * step[i];
}

static void count_on(void *const *operand, const int64_t *imm) {
    const int32_t *n = operand[0];
    (void)imm;
    *(int32_t *)operand[1] = *n + 1;
}

static void half(void *const *operand, const int64_t *imm) {
    const float *x = operand[0];
    float *out = operand[1];
    (void)imm;
    for (int i = 0; i < LENGTH / 2; i++)
        out[i] = 0.5F * out[i] + x[i];
}

static void add(void *const *operand, const int64_t *imm) {
    const float *x = operand[0];
    float *sum = operand[1];
    (void)imm;
    for (int i = 0; i < LENGTH; i++)
        sum[i] += x[i];
}

typedef void Whole(void *const *operand, const int64_t *imm);

// args: the address of each parameter.
static void call(Whole *whole, void **args, int operands, int imms) {
    void *operand[OPERANDS_MAX] = {0};
    int64_t imm[OPERANDS_MAX] = {0};
    for (int i = 0; i < operands; i++)
        memcpy(&operand[i], args[i], sizeof operand[i]);
    for (int i = 0; i < imms; i++)
        memcpy(&imm[i], args[operands + i], sizeof imm[i]);
    whole(operand, imm);
}

#define KERNEL(name, whole)                                                                        \
    static void name(void *const *operand, const int64_t *imm, int64_t begin, int64_t end,         \
                     void *workspace) {                                                            \
        (void)begin, (void)end, (void)workspace;                                                   \
        whole(operand, imm);                                                                       \
    }
#define LAUNCH(name, whole, operands, imms)                                                        \
    __attribute__((visibility("default"))) int name##__host(                                       \
        void **args, unsigned x, unsigned y, unsigned z, unsigned block, size_t shared) {          \
        (void)x, (void)y, (void)z, (void)block, (void)shared;                                      \
        call(whole, args, operands, imms);                                                         \
        return 0;                                                                                  \
    }

KERNEL(k0, affine)
KERNEL(k1, scale)
KERNEL(k2, product)
KERNEL(k3, relu_of_sum)
KERNEL(k4, blend)
KERNEL(k5, add_into)
KERNEL(k6, sum_into)
KERNEL(k7, descend)
KERNEL(k8, count_on)
KERNEL(k9, half)
KERNEL(k10, add)

PlimKernelFn *const sample_kernel_table[] = {k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10};

LAUNCH(k0, affine, 3, 2)
LAUNCH(k1, scale, 2, 0)
LAUNCH(k3, relu_of_sum, 3, 0)
LAUNCH(k4, blend, 3, 0)
LAUNCH(k5, add_first_half, 4, 0)
LAUNCH(k5_1, add_second_half, 4, 0)
LAUNCH(k6, sum_into, 2, 0)
LAUNCH(k7, descend, 3, 0)
LAUNCH(k8, count_on, 2, 0)
LAUNCH(k9, half, 2, 0)
LAUNCH(k10, add, 2, 0)
