// The figures of a plan: where the peak is and what makes it.
//
// The load over an entry's linear positions is a sum of steps: each buffer adds its bytes at its
// first position and takes them back after its last. Sorting nothing, one array over positions
// gives it in linear time.
#include "runtime/plan_report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// Linear positions of an entry: instructions of its distinct segments.
static uint32_t entry_positions(const Plan *p, const PlanEntry *entry) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < entry->call_count; i++) {
        // Calls of one segment follow each other (rule 4 of the verifier).
        const bool again = i > 0 && entry->call[i - 1].segment == entry->call[i].segment;
        count += again ? 0 : p->segment[entry->call[i].segment].instr_count;
    }
    // Leaves room for the position after the last and its sentinel.
    return count > UINT32_MAX - 2 ? UINT32_MAX - 2 : (uint32_t)count;
}

// The report is of the memory where kernels work; other spaces only show in print_spaces.
static bool in_device(const Plan *p, const PlanBuffer *b) {
    return p->space[b->space].kind == SPACE_DEVICE;
}

// State, which is live in every entry: the base that each entry's load stands on.
static uint64_t persistent_bytes(const Plan *p) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < p->buffer_count; i++)
        if (p->buffer[i].entry == UINT32_MAX && in_device(p, &p->buffer[i]))
            sum += p->buffer[i].bytes;
    return sum;
}

// The largest load of one entry and the first position that has it.
// Of the entry's own buffers, without the persistent ones. 0 and 0 without memory.
static void entry_peak(const Plan *p, uint32_t entry, uint64_t *load, uint32_t *position) {
    const uint32_t count = entry_positions(p, &p->entry[entry]);
    // Unsigned, so that figures of a plan nobody has verified wrap instead of overflowing.
    // change[i]: bytes that come into life at position i, less those that ended at i - 1.
    uint64_t *change = calloc((size_t)count + 2, sizeof *change);
    *load = 0;
    *position = 0;
    if (!change)
        return;
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        const PlanBuffer *b = &p->buffer[i];
        if (b->entry != entry || !in_device(p, b) || b->first > count)
            continue;
        change[b->first] += b->bytes;
        change[(b->last < count ? b->last : count) + 1] -= b->bytes;
    }
    // live is the sum of the changes so far: the load at position i.
    uint64_t live = 0;
    for (uint32_t i = 0; i <= count; i++) {
        live += change[i];
        if (live > *load) {
            *load = live;
            *position = i;
        }
    }
    free(change);
}

// Whether b counts at the peak that r names.
static bool live_at(const PlanBuffer *b, const PlanReport *r) {
    return b->entry == UINT32_MAX ||
           (b->entry == r->entry && b->first <= r->position && r->position <= b->last);
}

// Of one step: a segment counts once for each of its calls.
static void count_work(const Plan *p, const PlanEntry *entry, PlanReport *out) {
    for (uint32_t i = 0; i < entry->call_count; i++) {
        const PlanSegment *s = &p->segment[entry->call[i].segment];
        for (uint32_t j = 0; j < s->instr_count; j++) {
            out->flops += s->instr[j].flops;
            out->bytes += s->instr[j].bytes;
        }
    }
}

void plan_report(const Plan *p, PlanReport *out) {
    *out = (PlanReport){.entry = UINT32_MAX};
    // Phase 1: the entry with the highest peak.
    const uint64_t base = persistent_bytes(p);
    for (uint32_t i = 0; i < p->entry_count; i++) {
        uint64_t load;
        uint32_t position;
        entry_peak(p, i, &load, &position);
        if (out->entry == UINT32_MAX || base + load > out->load) {
            out->entry = i;
            out->position = position;
            out->load = base + load;
        }
    }
    // Phase 2: what is live at that peak, by kind.
    for (uint32_t i = 0; i < p->buffer_count; i++)
        if (in_device(p, &p->buffer[i]) && live_at(&p->buffer[i], out))
            out->kind[p->buffer[i].kind] += p->buffer[i].bytes;
    // Phase 3: work. A plan without training reports the entry of the peak.
    for (uint32_t i = 0; i < p->segment_count; i++)
        out->operators += p->segment[i].instr_count;
    const PlanEntry *train = plan_find_entry(p, "train");
    if (train || out->entry != UINT32_MAX)
        count_work(p, train ? train : &p->entry[out->entry], out);
    // Bytes of the arena beyond the load, over the load; 0 is the best there can be.
    for (uint32_t i = 0; i < p->space_count; i++)
        if (p->space[i].kind == SPACE_DEVICE && p->space[i].load > 0)
            out->fragmentation =
                (double)(p->space[i].bytes - p->space[i].load) / (double)p->space[i].load;
}

// Insertion into a short sorted list: buffer[0 .. stored) is descending by bytes, and of equal
// ones the first stays in front.
uint32_t plan_report_largest(const Plan *p, const PlanReport *r, uint32_t *buffer, uint32_t count) {
    uint32_t stored = 0;
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        if (!in_device(p, &p->buffer[i]) || !live_at(&p->buffer[i], r))
            continue;
        uint32_t at = stored;
        while (at > 0 && p->buffer[buffer[at - 1]].bytes < p->buffer[i].bytes)
            at--;
        // Smaller than all of a full list.
        if (at == count)
            continue;
        if (stored < count)
            stored++;
        // In a full list the last one falls off.
        memmove(buffer + at + 1, buffer + at, (stored - 1 - at) * sizeof *buffer);
        buffer[at] = i;
    }
    return stored;
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

// "-" for a plan without entries.
static const char *entry_name(const Plan *p, uint32_t entry) {
    return entry == UINT32_MAX ? "-" : p->entry[entry].name;
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

// At most 32.
static void print_largest(const Plan *p, const PlanReport *r, uint32_t count, FILE *out) {
    uint32_t buffer[32];
    const uint32_t stored = plan_report_largest(p, r, buffer, count < 32 ? count : 32);
    for (uint32_t i = 0; i < stored; i++) {
        const PlanBuffer *b = &p->buffer[buffer[i]];
        char text[32];
        fprintf(out, "  %10s  %-12s %-40s %s\n", plan_size_text(b->bytes, text),
                plan_buffer_kind_name(b->kind), b->name, b->where);
    }
}

void plan_print_summary(const Plan *p, FILE *out) {
    PlanReport r;
    plan_report(p, &r);
    fprintf(out, "model      %s\ntarget     %s\nentries   ", p->model, p->target);
    for (uint32_t i = 0; i < p->entry_count; i++)
        fprintf(out, " %s", p->entry[i].name);
    fprintf(out, "\nbuilt by   %s%s%s\n", p->tool, p->flags[0] ? " " : "", p->flags);
    print_spaces(p, out);
    fprintf(out, "peak       in %s, instruction %" PRIu32 ", by kind:\n", entry_name(p, r.entry),
            r.position);
    print_kinds(&r, out);
    fprintf(out, "largest buffers at the peak:\n");
    print_largest(p, &r, 10, out);
    fprintf(out,
            "work       %" PRIu64 " instructions, %" PRIu32
            " kernels, %.3f GFLOP and %.3f GB moved a step\n",
            r.operators, p->kernel_count, (double)r.flops * 1e-9, (double)r.bytes * 1e-9);
}

void plan_print_memory(const Plan *p, FILE *out) {
    PlanReport r;
    plan_report(p, &r);
    print_spaces(p, out);
    fprintf(out, "persistent (weights, optimizer, state):\n");
    // Of every space, unlike the report's figures.
    uint64_t kind[BUFFER_KIND_COUNT] = {0};
    for (uint32_t i = 0; i < p->buffer_count; i++)
        if (p->buffer[i].entry == UINT32_MAX)
            kind[p->buffer[i].kind] += p->buffer[i].bytes;
    char text[32];
    for (int i = 0; i < BUFFER_KIND_COUNT; i++)
        if (kind[i])
            fprintf(out, "  %-14s %10s\n", plan_buffer_kind_name((PlanBufferKind)i),
                    plan_size_text(kind[i], text));
    for (uint32_t e = 0; e < p->entry_count; e++) {
        uint64_t load;
        uint32_t position;
        entry_peak(p, e, &load, &position);
        fprintf(out, "entry %-12s peak %10s at instruction %" PRIu32 " of %" PRIu32 "\n",
                p->entry[e].name, plan_size_text(load, text), position,
                entry_positions(p, &p->entry[e]));
    }
    fprintf(out, "at the peak of %s:\n", entry_name(p, r.entry));
    print_kinds(&r, out);
    print_largest(p, &r, 20, out);
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

// By entry name: instructions, load of its own buffers, and where that peaks.
static void json_entries(const Plan *p, FILE *out) {
    fputs("\"entries\": {", out);
    for (uint32_t i = 0; i < p->entry_count; i++) {
        uint64_t load;
        uint32_t position;
        entry_peak(p, i, &load, &position);
        fputs(i ? ", " : "", out);
        plan_json_string(out, p->entry[i].name);
        fprintf(out,
                ": {\"instructions\": %" PRIu32 ", \"load\": %" PRIu64
                ", \"peak_instruction\": %" PRIu32 "}",
                entry_positions(p, &p->entry[i]), load, position);
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
    fputs("]\n", out);
}

void plan_print_json(const Plan *p, FILE *out) {
    PlanReport r;
    plan_report(p, &r);
    // For scripts: sizes and loads in bytes, the order of members fixed.
    fputs("{", out);
    json_field(out, "model", p->model);
    json_field(out, "target", p->target);
    json_field(out, "isa", p->isa);
    json_field(out, "tool", p->tool);
    json_field(out, "flags", p->flags);
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
    json_entries(p, out);
    json_remarks(p, out);
    fputs("}\n", out);
}
