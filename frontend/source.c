// Finding and reading texts. Size is checked before memory is taken.
//
// On exit: the text whole in memory, followed by a NUL that is not counted, and known to the Diag
// for its messages. The standard library is bytes inside the compiler, so that plimc is one file; a
// library text uses only others of its kind.
#include "frontend/source.h"

#include "frontend/code.h"
#include "frontend/nn_text.h"

#include <errno.h>
#include <string.h>

const char *source_library(const char *name, size_t *bytes) {
    if (strcmp(name, "nn") != 0)
        return NULL;
    *bytes = plim_nn_size;
    return (const char *)plim_nn_text;
}

// For -MD: each file once, in order of first use.
static void files_add(Arena *a, FrontendFiles *files, const char *path) {
    if (!files)
        return;
    for (int i = 0; i < files->count; i++)
        if (strcmp(files->path[i], path) == 0)
            return;
    files->path = arena_grow(a, files->path, (size_t)files->count, (size_t)files->count + 1,
                             sizeof *files->path);
    files->path[files->count++] = path;
}

typedef enum { READ_DONE, READ_ABSENT, READ_FAILED } ReadResult;

static ReadResult read_failed(FILE *f, Diag *d, Loc loc, int code, const char *path,
                              const char *why) {
    fclose(f);
    diag_error(d, loc, code, "can't read %s: %s", path, why);
    return READ_FAILED;
}

// Reads the file whole. READ_ABSENT where there is none (nothing is said then).
static ReadResult read_file(Arena *a, Diag *d, Loc loc, const char *path, Source *out) {
    FILE *f = fopen(path, "rbe");
    if (!f)
        return READ_ABSENT;
    if (fseek(f, 0, SEEK_END) != 0)
        return read_failed(f, d, loc, CODE_USE, path, strerror(errno));
    const long size = ftell(f);
    if (size < 0 || fseek(f, 0, SEEK_SET) != 0)
        return read_failed(f, d, loc, CODE_USE, path, strerror(errno));
    // Before the memory for it is taken.
    if (size > SOURCE_BYTES_MAX)
        return read_failed(f, d, loc, CODE_FILE_SIZE, path, "it is larger than 64 MiB");
    char *text = arena_alloc(a, (size_t)size + 1, 1);
    if (fread(text, 1, (size_t)size, f) != (size_t)size)
        return read_failed(f, d, loc, CODE_USE, path, "it ended early");
    fclose(f);
    out->file = path;
    out->text = text;
    out->bytes = (size_t)size;
    return READ_DONE;
}

// The folder of a path with its slash, or "".
static const char *folder_of(Arena *a, const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? arena_text_span(a, path, (size_t)(slash - path) + 1) : "";
}

// An absolute path is taken as it is.
static ReadResult search_folders(Arena *a, Diag *d, const FrontendInput *in, const Source *user,
                                 const char *name, Loc loc, Source *out) {
    if (name[0] == '/')
        return read_file(a, d, loc, name, out);
    const char *beside = arena_format(a, "%s%s", folder_of(a, user->file), name);
    ReadResult got = read_file(a, d, loc, beside, out);
    for (int i = 0; i < in->include_count && got == READ_ABSENT; i++)
        got = read_file(a, d, loc, arena_format(a, "%s/%s", in->include[i], name), out);
    return got;
}

// A file beside the text hides the library's of that name: a project can bring its own nn.
const Source *source_find(Arena *a, Diag *d, const FrontendInput *in, FrontendFiles *files,
                          const Source *user, const char *path, bool bare_name, Loc loc) {
    Source *out = arena_new(a, Source);
    const char *name = bare_name ? arena_format(a, "%s.plim", path) : path;
    // The library's own uses stay inside it.
    const bool search = !in->library_only && !user->library;
    const ReadResult got = search ? search_folders(a, d, in, user, name, loc, out) : READ_ABSENT;
    // A file that opens but can't be read whole has been reported and ends the search.
    if (got == READ_FAILED)
        return NULL;
    if (got == READ_DONE) {
        files_add(a, files, out->file);
    } else {
        out->text = bare_name ? source_library(path, &out->bytes) : NULL;
        out->file = arena_format(a, "<%s>", name);
        out->library = true;
        if (!out->text) {
            diag_error(d, loc, CODE_USE, "can't find %s", name);
            diag_help(d, "it is searched beside the file, then in the -I folders%s",
                      bare_name ? ", then among the standard library: nn" : "");
            return NULL;
        }
    }
    diag_add_source(d, out->file, out->text, out->bytes);
    return out;
}
