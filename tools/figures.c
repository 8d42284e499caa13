// The text, which is kept beside a model's source and read in reviews:
//
//     figures 1
//     model gpt2
//     peak                    3900874176 B   3.63 GiB
//     time                   41234567890 ps  41.2 ms
//     entry train             3900874000 B   3.63 GiB  1273 instructions
//     largest                  154389504 B   147.2 MiB optimizer wte.m
//
// Places in the model's text, the tool's version and the plan's digest stay out: only what somebody
// who reads the change could want to be told of is in it. The first number is exact, what stands
// behind its unit is for people. Lines that begin with # are comments.
#include "tools/figures.h"

#include "runtime/plan_report.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST = 10 };
static const char head[] = "figures 1\n";

bool figures_measure(Dump *d, const PlanUses *u, double *value) {
    const Plan *p = u->plan;
    PlanReport r;
    Prediction time = {0};
    plan_report(u, &r);
    const uint32_t entry = plan_main_entry(u);
    if (entry != UINT32_MAX && !dump_predict_other(d, u, entry, &time))
        return false;
    memset(value, 0, FIGURES * sizeof *value);
    for (uint32_t i = 0; i < p->space_count; i++)
        if (p->space[i].kind == SPACE_DEVICE)
            value[F_PEAK] = (double)p->space[i].bytes;
    value[F_LOAD] = (double)r.load;
    for (int i = 0; i < BUFFER_KIND_COUNT; i++)
        value[F_KIND + i] = (double)r.kind[i];
    value[F_TIME] = (double)time.total * 1e-12;
    value[F_KERNELS] = p->kernel_count;
    value[F_INSTRUCTIONS] = (double)r.operators;
    value[F_BUFFERS] = p->buffer_count;
    value[F_FLOPS] = (double)r.flops;
    value[F_TRAFFIC] = (double)r.bytes;
    return true;
}

void figures_name(Figure *f) {
    static const struct {
        int at;
        const char *name;
        FigureUnit unit;
    } row[] = {{F_PEAK, "peak", FIGURE_BYTES},
               {F_LOAD, "load", FIGURE_BYTES},
               {F_TIME, "time", FIGURE_SECONDS},
               {F_KERNELS, "kernels", FIGURE_COUNT},
               {F_INSTRUCTIONS, "instructions", FIGURE_COUNT},
               {F_BUFFERS, "buffers", FIGURE_COUNT},
               {F_FLOPS, "flops", FIGURE_COUNT},
               {F_TRAFFIC, "traffic", FIGURE_BYTES}};
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
        f[row[i].at] = (Figure){.name = row[i].name, .unit = row[i].unit};
    for (int i = 0; i < BUFFER_KIND_COUNT; i++)
        f[F_KIND + i] =
            (Figure){.name = plan_buffer_kind_name((PlanBufferKind)i), .unit = FIGURE_BYTES};
}

uint64_t figure_whole(double x) {
    return x < 1e19 ? (uint64_t)x : (uint64_t)1e19;
}

char *figure_text(FigureUnit unit, double x, char out[TEXT_NUMBER]) {
    switch (unit) {
    case FIGURE_BYTES:
        return plan_size_text(figure_whole(x), out);
    case FIGURE_SECONDS:
        return text_time(x, out);
    case FIGURE_COUNT:
        break;
    }
    // Operations are too many to read one by one.
    return x < 1e9 ? text_count(figure_whole(x), out) : text_rate(x, "", out);
}

// "NAME NUMBER UNIT  for people"; times in picoseconds, which are whole.
static void print_figure(const Figure *f, double value, FILE *out) {
    const bool time = f->unit == FIGURE_SECONDS;
    char text[TEXT_NUMBER];
    if (f->unit == FIGURE_COUNT)
        fprintf(out, "%-16s %18.0f\n", f->name, value);
    else
        fprintf(out, "%-16s %18.0f %-3s %s\n", f->name, time ? round(value * 1e12) : value,
                time ? "ps" : "B", figure_text(f->unit, value, text));
}

int dump_figures(Dump *d, FILE *out) {
    const Plan *p = d->plan;
    Figure figure[FIGURES];
    double value[FIGURES];
    PlanReport r;
    char size[32];
    figures_name(figure);
    plan_report(d->uses, &r);
    if (!figures_measure(d, d->uses, value))
        return dump_fail(d, "out of memory");
    fprintf(out, "%smodel %s\ntarget %s\nflags%s%s\n", head, p->model, p->target,
            *p->flags ? " " : "", p->flags);
    for (int i = 0; i < FIGURES; i++)
        if (value[i] > 0)
            print_figure(&figure[i], value[i], out);
    for (uint32_t i = 0; i < p->entry_count; i++) {
        const PlanEntryUses *e = &d->uses->entry[i];
        const uint64_t load = e->curve[SPACE_DEVICE].load[e->curve[SPACE_DEVICE].peak];
        fprintf(out, "entry %-10s %18" PRIu64 " B   %-9s %" PRIu32 " instructions\n",
                p->entry[i].name, load, plan_size_text(load, size), e->step_count);
    }
    uint32_t largest[LARGEST];
    const uint32_t count = plan_uses_largest(d->uses, r.entry, r.position, largest, LARGEST);
    for (uint32_t i = 0; i < count; i++) {
        const PlanBuffer *b = &p->buffer[largest[i]];
        fprintf(out, "largest          %18" PRIu64 " B   %-9s %s %s\n", b->bytes,
                plan_size_text(b->bytes, size), plan_buffer_kind_name(b->kind), b->name);
    }
    return DUMP_DONE;
}

bool figures_is(const char *file) {
    char line[sizeof head] = "";
    FILE *in = fopen(file, "rbe");
    const bool good = in && fgets(line, sizeof line, in) && strcmp(line, head) == 0;
    if (in)
        fclose(in);
    return good;
}

int figures_of_line(const char *line, const Figure *f) {
    const size_t length = strcspn(line, " \n");
    int i = 0;
    while (i < FIGURES && (strlen(f[i].name) != length || memcmp(f[i].name, line, length) != 0))
        i++;
    return i;
}

int figures_read(const char *text, Figure *f) {
    int number = 1;
    for (const char *at = text; *at; number++) {
        const int i = figures_of_line(at, f);
        const char *digits = at + strcspn(at, " \n");
        digits += strspn(digits, " ");
        // strtod alone would also take signs, nan and inf.
        if (i < FIGURES && !isdigit((unsigned char)*digits))
            return number;
        if (i < FIGURES)
            f[i].before = strtod(digits, NULL) * (f[i].unit == FIGURE_SECONDS ? 1e-12 : 1);
        at += strcspn(at, "\n");
        at += *at == '\n';
    }
    return 0;
}
