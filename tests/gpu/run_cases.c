// The main of a program whose entries are operator_cases': runs each in one process and compares.
//   PROGRAM FILE.cases [BYTE]
// BYTE fills all buffers before the first case: what is read without being written then shows.
// Prints a line for each operator: cases, those that failed, the largest error as a share of what
// is allowed. Exit status 1 where any failed.
#include "runtime/session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const uint8_t plim_plan[];
extern const uint64_t plim_plan_size;
extern PlimKernelFn *const plim_kernels[];
extern const PlimCubin plim_cubins[];

enum { NAME_MAX_BYTES = 128 };

// One operator's cases, which stand together.
typedef struct {
    char name[NAME_MAX_BYTES];
    int cases, failed;
    double worst; // error over tolerance
} Tally;

typedef struct {
    FILE *in;
    PlimSession session;
    PlimError error;
    Tally tally;
    int failed;
} Cases;

static uint64_t take(Cases *c) {
    uint64_t x = 0;
    if (fread(&x, sizeof x, 1, c->in) != 1) {
        fprintf(stderr, "run_cases: the file ends too early\n");
        exit(1);
    }
    return x;
}

static void take_bytes(Cases *c, void *to, size_t bytes) {
    if (fread(to, 1, bytes, c->in) != bytes) {
        fprintf(stderr, "run_cases: the file ends too early\n");
        exit(1);
    }
}

static void *room(size_t bytes) {
    void *p = malloc(bytes + 1);
    if (!p)
        exit(1);
    return p;
}

static double element(PlanDType dtype, const char *at) {
    float f;
    int32_t i;
    uint16_t high;
    switch (dtype) {
    case PLAN_F32:
        memcpy(&f, at, sizeof f);
        return (double)f;
    case PLAN_BF16:
        memcpy(&high, at, sizeof high);
        const uint32_t bits = (uint32_t)high << 16;
        memcpy(&f, &bits, sizeof f);
        return (double)f;
    case PLAN_I32:
        memcpy(&i, at, sizeof i);
        return i;
    case PLAN_BOOL:
        return *at != 0;
    case PLAN_DTYPE_COUNT:
        break;
    }
    return (double)NAN;
}

static double take_expected(Cases *c, PlanDType dtype) {
    float f;
    double x;
    if (dtype == PLAN_F32 || dtype == PLAN_BF16) {
        take_bytes(c, &f, sizeof f);
        return (double)f;
    }
    take_bytes(c, &x, sizeof x);
    return x;
}

// The largest error of one result over its tolerance; above 1 it fails. Infinities and NaNs must be
// where they are expected.
static double result_error(Cases *c, const PlanResult *r, bool computed) {
    const uint64_t count = take(c);
    const PlanDType dtype = (PlanDType)take(c);
    double tolerance, worst = 0;
    take_bytes(c, &tolerance, sizeof tolerance);
    double *expected = room(count * sizeof *expected);
    for (uint64_t i = 0; i < count; i++)
        expected[i] = take_expected(c, dtype);
    const size_t bytes = plan_dtype_bytes(dtype);
    char *got = room(count * bytes);
    if (!computed || r->dtype != dtype ||
        run_read(c->session.run, r->buffer, r->offset, got, count * bytes, &c->error) != PLIM_OK)
        worst = HUGE_VAL;
    for (uint64_t i = 0; i < count && worst < HUGE_VAL; i++) {
        const double x = element(dtype, got + i * bytes);
        if (isfinite(expected[i]) && isfinite(x))
            worst = fmax(worst, fabs(x - expected[i]) / fmax(tolerance, 1e-300));
        else if (!(isnan(x) && isnan(expected[i])) && x != expected[i])
            worst = HUGE_VAL;
    }
    free(expected);
    free(got);
    return worst;
}

static void print_tally(const Tally *t) {
    if (t->cases > 0)
        printf("%-36s %4d cases  %4d failed  error %.3f of what is allowed\n", t->name, t->cases,
               t->failed, t->worst);
}

// name is the operator's and the case's number.
static void count_case(Cases *c, char *name, double worst) {
    *strrchr(name, '_') = '\0';
    if (strcmp(c->tally.name, name) != 0) {
        print_tally(&c->tally);
        c->tally = (Tally){0};
        snprintf(c->tally.name, sizeof c->tally.name, "%s", name);
    }
    const bool failed = !(worst <= 1);
    c->tally.cases++;
    c->tally.failed += failed;
    c->tally.worst = fmax(c->tally.worst, worst);
    c->failed += failed;
}

static void run_case(Cases *c) {
    char name[NAME_MAX_BYTES] = "";
    const uint64_t length = take(c);
    take_bytes(c, name, length < sizeof name ? length : sizeof name - 1);
    const PlanEntry *entry = plan_find_entry(c->session.plan, name);
    if (!entry) {
        fprintf(stderr, "run_cases: the program has no entry %s\n", name);
        exit(1);
    }
    PlimStatus status = PLIM_OK;
    const uint64_t arguments = take(c);
    for (uint64_t i = 0; i < arguments; i++) {
        const uint64_t bytes = take(c);
        char *data = room(bytes);
        take_bytes(c, data, bytes);
        if (status == PLIM_OK && i < entry->input_count)
            status = run_write(c->session.run, entry->input[i].buffer, 0, data, bytes, &c->error);
        free(data);
    }
    if (status == PLIM_OK)
        status = run_entry(c->session.run, entry, &c->error);
    if (status != PLIM_OK)
        fprintf(stderr, "%s: %s\n", name, c->error.text);
    double worst = 0;
    const uint64_t results = take(c);
    for (uint64_t i = 0; i < results; i++)
        worst = fmax(worst, result_error(c, &entry->result[i], status == PLIM_OK));
    if (!(worst <= 1))
        fprintf(stderr, "%s: error %g times what is allowed\n", name, worst);
    count_case(c, name, worst);
}

static PlimStatus fill_buffers(Cases *c, int byte) {
    PlimStatus status = PLIM_OK;
    const Plan *p = c->session.plan;
    for (uint32_t i = 0; i < p->buffer_count && status == PLIM_OK; i++) {
        char *bytes = room(p->buffer[i].bytes);
        memset(bytes, byte, p->buffer[i].bytes);
        status = run_write(c->session.run, i, 0, bytes, p->buffer[i].bytes, &c->error);
        free(bytes);
    }
    return status;
}

int main(int argc, char **argv) {
    Cases c = {.in = argc == 2 || argc == 3 ? fopen(argv[1], "rb") : NULL};
    char magic[8] = "";
    if (!c.in || fread(magic, 1, 8, c.in) != 8 || memcmp(magic, "plimcase", 8) != 0) {
        fprintf(stderr, "usage: %s FILE.cases [BYTE]\n", argv[0]);
        return 2;
    }
    const PlimImage image = {.plan = plim_plan,
                             .plan_size = plim_plan_size,
                             .kernel = plim_kernels,
                             .cubin = plim_cubins};
    PlimStatus status = session_open(&image, &c.session, &c.error);
    if (status == PLIM_OK)
        status = session_start(&c.session, &image, (RunOptions){0}, &c.error);
    if (status == PLIM_OK && argc == 3)
        status = fill_buffers(&c, atoi(argv[2]));
    if (status != PLIM_OK) {
        fprintf(stderr, "run_cases: %s\n", c.error.text);
        return 1;
    }
    const uint64_t count = take(&c);
    for (uint64_t i = 0; i < count; i++)
        run_case(&c);
    print_tally(&c.tally);
    printf("%llu cases, %d failed\n", (unsigned long long)count, c.failed);
    session_close(&c.session);
    fclose(c.in);
    return c.failed > 0;
}
