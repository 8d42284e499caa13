// The main of a program whose entries are to be timed: each is run a few times to warm up, then at
// least REPEATS times and for a fifth of a second; the median is told beside what the plan says it
// computes and moves. Inputs are random numbers of [-1, 1) that every run draws alike: a GPU that
// multiplies zeros takes less power and so runs faster than it will with data. Indices are 0.
#include "runtime/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

extern const uint8_t plim_plan[];
extern const uint64_t plim_plan_size;
extern PlimKernelFn *const plim_kernels[];
extern const PlimCubin plim_cubins[];

enum { WARM = 3, REPEATS = 10, RUNS_MAX = 1000 };
static const double seconds_least = 0.2;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// The next of a row of numbers that look random (Marsaglia's xorshift).
static uint32_t draw(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void draw_values(char *to, uint64_t bytes, PlanDType dtype, uint32_t *state) {
    const size_t size = plan_dtype_bytes(dtype);
    for (uint64_t at = 0; at + size <= bytes; at += size) {
        const float x = (float)(int32_t)draw(state) * 0x1p-31f;
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        const uint16_t high = (uint16_t)(bits >> 16);
        if (dtype == PLAN_F32)
            memcpy(to + at, &bits, sizeof bits);
        else if (dtype == PLAN_BF16)
            memcpy(to + at, &high, sizeof high);
    }
}

static PlimStatus draw_inputs(PlimSession *s, const PlanEntry *e, PlimError *error) {
    PlimStatus status = PLIM_OK;
    uint32_t state = 1;
    for (uint32_t i = 0; i < e->input_count && status == PLIM_OK; i++) {
        const PlanBuffer *b = &s->plan->buffer[e->input[i].buffer];
        char *values = calloc(1, b->bytes + 1);
        if (!values)
            return PLIM_NO_MEMORY;
        draw_values(values, b->bytes, b->dtype, &state);
        status = run_write(s->run, e->input[i].buffer, 0, values, b->bytes, error);
        free(values);
    }
    return status;
}

static PlimStatus time_entry(PlimSession *s, const PlanEntry *e, double *median, PlimError *error) {
    double run[RUNS_MAX], sum = 0;
    int count = 0;
    PlimStatus status = draw_inputs(s, e, error);
    for (int i = 0; i < WARM && status == PLIM_OK; i++)
        status = run_entry(s->run, e, error);
    while (status == PLIM_OK && count < RUNS_MAX && (count < REPEATS || sum < seconds_least)) {
        const double start = now();
        status = run_entry(s->run, e, error);
        run[count] = now() - start;
        sum += run[count++];
    }
    qsort(run, (size_t)count, sizeof *run, compare);
    *median = count > 0 ? run[count / 2] : 0;
    return status;
}

// Of one execution of the entry.
static void entry_work(const Plan *p, const PlanEntry *e, double *flops, double *bytes) {
    *flops = *bytes = 0;
    for (uint32_t c = 0; c < e->call_count; c++) {
        const PlanSegment *s = &p->segment[e->call[c].segment];
        for (uint32_t i = 0; i < s->instr_count; i++) {
            *flops += (double)s->instr[i].flops;
            *bytes += (double)s->instr[i].bytes;
        }
    }
}

int main(void) {
    const PlimImage image = {.plan = plim_plan,
                             .plan_size = plim_plan_size,
                             .kernel = plim_kernels,
                             .cubin = plim_cubins};
    PlimSession s;
    PlimError error = {""};
    PlimStatus status = session_open(&image, &s, &error);
    if (status == PLIM_OK)
        status = session_start(&s, &image, (RunOptions){0}, &error);
    for (uint32_t i = 0; status == PLIM_OK && i < s.plan->entry_count; i++) {
        const PlanEntry *e = &s.plan->entry[i];
        double seconds, flops, bytes;
        status = time_entry(&s, e, &seconds, &error);
        entry_work(s.plan, e, &flops, &bytes);
        if (status == PLIM_OK)
            printf("%-28s %9.3f ms %8.1f TFLOP/s %8.1f GB/s\n", e->name, 1e3 * seconds,
                   1e-12 * flops / seconds, 1e-9 * bytes / seconds);
    }
    if (status != PLIM_OK)
        fprintf(stderr, "time_entries: %s\n", error.text);
    session_close(&s);
    return status != PLIM_OK;
}
