// A mixed integer program: columns with bounds and costs, rows with ranges over them; the sum of
// cost times value is minimised. Built row by row, then left alone.
#ifndef PLIM_PASSES_MIP_MIP_H
#define PLIM_PASSES_MIP_MIP_H

#include "ir/arena.h"

#include <stdbool.h>

typedef enum { MIP_CONTINUOUS, MIP_INTEGER, MIP_BINARY } MipKind;

typedef struct {
    const char *name; // a letter, then letters, digits and _; at most 255; unique in the program
    MipKind kind;
    double low, high; // both inclusive, -HUGE_VAL and HUGE_VAL for none; MIP_BINARY has 0 and 1
    double cost;
} MipColumn;

typedef struct {
    double low, high; // of the sum over its entries, both inclusive; infinite for none
    int begin;        // its entries are begin .. begin of the next row
} MipRow;

typedef struct {
    int column;
    double value;
} MipEntry;

typedef struct {
    Arena *arena;
    const char *name; // of the file where the program is written
    const char *note; // one line for whoever reads that file, or NULL
    double
        step; // the least objective is a multiple of this, 0: unknown. Bounds are rounded up to it.
    int column_count, column_room;
    MipColumn *column;
    int row_count, row_room;
    MipRow *row; // row_count + 1 of them: the last one's begin ends the entries
    int entry_count, entry_room;
    MipEntry *entry;
    int *last; // by column: its last entry + 1, 0: none yet
} Mip;

// An empty program; name is copied. Everything lives in a.
Mip *mip_create(Arena *a, const char *name);
// Returns the column's number; they count from 0. The name is copied.
int mip_add_column(Mip *p, MipColumn column);
// Begins a row and returns its number.
int mip_add_row(Mip *p, double low, double high);
// Adds value times the column to the row begun last. What is said twice adds up.
void mip_put(Mip *p, int column, double value);

// Both for one value a column.
double mip_objective(const Mip *p, const double *value);
// How far the values are from keeping all bounds, rows and whole numbers: 0 where they do. A row's
// distance is relative to the sizes of its terms.
double mip_violation(const Mip *p, const double *value);

// No answer of a solver is taken that violates the program by more than this.
#define MIP_TOLERANCE 1e-6

#endif
