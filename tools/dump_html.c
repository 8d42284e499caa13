// The page of a plan: a fixed text (tools/html) with the plan as JSON in the middle of it.
//
// The JSON holds what the plan holds and the times predicted for it. What follows from that, who
// uses a buffer, what is live when and where the peak is, the page works out itself, for the entry
// and the space that are looked at. Tables are rows of numbers, one behind the other in one list,
// with the names of the columns beside it; strings are held once and named by number. So 20,000
// buffers take about 2 MB and a browser reads them in some milliseconds.
//
// Names come from models and files, and may be hostile. Inside a script element only "<" could end
// it, so strings hold none: every character that means something to HTML is written as \u00XX.
#include "tools/dump.h"

#include "tools/html/page_text.h"
#include "tools/string_pool.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    Dump *d;
    FILE *out;
    StringPool pool;
    bool failed; // no memory
} Writer;

static void write_string(const char *text, FILE *out) {
    fputc('"', out);
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c == '\\')
            fputs("\\\\", out);
        else if (c < 0x20 || c == '"' || c == '<' || c == '>' || c == '&')
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static void write_member(Writer *w, const char *name, const char *value) {
    fprintf(w->out, "\"%s\":", name);
    write_string(value, w->out);
    fputs(",\n", w->out);
}

// The first items of a list or columns of a row: each with the comma behind that list_end needs.
static void write_number(Writer *w, uint64_t x) {
    fprintf(w->out, "%" PRIu64 ",", x);
}

// UINT32_MAX says none.
static void write_index(Writer *w, uint32_t x) {
    if (x == UINT32_MAX)
        fputs("-1,", w->out);
    else
        write_number(w, x);
}

static void write_text(Writer *w, const char *text) {
    write_number(w, string_pool_add(&w->pool, text));
}

// Columns are named in the order in which the rows give them.
static void table_begin(Writer *w, const char *name, const char *columns) {
    fprintf(w->out, "\"%s\":{\"columns\":\"%s\",\"rows\":[\n", name, columns);
}

// The zero closes the list, whose items all have a comma; readers drop it.
static void table_end(Writer *w) {
    fputs("0]},\n", w->out);
}

// "f32[8, 1024]": a string that lives as long as the writer.
static const char *type_text(Writer *w, PlanDType dtype, uint32_t rank, const int64_t *dim) {
    char text[PLAN_RANK_MAX * 24 + 16];
    int at = snprintf(text, sizeof text, "%s[", plan_dtype_name(dtype));
    for (uint32_t i = 0; i < rank && i < PLAN_RANK_MAX; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, "%s%" PRId64, i ? ", " : "", dim[i]);
    snprintf(text + at, sizeof text - (size_t)at, "]");
    const char *kept = plan_string(w->d->memory, text);
    w->failed = w->failed || !kept;
    return kept ? kept : "";
}

static void write_buffers(Writer *w, const Plan *p) {
    table_begin(w, "buffers",
                "name kind space offset bytes alignment entry first last carried scope where type");
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        const PlanBuffer *b = &p->buffer[i];
        write_text(w, b->name);
        write_number(w, b->kind);
        write_number(w, b->space);
        write_number(w, b->offset);
        write_number(w, b->bytes);
        write_number(w, b->alignment);
        write_index(w, b->entry);
        write_number(w, b->first);
        write_index(w, b->last);
        write_number(w, b->carried);
        write_text(w, b->scope);
        write_text(w, b->where);
        write_text(w, type_text(w, b->dtype, b->rank, b->dim));
        fputc('\n', w->out);
    }
    table_end(w);
}

static void write_instructions(Writer *w, const PlanSegment *s) {
    table_begin(w, "instructions",
                "name where kind phase kernel stream flops bytes workspace signal operands waits");
    for (uint32_t i = 0; i < s->instr_count; i++) {
        const PlanInstr *in = &s->instr[i];
        const bool calls = in->kind == INSTR_KERNEL || in->kind == INSTR_PRODUCT;
        write_text(w, in->name);
        write_text(w, in->where);
        write_number(w, in->kind);
        write_number(w, in->phase);
        write_index(w, calls ? in->kernel : UINT32_MAX);
        write_number(w, in->stream);
        write_number(w, in->flops);
        write_number(w, in->bytes);
        write_index(w, in->workspace);
        write_index(w, in->signal);
        write_number(w, in->operand_count);
        write_number(w, in->wait_count);
        fputc('\n', w->out);
    }
    table_end(w);
}

// Instructions take their operands and waits from these lists in order, as many as they say.
static void write_segment(Writer *w, const PlanSegment *s) {
    fputc('{', w->out);
    write_instructions(w, s);
    table_begin(w, "operands", "buffer access");
    for (uint32_t i = 0; i < s->instr_count; i++)
        for (uint32_t j = 0; j < s->instr[i].operand_count; j++) {
            write_number(w, s->instr[i].operand[j].buffer);
            write_number(w, s->instr[i].operand[j].access);
        }
    table_end(w);
    table_begin(w, "waits", "event");
    for (uint32_t i = 0; i < s->instr_count; i++)
        for (uint32_t j = 0; j < s->instr[i].wait_count; j++)
            write_number(w, s->instr[i].wait[j]);
    table_end(w);
    fputs("\"name\":", w->out);
    write_string(s->name, w->out);
    fputs("},\n", w->out);
}

// By position: what the instruction takes, and what that time is made of.
static void write_times(Writer *w, uint32_t entry) {
    Prediction times = {0};
    if (!dump_predict(w->d, entry, &times)) {
        w->failed = true;
        return;
    }
    fprintf(w->out, "\"picoseconds\":%" PRIu64 ",\n", times.total);
    table_begin(w, "times", "picoseconds limit");
    for (uint32_t i = 0; i < w->d->uses->entry[entry].step_count; i++) {
        write_number(w, times.step[i].end - times.step[i].begin);
        write_number(w, times.step[i].limit);
    }
    table_end(w);
}

// Calls of one segment that follow each other are one row with their number.
static void write_entry(Writer *w, uint32_t number) {
    const PlanEntry *entry = &w->d->plan->entry[number];
    fputc('{', w->out);
    table_begin(w, "calls", "segment times");
    for (uint32_t i = 0; i < entry->call_count;) {
        const uint32_t first = i;
        while (i < entry->call_count && entry->call[i].segment == entry->call[first].segment)
            i++;
        write_number(w, entry->call[first].segment);
        write_number(w, i - first);
    }
    table_end(w);
    write_times(w, number);
    fputs("\"name\":", w->out);
    write_string(entry->name, w->out);
    fputs("},\n", w->out);
}

static void write_names(Writer *w, const char *list, int count, const char *(*name)(int)) {
    fprintf(w->out, "\"%s\":[", list);
    for (int i = 0; i < count; i++)
        fprintf(w->out, "%s\"%s\"", i ? "," : "", name(i));
    fputs("],\n", w->out);
}

static const char *kind_name(int i) {
    return plan_buffer_kind_name((PlanBufferKind)i);
}

static const char *phase_name(int i) {
    return plan_phase_name((PlanPhase)i);
}

static const char *limit_text(int i) {
    return limit_name((Limit)i);
}

static void write_head(Writer *w, const Plan *p) {
    write_member(w, "model", p->model);
    write_member(w, "target", p->target);
    write_member(w, "tool", p->tool);
    write_member(w, "flags", p->flags);
    write_member(w, "machine",
                 *p->rates && !w->d->options->machine ? p->rates : w->d->machine.machine);
    write_names(w, "kinds", BUFFER_KIND_COUNT, kind_name);
    write_names(w, "phases", PLAN_PHASE_COUNT, phase_name);
    write_names(w, "limits", LIMIT_COUNT, limit_text);
    fprintf(w->out, "\"spaces\":[");
    for (uint32_t i = 0; i < p->space_count; i++)
        fprintf(w->out, "%s{\"name\":\"%s\",\"bytes\":%" PRIu64 ",\"load\":%" PRIu64 "}",
                i ? "," : "", plan_space_name(p->space[i].kind), p->space[i].bytes,
                p->space[i].load);
    fprintf(w->out, "],\n");
}

static void write_tables(Writer *w, const Plan *p) {
    write_buffers(w, p);
    fputs("\"segments\":[", w->out);
    for (uint32_t i = 0; i < p->segment_count; i++)
        write_segment(w, &p->segment[i]);
    fputs("0],\n\"entries\":[", w->out);
    for (uint32_t i = 0; i < p->entry_count; i++)
        write_entry(w, i);
    fputs("0],\n", w->out);
    table_begin(w, "states", "buffer file");
    for (uint32_t i = 0; i < p->state_count; i++) {
        write_number(w, p->state[i].buffer);
        write_text(w, plan_state_file(&p->state[i]));
    }
    table_end(w);
    table_begin(w, "kernels", "name tiles");
    for (uint32_t i = 0; i < p->kernel_count; i++) {
        write_text(w, p->kernel[i].name);
        write_number(w, p->kernel[i].tiles);
    }
    table_end(w);
    table_begin(w, "remarks", "pass subject text");
    for (uint32_t i = 0; i < p->remark_count; i++) {
        write_text(w, p->remark[i].pass);
        write_text(w, p->remark[i].subject);
        write_text(w, p->remark[i].text);
    }
    table_end(w);
}

// Comes last: the tables fill it.
static void write_strings(Writer *w) {
    fputs("\"strings\":[", w->out);
    for (uint32_t i = 0; i < w->pool.count; i++) {
        fputs(i ? ",\n" : "", w->out);
        write_string(w->pool.string[i], w->out);
    }
    fputs("]", w->out);
}

int dump_html(Dump *d, FILE *out) {
    const unsigned char *end = plim_page_text + plim_page_size;
    const unsigned char *mark =
        memmem(plim_page_text, plim_page_size, PAGE_PLAN, sizeof PAGE_PLAN - 1);
    const unsigned char *rest = mark + sizeof PAGE_PLAN - 1;
    // The entry that is looked at first.
    uint32_t entry = UINT32_MAX;
    if ((d->plan->entry_count > 0 || d->options->entry) && !dump_entry(d, &entry))
        return DUMP_FAILED;
    Writer w = {.d = d, .out = out};
    fwrite(plim_page_text, 1, (size_t)(mark - plim_page_text), out);
    fputs("{\n\"entry\":", out);
    write_index(&w, entry);
    fputc('\n', out);
    write_head(&w, d->plan);
    write_tables(&w, d->plan);
    write_strings(&w);
    fputs("}", out);
    fwrite(rest, 1, (size_t)(end - rest), out);
    const bool good = !w.failed && !w.pool.failed;
    string_pool_release(&w.pool);
    return good ? DUMP_DONE : dump_fail(d, "out of memory");
}
