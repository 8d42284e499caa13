// A plan in figures: those that --diff shows and --fail-if knows, and the text that keeps them.
#ifndef PLIM_TOOLS_FIGURES_H
#define PLIM_TOOLS_FIGURES_H

#include "tools/dump.h"
#include "tools/dump_text.h"
#include "tools/fail_if.h"

// In the order they are shown.
enum {
    F_PEAK,
    F_LOAD,
    F_KIND,
    F_TIME = F_KIND + BUFFER_KIND_COUNT,
    F_KERNELS,
    F_INSTRUCTIONS,
    F_BUFFERS,
    F_FLOPS,
    F_TRAFFIC,
    FIGURES
};

// Names and units into f[FIGURES].
void figures_name(Figure *f);
// A plan's into value[FIGURES]. False when there is no memory.
bool figures_measure(Dump *d, const PlanUses *u, double *value);
// Without its fraction, and at most 10^19: sums of a plan that makes no sense may be more.
uint64_t figure_whole(double x);
// For people: "3.63 GiB", "12.3 ms", "135". Returns out.
char *figure_text(FigureUnit unit, double x, char out[TEXT_NUMBER]);

// --figures: the text. Equal plans give equal texts, also when only comments moved in the model.
int dump_figures(Dump *d, FILE *out);
// Whether the file begins as such a text.
bool figures_is(const char *file);
// Its figures into the before of f[FIGURES], which has names; figures it lacks are 0. Returns 0, or
// the number of the first line that is wrong.
int figures_read(const char *text, Figure *f);
// Whether the line, to its newline, is one of f's figures: its index, else FIGURES.
int figures_of_line(const char *line, const Figure *f);

#endif
