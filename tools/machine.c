// A row a kind of device: data sheets for GPUs, dense products without sparsity; for CPUs what one
// core was measured to do in products (docs/figures.md, docs/decisions.md) and a usual share of a
// server's memory, times the threads that the plan has room for. A roofline needs no more; what a
// kernel really reaches is for a cost model to know.
#include "tools/machine.h"

#include "runtime/error.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    int sm; // compute capability from which on the row holds
    Machine machine;
} GpuRow;

static const GpuRow gpu_table[] = {
    {75, {"T4", 8.1e12, 8.1e12, 320e9, 12e9, 3e-6}},
    {80, {"A100", 19.5e12, 312e12, 2039e9, 25e9, 3e-6}},
    {86, {"RTX A6000", 38.7e12, 155e12, 768e9, 25e9, 3e-6}},
    {89, {"L40S", 91.6e12, 362e12, 864e9, 25e9, 3e-6}},
    {90, {"H100 SXM", 67e12, 989e12, 3350e9, 53e9, 3e-6}},
    {100, {"B200", 80e12, 2250e12, 8000e9, 53e9, 3e-6}},
    {120, {"RTX 5090", 105e12, 210e12, 1792e9, 53e9, 3e-6}},
};
enum { GPU_COUNT = sizeof gpu_table / sizeof gpu_table[0] };

// Of one core.
static const double core_avx2 = 90e9, core_avx512 = 110e9, core_bf16 = 200e9, core_memory = 15e9;

// Any x86-64: the levels differ by the width of their vectors, and by products of bf16.
static void cpu_machine(const Plan *p, Machine *out) {
    const bool wide = strstr(p->isa, "avx512f") != NULL;
    const double cores = p->workers ? p->workers : 1;
    *out = (Machine){.f32 = cores * (wide ? core_avx512 : core_avx2),
                     .memory = cores * core_memory,
                     .link = cores * core_memory,
                     .start = 2e-6};
    // Without products of bf16 they are widened first.
    out->bf16 = strstr(p->isa, "avx512bf16") ? cores * core_bf16 : out->f32;
    snprintf(out->name, sizeof out->name, "%.0f core%s with %s", cores, cores > 1 ? "s" : "",
             wide ? "AVX-512" : "AVX2");
}

void machine_of_plan(const Plan *p, Machine *out) {
    const char *gpu = strncmp(p->target, "cuda:sm_", 8) == 0 ? p->target + 8 : NULL;
    if (!gpu) {
        cpu_machine(p, out);
        return;
    }
    const int sm = atoi(gpu);
    *out = gpu_table[0].machine;
    for (int i = 1; i < GPU_COUNT && gpu_table[i].sm <= sm; i++)
        *out = gpu_table[i].machine;
}

// "40G", "1.2T", "3": a positive number.
static bool parse_rate(const char *text, double *out) {
    static const char units[] = "KMGT";
    char *end;
    *out = strtod(text, &end);
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (end == text || !(*out > 0) || *out > 1e18)
        return false;
    for (long i = 0; unit && i <= unit - units; i++)
        *out *= 1000;
    return *end == '\0' || (unit && end[1] == '\0');
}

bool machine_change(Machine *m, const char *text, PlimError *error) {
    const struct {
        const char *name;
        double *value, factor;
    } figure[] = {{"f32", &m->f32, 1},
                  {"bf16", &m->bf16, 1},
                  {"memory", &m->memory, 1},
                  {"link", &m->link, 1},
                  {"start", &m->start, 1e-6}};
    enum { FIGURES = sizeof figure / sizeof figure[0] };
    while (*text) {
        char item[64];
        const size_t length = strcspn(text, ",");
        snprintf(item, sizeof item, "%.*s", (int)(length < 63 ? length : 63), text);
        text += text[length] ? length + 1 : length;
        char *value = strchr(item, '=');
        if (value)
            *value++ = '\0';
        int i = 0;
        while (i < FIGURES && strcmp(item, figure[i].name) != 0)
            i++;
        double number;
        if (i == FIGURES || !value || !parse_rate(value, &number)) {
            error_set(error, PLIM_BAD_INPUT,
                      "--machine takes f32, bf16 (FLOP/s), memory, link (bytes/s) and start (us), "
                      "as in f32=1.2T,memory=40G, not %s",
                      item);
            return false;
        }
        *figure[i].value = number * figure[i].factor;
    }
    snprintf(m->name, sizeof m->name, "as --machine says");
    return true;
}

// Three digits.
static void print_rate(double rate, const char *unit, FILE *out) {
    const char *prefix = rate >= 1e12 ? "T" : "G";
    rate /= rate >= 1e12 ? 1e12 : 1e9;
    fprintf(out, "%.*f %s%s", rate < 10 ? 2 : rate < 100 ? 1 : 0, rate, prefix, unit);
}

void machine_print(const Machine *m, FILE *out) {
    fprintf(out, "%s: ", m->name);
    print_rate(m->f32, "FLOP/s f32", out);
    fputs(", ", out);
    print_rate(m->bf16, "FLOP/s bf16", out);
    fputs(", ", out);
    print_rate(m->memory, "B/s", out);
    fprintf(out, ", %.3g us a start", m->start * 1e6);
}
