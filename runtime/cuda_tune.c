// tune: each product of the plan is computed with every algorithm that the library proposes for it,
// at the addresses it will have, and the fastest is written down. Then each product that the
// library may compute together with the kernel behind it: in one, with every algorithm, beside the
// two apart; the faster way is written down. The arena is filled with random numbers before: a GPU
// that multiplies zeros, of which new memory is full, takes less power and is faster than it will
// be with data. The least of a few rounds counts: what disturbs a measurement only adds to it.
#include "runtime/cuda_tune.h"

#include "runtime/error.h"

#include <stdlib.h>
#include <string.h>

enum { WARMING = 3, ROUNDS = 3, REPEATS = 20, OPERANDS_MAX = 64, NUMBERS = 1 << 17 };

typedef enum { WAY_ALONE, WAY_APART, WAY_JOINED } Way;

typedef struct {
    CudaDevice *d;
    CuEvent begin, end;
    // Of the row at hand. WAY_ALONE: the product only.
    const PlanInstr *product, *kernel;
    const PlanJoint *joint;
    void *operand[4], *of_kernel[OPERANDS_MAX];
    void *workspace;
} Measure;

// The first instruction that computes the row's product; NULL where no segment has one.
static const PlanInstr *find_instr(const Plan *p, uint32_t kernel) {
    for (uint32_t s = 0; s < p->segment_count; s++)
        for (uint32_t i = 0; i < p->segment[s].instr_count; i++) {
            const PlanInstr *instr = &p->segment[s].instr[i];
            if (instr->kind == INSTR_PRODUCT && instr->kernel == kernel)
                return instr;
        }
    return NULL;
}

static CuResult run_once(const Measure *m, Way way) {
    CublasTable *t = m->d->products;
    const CuStream stream = m->d->stream[0];
    if (way == WAY_JOINED)
        return cublas_table_run_joint(t, m->joint, m->operand, m->of_kernel, m->workspace, stream);
    const CuResult result =
        cublas_table_run(t, m->product->kernel, m->operand, m->workspace, stream);
    return result == CU_SUCCESS && way == WAY_APART
               ? cuda_launch(m->d, m->kernel, m->of_kernel, stream)
               : result;
}

static CuResult repeat(const Measure *m, Way way, int times) {
    CuResult result = CU_SUCCESS;
    for (int i = 0; i < times && result == CU_SUCCESS; i++)
        result = run_once(m, way);
    return result;
}

// Microseconds of one product with the algorithm that is chosen now.
static CuResult measure(const Measure *m, Way way, double *least) {
    const CudaDriver *cu = &m->d->cu;
    const CuStream stream = m->d->stream[0];
    CuResult result = repeat(m, way, WARMING);
    for (int i = 0; i < ROUNDS && result == CU_SUCCESS; i++) {
        float milliseconds = 0;
        result = cu->event_record(m->begin, stream);
        if (result == CU_SUCCESS)
            result = repeat(m, way, REPEATS);
        if (result == CU_SUCCESS)
            result = cu->event_record(m->end, stream);
        if (result == CU_SUCCESS)
            result = cu->event_synchronize(m->end);
        if (result == CU_SUCCESS)
            result = cu->event_elapsed(&milliseconds, m->begin, m->end);
        const double one = 1e3 * (double)milliseconds / (double)REPEATS;
        *least = i == 0 || one < *least ? one : *least;
    }
    return result;
}

// The best algorithm of a row becomes the row's. *first: the time of the first that ran, which is
// the library's own choice where that can. CUBLAS_ERROR and more where none runs.
static CuResult tune_row(Measure *m, uint32_t row, double *first, double *best) {
    const Way way = m->joint ? WAY_JOINED : WAY_ALONE;
    LtAlgorithm algorithm[CUBLAS_CANDIDATES_MAX];
    const int count = cublas_candidates(m->d->products, row, algorithm);
    CuResult failed = CUBLAS_ERROR;
    int chosen = -1;
    for (int i = 0; i < count; i++) {
        double took;
        cublas_choose(m->d->products, row, &algorithm[i]);
        const CuResult result = measure(m, way, &took);
        // One that the library proposes but does not run is none; the driver's errors stay.
        if (result >= CUBLAS_ERROR) {
            failed = result;
            continue;
        }
        if (result != CU_SUCCESS)
            return result;
        if (chosen < 0)
            *first = took;
        if (chosen < 0 || took < *best) {
            *best = took;
            chosen = i;
        }
    }
    if (chosen < 0)
        return failed;
    cublas_choose(m->d->products, row, &algorithm[chosen]);
    return CU_SUCCESS;
}

static PlimStatus none_runs(const PlanProduct *x, CuResult result, PlimError *error) {
    return error_set(error, PLIM_MACHINE,
                     "none of cuBLASLt's algorithms for the product %lld x %lld x %lld of %s and "
                     "%s runs on this GPU: the last one gave status %d",
                     (long long)x->m, (long long)x->k, (long long)x->n, plan_dtype_name(x->a),
                     plan_dtype_name(x->b), (int)(result - CUBLAS_ERROR));
}

// The operands and the workspace of the row's instructions.
static void come_to(Measure *m, const PlanInstr *product, const PlanJoint *joint) {
    m->product = product;
    m->kernel = joint ? product + (joint->kernel - joint->product) : NULL;
    m->joint = joint;
    for (uint32_t i = 0; i < product->operand_count; i++)
        m->operand[i] = cuda_operand(m->d, &product->operand[i], 0);
    for (uint32_t i = 0; joint && i < m->kernel->operand_count; i++)
        m->of_kernel[i] = cuda_operand(m->d, &m->kernel->operand[i], 0);
    m->workspace =
        product->workspace == UINT32_MAX ? NULL : device_cuda.address(m->d, product->workspace);
}

static PlimStatus tune_product(Measure *m, uint32_t row, FILE *out, PlimError *error) {
    const Plan *p = m->d->plan;
    const PlanProduct *x = &p->product[row];
    const PlanInstr *instr = find_instr(p, x->kernel);
    double first = 0, best = 0;
    if (x->library != PLAN_CUBLASLT || !instr)
        return PLIM_OK;
    come_to(m, instr, NULL);
    const CuResult result = tune_row(m, row, &first, &best);
    if (result >= CUBLAS_ERROR)
        return none_runs(x, result, error);
    if (result != CU_SUCCESS)
        return cuda_failed(m->d, result, instr->name, error);
    cublas_write_row(m->d->products, row, best, out);
    printf("%lld x %lld x %lld: %.1f us, was %.1f us\n", (long long)x->m, (long long)x->k,
           (long long)x->n, best, first);
    return PLIM_OK;
}

// Apart with the algorithm that was just found to be the product's best. Where the library has none
// for both that runs, they stay apart.
static PlimStatus tune_joint(Measure *m, uint32_t row, FILE *out, PlimError *error) {
    const PlanJoint *g = cublas_joint(m->d->products, row);
    const PlanInstr *instr = &m->d->plan->segment[g->segment].instr[g->product];
    double first = 0, joined = 0, apart = 0;
    come_to(m, instr, g);
    CuResult result = measure(m, WAY_APART, &apart);
    if (result != CU_SUCCESS)
        return cuda_failed(m->d, result, instr->name, error);
    result = tune_row(m, row, &first, &joined);
    const bool none = result >= CUBLAS_ERROR;
    if (result != CU_SUCCESS && !none)
        return cuda_failed(m->d, result, instr->name, error);
    const bool wins = !none && joined < apart;
    // Where none runs, the line has no algorithm, not the last that failed.
    if (none)
        cublas_choose(m->d->products, row, &(LtAlgorithm){0});
    if (!wins)
        cublas_choose(m->d->products, row, NULL);
    cublas_write_row(m->d->products, row, wins ? joined : apart, out);
    if (none)
        printf("%s, then %s: %.1f us, and cuBLASLt can't do both\n", instr->name, m->kernel->name,
               apart);
    else
        printf("%s, then %s: %.1f us apart, %.1f us in one\n", instr->name, m->kernel->name, apart,
               joined);
    return PLIM_OK;
}

// The next of a row of numbers that look random (Marsaglia's xorshift).
static uint32_t draw(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

// bf16 numbers of [-1, 1); two of them are an f32 of that range too.
static void draw_numbers(uint16_t out[NUMBERS]) {
    uint32_t state = 1, bits;
    for (int i = 0; i < NUMBERS; i++) {
        const float x = (float)(int32_t)draw(&state) * 0x1p-31F;
        memcpy(&bits, &x, sizeof bits);
        out[i] = (uint16_t)(bits >> 16);
    }
}

// All that products read lies in the GPU's own memory. What is there is copied behind itself.
static PlimStatus fill_space(CudaDevice *d, uint32_t space, const uint16_t numbers[NUMBERS],
                             PlimError *error) {
    const uint64_t bytes = d->plan->space[space].bytes, most = NUMBERS * sizeof *numbers;
    const CuAddress at = (CuAddress)(uintptr_t)d->arena[space];
    uint64_t done = bytes < most ? bytes : most;
    const PlimStatus status = device_cuda.write(d, d->arena[space], numbers, done, error);
    CuResult result = CU_SUCCESS;
    while (status == PLIM_OK && result == CU_SUCCESS && done < bytes) {
        const uint64_t take = done < bytes - done ? done : bytes - done;
        result = d->cu.copy(at + done, at, (size_t)take, d->stream[0]);
        done += take;
    }
    return result == CU_SUCCESS ? status : cuda_failed(d, result, "preparing to measure", error);
}

static PlimStatus fill_arena(CudaDevice *d, PlimError *error) {
    uint16_t *numbers = malloc(NUMBERS * sizeof *numbers);
    if (!numbers)
        return error_set(error, PLIM_NO_MEMORY, "out of memory preparing to measure");
    draw_numbers(numbers);
    PlimStatus status = PLIM_OK;
    for (uint32_t i = 0; i < d->plan->space_count && status == PLIM_OK; i++)
        if (d->plan->space[i].kind == SPACE_DEVICE && d->arena[i])
            status = fill_space(d, i, numbers, error);
    free(numbers);
    return status;
}

// A line a row; joints stand behind the products they are of.
static PlimStatus tune_all(Measure *m, FILE *out, PlimError *error) {
    PlimStatus status = PLIM_OK;
    for (uint32_t row = 0; row < cublas_table_rows(m->d->products) && status == PLIM_OK; row++)
        status = cublas_joint(m->d->products, row) ? tune_joint(m, row, out, error)
                                                   : tune_product(m, row, out, error);
    return status;
}

static PlimStatus tune_in_context(CudaDevice *d, FILE *out, PlimError *error) {
    Measure m = {.d = d};
    const CudaDriver *cu = &d->cu;
    CuResult result = cu->event_new(&m.begin, CU_EVENT_TIMED);
    if (result == CU_SUCCESS)
        result = cu->event_new(&m.end, CU_EVENT_TIMED);
    PlimStatus status = PLIM_OK;
    if (result != CU_SUCCESS)
        status = cuda_failed(d, result, "preparing to measure", error);
    else
        status = fill_arena(d, error);
    if (status == PLIM_OK) {
        cublas_write_head(d->products, out);
        status = tune_all(&m, out, error);
    }
    if (m.begin)
        (void)cu->event_free(m.begin);
    if (m.end)
        (void)cu->event_free(m.end);
    return status;
}

PlimStatus cuda_tune(void *device, FILE *out, PlimError *error) {
    CudaDevice *d = device;
    if (!d->products)
        return error_set(error, PLIM_BAD_INPUT, "this program has no products to measure");
    const CuResult result = cuda_enter(d);
    if (result != CU_SUCCESS)
        return cuda_failed(d, result, "preparing to measure", error);
    const PlimStatus status = tune_in_context(d, out, error);
    cuda_leave(d);
    return status;
}
