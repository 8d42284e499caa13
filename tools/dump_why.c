// Why something is as it is: all the plan knows of one name.
//
// A name is a buffer's (or b12), an instruction's position (train:13), a kernel's (k7), a scope, or
// whatever a pass left a remark on. Where, when and beside whom a buffer lies follows from the
// plan; why a pass chose so, from its remarks.
#include "tools/dump.h"

#include "runtime/plan_report.h"
#include "tools/dump_fate.h"
#include "tools/dump_text.h"
#include "tools/nearest.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// Most things of one name, and most lines of one list, that are printed.
enum { SHOWN = 8, LINES = 24 };

static bool is_word(char c) {
    return isalnum((unsigned char)c) || strchr("._-", c) != NULL;
}

// Whether the text has the name as a whole word.
static bool mentions(const char *text, const char *name) {
    const size_t length = strlen(name);
    for (const char *at = text; length > 0 && (at = strstr(at, name)) != NULL; at++)
        if ((at == text || !is_word(at[-1])) && (!at[length] || !is_word(at[length])))
            return true;
    return false;
}

// Text in lines of at most 84 characters, the first behind what the line has already.
static void print_wrapped(const char *text, FILE *out) {
    enum { WIDTH = 84 };
    while (strlen(text) > WIDTH) {
        int cut = WIDTH;
        while (cut > 0 && text[cut] != ' ')
            cut--;
        cut = cut ? cut : WIDTH;
        fprintf(out, "%.*s\n              ", cut, text);
        text += cut + (text[cut] == ' ');
    }
    fprintf(out, "%s\n", text);
}

// Whether the remark is on one entry, and not on the one asked for. Passes say "in train ..." of
// what they did there; entry "" is none in particular.
static bool is_elsewhere(const Plan *p, const PlanRemark *r, const char *entry) {
    const size_t length = strlen(entry);
    if (length == 0)
        return false;
    if (strncmp(r->text, "in ", 3) == 0)
        return strncmp(r->text + 3, entry, length) != 0 || r->text[3 + length] != ' ';
    return strcmp(r->subject, entry) != 0 && plan_find_entry(p, r->subject);
}

// Bytes of the buffer's value, which its rows may lie apart of.
static uint64_t value_bytes(const PlanBuffer *b) {
    uint64_t bytes = plan_dtype_bytes(b->dtype);
    for (uint32_t i = 0; i < b->rank; i++)
        bytes *= (uint64_t)b->dim[i];
    return bytes;
}

// Whether a remark on the buffer's name is on another value that is called the same: on one of
// other bytes (results of one operator), or made at another place in the text.
static bool is_namesake(const PlanRemark *r, const PlanBuffer *b) {
    const char *made = strstr(r->text, "made at "), *bytes = strstr(r->text, " bytes");
    if (strcmp(r->pass, "retain") != 0 && strcmp(r->pass, "recompute") != 0 &&
        strcmp(r->pass, "lower") != 0)
        return false;
    const char *place = text_place(b->where), *at = made ? made + strlen("made at ") : place;
    const size_t length = strlen(place);
    if (length > 0 && (strncmp(at, place, length) != 0 || (at[length] && at[length] != ' ')))
        return true;
    while (bytes && bytes > r->text && isdigit((unsigned char)bytes[-1]))
        bytes--;
    return bytes && b->rank > 0 && strtoull(bytes, NULL, 10) != value_bytes(b);
}

// Whether it says what is known of all states in far memory, of which the buffer is one.
static bool is_of_far_states(const Plan *p, const PlanRemark *r, const PlanBuffer *b) {
    return b && b->entry == UINT32_MAX && p->space[b->space].kind != SPACE_DEVICE &&
           strcmp(r->pass, "far") == 0 && strcmp(r->subject, p->model) == 0;
}

// What all choices of an entry together come to, behind a remark on one of them: "in train ...".
static void print_rung(const Plan *p, const char *one, FILE *out) {
    const size_t length = strcspn(one + 3, " ");
    for (uint32_t i = 0; i < p->remark_count; i++) {
        const PlanRemark *r = &p->remark[i];
        if (strcmp(r->pass, "retain") != 0 || strlen(r->subject) != length ||
            strncmp(r->subject, one + 3, length) != 0)
            continue;
        fprintf(out, "  %-11s ", "");
        print_wrapped(r->text, out);
    }
}

// Remarks on the name, on entry.name, or with the name in them. b: the buffer asked about, or NULL.
static uint32_t print_remarks(const Dump *d, const char *name, const char *entry,
                              const PlanBuffer *b, FILE *out) {
    const Plan *p = d->plan;
    const size_t length = strlen(entry);
    const PlanRemark *before = NULL;
    uint32_t count = 0;
    bool retained = false;
    for (uint32_t i = 0; i < p->remark_count; i++) {
        const PlanRemark *r = &p->remark[i];
        const bool entrys = strncmp(r->subject, entry, length) == 0 && r->subject[length] == '.' &&
                            strcmp(r->subject + length + 1, name) == 0;
        const bool own = strcmp(r->subject, name) == 0;
        if (!is_of_far_states(p, r, b) && ((!own && !entrys && !mentions(r->text, name)) ||
                                           is_elsewhere(p, r, entry) || (b && is_namesake(r, b))))
            continue;
        // A kernel that runs again is told of each time.
        if (before && strcmp(before->pass, r->pass) == 0 && strcmp(before->text, r->text) == 0)
            continue;
        before = r;
        if (++count > LINES)
            continue;
        fprintf(out, "  %-11s ", r->pass);
        print_wrapped(r->text, out);
        if (!own || retained || strcmp(r->pass, "retain") != 0 || strncmp(r->text, "in ", 3) != 0)
            continue;
        retained = true;
        print_rung(p, r->text, out);
    }
    if (count > LINES)
        fprintf(out, "              and %u more remarks: see --remarks\n", count - LINES);
    return count;
}

// What no buffer and no scope is called: a value inside a kernel, or one that shares the buffer of
// another. False where no remark knows it either.
static bool print_unstored(const Dump *d, const char *name, const char *entry, FILE *out) {
    const Plan *p = d->plan;
    bool known = false;
    for (uint32_t i = 0; i < p->remark_count && !known; i++)
        known = strcmp(p->remark[i].subject, name) == 0 || mentions(p->remark[i].text, name);
    if (!known)
        return false;
    if (!plan_find_entry(p, name))
        fprintf(out, "%s has no buffer of its own: a kernel computes it on the way, or in place\n",
                name);
    print_remarks(d, name, entry, NULL, out);
    return true;
}

typedef struct {
    uint64_t begin, end;
} Range;

static int compare_ranges(const void *a, const void *b) {
    const Range *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

// Whether they can never share bytes: both count at some position.
static bool meet_in_time(const PlanBuffer *a, const PlanBuffer *b) {
    return a->space == b->space && b->bytes > 0 &&
           (b->entry == UINT32_MAX || a->entry == UINT32_MAX ||
            (a->entry == b->entry && a->first <= b->last && b->first <= a->last));
}

// What lies below the buffer while it lives, and the largest room that is left there.
static bool print_place(const Dump *d, const PlanBuffer *b, FILE *out) {
    const Plan *p = d->plan;
    Range *below = calloc((size_t)p->buffer_count + 1, sizeof *below);
    uint32_t count = 0;
    if (!below)
        return false;
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        const PlanBuffer *o = &p->buffer[i];
        if (o != b && o->offset < b->offset && meet_in_time(b, o))
            below[count++] = (Range){o->offset, o->offset + plan_buffer_padded(o)};
    }
    qsort(below, count, sizeof *below, compare_ranges);
    uint64_t end = 0, gap = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (below[i].begin > end && below[i].begin - end > gap)
            gap = below[i].begin - end;
        end = below[i].end > end ? below[i].end : end;
    }
    if (b->offset > end && b->offset - end > gap)
        gap = b->offset - end;
    free(below);
    char size[32], from[TEXT_NUMBER], to[TEXT_NUMBER];
    fprintf(out, "  placed      %s bytes %s .. %s, above %u buffer%s that live at the same time\n",
            plan_space_name(p->space[b->space].kind), text_count(b->offset, from),
            text_count(b->offset + b->bytes - (b->bytes > 0), to), count, count == 1 ? "" : "s");
    if (b->entry != UINT32_MAX && count > 0)
        fprintf(out, "              the largest room free below it is %s: %s\n",
                plan_size_text(gap, size),
                gap >= b->bytes ? "the packing had others in mind for it" : "too small");
    return true;
}

// When it lives, and what it is of the highest load of its entry.
static void print_peak(const Dump *d, const PlanBuffer *b, FILE *out) {
    const uint32_t entry = b->entry == UINT32_MAX ? d->uses->peak_entry : b->entry;
    if (entry == UINT32_MAX)
        return;
    const PlanSpaceKind kind = d->plan->space[b->space].kind;
    const PlanCurve *c = &d->uses->entry[entry].curve[kind];
    char size[32], of[48] = "";
    if (kind != SPACE_DEVICE)
        snprintf(of, sizeof of, " on the %s", plan_space_name(kind));
    if (b->entry != UINT32_MAX)
        fprintf(out, "  live        instructions %u .. %u of %u", b->first, b->last,
                d->uses->entry[entry].step_count);
    else
        fprintf(out, "  live        always");
    if (!plan_buffer_lives(b, entry, c->peak))
        fprintf(out, "; not at the peak of %s%s (instruction %u)\n", d->plan->entry[entry].name, of,
                c->peak);
    else
        fprintf(out, "; %.1f %% of the peak of %s%s, %s at instruction %u\n",
                c->load[c->peak] ? 100 * (double)plan_buffer_padded(b) / (double)c->load[c->peak]
                                 : 0,
                d->plan->entry[entry].name, of, plan_size_text(c->load[c->peak], size), c->peak);
}

// Whether the instruction reads bytes of the buffer that it also writes.
static bool is_in_place(const PlanInstr *instr, uint32_t buffer) {
    bool read = false, written = false;
    for (uint32_t i = 0; i < instr->operand_count; i++)
        if (instr->operand[i].buffer == buffer) {
            read = read || instr->operand[i].access != PLAN_WRITE;
            written = written || instr->operand[i].access != PLAN_READ;
        }
    return read && written;
}

static void print_user(const Dump *d, const PlanUse *use, const char *how, FILE *out) {
    const PlanStep *s = &d->uses->entry[use->entry].step[use->position];
    char name[49];
    fprintf(out, "  %-11s %s:%u %s (%s), %s%s\n", how, d->plan->entry[use->entry].name,
            use->position, text_fit(s->instr->name, name, sizeof name),
            plan_instr_kernel(d->plan, s->instr), plan_phase_name(s->instr->phase),
            use->operand != PLAN_USE_WORKSPACE &&
                    is_in_place(s->instr, s->instr->operand[use->operand].buffer)
                ? ", in place"
                : "");
}

// Writers, then readers, a line each; a state's are many.
static void print_users(const Dump *d, uint32_t buffer, FILE *out) {
    const PlanUses *u = d->uses;
    for (int writes = 1; writes >= 0; writes--) {
        uint32_t count = 0;
        const PlanUse *before = NULL; // an operand of the same instruction is no other user
        for (uint32_t i = u->use_begin[buffer]; i < u->use_begin[buffer + 1]; i++) {
            const PlanUse *use = &u->use[i];
            const PlanInstr *instr = u->entry[use->entry].step[use->position].instr;
            const bool work = use->operand == PLAN_USE_WORKSPACE;
            if (writes != (work || instr->operand[use->operand].access != PLAN_READ))
                continue;
            if (before && before->entry == use->entry && before->position == use->position)
                continue;
            before = use;
            if (++count <= SHOWN)
                print_user(d, use,
                           count > 1 ? ""
                           : work    ? "used by"
                           : writes  ? "written by"
                                     : "read by",
                           out);
        }
        if (count > SHOWN)
            fprintf(out, "              and %u more\n", count - SHOWN);
        if (count == 0 && writes)
            fprintf(out, "  written by  no instruction: it is there when the entry begins\n");
    }
}

// False when there is no memory.
static bool print_buffer(const Dump *d, uint32_t buffer, FILE *out) {
    const PlanBuffer *b = &d->plan->buffer[buffer];
    const char *entry = b->entry == UINT32_MAX ? "" : d->plan->entry[b->entry].name;
    char size[32], shape[96];
    fprintf(out, "%s (b%u): %s%s%s, %s, %s%s%s\n", b->name, buffer, plan_buffer_kind_name(b->kind),
            *entry ? " of " : "", entry, text_shape(b->dtype, b->rank, b->dim, shape, sizeof shape),
            plan_size_text(b->bytes, size), *b->where ? ", " : "", text_place(b->where));
    print_peak(d, b, out);
    if (!print_place(d, b, out))
        return false;
    print_users(d, buffer, out);
    dump_fate(d, buffer, out);
    print_remarks(d, b->name, entry, b, out);
    fputc('\n', out);
    return true;
}

// With the instruction that its bytes come from.
static void print_operand(const Dump *d, uint32_t entry, uint32_t position, uint32_t i, FILE *out) {
    const PlanInstr *instr = d->uses->entry[entry].step[position].instr;
    const PlanOperand *o = &instr->operand[i];
    const PlanBuffer *b = &d->plan->buffer[o->buffer];
    char name[41], size[32];
    uint32_t writer;
    fprintf(out, "  %-11s %s (b%u), %s", plan_access_name(o->access),
            text_fit(b->name, name, sizeof name), o->buffer, plan_size_text(o->bytes, size));
    if (o->access != PLAN_WRITE && plan_uses_writers(d->uses, entry, position, i, &writer, 1))
        fprintf(out, ", of %s:%u", d->plan->entry[entry].name, writer);
    fputc('\n', out);
}

// False when there is no memory.
static bool print_instruction(Dump *d, uint32_t entry, uint32_t position, FILE *out) {
    const PlanStep *s = &d->uses->entry[entry].step[position];
    const PlanInstr *instr = s->instr;
    const char *name = d->plan->entry[entry].name;
    char text[TEXT_NUMBER], moved[TEXT_NUMBER];
    Prediction time;
    if (!dump_predict(d, entry, &time))
        return false;
    const PredictedStep *t = &time.step[position];
    fprintf(out, "%s:%u of %u: %s, %s%s%s\n", name, position, d->uses->entry[entry].step_count,
            instr->name, plan_phase_name(instr->phase), *instr->where ? ", " : "",
            text_place(instr->where));
    fprintf(out, "  runs        %s on stream %u, %u time%s a step\n",
            plan_instr_kernel(d->plan, instr), instr->stream, s->calls, s->calls == 1 ? "" : "s");
    fprintf(out, "  work        %s, %s moved\n", text_rate((double)instr->flops, "FLOP", text),
            text_rate((double)instr->bytes, "B", moved));
    fprintf(out, "  predicted   %s, mostly %s\n",
            text_time((double)(t->end - t->begin) * 1e-12, text), limit_name(t->limit));
    for (uint32_t i = 0; i < instr->operand_count; i++)
        print_operand(d, entry, position, i, out);
    const char *scope = plan_instr_scope(instr);
    if (*scope)
        print_remarks(d, scope, name, NULL, out);
    fputc('\n', out);
    return true;
}

// Who calls it, and its code.
static void print_kernel(const Dump *d, uint32_t kernel, FILE *out) {
    const PlanKernel *k = &d->plan->kernel[kernel];
    uint32_t count = 0;
    char size[32];
    fprintf(out, "%s: a kernel of %" PRIu64 " tile%s", k->name, k->tiles, k->tiles == 1 ? "" : "s");
    if (k->workspace > 0)
        fprintf(out, ", %s of workspace a worker", plan_size_text(k->workspace, size));
    fputc('\n', out);
    for (uint32_t e = 0; e < d->plan->entry_count; e++)
        for (uint32_t i = 0; i < d->uses->entry[e].step_count; i++) {
            const PlanInstr *instr = d->uses->entry[e].step[i].instr;
            if (instr->kind > INSTR_PRODUCT || instr->kernel != kernel)
                continue;
            if (++count <= LINES)
                fprintf(out, "  %-11s %s:%u %s\n", count == 1 ? "called by" : "",
                        d->plan->entry[e].name, i, instr->name);
        }
    if (count > LINES)
        fprintf(out, "              and %u more\n", count - LINES);
    fprintf(out, "  text\n");
    for (const char *at = k->text; *at;) {
        const size_t length = strcspn(at, "\n");
        fprintf(out, "    %.*s\n", (int)length, at);
        at += length + (at[length] == '\n');
    }
}

// What runs in a scope, entry by entry.
static uint32_t print_scope(const Dump *d, const char *name, FILE *out) {
    uint32_t all = 0;
    for (uint32_t e = 0; e < d->plan->entry_count; e++) {
        uint32_t count = 0;
        const size_t length = strlen(name);
        for (uint32_t i = 0; i < d->uses->entry[e].step_count; i++) {
            const PlanInstr *instr = d->uses->entry[e].step[i].instr;
            const char *scope = plan_instr_scope(instr);
            char what[41], text[TEXT_NUMBER], moved[TEXT_NUMBER];
            if (strncmp(scope, name, length) != 0 || (scope[length] && scope[length] != '.'))
                continue;
            if (count == 0)
                fprintf(out, "%s in %s\n", name, d->plan->entry[e].name);
            if (++count <= LINES)
                fprintf(out, "  %6u  %-8s  %-40s  %-7s %12s %10s\n", i,
                        plan_phase_name(instr->phase), text_fit(instr->name, what, sizeof what),
                        plan_instr_kernel(d->plan, instr),
                        text_rate((double)instr->flops, "FLOP", text),
                        text_rate((double)instr->bytes, "B", moved));
        }
        if (count > LINES)
            fprintf(out, "          and %u more\n", count - LINES);
        all += count;
    }
    return all;
}

// "b12", "train:13": the number behind the letter or colon, below the limit; else UINT32_MAX.
static uint32_t number_below(const char *text, uint32_t limit) {
    char *end;
    const unsigned long long number = strtoull(text, &end, 10);
    return isdigit((unsigned char)*text) && *end == '\0' && number < limit ? (uint32_t)number
                                                                           : UINT32_MAX;
}

// A name that says itself what it names. False where it does not; *good: there was memory.
static bool print_numbered(Dump *d, const char *name, bool *good, FILE *out) {
    const Plan *p = d->plan;
    const uint32_t buffer = *name == 'b' ? number_below(name + 1, p->buffer_count) : UINT32_MAX;
    if (buffer != UINT32_MAX) {
        *good = print_buffer(d, buffer, out);
        return true;
    }
    for (uint32_t i = 0; i < p->kernel_count; i++)
        if (strcmp(p->kernel[i].name, name) == 0) {
            print_kernel(d, i, out);
            return true;
        }
    for (uint32_t i = 0; i < p->entry_count; i++) {
        const size_t length = strlen(p->entry[i].name);
        const bool begins = strncmp(name, p->entry[i].name, length) == 0 && name[length] == ':';
        const uint32_t at =
            begins ? number_below(name + length + 1, d->uses->entry[i].step_count) : UINT32_MAX;
        if (at != UINT32_MAX) {
            *good = print_instruction(d, i, at, out);
            return true;
        }
    }
    return false;
}

// Names of buffers and scopes: what people mistype.
static int say_nearest(Dump *d, const char *name) {
    const Plan *p = d->plan;
    Nearest nearest = {.wanted = name};
    char near[300];
    for (uint32_t i = 0; i < p->buffer_count; i++)
        nearest_add(&nearest, p->buffer[i].name, strlen(p->buffer[i].name));
    for (uint32_t e = 0; e < p->entry_count; e++)
        for (uint32_t i = 0; i < d->uses->entry[e].step_count; i++)
            nearest_add_path(&nearest, plan_instr_scope(d->uses->entry[e].step[i].instr));
    return dump_fail(d, "no value, scope or kernel is called %.80s%s", name,
                     nearest_text(&nearest, near, sizeof near));
}

int dump_why(Dump *d, FILE *out) {
    const Plan *p = d->plan;
    const char *name = d->options->value;
    uint32_t entry = UINT32_MAX, found = 0;
    bool good = true;
    if (d->options->entry && !dump_entry(d, &entry))
        return DUMP_FAILED;
    if (print_numbered(d, name, &good, out))
        return good ? DUMP_DONE : dump_fail(d, "out of memory");
    for (uint32_t i = 0; good && i < p->buffer_count; i++) {
        const PlanBuffer *b = &p->buffer[i];
        if (strcmp(b->name, name) != 0 ||
            (entry != UINT32_MAX && b->entry != UINT32_MAX && b->entry != entry))
            continue;
        if (++found <= SHOWN)
            good = print_buffer(d, i, out);
    }
    if (!good)
        return dump_fail(d, "out of memory");
    if (found > SHOWN)
        fprintf(out, "and %u more of that name; --entry NAME or a number such as b12 picks some\n",
                found - SHOWN);
    if (found == 0)
        found = print_scope(d, name, out);
    const char *where = entry == UINT32_MAX ? "" : p->entry[entry].name;
    return found > 0 || print_unstored(d, name, where, out) ? DUMP_DONE : say_nearest(d, name);
}
