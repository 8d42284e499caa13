// Where tests write: in TMPDIR, which ctest sets to a folder of the build, else in /tmp. Names are
// no other process's. Static, as drivers and fakes share nothing to link.
#ifndef PLIM_TESTS_TEMPORARY_H
#define PLIM_TESTS_TEMPORARY_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TEMPORARY_MAX = 512 };

// A path that nothing has yet.
static inline void temporary_path(char out[TEMPORARY_MAX], const char *base) {
    const char *folder = getenv("TMPDIR");
    snprintf(out, TEMPORARY_MAX, "%s/%s_%ld", folder && *folder ? folder : "/tmp", base,
             (long)getpid());
}

// A folder of that name, made; false where it can't be.
static inline bool temporary_folder(char out[TEMPORARY_MAX], const char *base) {
    const char *folder = getenv("TMPDIR");
    snprintf(out, TEMPORARY_MAX, "%s/%s_XXXXXX", folder && *folder ? folder : "/tmp", base);
    return mkdtemp(out) != NULL;
}

// With all that is in it.
static inline bool temporary_remove(const char *folder) {
    char command[TEMPORARY_MAX + 16];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command) == 0;
}

#endif
