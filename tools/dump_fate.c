// What becomes of a buffer's contents between the forward pass and the backward one: told by the
// plan itself, whatever passes said of their reasons.
//
//   kept      used in the forward pass, and next in the backward one
//   again     a kernel of the forward pass runs in the backward one too, under the same name at the
//             same place in the text: what is computed again is another buffer
//   moved     copied to far memory, and from there into another buffer
//
// Cost: for each buffer asked about, the instructions of its entry.
#include "tools/dump_fate.h"

#include "runtime/plan_report.h"

#include <inttypes.h>
#include <string.h>

// Most places that one line names.
enum { SHOWN = 8 };

static const PlanStep *step_at(const Dump *d, const PlanUse *use) {
    return &d->uses->entry[use->entry].step[use->position];
}

static bool is_far(const Dump *d, uint32_t buffer) {
    return d->plan->space[d->plan->buffer[buffer].space].kind != SPACE_DEVICE;
}

// The other end of a copy between memories that has this buffer at one: true and its buffer.
static bool other_end(const Dump *d, const PlanUse *use, uint32_t *other) {
    const PlanInstr *instr = step_at(d, use)->instr;
    if (instr->kind != INSTR_COPY || instr->operand_count != 2 || use->operand > 1)
        return false;
    *other = instr->operand[!use->operand].buffer;
    return is_far(d, *other) != is_far(d, instr->operand[use->operand].buffer);
}

static bool writes(const Dump *d, const PlanUse *use) {
    return use->operand != PLAN_USE_WORKSPACE &&
           step_at(d, use)->instr->operand[use->operand].access != PLAN_READ;
}

// The first instruction that writes the buffer; NULL: none does.
static const PlanUse *first_writer(const Dump *d, uint32_t buffer) {
    const PlanUses *u = d->uses;
    for (uint32_t i = u->use_begin[buffer]; i < u->use_begin[buffer + 1]; i++)
        if (writes(d, &u->use[i]))
            return &u->use[i];
    return NULL;
}

// Whether both run one kernel for one operator of the text, one in the forward pass and one later.
static bool is_repeated(const PlanInstr *first, const PlanInstr *again) {
    return first->phase == PLAN_PHASE_FORWARD && again->phase == PLAN_PHASE_BACKWARD &&
           first->kind == again->kind && first->kernel == again->kernel &&
           (first->kind == INSTR_KERNEL || first->kind == INSTR_PRODUCT) &&
           strcmp(first->name, again->name) == 0 && strcmp(first->where, again->where) == 0;
}

// Between its last use in the forward pass and its first in the backward one it only waits.
static void print_kept(const Dump *d, uint32_t buffer, FILE *out) {
    const PlanUses *u = d->uses;
    uint32_t last = UINT32_MAX, first = UINT32_MAX;
    for (uint32_t i = u->use_begin[buffer]; i < u->use_begin[buffer + 1]; i++) {
        const PlanUse *use = &u->use[i];
        if (step_at(d, use)->instr->phase == PLAN_PHASE_FORWARD)
            last = use->position;
        else if (first == UINT32_MAX && last != UINT32_MAX)
            first = use->position;
    }
    if (last != UINT32_MAX && first != UINT32_MAX && first > last)
        fprintf(out, "  kept        for the backward pass: unused from %u to %u, %u instructions\n",
                last, first, first - last);
}

// "train:143 (b301)", after what is in the line already.
static void print_place(const Dump *d, uint32_t entry, uint32_t position, uint32_t buffer,
                        uint32_t *count, FILE *out) {
    if (++*count <= SHOWN)
        fprintf(out, "%s%s:%u (b%u)", *count > 1 ? ", " : "", d->plan->entry[entry].name, position,
                buffer);
}

static void print_again(const Dump *d, const PlanUse *writer, FILE *out) {
    const PlanEntryUses *e = &d->uses->entry[writer->entry];
    const PlanInstr *own = step_at(d, writer)->instr;
    const bool first = own->phase == PLAN_PHASE_FORWARD;
    uint32_t count = 0;
    for (uint32_t i = 0; i < e->step_count; i++) {
        const PlanInstr *other = e->step[i].instr;
        if (!(first ? is_repeated(own, other) : is_repeated(other, own)))
            continue;
        if (count == 0)
            fprintf(out, "  again       %s",
                    first ? "computed again for the backward pass by "
                          : "computed again for the backward pass; the first time by ");
        print_place(d, writer->entry, i, other->operand[writer->operand].buffer, &count, out);
    }
    if (count > SHOWN)
        fprintf(out, " and %u more", count - SHOWN);
    if (count > 0)
        fputc('\n', out);
}

// Where a copy out is fetched into.
static void print_fetches(const Dump *d, uint32_t entry, uint32_t far, FILE *out) {
    const PlanUses *u = d->uses;
    uint32_t count = 0;
    for (uint32_t i = u->use_begin[far]; i < u->use_begin[far + 1]; i++) {
        uint32_t near;
        if (writes(d, &u->use[i]) || !other_end(d, &u->use[i], &near))
            continue;
        if (count == 0)
            fprintf(out, "; fetched by ");
        print_place(d, entry, u->use[i].position, near, &count, out);
    }
    if (count > SHOWN)
        fprintf(out, " and %u more", count - SHOWN);
}

static void print_moved(const Dump *d, uint32_t buffer, FILE *out) {
    const PlanUses *u = d->uses;
    for (uint32_t i = u->use_begin[buffer]; i < u->use_begin[buffer + 1]; i++) {
        const PlanUse *use = &u->use[i];
        const char *entry = d->plan->entry[use->entry].name;
        uint32_t far;
        if (!other_end(d, use, &far))
            continue;
        const PlanBuffer *b = &d->plan->buffer[far];
        const char *where = plan_space_name(d->plan->space[b->space].kind);
        if (!writes(d, use)) {
            fprintf(out, "  moved       to %s by %s:%u (b%u)", where, entry, use->position, far);
            if (b->entry != UINT32_MAX)
                print_fetches(d, use->entry, far, out);
        } else {
            const PlanUse *offload = first_writer(d, far);
            uint32_t near;
            fprintf(out, "  fetched     from %s by %s:%u", where, entry, use->position);
            if (b->entry == UINT32_MAX)
                fprintf(out, ": %s (b%u)", b->name, far);
            else if (offload && other_end(d, offload, &near))
                fprintf(out, ": what %s:%u moved there of b%u", entry, offload->position, near);
        }
        fputc('\n', out);
    }
}

// How often a state in far memory comes and goes in a step of each entry.
static void print_far_state(const Dump *d, uint32_t buffer, FILE *out) {
    const PlanUses *u = d->uses;
    const PlanBuffer *b = &d->plan->buffer[buffer];
    fprintf(out, "  far         it lives on the %s;",
            plan_space_name(d->plan->space[b->space].kind));
    for (uint32_t e = 0, said = 0; e < d->plan->entry_count; e++) {
        uint64_t fetched = 0, written = 0;
        for (uint32_t i = u->use_begin[buffer]; i < u->use_begin[buffer + 1]; i++) {
            const uint32_t calls = step_at(d, &u->use[i])->calls;
            if (u->use[i].entry == e)
                *(writes(d, &u->use[i]) ? &written : &fetched) += calls;
        }
        if (fetched + written > 0)
            fprintf(out, "%s %s", said++ ? ";" : "", d->plan->entry[e].name);
        if (fetched > 0)
            fprintf(out, " fetches it %" PRIu64 " time%s", fetched, fetched == 1 ? "" : "s");
        if (written > 0)
            fprintf(out, "%s writes it %" PRIu64 " time%s", fetched ? " and" : "", written,
                    written == 1 ? "" : "s");
    }
    fputc('\n', out);
}

void dump_fate(const Dump *d, uint32_t buffer, FILE *out) {
    const PlanUse *writer = first_writer(d, buffer);
    const bool state = d->plan->buffer[buffer].entry == UINT32_MAX, far = is_far(d, buffer);
    if (state && far)
        print_far_state(d, buffer, out);
    // States near are at hand in every step, and copies of what is far tell of it themselves.
    if (state || far)
        return;
    print_kept(d, buffer, out);
    if (writer)
        print_again(d, writer, out);
    print_moved(d, buffer, out);
}
