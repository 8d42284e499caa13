// Tables of memory: each space by kind of buffer, each entry's peak, and what is live at the
// highest.
#include "tools/dump.h"

#include "runtime/plan_report.h"
#include "tools/dump_text.h"

#include <string.h>

enum { LARGEST = 20 };

static const PlanSpace *space_of_kind(const Plan *p, int kind) {
    for (uint32_t i = 0; i < p->space_count; i++)
        if ((int)p->space[i].kind == kind)
            return &p->space[i];
    return NULL;
}

// Where the space's load is largest over all entries; UINT32_MAX where there are none.
static uint32_t tallest_entry(const PlanUses *u, int space) {
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < u->plan->entry_count; i++) {
        const PlanCurve *c = &u->entry[i].curve[space];
        const PlanCurve *b = best == UINT32_MAX ? NULL : &u->entry[best].curve[space];
        if (!b || c->load[c->peak] > b->load[b->peak])
            best = i;
    }
    return best;
}

// A row a kind: what is always there, and what there is at the space's peak. The whole of all
// buffers tells how much sharing saves.
static void print_space(const Dump *d, int kind, FILE *out) {
    const Plan *p = d->plan;
    const PlanSpace *s = space_of_kind(p, kind);
    uint64_t always[BUFFER_KIND_COUNT] = {0}, all[BUFFER_KIND_COUNT] = {0}, peak[BUFFER_KIND_COUNT];
    char a[32], b[32], c[32], number[TEXT_NUMBER];
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        if ((int)p->space[p->buffer[i].space].kind != kind)
            continue;
        all[p->buffer[i].kind] += plan_buffer_padded(&p->buffer[i]);
        if (p->buffer[i].entry == UINT32_MAX)
            always[p->buffer[i].kind] += plan_buffer_padded(&p->buffer[i]);
    }
    const uint32_t entry = tallest_entry(d->uses, kind);
    const uint32_t at = entry == UINT32_MAX ? 0 : d->uses->entry[entry].curve[kind].peak;
    plan_report_kinds(d->uses, (PlanSpaceKind)kind, entry, at, peak);
    fprintf(out, "%-15s %12s %14s %14s\n", plan_space_name((PlanSpaceKind)kind), "always",
            "at the peak", "all buffers");
    uint64_t sum[3] = {0};
    for (int i = 0; i < BUFFER_KIND_COUNT; i++) {
        sum[0] += always[i];
        sum[1] += peak[i];
        sum[2] += all[i];
        // Six kinds are always shown, so that tables of two plans can be laid side by side.
        if (i <= BUFFER_COMMUNICATION || all[i])
            fprintf(out, "  %-13s %12s %14s %14s\n", plan_buffer_kind_name((PlanBufferKind)i),
                    plan_size_text(always[i], a), plan_size_text(peak[i], b),
                    plan_size_text(all[i], c));
    }
    fprintf(out, "  %-13s %12s %14s %14s\n", "sum", plan_size_text(sum[0], a),
            plan_size_text(sum[1], b), plan_size_text(sum[2], c));
    fprintf(out, "  %-13s %12s, %s bytes; load %s, fragmentation %.2f %%\n\n", "arena",
            plan_size_text(s->bytes, a), text_count(s->bytes, number), plan_size_text(s->load, b),
            s->load ? 100 * ((double)s->bytes / (double)s->load - 1) : 0.0);
}

// Entries never run at the same time: the arena is as tall as the tallest of them.
static void print_entries(const Dump *d, FILE *out) {
    const PlanUses *u = d->uses;
    fprintf(out, "%-17s %12s %12s %14s   %s\n", "entry", "its own", "with state", "at instruction",
            "which is");
    for (uint32_t i = 0; i < d->plan->entry_count; i++) {
        const PlanEntryUses *e = &u->entry[i];
        const PlanCurve *c = &e->curve[SPACE_DEVICE];
        const uint64_t load = c->load[c->peak];
        char name[18], own[32], whole[32], what[36], at[48];
        snprintf(at, sizeof at, "%u of %u", c->peak, e->step_count);
        fprintf(out, "%-17s %12s %12s %14s   %s\n",
                text_fit(d->plan->entry[i].name, name, sizeof name),
                plan_size_text(load - u->state[SPACE_DEVICE], own), plan_size_text(load, whole), at,
                e->step_count ? text_fit(e->step[c->peak].instr->name, what, sizeof what) : "-");
    }
}

// With their lives and places, which the summary has no room for.
static void print_largest(const Dump *d, FILE *out) {
    const PlanUses *u = d->uses;
    uint32_t largest[LARGEST];
    if (u->peak_entry == UINT32_MAX)
        return;
    const uint32_t at = u->entry[u->peak_entry].curve[SPACE_DEVICE].peak;
    const uint32_t count = plan_uses_largest(u, u->peak_entry, at, largest, LARGEST);
    fprintf(out, "\nlargest buffers at the peak of %-23.23s live          offset  source\n",
            d->plan->entry[u->peak_entry].name);
    for (uint32_t i = 0; i < count; i++) {
        const PlanBuffer *b = &d->plan->buffer[largest[i]];
        char size[32], name[29], live[24] = "always", offset[TEXT_NUMBER], place[21];
        if (b->entry != UINT32_MAX)
            snprintf(live, sizeof live, "%u..%u", b->first, b->last);
        fprintf(out, "  %10s  %-11s %-28s %-11s %16s  %s\n", plan_size_text(b->bytes, size),
                plan_buffer_kind_name(b->kind), text_fit(b->name, name, sizeof name), live,
                text_count(b->offset, offset), text_fit(text_place(b->where), place, sizeof place));
    }
}

int dump_memory(Dump *d, FILE *out) {
    for (int kind = 0; kind < SPACE_COUNT; kind++)
        if (space_of_kind(d->plan, kind))
            print_space(d, kind, out);
    print_entries(d, out);
    print_largest(d, out);
    return DUMP_DONE;
}
