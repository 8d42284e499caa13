// Rates are used whatever machine they are of: figures of a like machine are better than assumed
// ones, and programs are compiled on other machines than they run on. That it may be an oversight
// is said once.
#include "tools/rates_file.h"

#include "tools/tool_io.h"

#include <stdlib.h>
#include <string.h>

enum { P_RATES_TEXT = 905, P_RATES_OTHER = 906, RATES_BYTES_MAX = 64 << 20 };

static void warn_of_other(const RatesRequest *r, const Rates *rates, Diag *d) {
    const Loc loc = {.file = r->path};
    char processor[RATES_PROCESSOR_MAX];
    const bool gpu = strncmp(r->target, "cuda:", 5) == 0;
    // plim-opt leaves it open which CPU "cpu" is.
    const bool open = strcmp(r->target, "cpu") == 0;
    if (!*rates->target || !*rates->machine)
        diag_warning(d, loc, P_RATES_OTHER, "these rates don't say of which %s they are",
                     *rates->target ? "machine" : "target");
    else if (!open && strcmp(rates->target, r->target) != 0)
        diag_warning(d, loc, P_RATES_OTHER, "these rates are of target %s, not %s", rates->target,
                     r->target);
    else if (!gpu && rates_processor(processor) && !strstr(rates->machine, processor))
        diag_warning(d, loc, P_RATES_OTHER, "these rates are of %s, and this machine is %s",
                     rates->machine, processor);
    if (rates->threads > r->threads)
        diag_warning(d, loc, P_RATES_OTHER,
                     "these rates are of %u threads, and the program may use %u", rates->threads,
                     r->threads);
}

bool rates_file_read(const RatesRequest *r, Arena *a, Diag *d, PlanMemory *pm, Rates *out) {
    size_t size = 0;
    char *file = tool_read(r->tool, r->path, RATES_BYTES_MAX, &size);
    if (!file)
        return false;
    // Diagnostics show the line they speak of.
    const char *text = arena_text_span(a, file, size);
    free(file);
    diag_add_source(d, r->path, text, size);
    PlimError error = {{0}};
    if (rates_read(text, size, pm, out, &error) == PLIM_OK) {
        warn_of_other(r, out, d);
        return true;
    }
    int line = 0, column = 0, length = 0;
    sscanf(error.text, "%d:%d: %n", &line, &column, &length);
    return diag_error(d, (Loc){.file = r->path, .line = line, .column = column}, P_RATES_TEXT, "%s",
                      error.text + length);
}
