// Diagnostics: what is wrong with the user's input, where, and what to do about it.
#ifndef PLIM_IR_DIAG_H
#define PLIM_IR_DIAG_H

#include "ir/arena.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

// A place in a text. file is an interned path as the user named it; line and column count from 1,
// columns in bytes; line 0 means "no place".
typedef struct {
    const char *file;
    int32_t line;
    int32_t column;
} Loc;

typedef enum { DIAG_ERROR, DIAG_WARNING, DIAG_NOTE } DiagLevel;

// One message. Notes belong to the error or warning before them.
typedef struct {
    DiagLevel level;
    int code;            // P0123 is 123; 0 for notes
    Loc loc;
    const char *message; // lower case, no final period
    const char *help;    // what to do, or NULL
} DiagItem;

typedef struct Diag Diag;

enum { DIAG_ERRORS_MAX = 20 }; // after this many errors the rest is counted, not kept

// An empty collection; messages are copied into the arena.
Diag *diag_create(Arena *a);
// Lets messages about file show its lines. The text must outlive the Diag.
void diag_add_source(Diag *d, const char *file, const char *text, size_t bytes);

// Each returns false, so that a check can end with `return diag_error(...)`. code is the number in
// docs/errors.md (P0123 -> 123). A NULL Diag means that the caller promised there is no mistake: then
// an error is ours, and ends the compiler as a failed CHECK does.
bool diag_error(Diag *d, Loc loc, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void diag_warning(Diag *d, Loc loc, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
// Adds to the last error or warning.
void diag_note(Diag *d, Loc loc, const char *format, ...) __attribute__((format(printf, 3, 4)));
// What to do about the last error or warning, printed as "help: ...".
void diag_help(Diag *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

int diag_error_count(const Diag *d); // those beyond DIAG_ERRORS_MAX included
int diag_item_count(const Diag *d);  // messages kept, of all levels
// By number, in the order they were found; 0 <= index < diag_item_count.
const DiagItem *diag_item(const Diag *d, int index);
// Prints all items in order: file:line:col: error[P0123]: ..., the line, a caret, notes, help.
// Colour only when color is true.
void diag_print(const Diag *d, FILE *out, bool color);
// The same as one JSON array, one object an item.
void diag_print_json(const Diag *d, FILE *out);

// The known name nearest to word by edit distance, or NULL where none is near.
const char *diag_nearest(const char *word, const char *const *known, int count);

#endif
