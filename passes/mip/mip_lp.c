// Writing an integer program as CPLEX LP text.
//
// Numbers are written with as many digits as bring back the same double. A row with two different
// finite ends becomes two (r3_low, r3_high), since readers differ on ranges; one without any is
// left out. Names are those of the columns; rows are r0, r1, ... in order.
#include "passes/mip/mip_lp.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// P_MIP_DUMP: an error code. TERMS_A_LINE: readers limit the length of lines.
enum { P_MIP_DUMP = 805, TERMS_A_LINE = 8 };

// "+ 3 x", with the sign apart, as the format wants it; `index` counts the terms of this sum.
static void print_term(double value, const char *name, int index, FILE *out) {
    fprintf(out, "%s%s %.17g %s", index % TERMS_A_LINE == 0 && index > 0 ? "\n  " : " ",
            signbit(value) ? "-" : "+", fabs(value), name);
}

static void print_sum(const Mip *p, int row, FILE *out) {
    const int begin = p->row[row].begin, end = p->row[row + 1].begin;
    for (int k = begin; k < end; k++)
        print_term(p->entry[k].value, p->column[p->entry[k].column].name, k - begin, out);
    // A sum of nothing needs a term.
    if (begin == end)
        print_term(0, p->column[0].name, 0, out);
}

static void print_row(const Mip *p, int row, FILE *out) {
    const double low = p->row[row].low, high = p->row[row].high;
    const bool both = isfinite(low) && isfinite(high) && low < high;
    if (isfinite(low)) {
        fprintf(out, both ? " r%d_low:" : " r%d:", row);
        print_sum(p, row, out);
        fprintf(out, " %s %.17g\n", low < high ? ">=" : "=", low);
    }
    if (isfinite(high) && low < high) {
        fprintf(out, both ? " r%d_high:" : " r%d:", row);
        print_sum(p, row, out);
        fprintf(out, " <= %.17g\n", high);
    }
}

// Every column has a line, also where the format's default would do.
static void print_bounds(const MipColumn *c, FILE *out) {
    if (!isfinite(c->low) && !isfinite(c->high)) {
        fprintf(out, " %s free\n", c->name);
        return;
    }
    if (isfinite(c->low))
        fprintf(out, " %.17g <= %s", c->low, c->name);
    else
        fprintf(out, " -inf <= %s", c->name);
    if (isfinite(c->high))
        fprintf(out, " <= %.17g", c->high);
    fputc('\n', out);
}

void mip_lp_print(const Mip *p, FILE *out) {
    fprintf(out, "\\ %s: %d columns, %d rows, %d entries\n", p->name, p->column_count, p->row_count,
            p->entry_count);
    if (p->note)
        fprintf(out, "\\ %s\n", p->note);
    fprintf(out, "Minimize\n cost:");
    int terms = 0;
    for (int j = 0; j < p->column_count; j++)
        if (p->column[j].cost != 0)
            print_term(p->column[j].cost, p->column[j].name, terms++, out);
    if (terms == 0 && p->column_count > 0)
        print_term(0, p->column[0].name, 0, out);
    fprintf(out, "\nSubject To\n");
    for (int i = 0; i < p->row_count; i++)
        print_row(p, i, out);
    fprintf(out, "Bounds\n");
    for (int j = 0; j < p->column_count; j++)
        print_bounds(&p->column[j], out);
    // Binaries too: their bounds are above.
    int whole = 0;
    for (int j = 0; j < p->column_count; j++)
        if (p->column[j].kind != MIP_CONTINUOUS)
            fprintf(out, "%s %s\n", whole++ == 0 ? "Generals\n" : "", p->column[j].name);
    fprintf(out, "End\n");
}

bool mip_lp_write(const Mip *p, const char *dir, Diag *d) {
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return diag_error(d, (Loc){0}, P_MIP_DUMP, "can't make the folder '%s': %s", dir,
                          strerror(errno));
    const char *path = arena_format(p->arena, "%s/%s.lp", dir, p->name);
    FILE *out = fopen(path, "we");
    if (out)
        mip_lp_print(p, out);
    // A full disk may show only when the last bytes leave.
    const bool opened = out != NULL, good = opened && !ferror(out);
    if (opened && fclose(out) == 0 && good)
        return true;
    diag_error(d, (Loc){0}, P_MIP_DUMP, "can't write '%s': %s", path, strerror(errno));
    // Half a program would read as another one.
    if (opened)
        unlink(path);
    return false;
}
