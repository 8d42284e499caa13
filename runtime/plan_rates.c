// Assumed rates and what is read off a curve.
//
// A row a kind of device: data sheets for GPUs, dense products without sparsity; for CPUs what one
// core was measured to do in products (docs/figures.md, docs/decisions.md) and a usual share of a
// server's memory, times the threads that the plan has room for. Assumed curves are flat.
//
// Only sums, products and quotients: the same picoseconds on every machine that compiles.
#include "runtime/plan_rates.h"

#include "runtime/plan_sign.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    int sm; // compute capability from which on the row holds
    const char *name;
    double f32, bf16, memory, link; // FLOP/s, bytes/s
} GpuRow;

static const GpuRow gpu_table[] = {
    {75, "T4", 8.1e12, 8.1e12, 320e9, 12e9},         {80, "A100", 19.5e12, 312e12, 2039e9, 25e9},
    {86, "RTX A6000", 38.7e12, 155e12, 768e9, 25e9}, {89, "L40S", 91.6e12, 362e12, 864e9, 25e9},
    {90, "H100 SXM", 67e12, 989e12, 3350e9, 53e9},   {100, "B200", 80e12, 2250e12, 8000e9, 53e9},
    {120, "RTX 5090", 105e12, 210e12, 1792e9, 53e9},
};
enum { GPU_COUNT = sizeof gpu_table / sizeof gpu_table[0] };
enum { START_GPU = 3000000, START_CPU = 2000000 }; // picoseconds

// Of one core.
static const double core_avx2 = 90e9, core_avx512 = 110e9, core_bf16 = 200e9, core_memory = 15e9;
// Of the cores of a GPU's host that are left for updates: four, with their usual share of memory.
static const double host_memory = 60e9;
// What a drive of a server does: far memory of a CPU is files.
static const double drive = 1e9;

static const char *const family_names[] = {
    "product", "product_bf16", "convolution", "convolution_bf16", "attention", "attention_bf16",
    "rows",    "columns",      "indexed",     "update",           "fill",      "copy",
    "out",     "in",           "host"};
_Static_assert(sizeof family_names / sizeof *family_names == RATE_COUNT, "a name each");

const char *rates_family_name(RateFamily family) {
    return family < RATE_COUNT ? family_names[family] : "?";
}

static RateCurve flat(double rate) {
    return (RateCurve){1, {{1, rate}}};
}

static void assume(Rates *r, double f32, double bf16, double memory, double link) {
    for (int f = 0; f < RATE_COUNT; f++) {
        const bool fast =
            f == RATE_PRODUCT_BF16 || f == RATE_CONVOLUTION_BF16 || f == RATE_ATTENTION_BF16;
        r->flops[f] = flat(fast ? bf16 : f32);
        r->bytes[f] = flat(f == RATE_OUT || f == RATE_IN ? link
                           : f == RATE_HOST              ? host_memory
                                                         : memory);
        // What goes over the link goes through the memory that such kernels are bound by.
        if (f >= RATE_ROWS && f < RATE_OUT)
            r->beside[f][RATE_OUT] = r->beside[f][RATE_IN] = 1 + link / memory;
    }
}

// Any x86-64: the levels differ by the width of their vectors, and by products of bf16.
static void assume_cpu(const char *isa, uint32_t threads, Rates *out) {
    const bool wide = strstr(isa, "avx512f") != NULL;
    const double cores = threads ? threads : 1;
    const double f32 = cores * (wide ? core_avx512 : core_avx2);
    // Without products of bf16 they are widened first.
    assume(out, f32, strstr(isa, "avx512bf16") ? cores * core_bf16 : f32, cores * core_memory,
           drive);
    out->start = START_CPU;
    snprintf(out->machine, sizeof out->machine, "%.0f core%s with %s", cores, cores > 1 ? "s" : "",
             wide ? "AVX-512" : "AVX2");
}

void rates_assume(const char *target, const char *isa, uint32_t threads, Rates *out) {
    *out = (Rates){.threads = threads};
    snprintf(out->target, sizeof out->target, "%s", target);
    const char *gpu = strncmp(target, "cuda:sm_", 8) == 0 ? target + 8 : NULL;
    if (!gpu) {
        assume_cpu(isa, threads, out);
        return;
    }
    const int sm = atoi(gpu);
    const GpuRow *row = &gpu_table[0];
    for (int i = 1; i < GPU_COUNT && gpu_table[i].sm <= sm; i++)
        row = &gpu_table[i];
    assume(out, row->f32, row->bf16, row->memory, row->link);
    out->start = START_GPU;
    snprintf(out->machine, sizeof out->machine, "%s", row->name);
}

bool rates_processor(char out[RATES_PROCESSOR_MAX]) {
    char line[256];
    out[0] = '\0';
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f && !*out && fgets(line, sizeof line, f))
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':'))
            snprintf(out, RATES_PROCESSOR_MAX, "%.*s", RATES_PROCESSOR_MAX - 1,
                     strchr(line, ':') + 1 + strspn(strchr(line, ':') + 1, " \t"));
    if (f)
        fclose(f);
    out[strcspn(out, "\"\n")] = '\0'; // it stands in quotes
    return *out != '\0';
}

static uint64_t picoseconds(double seconds) {
    const double ps = seconds * 1e12 + 0.5;
    // Plans that make no sense may have any numbers; a day of picoseconds is below 1e17.
    return ps < 1e17 ? (uint64_t)ps : (uint64_t)1e17;
}

// Seconds of so much work.
static double read_curve(const RateCurve *c, double size) {
    if (c->count == 0)
        return 0;
    uint32_t i = 0;
    while (i < c->count && c->point[i].size < size)
        i++;
    // Below the first point and above the last their rates hold.
    if (i == 0 || i == c->count)
        return size / c->point[i ? i - 1 : 0].rate;
    const RatePoint *a = &c->point[i - 1], *b = &c->point[i];
    const double begin = a->size / a->rate, end = b->size / b->rate;
    return begin + (end - begin) * (size - a->size) / (b->size - a->size);
}

double rates_top(const RateCurve *c) {
    return c->count ? c->point[c->count - 1].rate : 0;
}

uint64_t rates_flops_time(const Rates *r, RateFamily family, double flops) {
    return picoseconds(read_curve(&r->flops[family], flops));
}

uint64_t rates_bytes_time(const Rates *r, RateFamily family, double bytes) {
    return picoseconds(read_curve(&r->bytes[family], bytes));
}

double rates_beside(const Rates *r, RateFamily family, RateFamily other) {
    const double factor = r->beside[family][other];
    return factor > 1 ? factor : 1;
}

double rates_beside_both(const Rates *r, RateFamily family) {
    return r->both[family] >= 1
               ? r->both[family]
               : rates_beside(r, family, RATE_OUT) * rates_beside(r, family, RATE_IN);
}

uint64_t rates_stretch(uint64_t time, double factor, uint64_t beside) {
    if (factor <= 1 || beside == 0)
        return time;
    const double slowed = (double)time * factor;
    if (slowed <= (double)beside)
        return (uint64_t)slowed;
    // While the other runs, beside / factor of the work is done.
    return time + (uint64_t)((double)beside - (double)beside / factor);
}

static PlanSpaceKind space_of(const Plan *p, const PlanOperand *o) {
    return p->space[p->buffer[o->buffer].space].kind;
}

// What is read first tells the type that is computed with: a product's operand, not its sums.
static bool reads_bf16(const Plan *p, const PlanInstr *instr) {
    for (uint32_t i = 0; i < instr->operand_count; i++)
        if (instr->operand[i].access == PLAN_READ)
            return p->buffer[instr->operand[i].buffer].dtype == PLAN_BF16;
    return false;
}

// The kind of a kernel is the third word of its text ("kernel k3 rows ..."); where it goes by
// indices, an operation ends with _at.
static RateFamily kernel_family(const Plan *p, const PlanInstr *instr) {
    const char *text = p->kernel[instr->kernel].text;
    char kind[16] = "";
    if (instr->operand_count > 0 && space_of(p, &instr->operand[0]) == SPACE_HOST)
        return RATE_HOST;
    if (sscanf(text, "kernel %*s %15s", kind) != 1)
        return RATE_ROWS;
    const bool bf16 = reads_bf16(p, instr);
    if (strcmp(kind, "product") == 0)
        return bf16 ? RATE_PRODUCT_BF16 : RATE_PRODUCT;
    if (strcmp(kind, "convolution") == 0)
        return bf16 ? RATE_CONVOLUTION_BF16 : RATE_CONVOLUTION;
    if (strncmp(kind, "attention", 9) == 0)
        return bf16 ? RATE_ATTENTION_BF16 : RATE_ATTENTION;
    if (instr->phase == PLAN_PHASE_UPDATE)
        return RATE_UPDATE;
    if (strstr(text, "load_at ") || strstr(text, "store_at ") || strstr(text, "add_at "))
        return RATE_INDEXED;
    return strcmp(kind, "columns") == 0 ? RATE_COLUMNS : RATE_ROWS;
}

RateFamily rates_family(const Plan *p, const PlanInstr *instr) {
    switch (instr->kind) {
    case INSTR_KERNEL:
    case INSTR_PRODUCT:
        return kernel_family(p, instr);
    case INSTR_FILL:
        return RATE_FILL;
    case INSTR_COPY:
    // Of one rank, which is all that can be run, they are copies.
    case INSTR_ALL_REDUCE:
    case INSTR_ALL_GATHER:
    case INSTR_REDUCE_SCATTER:
    case INSTR_EXCHANGE:
        break;
    }
    // To operand 0, from operand 1.
    if (instr->operand_count != 2)
        return RATE_COPY;
    const bool to = space_of(p, &instr->operand[0]) == SPACE_DEVICE;
    const bool from = space_of(p, &instr->operand[1]) == SPACE_DEVICE;
    return to == from ? RATE_COPY : to ? RATE_IN : RATE_OUT;
}

uint64_t rates_kernel_key(const char *text) {
    // "kernel NAME " stays out.
    for (int word = 0; word < 2; word++) {
        text += strcspn(text, " ");
        text += strspn(text, " ");
    }
    return plan_hash_bytes(plan_hash_start(), text, strlen(text));
}

static int compare_key(const void *key, const void *kernel) {
    const uint64_t a = *(const uint64_t *)key, b = ((const RateKernel *)kernel)->key;
    return (a > b) - (a < b);
}

const RateKernel *rates_find_kernel(const Rates *r, uint64_t key) {
    if (r->kernel_count == 0)
        return NULL;
    return bsearch(&key, r->kernel, r->kernel_count, sizeof *r->kernel, compare_key);
}
