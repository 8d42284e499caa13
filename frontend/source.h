// Texts: the file given, the files it uses, and the standard library inside the compiler.
#ifndef PLIM_FRONTEND_SOURCE_H
#define PLIM_FRONTEND_SOURCE_H

#include "frontend/frontend.h"

enum { SOURCE_BYTES_MAX = 64 << 20 };

typedef struct {
    const char *file; // interned, as it is shown
    const char *text;
    size_t bytes;
    bool library; // from inside the compiler: errors point at the user's call
} Source;

// The standard library's text by name ("nn"), or NULL.
const char *source_library(const char *name, size_t *bytes);

// Looks for `use`d text: beside the using file, then in each include folder, then (for a bare name)
// in the standard library. NULL after a diagnostic at loc. Files read are added to files.
const Source *source_find(Arena *a, Diag *d, const FrontendInput *in, FrontendFiles *files,
                          const Source *user, const char *path, bool bare_name, Loc loc);

#endif
