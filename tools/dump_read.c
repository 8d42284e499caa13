// A program carries its plan as the bytes that plan_encode made; they begin with a magic word and
// hold their own digest, so the plan is found by looking for the word, whatever else the file
// holds.
#include "runtime/error.h"
#include "runtime/plan_report.h"
#include "tools/dump.h"
#include "tools/tool_io.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static uint64_t little_endian(const uint8_t *at, int count) {
    uint64_t x = 0;
    for (int i = count - 1; i >= 0; i--)
        x = x << 8 | at[i];
    return x;
}

// The plan inside an executable: the magic word, a version and a size that fits. The word also
// stands in the decoder's own code, with something else behind it.
static PlimStatus find_plan(const uint8_t *bytes, size_t size, PlanMemory *memory, Plan **out,
                            PlimError *error) {
    static const char magic[] = "PLIMPLAN";
    // The digest comes at the end of the bytes: plan_decode checks it.
    enum { HEADER = 20 }; // magic, version, size
    const uint8_t *at = bytes, *end = bytes + size;
    while ((at = memmem(at, (size_t)(end - at), magic, sizeof magic - 1)) != NULL) {
        const size_t left = (size_t)(end - at);
        if (left >= HEADER && little_endian(at + 8, 4) == PLAN_VERSION) {
            const uint64_t whole = little_endian(at + 12, 8);
            // A damaged size is cut to what is there, and plan_decode says what is wrong.
            return plan_decode(at, whole < left ? (size_t)whole : left, memory, out, error);
        }
        at++;
    }
    return error_set(error, PLIM_BAD_INPUT,
                     "it is neither a program that this version of plimc made nor the text of a "
                     "plan");
}

bool dump_read(const char *file, PlanMemory *memory, const Plan **plan, const PlanUses **uses) {
    size_t size = 0;
    // No program or plan comes near 1 TiB.
    char *bytes = tool_read("plim-dump", file, (size_t)1 << 40, &size);
    if (!bytes)
        return false;
    Plan *p = NULL;
    // For what says nothing when there is none.
    PlimError error = {"out of memory"};
    const PlimStatus status = tool_text_kind(file, bytes) == TEXT_PLAN
                                  ? plan_parse(bytes, size, memory, &p, &error)
                                  : find_plan((const uint8_t *)bytes, size, memory, &p, &error);
    // Plans point into their own memory by now.
    free(bytes);
    *plan = p;
    *uses = status == PLIM_OK ? plan_uses_new(p, memory) : NULL;
    if (*uses)
        return true;
    fprintf(stderr, "plim-dump: error: %s: %s\n", file,
            status == PLIM_OK ? "out of memory" : error.text);
    return false;
}

int dump_fail(Dump *d, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(d->error.text, sizeof d->error.text, format, args);
    va_end(args);
    return DUMP_FAILED;
}

bool dump_predict_other(const Dump *d, const PlanUses *u, uint32_t entry, Prediction *out) {
    if (d->options->machine)
        return predict_entry(u, entry, &d->machine, d->memory, out);
    Rates rates;
    machine_of_plan(u->plan, &rates);
    return predict_planned(u, entry, &rates, d->memory, out);
}

bool dump_predict(const Dump *d, uint32_t entry, Prediction *out) {
    return dump_predict_other(d, d->uses, entry, out);
}

bool dump_entry(Dump *d, uint32_t *entry) {
    *entry = plan_main_entry(d->uses);
    const char *name = d->options->entry;
    if (!name) {
        if (*entry == UINT32_MAX)
            dump_fail(d, "the plan has no entries");
        return *entry != UINT32_MAX;
    }
    const PlanEntry *found = plan_find_entry(d->plan, name);
    if (found) {
        *entry = (uint32_t)(found - d->plan->entry);
        return true;
    }
    char list[256] = "";
    for (uint32_t i = 0; i < d->plan->entry_count; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "",
                 d->plan->entry[i].name);
    dump_fail(d, "there is no entry %.100s; the plan has %s", name, list);
    return false;
}
