// Building integer programs, and what can be said of values for their columns.
//
// Entries are stored row by row in one array, so a row is complete before the next one begins, and
// everything that reads a program (solver, printer, checks) walks rows in order: the same calls
// give the same program to the bit. Cost: linear; arrays double.
#include "passes/mip/mip.h"

#include "ir/check.h"

#include <math.h>
#include <string.h>

// Room for one more in an array of count elements of the given size.
static void *with_room(Arena *a, void *array, int count, int *room, size_t size) {
    if (count < *room)
        return array;
    const int more = *room ? 2 * *room : 64;
    array = arena_grow(a, array, (size_t)*room, (size_t)more, size);
    *room = more;
    return array;
}

Mip *mip_create(Arena *a, const char *name) {
    Mip *p = arena_new(a, Mip);
    p->arena = a;
    p->name = arena_text(a, name);
    p->row_room = 64;
    p->row = arena_array(a, MipRow, p->row_room);
    return p;
}

int mip_add_column(Mip *p, MipColumn column) {
    const int before = p->column_room;
    p->column = with_room(p->arena, p->column, p->column_count, &p->column_room, sizeof *p->column);
    if (p->column_room != before)
        p->last =
            arena_grow(p->arena, p->last, (size_t)before, (size_t)p->column_room, sizeof *p->last);
    if (column.kind == MIP_BINARY) {
        column.low = 0;
        column.high = 1;
    }
    CHECK(column.low <= column.high && isfinite(column.cost));
    column.name = arena_text(p->arena, column.name);
    p->column[p->column_count] = column;
    return p->column_count++;
}

int mip_add_row(Mip *p, double low, double high) {
    CHECK(low <= high);
    // One more than there are rows: the last one ends the entries.
    p->row = with_room(p->arena, p->row, p->row_count + 1, &p->row_room, sizeof *p->row);
    p->row[p->row_count] = (MipRow){.low = low, .high = high, .begin = p->entry_count};
    p->row[p->row_count + 1].begin = p->entry_count;
    return p->row_count++;
}

void mip_put(Mip *p, int column, double value) {
    CHECK(p->row_count > 0 && column >= 0 && column < p->column_count && isfinite(value));
    // Solvers want one entry a place.
    const int known = p->last[column] - 1;
    if (known >= p->row[p->row_count - 1].begin) {
        p->entry[known].value += value;
        return;
    }
    p->entry = with_room(p->arena, p->entry, p->entry_count, &p->entry_room, sizeof *p->entry);
    p->entry[p->entry_count] = (MipEntry){.column = column, .value = value};
    p->last[column] = ++p->entry_count;
    p->row[p->row_count].begin = p->entry_count;
}

double mip_objective(const Mip *p, const double *value) {
    double sum = 0;
    for (int j = 0; j < p->column_count; j++)
        sum += p->column[j].cost * value[j];
    return sum;
}

// The larger of worst and what value misses of the range, in units of scale. NaN counts as
// infinitely far.
static double farther(double worst, double value, double low, double high, double scale) {
    if (isnan(value))
        return HUGE_VAL;
    return fmax(worst, fmax(low - value, value - high) / scale);
}

double mip_violation(const Mip *p, const double *value) {
    double worst = 0;
    for (int j = 0; j < p->column_count; j++) {
        const MipColumn *c = &p->column[j];
        worst = farther(worst, value[j], c->low, c->high, 1 + fabs(value[j]));
        if (c->kind != MIP_CONTINUOUS)
            worst = fmax(worst, fabs(value[j] - round(value[j])));
    }
    for (int i = 0; i < p->row_count; i++) {
        double sum = 0, size = 1;
        for (int k = p->row[i].begin; k < p->row[i + 1].begin; k++) {
            const double term = p->entry[k].value * value[p->entry[k].column];
            sum += term;
            size += fabs(term);
        }
        worst = farther(worst, sum, p->row[i].low, p->row[i].high, size);
    }
    return worst;
}
