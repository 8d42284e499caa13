// A published config.json as a list of values, for --config FILE.json.
#ifndef PLIM_TOOLS_CONFIG_READ_H
#define PLIM_TOOLS_CONFIG_READ_H

#include "frontend/frontend.h"

typedef struct {
    PublishedValue *value;
    int count;
} PublishedConfig;

// Reads the file into a: each value under its path ("rope_scaling.factor"), with its place. False
// with diagnostics, which show the file's lines. What a model makes of the values is the
// frontend's.
bool config_read(Arena *a, Diag *d, const char *path, PublishedConfig *out);
// A line that says which sizes the model took from the file.
void config_print_used(const PublishedConfig *c, const char *path, FILE *out);

#endif
