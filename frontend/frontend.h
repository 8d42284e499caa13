// Model text in, Module out. The only room that knows the language.
#ifndef PLIM_FRONTEND_FRONTEND_H
#define PLIM_FRONTEND_FRONTEND_H

#include "ir/module.h"

// -D name=value: beats the text. used is set when a size of that name exists.
typedef struct {
    const char *name;
    const char *value; // as written; parsed as a number
    bool used;
} SizeOverride;

// A value of a published config.json.
typedef enum {
    PUBLISHED_NULL,
    PUBLISHED_BOOL,
    PUBLISHED_NUMBER,
    PUBLISHED_TEXT,
    PUBLISHED_LIST // a list, or an object as a whole
} PublishedKind;
typedef struct {
    const char *key; // path: "rope_scaling.factor"
    PublishedKind kind;
    const char *text; // a text's content; numbers and bools as written
    Loc loc;
    const char *size; // set to the size of the model that knows the key; NULL: none does
} PublishedValue;

// What a reader may want to know of how the text became operators.
typedef struct {
    const char *subject, *text; // subject: a scope or an entry
} FrontendRemark;

typedef struct {
    int count, capacity;
    FrontendRemark *at; // in the module's arena
} FrontendRemarks;

typedef struct {
    const char *file; // as the user named it; "-" for standard input
    const char *text; // its content
    size_t bytes;
    const char *const *include; // -I folders
    int include_count;
    const char *config; // --config NAME, or NULL
    SizeOverride *size; // -D
    int size_count;
    const char *published_file; // --config FILE.json, or NULL
    PublishedValue *published;
    int published_count;
    const char *const *entry; // --entry, or all
    int entry_count;
    const char *model;       // which model of the file, or NULL: the only one (or the last)
    int64_t micro_batch;     // of the batch's leading size, how many at once where an entry
                             // trains; 0: as the text's accumulate says; MICRO_BATCH_WHOLE
    int64_t batch;           // filled where micro_batch is not 0: the whole batch
    bool library_only;       // `use` reads no file: only the standard library (fuzzing)
    FrontendRemarks remarks; // filled
} FrontendInput;

// Files read on the way (for -MD), in order of first use.
typedef struct {
    const char **path;
    int count;
} FrontendFiles;

enum { MICRO_BATCH_WHOLE = -1 };

// Parses and elaborates. NULL after diagnostics. The module lives in a. Entries come in the text's
// order, "init" first; each variant of `for s in (...)` is an entry named NAME_S.
Module *frontend_module(Arena *a, Diag *d, FrontendInput *in, FrontendFiles *files);

#endif
