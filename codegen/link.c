// From object to executable: the system's C compiler driver links the object with the runtime
// library. The result is made under a temporary name beside the target and renamed, so that the
// target is whole or as it was. Signals that would end this process wait until the temporaries are
// gone.
#include "codegen/child.h"
#include "codegen/codegen.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { P_LINK_IO = 951 };

// Position-independent, all relocations made at start and then read-only, no executable stack.
static bool link_into(Arena *a, Diag *d, const char *object, const char *library, const char *out,
                      const sigset_t *old) {
    // No build id and no debug information (-S): the program is a function of the object and the
    // library, and names no folder.
    const char *const word[] = {"cc",
                                "-pie",
                                "-o",
                                out,
                                object,
                                library,
                                "-Wl,--build-id=none,-S,-z,relro,-z,now,-z,noexecstack",
                                "-lm",
                                "-lpthread",
                                "-ldl",
                                NULL};
    return child_run(a, d, word, old);
}

bool codegen_link(Arena *a, Diag *d, const char *object, size_t size, const char *runtime_library,
                  const char *out) {
    // The rename would put a file in a device's place.
    struct stat info;
    if (stat(out, &info) == 0 && !S_ISREG(info.st_mode))
        return diag_error(d, (Loc){0}, P_LINK_IO, "can't write '%s': it is no regular file", out);
    // A name that begins with a dash would be an option to the compiler.
    out = *out == '-' ? arena_format(a, "./%s", out) : out;
    // Beside the target, so that the rename stays in one file system; the process id keeps two runs
    // apart.
    const char *object_path = arena_format(a, "%s.%d.o", out, (int)getpid());
    const char *temporary = arena_format(a, "%s.%d.tmp", out, (int)getpid());
    sigset_t old;
    child_block_signals(&old);
    bool good = child_write_file(d, object_path, object, size) &&
                link_into(a, d, object_path, runtime_library, temporary, &old);
    if (good && rename(temporary, out) != 0)
        good = child_io_error(d, "rename the program to", out);
    // Nothing stays behind, whatever failed; unlinking what was never made does no harm.
    unlink(object_path);
    if (!good)
        unlink(temporary);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return good;
}
