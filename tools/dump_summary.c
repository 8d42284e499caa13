// One screen: what the plan is, where its memory goes, what a step takes.
//
// Lines are at most 100 columns wide, but for the flags the plan was made with, which are the
// user's own. Memory is of the device: that of other spaces is a line each, and --memory has the
// rest.
#include "tools/dump.h"

#include "runtime/flags.h"
#include "runtime/plan_report.h"
#include "tools/dump_text.h"
#include "tools/measured.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// Rows of the largest buffers, and characters of a bar that stands for the whole load.
enum { LARGEST = 10, BAR = 30 };

// What was compiled, for what, and how. Entries go on in further lines where one is too short.
static void print_head(const Dump *d, FILE *out) {
    const Plan *p = d->plan;
    fprintf(out, "model       %s\n", *p->model ? p->model : "-");
    fprintf(out, "target      %s%s\n", p->target, p->degraded ? " (degraded: see --remarks)" : "");
    fprintf(out, "built by    %s%s%s\n", p->tool, *p->flags ? " " : "", p->flags);
    fprintf(out, "entries    ");
    int column = 11;
    for (uint32_t i = 0; i < p->entry_count; i++) {
        const PlanEntryUses *e = &d->uses->entry[i];
        char name[64], calls[32] = "", item[112];
        uint32_t most = 1;
        for (uint32_t k = 0; k < e->step_count; k++)
            most = e->step[k].calls > most ? e->step[k].calls : most;
        if (most > 1)
            snprintf(calls, sizeof calls, " (%u micro-batches)", most);
        snprintf(item, sizeof item, "%s%s%s", text_fit(p->entry[i].name, name, sizeof name), calls,
                 i + 1 < p->entry_count ? "," : "");
        column += (int)strlen(item) + 1;
        if (column > 98) {
            fprintf(out, "\n           ");
            column = 12 + (int)strlen(item);
        }
        fprintf(out, " %s", item);
    }
    if (strncmp(p->target, "cuda:", 5) == 0)
        fprintf(out, "\ndevices     1 GPU");
    else
        fprintf(out, "\ndevices     1, with up to %u thread%s", p->workers,
                p->workers == 1 ? "" : "s");
    fprintf(out, "; %u stream%s\n", p->stream_count, p->stream_count == 1 ? "" : "s");
}

// The last --budget of the flags the plan was made with.
static bool find_budget(const Plan *p, uint64_t *budget) {
    bool found = false;
    for (const char *at = p->flags; (at = strstr(at, "--budget ")) != NULL;) {
        at += strlen("--budget ");
        char text[32];
        const size_t length = strcspn(at, " ");
        snprintf(text, sizeof text, "%.*s", length < 31 ? (int)length : 31, at);
        found = flags_size(text, budget);
    }
    return found;
}

// A line a space, and what the budget leaves: it is the device's alone.
static void print_spaces(const Dump *d, FILE *out) {
    const Plan *p = d->plan;
    char size[32], number[TEXT_NUMBER];
    for (uint32_t i = 0; i < p->space_count; i++) {
        const PlanSpace *s = &p->space[i];
        fprintf(out, "%-11s %s (%s bytes); fragmentation %.2f %%\n", plan_space_name(s->kind),
                plan_size_text(s->bytes, size), text_count(s->bytes, number),
                s->load ? 100 * ((double)s->bytes / (double)s->load - 1) : 0.0);
        uint64_t budget;
        if (s->kind != SPACE_DEVICE)
            continue;
        if (!find_budget(p, &budget))
            fprintf(out, "budget      none was given\n");
        else if (budget >= s->bytes)
            fprintf(out, "budget      %s, of which %s (%.1f %%) are left\n",
                    plan_size_text(budget, size), plan_size_text(budget - s->bytes, number),
                    100 * (double)(budget - s->bytes) / (double)budget);
        else
            fprintf(out, "budget      %s, which the arena is above\n",
                    plan_size_text(budget, size));
    }
}

// What the pass that chose the order proved of the entry's own buffers; false where it said
// nothing.
static bool find_bound(const Plan *p, const char *entry, uint64_t *bound) {
    for (uint32_t i = 0; i < p->remark_count; i++) {
        const PlanRemark *r = &p->remark[i];
        const char *at = strstr(r->text, "no order below ");
        if (strcmp(r->pass, "order") == 0 && strcmp(r->subject, entry) == 0 && at)
            return sscanf(at, "no order below %" SCNu64, bound) == 1;
    }
    return false;
}

// Where most is live, what could not be less, and what it is: kinds that hold nothing are left out.
static void print_peak(const Dump *d, const PlanReport *r, FILE *out) {
    const Plan *p = d->plan;
    char size[32], name[49];
    if (r->entry == UINT32_MAX)
        return;
    const PlanEntryUses *e = &d->uses->entry[r->entry];
    const char *entry = p->entry[r->entry].name;
    fprintf(out, "\npeak        %s in %s", plan_size_text(r->load, size),
            text_fit(entry, name, sizeof name));
    if (e->step_count > 0) {
        const PlanInstr *instr = e->step[r->position].instr;
        fprintf(out, ", at instruction %u of %u:\n            %s", r->position, e->step_count,
                text_fit(instr->name, name, sizeof name));
        if (*instr->where)
            fprintf(out, " (%s)", text_fit(text_place(instr->where), name, sizeof name));
    }
    uint64_t bound;
    if (find_bound(p, entry, &bound)) {
        // Rounding up of each state is no order's doing.
        const uint64_t least = bound + d->uses->state[SPACE_DEVICE];
        fprintf(out, "\nbound       %s: no order of these kernels needs less (gap %.2f %%)",
                plan_size_text(least, size), 100 * ((double)r->load / (double)least - 1));
    }
    fprintf(out, "\n\nat the peak\n");
    for (int i = 0; i < BUFFER_KIND_COUNT; i++) {
        if (!r->kind[i])
            continue;
        const double share = r->load ? (double)r->kind[i] / (double)r->load : 0;
        char bar[BAR + 1];
        const int length = share < 1 ? (int)(share * (int)BAR + 0.5) : BAR;
        memset(bar, '#', sizeof bar - 1);
        bar[length] = '\0';
        fprintf(out, "  %-13s %10s %6.1f %%%s%s\n", plan_buffer_kind_name((PlanBufferKind)i),
                plan_size_text(r->kind[i], size), 100 * share, length ? "  " : "", bar);
    }
}

// The instruction that first writes the buffer, at most at the position; NULL for state.
static const PlanInstr *maker_of(const PlanUses *u, uint32_t buffer) {
    const PlanBuffer *b = &u->plan->buffer[buffer];
    for (uint32_t i = u->use_begin[buffer]; b->entry != UINT32_MAX && i < u->use_begin[buffer + 1];
         i++) {
        const PlanInstr *instr = u->entry[u->use[i].entry].step[u->use[i].position].instr;
        const uint32_t operand = u->use[i].operand;
        if (operand == PLAN_USE_WORKSPACE || instr->operand[operand].access != PLAN_READ)
            return instr;
    }
    return NULL;
}

// The ten a reader would look at first, each with the operator and kernel that make it.
static void print_largest(const Dump *d, const PlanReport *r, FILE *out) {
    const Plan *p = d->plan;
    uint32_t largest[LARGEST];
    const uint32_t count = plan_uses_largest(d->uses, r->entry, r->position, largest, LARGEST);
    fprintf(out, "\nlargest buffers there                                     operator          "
                 "kernel  source\n");
    for (uint32_t i = 0; i < count; i++) {
        const PlanBuffer *b = &p->buffer[largest[i]];
        const PlanInstr *maker = maker_of(d->uses, largest[i]);
        char size[32], name[33], op[18], kernel[8], place[21], operators[128];
        snprintf(operators, sizeof operators, "%.*s", maker ? (int)plan_instr_operators(maker) : 1,
                 maker ? maker->name : "-");
        fprintf(out, "  %10s  %-11s %-32s %-17s %-7s %s\n", plan_size_text(b->bytes, size),
                plan_buffer_kind_name(b->kind), text_fit(b->name, name, sizeof name),
                text_fit(operators, op, sizeof op),
                text_fit(maker ? plan_instr_kernel(p, maker) : "-", kernel, sizeof kernel),
                text_fit(text_place(b->where), place, sizeof place));
    }
}

// The same beside what a run measured.
static int print_measured(Dump *d, uint32_t entry, const Prediction *time, FILE *out) {
    Measured m;
    const uint32_t count = d->uses->entry[entry].step_count;
    uint64_t *predicted = plan_alloc(d->memory, (size_t)count + 1, sizeof *predicted);
    if (!predicted)
        return dump_fail(d, "out of memory");
    for (uint32_t i = 0; i < count; i++)
        predicted[i] = time->step[i].end - time->step[i].begin;
    const int status = measured_read(d, entry, &m);
    if (status == DUMP_DONE)
        measured_print(d, entry, &m, predicted, time->total, out);
    return status;
}

// What a step of the main entry does, and how long that takes at least, with what was assumed.
static int print_step(Dump *d, const PlanReport *r, FILE *out) {
    const Plan *p = d->plan;
    const uint32_t entry = plan_main_entry(d->uses);
    Prediction time;
    char text[TEXT_NUMBER], flops[TEXT_NUMBER], bytes[TEXT_NUMBER];
    fprintf(out, "\nkernels     %u, in %" PRIu64 " instructions of all entries\n", p->kernel_count,
            r->operators);
    if (entry == UINT32_MAX)
        return DUMP_DONE;
    if (!dump_predict(d, entry, &time))
        return dump_fail(d, "out of memory");
    fprintf(out, "a step      of %s: %s, %s moved\n", p->entry[entry].name,
            text_rate((double)r->flops, "FLOP", flops), text_rate((double)r->bytes, "B", bytes));
    fprintf(out, "predicted   %s:", text_time((double)time.total * 1e-12, text));
    uint64_t sum = 0;
    for (int i = 0; i < LIMIT_COUNT; i++)
        sum += time.limit[i];
    for (int i = 0; i < LIMIT_COUNT; i++)
        fprintf(out, "%s %s %.1f %%", i ? "," : "", limit_name((Limit)i),
                sum ? 100 * (double)time.limit[i] / (double)sum : 0.0);
    if (*p->rates && !d->options->machine) {
        fprintf(out, "\nby rates of %s\n", p->rates);
    } else {
        fprintf(out, "\nassumed     ");
        machine_print(&d->machine, out);
        fputc('\n', out);
    }
    return d->options->measured ? print_measured(d, entry, &time, out) : DUMP_DONE;
}

int dump_summary(Dump *d, FILE *out) {
    PlanReport r;
    plan_report(d->uses, &r);
    print_head(d, out);
    print_spaces(d, out);
    print_peak(d, &r, out);
    print_largest(d, &r, out);
    return print_step(d, &r, out);
}
