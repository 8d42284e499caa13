// Words of --machine onto rates, and rates as one line.
#include "tools/machine.h"

#include "runtime/error.h"

#include <stdlib.h>
#include <string.h>

// Microseconds: as many as a file of rates may say.
#define START_MAX 1e9

void machine_of_plan(const Plan *p, Rates *out) {
    rates_assume(p->target, p->isa, p->workers, out);
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

static bool is_bf16(int family) {
    return family == RATE_PRODUCT_BF16 || family == RATE_CONVOLUTION_BF16 ||
           family == RATE_ATTENTION_BF16;
}

static bool is_link(int family) {
    return family == RATE_OUT || family == RATE_IN;
}

// One figure of all families it is about. False where there is no such figure, or it makes no
// sense.
static bool set_figure(Rates *m, const char *name, double number) {
    const RateCurve flat = {1, {{1, number}}};
    const bool f32 = strcmp(name, "f32") == 0, bf16 = strcmp(name, "bf16") == 0,
               memory = strcmp(name, "memory") == 0, link = strcmp(name, "link") == 0;
    const bool start = strcmp(name, "start") == 0;
    if (!start && !f32 && !bf16 && !memory && !link)
        return false;
    if (start && number > START_MAX)
        return false;
    if (start)
        m->start = (uint64_t)(number * 1e6 + 0.5);
    for (int f = 0; f < RATE_COUNT; f++) {
        if (is_bf16(f) ? bf16 : f32)
            m->flops[f] = flat;
        if (is_link(f) ? link : memory)
            m->bytes[f] = flat;
    }
    return true;
}

bool machine_change(Rates *m, const char *text, PlimError *error) {
    while (*text) {
        char item[64];
        const size_t length = strcspn(text, ",");
        snprintf(item, sizeof item, "%.*s", (int)(length < 63 ? length : 63), text);
        text += text[length] ? length + 1 : length;
        char *value = strchr(item, '=');
        if (value)
            *value++ = '\0';
        double number;
        if (!value || !parse_rate(value, &number) || !set_figure(m, item, number)) {
            error_set(
                error, PLIM_BAD_INPUT,
                "--machine takes f32, bf16 (FLOP/s), memory, link (bytes/s) and start (us, to "
                "1G), as in f32=1.2T,memory=40G, not %s",
                item);
            return false;
        }
    }
    // Measured kernels would not heed what was said.
    m->kernel_count = 0;
    snprintf(m->machine, sizeof m->machine, "as --machine says");
    return true;
}

// Three digits.
static void print_rate(double rate, const char *unit, FILE *out) {
    const char *prefix = rate >= 1e12 ? "T" : "G";
    rate /= rate >= 1e12 ? 1e12 : 1e9;
    fprintf(out, "%.*f %s%s", rate < 10 ? 2 : rate < 100 ? 1 : 0, rate, prefix, unit);
}

void machine_print(const Rates *m, FILE *out) {
    fprintf(out, "%s: ", m->machine);
    print_rate(rates_top(&m->flops[RATE_PRODUCT]), "FLOP/s f32", out);
    fputs(", ", out);
    print_rate(rates_top(&m->flops[RATE_PRODUCT_BF16]), "FLOP/s bf16", out);
    fputs(", ", out);
    print_rate(rates_top(&m->bytes[RATE_ROWS]), "B/s", out);
    fprintf(out, ", %.3g us a start", (double)m->start * 1e-6);
}
