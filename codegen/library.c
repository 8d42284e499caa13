// From object to static library: one relocatable object that holds the kernels, the plan and as
// much of the runtime as they need, in an archive of its own, with a header beside it.
//
//     object + libplim_runtime.a  --cc -r-->  one object  --objcopy-->  names  --ar-->  libNAME.a
//
// In the end the object shows the functions of runtime/embed.h alone, under the library's name; all
// else is local to it. So two models, even of different releases, can be linked into one program,
// and no name of the program meets one of ours. Both files are whole or as they were.
#include "codegen/child.h"
#include "codegen/codegen.h"
#include "codegen/library_header.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { P_LINK_IO = 951, P_LIBRARY_NAME = 953 };

// The functions of runtime/embed.h.
static const char *const function[] = {"open", "close", "init", "load", "call", "state"};
enum { FUNCTIONS = sizeof function / sizeof function[0] };

// Everything that is on disk while a library is made.
typedef struct {
    const char *folder; // for temporaries, beside the target
    const char *kernels, *joined, *named, *archive, *header;
} Files;

static Files name_files(Arena *a, const char *out, const char *name) {
    const char *folder = arena_format(a, "%s.%d.tmp", out, (int)getpid());
    // ar records the member's base name, which therefore must not depend on the process.
    return (Files){.folder = folder,
                   .kernels = arena_format(a, "%s/kernels.o", folder),
                   .joined = arena_format(a, "%s/joined.o", folder),
                   .named = arena_format(a, "%s/%s.o", folder, name),
                   .archive = arena_format(a, "%s/archive.a", folder),
                   .header = arena_format(a, "%s/header.h", folder)};
}

static void remove_files(const Files *f) {
    const char *const file[] = {f->kernels, f->joined, f->named, f->archive, f->header};
    // What was never made or has been renamed is not there, which is fine.
    for (size_t i = 0; i < sizeof file / sizeof file[0]; i++)
        unlink(file[i]);
    rmdir(f->folder);
}

// One object of the kernels and those members of the runtime that the functions lead to.
static bool join(Arena *a, Diag *d, const Files *f, const char *runtime_library,
                 const sigset_t *old) {
    const char *word[8 + FUNCTIONS];
    int count = 0;
    word[count++] = "cc";
    word[count++] = "-r";
    word[count++] = "-nostdlib";
    word[count++] = "-Wl,--build-id=none,-S";
    word[count++] = arena_format(a, "-o%s", f->joined);
    for (int i = 0; i < FUNCTIONS; i++)
        word[count++] = arena_format(a, "-Wl,-u,plim_model_%s", function[i]);
    word[count++] = f->kernels;
    word[count++] = runtime_library;
    word[count] = NULL;
    return child_run(a, d, word, old);
}

// The functions get the library's name; everything with hidden visibility becomes local.
static bool rename_symbols(Arena *a, Diag *d, const Files *f, const char *name,
                           const sigset_t *old) {
    const char *word[6 + FUNCTIONS];
    int count = 0;
    word[count++] = "objcopy";
    word[count++] = "--localize-hidden";
    word[count++] = "--strip-unneeded";
    for (int i = 0; i < FUNCTIONS; i++)
        word[count++] =
            arena_format(a, "--redefine-sym=plim_model_%s=%s_%s", function[i], name, function[i]);
    word[count++] = f->joined;
    word[count++] = f->named;
    word[count] = NULL;
    return child_run(a, d, word, old);
}

// D: no times, no owners, so that equal members give equal bytes.
static bool archive(Arena *a, Diag *d, const Files *f, const sigset_t *old) {
    const char *const word[] = {"ar", "rcsD", f->archive, f->named, NULL};
    return child_run(a, d, word, old);
}

static bool write_header(Arena *a, Diag *d, const Files *f, const Plan *p, const char *name) {
    const char *text = library_header(a, p, name);
    return child_write_file(d, f->header, text, strlen(text));
}

// The archive last: a build that waits for it finds the header there.
static bool move_into_place(Diag *d, const Files *f, const char *out, const char *header) {
    // Temporaries are this user's alone; what is kept is for whoever may read the folder's files.
    const mode_t mask = umask(0);
    umask(mask);
    if (chmod(f->header, 0666 & ~mask) != 0 || rename(f->header, header) != 0)
        return child_io_error(d, "rename the header to", header);
    if (chmod(f->archive, 0666 & ~mask) != 0 || rename(f->archive, out) != 0)
        return child_io_error(d, "rename the library to", out);
    return true;
}

// NAME of FOLDER/libNAME.a as a C identifier; NULL after a diagnostic.
static const char *library_name(Arena *a, Diag *d, const char *out) {
    const char *slash = strrchr(out, '/');
    const char *base = slash ? slash + 1 : out;
    const size_t length = strlen(base);
    const bool fits =
        length > 5 && strncmp(base, "lib", 3) == 0 && strcmp(base + length - 2, ".a") == 0;
    char *name = arena_text_span(a, base + 3 * fits, length - 5 * fits);
    bool good = fits && isalpha((unsigned char)name[0]);
    for (char *at = name; *at; at++) {
        // What people put into file names beside letters.
        if (*at == '-' || *at == '.')
            *at = '_';
        good = good && (isalnum((unsigned char)*at) || *at == '_');
    }
    if (good)
        return name;
    diag_error(d, (Loc){0}, P_LIBRARY_NAME, "'%s' is no name for a library", out);
    diag_help(d,
              "-o libNAME.a: the header is NAME.h and its functions are NAME_open, NAME_call, ...");
    return NULL;
}

bool codegen_library(Arena *a, Diag *d, const char *object, size_t size, const Plan *p,
                     const char *runtime_library, const char *out) {
    const char *name = library_name(a, d, out);
    struct stat info;
    if (!name)
        return false;
    if (stat(out, &info) == 0 && !S_ISREG(info.st_mode))
        return diag_error(d, (Loc){0}, P_LINK_IO, "can't write '%s': it is no regular file", out);
    const char *slash = strrchr(out, '/');
    const int folder = slash ? (int)(slash - out) + 1 : 0;
    const char *header = arena_format(a, "%.*s%s.h", folder, out, name);
    const Files f = name_files(a, out, name);
    sigset_t old;
    child_block_signals(&old);
    bool good = mkdir(f.folder, 0700) == 0 || child_io_error(d, "make folder", f.folder);
    good = good && child_write_file(d, f.kernels, object, size) &&
           join(a, d, &f, runtime_library, &old) && rename_symbols(a, d, &f, name, &old) &&
           archive(a, d, &f, &old) && write_header(a, d, &f, p, name) &&
           move_into_place(d, &f, out, header);
    remove_files(&f);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return good;
}
