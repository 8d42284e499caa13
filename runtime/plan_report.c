// The figures of a plan: where the peak is and what makes it. Loads come from the index of uses.
#include "runtime/plan_report.h"

#include <inttypes.h>
#include <string.h>

void plan_report_kinds(const PlanUses *u, PlanSpaceKind space, uint32_t entry, uint32_t position,
                       uint64_t kind[BUFFER_KIND_COUNT]) {
    const Plan *p = u->plan;
    memset(kind, 0, BUFFER_KIND_COUNT * sizeof *kind);
    for (uint32_t i = 0; i < p->buffer_count; i++)
        if (p->space[p->buffer[i].space].kind == space &&
            plan_buffer_lives(&p->buffer[i], entry, position))
            kind[p->buffer[i].kind] += plan_buffer_padded(&p->buffer[i]);
}

uint32_t plan_main_entry(const PlanUses *u) {
    const PlanEntry *train = plan_find_entry(u->plan, "train");
    return train ? (uint32_t)(train - u->plan->entry) : u->peak_entry;
}

void plan_report(const PlanUses *u, PlanReport *out) {
    const Plan *p = u->plan;
    *out = (PlanReport){.entry = u->peak_entry};
    // Phase 1: the peak. Without entries what is left is state.
    out->load = u->state[SPACE_DEVICE];
    if (out->entry != UINT32_MAX) {
        const PlanCurve *c = &u->entry[out->entry].curve[SPACE_DEVICE];
        out->position = c->peak;
        out->load = c->load[c->peak];
    }
    plan_report_kinds(u, SPACE_DEVICE, out->entry, out->position, out->kind);
    // Phase 2: work. A segment counts once for each of its calls.
    for (uint32_t i = 0; i < p->segment_count; i++)
        out->operators += p->segment[i].instr_count;
    const uint32_t entry = plan_main_entry(u);
    for (uint32_t i = 0; entry != UINT32_MAX && i < u->entry[entry].step_count; i++) {
        const PlanStep *s = &u->entry[entry].step[i];
        out->flops += s->instr->flops * s->calls;
        out->bytes += s->instr->bytes * s->calls;
    }
    // Bytes of the arena beyond the load, over the load; 0 is the best there can be.
    for (uint32_t i = 0; i < p->space_count; i++)
        if (p->space[i].kind == SPACE_DEVICE && p->space[i].load > 0)
            out->fragmentation =
                (double)(p->space[i].bytes - p->space[i].load) / (double)p->space[i].load;
}

char *plan_size_text(uint64_t bytes, char out[32]) {
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    int u = 0;
    double x = (double)bytes;
    for (; x >= 1024 && u < 6; u++)
        x /= 1024;
    // Three digits or so: whole bytes, 1.25 KiB, 12.5 KiB.
    snprintf(out, 32, u == 0 ? "%.0f %s" : x < 10 ? "%.2f %s" : "%.1f %s", x, unit[u]);
    return out;
}

// A line a space; fragmentation as in plan_report, in per cent.
static void print_spaces(const Plan *p, FILE *out) {
    char a[32], b[32];
    for (uint32_t i = 0; i < p->space_count; i++) {
        const PlanSpace *s = &p->space[i];
        fprintf(out, "%-10s %s (%" PRIu64 " bytes), load %s, fragmentation %.2f %%\n",
                plan_space_name(s->kind), plan_size_text(s->bytes, a), s->bytes,
                plan_size_text(s->load, b),
                s->load ? 100.0 * (double)(s->bytes - s->load) / (double)s->load : 0.0);
    }
}

// Bytes at the peak and their share of the load.
static void print_kinds(const PlanReport *r, FILE *out) {
    char text[32];
    for (int i = 0; i < BUFFER_KIND_COUNT; i++)
        if (r->kind[i])
            fprintf(out, "  %-14s %10s  %5.1f %%\n", plan_buffer_kind_name((PlanBufferKind)i),
                    plan_size_text(r->kind[i], text), 100.0 * (double)r->kind[i] / (double)r->load);
}

void plan_print_info(const PlanUses *u, FILE *out) {
    const Plan *p = u->plan;
    PlanReport r;
    plan_report(u, &r);
    fprintf(out, "model      %s\ntarget     %s\nentries   ", p->model, p->target);
    for (uint32_t i = 0; i < p->entry_count; i++)
        fprintf(out, " %s", p->entry[i].name);
    fprintf(out, "\nbuilt by   %s%s%s\n", p->tool, p->flags[0] ? " " : "", p->flags);
    print_spaces(p, out);
    fprintf(out, "peak       in %s, instruction %" PRIu32 ", by kind:\n",
            r.entry == UINT32_MAX ? "-" : p->entry[r.entry].name, r.position);
    print_kinds(&r, out);
    fprintf(out,
            "work       %" PRIu64 " instructions, %" PRIu32
            " kernels, %.3f GFLOP and %.3f GB moved a step\n",
            r.operators, p->kernel_count, (double)r.flops * 1e-9, (double)r.bytes * 1e-9);
}

void plan_json_string(FILE *out, const char *text) {
    fputc('"', out);
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

// A text member; the comma is right because others always follow.
static void json_field(FILE *out, const char *name, const char *value) {
    fprintf(out, "\"%s\": ", name);
    plan_json_string(out, value);
    fputs(",\n ", out);
}

// By entry name: instructions, the largest load of the device, and where that is.
static void json_entries(const PlanUses *u, FILE *out) {
    const Plan *p = u->plan;
    fputs("\"entries\": {", out);
    for (uint32_t i = 0; i < p->entry_count; i++) {
        const PlanCurve *c = &u->entry[i].curve[SPACE_DEVICE];
        fputs(i ? ",\n  " : "\n  ", out);
        plan_json_string(out, p->entry[i].name);
        fprintf(out,
                ": {\"instructions\": %" PRIu32 ", \"load\": %" PRIu64
                ", \"peak_instruction\": %" PRIu32 "}",
                u->entry[i].step_count, c->load[c->peak], c->peak);
    }
    fputs("},\n ", out);
}

static void json_remarks(const Plan *p, FILE *out) {
    fputs("\"remarks\": [", out);
    for (uint32_t i = 0; i < p->remark_count; i++) {
        // An object a line.
        fputs(i ? ",\n  {" : "\n  {", out);
        fputs("\"pass\": ", out);
        plan_json_string(out, p->remark[i].pass);
        fputs(", \"subject\": ", out);
        plan_json_string(out, p->remark[i].subject);
        fputs(", \"text\": ", out);
        plan_json_string(out, p->remark[i].text);
        fputc('}', out);
    }
    fputs("]", out);
}

void plan_json_figures(const PlanUses *u, FILE *out) {
    const Plan *p = u->plan;
    PlanReport r;
    plan_report(u, &r);
    // For scripts: sizes and loads in bytes, the order of members fixed.
    json_field(out, "model", p->model);
    json_field(out, "target", p->target);
    json_field(out, "isa", p->isa);
    json_field(out, "tool", p->tool);
    json_field(out, "flags", p->flags);
    json_field(out, "rates", p->rates);
    fprintf(out, "\"plan_version\": %" PRIu32 ",\n \"digest\": \"%016" PRIx64 "\",\n ", p->version,
            p->digest);
    fputs("\"spaces\": {", out);
    for (uint32_t i = 0; i < p->space_count; i++)
        fprintf(out, "%s\"%s\": {\"bytes\": %" PRIu64 ", \"load\": %" PRIu64 "}", i ? ", " : "",
                plan_space_name(p->space[i].kind), p->space[i].bytes, p->space[i].load);
    fprintf(out, "},\n \"fragmentation\": %.6f,\n ", r.fragmentation);
    fprintf(out, "\"operators\": %" PRIu64 ",\n \"kernels\": %" PRIu32 ",\n ", r.operators,
            p->kernel_count);
    fprintf(out, "\"flops_per_step\": %" PRIu64 ",\n \"bytes_per_step\": %" PRIu64 ",\n ", r.flops,
            r.bytes);
    fprintf(out, "\"workers\": %" PRIu32 ",\n \"memory\": {", p->workers);
    for (int i = 0; i < BUFFER_KIND_COUNT; i++)
        fprintf(out, "%s\"%s\": %" PRIu64, i ? ", " : "", plan_buffer_kind_name((PlanBufferKind)i),
                r.kind[i]);
    fputs("},\n ", out);
    json_entries(u, out);
    json_remarks(p, out);
}

void plan_print_info_json(const PlanUses *u, FILE *out) {
    fputc('{', out);
    plan_json_figures(u, out);
    fputs("}\n", out);
}
